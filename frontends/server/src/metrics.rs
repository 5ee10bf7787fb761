//! What Prometheus is told.
use deploy_core::{
    id::{HostName, ServiceName},
    repair::{Cause, Ledger},
};
use deploy_operations::AgentLinks;
use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};
use std::{collections::BTreeMap, fmt, sync::atomic::Ordering, time::Duration};

/// How long answers take, in seconds, in steps that tell the quick from the slow.
const STEPS: [f64; 9] = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Requested {
    method: String,
    route: String,
    status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Routed {
    route: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OwedBy {
    service: String,
    cause: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RelayedBy {
    relay: String,
    direction: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct GivenBy {
    giver: String,
}

/// What is counted.
pub(crate) struct Metrics {
    registry: Registry,
    requests: Family<Requested, Counter>,
    durations: Family<Routed, Histogram>,
    pub(crate) in_flight: Gauge,
    pub(crate) streams: Gauge,
    pub(crate) driven: Gauge,
    agents_connected: Gauge,
    agents_refused: Counter,
    blocks_given: Counter,
    blocks_corrupt: Family<GivenBy, Counter>,
    relays_alive: Gauge,
    relay_bytes: Family<RelayedBy, Gauge>,
    owed: Family<OwedBy, Gauge>,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut registry = Registry::with_prefix("deploy");
        let requests = Family::<Requested, Counter>::default();
        let durations = Family::<Routed, Histogram>::new_with_constructor(|| Histogram::new(STEPS));
        let (in_flight, streams, driven) = (Gauge::default(), Gauge::default(), Gauge::default());
        let (connected, refused) = (Gauge::default(), Counter::default());
        let given = Counter::default();
        let (relays, relayed) = (Gauge::default(), Family::<RelayedBy, Gauge>::default());
        registry.register("relays_alive", "Relays that are there", relays.clone());
        registry.register(
            "relay_bytes",
            "Bytes of blocks that relays have given, and pulled from elsewhere, since they were started",
            relayed.clone(),
        );
        let owed = Family::<OwedBy, Gauge>::default();
        registry.register("hosts_owed", "Hosts that do not run what they should", owed.clone());
        registry.register("http_requests", "Requests that were answered", requests.clone());
        registry.register("http_request_seconds", "How long answers took", durations.clone());
        registry.register("http_in_flight", "Requests that are worked on", in_flight.clone());
        registry.register("event_streams", "Event streams that are open", streams.clone());
        registry.register("rollouts_driven", "Rollouts that this process drives", driven.clone());
        registry.register("agents_connected", "Agents that have a session", connected.clone());
        registry.register("agent_sessions_refused", "Sessions that were refused", refused.clone());
        registry.register(
            "block_bytes_given",
            "Bytes of blocks that hosts were given",
            given.clone(),
        );
        let corrupt = Family::<GivenBy, Counter>::default();
        registry.register(
            "blocks_corrupt",
            "Times that hosts have found somebody to give blocks that are wrong",
            corrupt.clone(),
        );
        Self {
            registry,
            requests,
            durations,
            in_flight,
            streams,
            driven,
            owed,
            agents_connected: connected,
            agents_refused: refused,
            blocks_given: given,
            blocks_corrupt: corrupt,
            relays_alive: relays,
            relay_bytes: relayed,
        }
    }

    /// Takes over what is counted where agents connect to.
    pub(crate) fn agents(&self, links: &dyn AgentLinks) {
        self.agents_connected.set(i64::try_from(links.connected()).unwrap_or(i64::MAX));
        // These only grow, there as here.
        self.agents_refused.inner().store(links.refused(), Ordering::Relaxed);
        self.blocks_given.inner().store(links.given_bytes(), Ordering::Relaxed);
        self.corrupt(&links.corrupt_blocks());
        let relays = links.relays().unwrap_or_default();
        self.relays_alive.set(i64::try_from(relays.len()).unwrap_or(i64::MAX));
        // Those that are gone leave nothing behind.
        self.relay_bytes.clear();
        for (name, work) in &relays {
            for (direction, bytes) in [("given", work.given_bytes), ("pulled", work.pulled_bytes)] {
                let by = RelayedBy { relay: name.to_string(), direction };
                let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
                self.relay_bytes.get_or_create(&by).set(bytes);
            }
        }
    }

    fn corrupt(&self, found: &BTreeMap<HostName, u64>) {
        for (giver, times) in found {
            let by = GivenBy { giver: giver.to_string() };
            self.blocks_corrupt.get_or_create(&by).inner().store(*times, Ordering::Relaxed);
        }
    }

    /// Counts the hosts that are owed something, in the place of all that was counted before.
    pub(crate) fn owed(&self, ledgers: &BTreeMap<ServiceName, Ledger>) {
        self.owed.clear();
        for (service, ledger) in ledgers {
            let drifted = ledger.hosts.iter().filter(|it| it.cause == Cause::Drift).count();
            let indebted = ledger.hosts.len() - drifted;
            for (cause, hosts) in [("debt", indebted), ("drift", drifted)] {
                let by = OwedBy { service: service.to_string(), cause };
                self.owed.get_or_create(&by).set(i64::try_from(hosts).unwrap_or(i64::MAX));
            }
        }
    }

    /// Counts an answer.
    pub(crate) fn answered(&self, method: &str, route: &str, status: u16, took: Duration) {
        let (method, route) = (method.to_owned(), route.to_owned());
        self.durations.get_or_create(&Routed { route: route.clone() }).observe(took.as_secs_f64());
        self.requests.get_or_create(&Requested { method, route, status }).inc();
    }

    /// All of it, in the text format of OpenMetrics.
    pub(crate) fn text(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_gives_wrong_blocks_is_named() {
        let metrics = Metrics::new();
        let times = |times| BTreeMap::from([("fra-1".parse().unwrap(), times)]);
        metrics.corrupt(&times(1));
        metrics.corrupt(&times(3));
        let text = metrics.text().unwrap();
        let lines = text.lines().filter(|it| it.starts_with("deploy_blocks_corrupt"));
        assert_eq!(lines.collect::<Vec<_>>(), [r#"deploy_blocks_corrupt_total{giver="fra-1"} 3"#]);
    }
}
