//! The relays that are there.
use crate::{
    admission::{Denied, Peer},
    rates::Rates,
    registry::RegistryAdmission,
};
use deploy_agent_protocol::v1::{AnnounceReply, AnnounceRequest, RelayCount};
use deploy_core::{
    agent::Agent,
    backend::{AgentRegistry, Clock},
    id::{HostName, LabelValue},
    telemetry::{HOST, TARGET_BACKEND},
    time::Timestamp,
};
use deploy_distribution::{
    BlobId,
    transfer::{Endpoint, is_address, ranked},
};
use std::{
    collections::BTreeMap,
    fmt,
    net::{IpAddr, SocketAddr},
    num::NonZeroU64,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// How often a relay says that it is there, unless said otherwise.
const EVERY: Duration = Duration::from_secs(10);
/// Who has missed so many is gone.
const MISSED: u32 = 3;
/// How many of a zone a host is told of.
const MOST_TOLD: usize = 2;
/// The longest version that is kept, in characters.
const LONGEST_VERSION: usize = 64;
/// What has to be done where a certificate is none of a relay.
const NO_RELAY: &str =
    "is a host, and no relay: `deploy relay enrol` takes a join token that was made with `--relay`";

/// The relays that are there, as far as they have said so: all of it is known again one announcement after a restart. Clones are the same.
#[derive(Clone)]
pub struct Relays(Arc<Inner>);

struct Inner {
    agents: RegistryAdmission,
    clock: Arc<dyn Clock>,
    every: Duration,
    heard: Mutex<BTreeMap<HostName, Heard>>,
    /// How often one was kept out.
    kept_out: AtomicU64,
}

/// A relay that is there.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct LiveRelay {
    /// Its name.
    pub name: HostName,
    /// Its zone, as its join token has it.
    pub zone: LabelValue,
    /// `HOST:PORT` of its blocks.
    pub address: String,
    /// The version of its program.
    pub version: String,
    /// Since when it has been there without a break.
    pub since: Timestamp,
    /// When it said so last.
    pub seen_at: Timestamp,
    /// What it says of itself: nothing is decided by it.
    pub count: RelayCount,
}

struct Heard {
    relay: LiveRelay,
    boot_id: String,
}

impl fmt::Debug for Relays {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Relays").field("every", &self.0.every).finish_non_exhaustive()
    }
}

impl Relays {
    /// Those that `agents` knows as relays.
    #[must_use]
    pub fn new(agents: Arc<dyn AgentRegistry>, clock: Arc<dyn Clock>) -> Self {
        Self::heard_every(EVERY, agents, clock)
    }

    /// The same with another time between announcements.
    #[must_use]
    pub fn heard_every(
        every: Duration,
        agents: Arc<dyn AgentRegistry>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let agents = RegistryAdmission::new(agents, Arc::clone(&clock));
        let (heard, kept_out) = (Mutex::default(), AtomicU64::new(0));
        Self(Arc::new(Inner { agents, clock, every, heard, kept_out }))
    }

    /// Those that are there now, in the order of their names.
    #[must_use]
    pub fn alive(&self) -> Vec<LiveRelay> {
        self.heard().values().map(|it| it.relay.clone()).collect()
    }

    /// Whether this one is.
    #[must_use]
    pub fn is_alive(&self, name: &HostName) -> bool {
        self.heard().contains_key(name)
    }

    /// One is there no longer: it has lost its right to it.
    pub fn leave(&self, name: &HostName) {
        let mut heard = self.heard();
        self.0.kept_out.fetch_add(1, Ordering::SeqCst);
        if heard.remove(name).is_some() {
            tracing::info!(target: TARGET_BACKEND, { { HOST } = %name }, "a relay is kept out");
        }
    }

    /// Whom hosts of a zone ask for a blob: the same for all of them, the first one first.
    pub(crate) fn for_hosts(&self, zone: &str, blob: BlobId) -> Vec<Endpoint> {
        let mut relays = self.of_zone(zone, blob);
        relays.truncate(MOST_TOLD);
        relays
    }

    /// Whom a relay asks before it asks the store: those that hosts ask before it.
    pub(crate) fn before(&self, relay: &HostName, zone: &str, blob: BlobId) -> Vec<Endpoint> {
        let relays = self.for_hosts(zone, blob).into_iter();
        relays.take_while(|it| it.name != *relay).collect()
    }

    fn of_zone(&self, zone: &str, blob: BlobId) -> Vec<Endpoint> {
        let heard = self.heard();
        let near = heard.values().map(|it| &it.relay).filter(|it| it.zone.as_str() == zone);
        ranked(blob, near.map(|it| Endpoint::new(it.name.clone(), it.address.clone())).collect())
    }

    /// Which relay `peer` is.
    pub(crate) async fn identify(&self, peer: &Peer) -> Result<Agent, Denied> {
        let agent = self.0.agents.agent(peer).await?;
        if agent.is_relay() {
            return Ok(agent);
        }
        Err(Denied::Forever(format!("`{}` {NO_RELAY}", agent.host)))
    }

    /// Takes in that a relay is there, and says when to say so again.
    pub(crate) async fn announce(
        &self,
        peer: &Peer,
        said: AnnounceRequest,
        rates: &Rates,
    ) -> Result<AnnounceReply, Denied> {
        let zone = loop {
            let kept_out = self.0.kept_out.load(Ordering::SeqCst);
            let relay = self.admit(peer, &said).await?;
            let zone = relay.zone.clone();
            if self.note(relay, &said.boot_id, kept_out) {
                break zone;
            }
        };
        let upstream = rates.of_zone(&zone).map_or(0, NonZeroU64::get);
        let again_ms = u32::try_from(self.0.every.as_millis()).unwrap_or(u32::MAX);
        Ok(AnnounceReply { again_ms, upstream })
    }

    async fn admit(&self, peer: &Peer, said: &AnnounceRequest) -> Result<LiveRelay, Denied> {
        let agent = self.identify(peer).await?;
        let no_zone = || Denied::Forever(format!("the relay `{}` has no zone", agent.host));
        let zone = agent.zone().cloned().ok_or_else(no_zone)?;
        let address = address_of(&said.address, peer.from())?;
        let before = self.heard().get(&agent.host).map(|it| it.boot_id.clone());
        if before.as_ref() == Some(&said.boot_id) {
            self.0.agents.hear(&agent.host).await?;
        } else {
            self.0.agents.arrive(&agent.host, &said.boot_id).await?;
        }
        let version = said.version.chars().filter(|it| !it.is_control()).take(LONGEST_VERSION);
        let (version, count) = (version.collect(), said.count.unwrap_or_default());
        let now = self.0.clock.now();
        let name = agent.host;
        Ok(LiveRelay { name, zone, address, version, since: now, seen_at: now, count })
    }

    /// Whether it still counts: if one was kept out since, it may be this one.
    fn note(&self, mut relay: LiveRelay, boot_id: &str, kept_out: u64) -> bool {
        let mut heard = self.heard();
        if self.0.kept_out.load(Ordering::SeqCst) != kept_out {
            return false;
        }
        match heard.get(&relay.name) {
            Some(before) => relay.since = before.relay.since,
            None => {
                tracing::info!(
                    target: TARGET_BACKEND,
                    { { HOST } = %relay.name, zone = %relay.zone, address = relay.address }, "a relay is there"
                );
            }
        }
        let boot_id = boot_id.to_owned();
        heard.insert(relay.name.clone(), Heard { relay, boot_id });
        true
    }

    /// What was heard, of those alone that are not gone.
    fn heard(&self) -> MutexGuard<'_, BTreeMap<HostName, Heard>> {
        let mut heard = self.0.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let (now, patience) = (self.0.clock.now(), self.0.every * MISSED);
        heard.retain(|name, it| {
            let is_there = now.since(it.relay.seen_at) < patience;
            if !is_there {
                tracing::warn!(target: TARGET_BACKEND, { { HOST } = %name }, "a relay is gone");
            }
            is_there
        });
        heard
    }
}

/// Where a relay is that says it is at `said` and connects from `from`.
fn address_of(said: &str, from: Option<IpAddr>) -> Result<String, Denied> {
    let wrong = || Denied::Forever("a relay has to be at a HOST:PORT, or at a :PORT".to_owned());
    let Some(port) = said.strip_prefix(':') else {
        return Some(said.to_owned()).filter(|it| is_address(it)).ok_or_else(wrong);
    };
    let port = port.parse().ok().filter(|it| *it != 0).ok_or_else(wrong)?;
    let from = from.ok_or_else(|| Denied::Forever("nobody knows where it is".to_owned()))?;
    Ok(SocketAddr::new(from, port).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_alone_is_where_the_relay_connects_from() {
        let from = |it: &str| Some(it.parse::<IpAddr>().unwrap());
        for (said, from, at) in [
            (":7446", from("10.0.0.1"), "10.0.0.1:7446"),
            (":7446", from("2001:db8::1"), "[2001:db8::1]:7446"),
            ("fra-1.example.com:443", from("10.0.0.1"), "fra-1.example.com:443"),
            ("10.0.0.2:7446", None, "10.0.0.2:7446"),
        ] {
            assert_eq!(address_of(said, from).unwrap(), at);
        }
        for said in ["", ":", ":0", ":x", "a b:1", "host", "host:0", ":7446:1"] {
            assert!(address_of(said, from("10.0.0.1")).is_err(), "{said}");
        }
        assert!(address_of(":7446", None).is_err());
    }
}
