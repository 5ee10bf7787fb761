//! How fast bytes may travel, as people have set it.
use deploy_agent_protocol::v1;
use deploy_core::{
    backend::Clock,
    id::{HostName, LabelValue},
    limit::{LimitScope, LimitTable, bytes_per_second},
};
use deploy_distribution::transfer::{Limits, Rate};
use std::{num::NonZeroU32, sync::Arc};
use tokio::sync::watch;

/// The limits of a server, which can be changed while bytes go. Clones are the same.
#[derive(Clone, Debug)]
pub struct Rates(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// What the server itself gives: blocks, and artifacts over sessions.
    origin: Arc<Limits>,
    usual_origin: Option<NonZeroU32>,
    table: watch::Sender<LimitTable>,
}

impl Default for Rates {
    fn default() -> Self {
        Self::new(None)
    }
}

impl Rates {
    /// Without limits, but that the server gives no more than `origin` megabits a second unless something else is set.
    #[must_use]
    pub fn new(origin: Option<NonZeroU32>) -> Self {
        let limits = Arc::new(Limits::new(origin.map(bytes_per_second)));
        let table = watch::Sender::new(LimitTable::new());
        Self(Arc::new(Inner { origin: limits, usual_origin: origin, table }))
    }

    /// From now on these limits count, and no others: here at once, and for hosts as soon as they have heard of it.
    pub fn set(&self, table: LimitTable) {
        let origin = table.get(&LimitScope::Origin).map(|it| it.mbit).or(self.0.usual_origin);
        self.0.origin.set_total(origin.map(bytes_per_second));
        self.0.table.send_if_modified(|known| {
            let changed = *known != table;
            *known = table;
            changed
        });
    }

    /// What all that this server gives goes through. A server of blocks goes by it as well.
    #[must_use]
    pub fn origin(&self) -> Arc<Limits> {
        Arc::clone(&self.0.origin)
    }

    /// What a relay of this zone may take from outside.
    #[must_use]
    pub fn of_zone(&self, zone: &LabelValue) -> Rate {
        let table = self.0.table.borrow();
        table.get(&LimitScope::Zone(zone.clone())).map(|it| bytes_per_second(it.mbit))
    }

    /// What a host is told.
    pub(crate) fn of_host(&self, host: &HostName) -> v1::Limits {
        let table = self.0.table.borrow();
        let own = table.get(&LimitScope::Host(host.clone()));
        let rollouts = table.iter().filter_map(|(scope, limit)| {
            let LimitScope::Rollout(id) = scope else { return None };
            let download = bytes_per_second(limit.mbit).get();
            Some(v1::RolloutLimit { rollout: id.to_string(), download })
        });
        v1::Limits {
            download: own.map_or(0, |it| bytes_per_second(it.mbit).get()),
            upload: own.map_or(0, |it| bytes_per_second(it.upload()).get()),
            rollouts: rollouts.collect(),
        }
    }

    /// Says when hosts may have to be told something else.
    pub(crate) fn changes(&self) -> watch::Receiver<LimitTable> {
        self.0.table.subscribe()
    }

    /// Waits until the server may give so many bytes of an artifact.
    pub(crate) async fn give(&self, bytes: u64, clock: &dyn Clock) {
        self.0.origin.total().take(bytes, clock).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use deploy_core::{limit::Limit, time::Timestamp};

    fn table(limits: &[(&str, u32, Option<u32>)]) -> LimitTable {
        let limit = |mbit: u32, upload: Option<u32>| {
            Limit::new(mbit.try_into().unwrap(), "ann".parse().unwrap(), Timestamp::from_millis(0))
                .with_upload(upload.map(|it| it.try_into().unwrap()))
        };
        limits.iter().map(|(scope, it, up)| (scope.parse().unwrap(), limit(*it, *up))).collect()
    }

    fn origin(rates: &Rates) -> u64 {
        rates.origin().total().rate().map_or(0, |it| it.get() * 8 / 1_000_000)
    }

    #[test]
    fn what_nobody_has_set_is_as_it_was_at_the_start() {
        let rates = Rates::new(NonZeroU32::new(100));
        assert_eq!(origin(&rates), 100);
        rates.set(table(&[("origin", 500, None)]));
        assert_eq!(origin(&rates), 500);
        rates.set(LimitTable::new());
        assert_eq!(origin(&rates), 100);
    }

    #[test]
    fn a_host_is_told_what_is_for_it_and_for_rollouts() {
        let rates = Rates::default();
        let host: HostName = "h1".parse().unwrap();
        assert_eq!(rates.of_host(&host), v1::Limits::default());
        rates.set(table(&[
            ("host=h1", 8, Some(16)),
            ("host=h2", 80, None),
            ("rollout=r1", 24, None),
            ("zone=a", 40, None),
        ]));
        let rollouts = vec![v1::RolloutLimit { rollout: "r1".to_owned(), download: 3_000_000 }];
        let told =
            v1::Limits { download: 1_000_000, upload: 2_000_000, rollouts: rollouts.clone() };
        assert_eq!(rates.of_host(&host), told);
        let both = v1::Limits { download: 10_000_000, upload: 10_000_000, rollouts };
        assert_eq!(rates.of_host(&"h2".parse().unwrap()), both);
        assert_eq!(rates.of_zone(&"a".parse().unwrap()).map(Into::into), Some(5_000_000_u64));
        assert_eq!(rates.of_zone(&"b".parse().unwrap()), None);
    }
}
