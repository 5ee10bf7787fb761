//! How fast this host fetches and gives: what `host.toml` allows, and no more than the control plane says.
use crate::{
    host::{ArtifactBytes, FetchArtifact},
    policy::PeersPolicy,
};
use async_trait::async_trait;
use bytes::Bytes;
use deploy_agent_protocol::v1;
use deploy_core::{backend::Clock, digest::Digest, limit::bytes_per_second};
use deploy_distribution::transfer::{Limits, Rate, Throttle};
use std::{
    collections::BTreeMap,
    io,
    num::NonZeroU64,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

/// Of how many rollouts the limits are kept: more than there are at one time.
const MOST_ROLLOUTS: usize = 1_024;
/// What may be under way to a host when a limit begins to count, in bytes. A blob's blocks are no more than that.
const UNDER_WAY: u64 = 24 << 20;

/// How fast a host fetches and gives. What it was told counts until it is told something else, whether it is connected or not.
#[derive(Debug)]
pub(crate) struct Rates {
    own: PeersPolicy,
    download: Arc<Limits>,
    upload: Arc<Limits>,
    rollouts: Mutex<Rollouts>,
    clock: Arc<dyn Clock>,
}

#[derive(Debug, Default)]
struct Rollouts {
    told: BTreeMap<String, NonZeroU64>,
    /// Of those for which something is fetched now.
    throttles: BTreeMap<String, Weak<Throttle>>,
}

impl Rates {
    /// Those of `host.toml`.
    pub(crate) fn new(own: PeersPolicy, clock: Arc<dyn Clock>) -> Arc<Self> {
        let limits = |mbit: Option<_>| Arc::new(Limits::new(mbit.map(bytes_per_second)));
        let (download, upload) = (limits(own.download_mbit), limits(own.upload_mbit));
        Arc::new(Self { own, download, upload, rollouts: Mutex::default(), clock })
    }

    /// What blocks that are fetched go by.
    pub(crate) fn download(&self) -> Arc<Limits> {
        Arc::clone(&self.download)
    }

    /// What blocks that are given go by.
    pub(crate) fn upload(&self) -> Arc<Limits> {
        Arc::clone(&self.upload)
    }

    /// The control plane says how fast it may be from now on.
    pub(crate) fn tell(&self, limits: v1::Limits) {
        let slower = |own: Option<_>, told: u64| {
            own.map(bytes_per_second).into_iter().chain(NonZeroU64::new(told)).min()
        };
        self.download.set_total(slower(self.own.download_mbit, limits.download));
        self.upload.set_total(slower(self.own.upload_mbit, limits.upload));
        let told = limits.rollouts.into_iter().take(MOST_ROLLOUTS);
        let told = told.filter_map(|it| Some((it.rollout, NonZeroU64::new(it.download)?)));
        let mut rollouts = self.rollouts.lock().unwrap_or_else(PoisonError::into_inner);
        rollouts.told = told.collect();
        for (rollout, throttle) in &rollouts.throttles {
            if let Some(throttle) = throttle.upgrade() {
                throttle.set(rollouts.told.get(rollout).copied());
            }
        }
    }

    /// What is fetched for a rollout goes through this, for as long as somebody has it.
    fn of_rollout(&self, rollout: &str) -> Arc<Throttle> {
        let mut rollouts = self.rollouts.lock().unwrap_or_else(PoisonError::into_inner);
        rollouts.throttles.retain(|_, it| it.strong_count() > 0);
        if let Some(throttle) = rollouts.throttles.get(rollout).and_then(Weak::upgrade) {
            return throttle;
        }
        let throttle = Arc::new(Throttle::new(rollouts.told.get(rollout).copied()));
        rollouts.throttles.insert(rollout.to_owned(), Arc::downgrade(&throttle));
        throttle
    }

    /// Fetches `from` there for a rollout, no faster than this host may.
    pub(crate) fn paced<'a>(&self, from: &'a dyn FetchArtifact, rollout: &str) -> Paced<'a> {
        let throttles = [self.download.total(), self.of_rollout(rollout)];
        Paced { from, throttles, clock: Arc::clone(&self.clock) }
    }

    /// How much longer than usual nothing may come, because our own limits hold back what is under way.
    pub(crate) fn held_back(&self, throttle: Option<&Throttle>) -> Duration {
        let rates: [Rate; 2] = [self.download.total().rate(), throttle.and_then(Throttle::rate)];
        let slowest = rates.into_iter().flatten().min();
        slowest.map_or(Duration::ZERO, |it| Duration::from_secs(UNDER_WAY.div_ceil(it.get())))
    }
}

/// Artifacts from somewhere, no faster than they may come.
#[derive(Debug)]
pub(crate) struct Paced<'a> {
    from: &'a dyn FetchArtifact,
    /// That of the host, and that of the rollout.
    throttles: [Arc<Throttle>; 2],
    clock: Arc<dyn Clock>,
}

#[async_trait]
impl FetchArtifact for Paced<'_> {
    async fn fetch(&self, digest: Digest, offset: u64) -> io::Result<Box<dyn ArtifactBytes>> {
        let bytes = self.from.fetch(digest, offset).await?;
        let (throttles, clock) = (self.throttles.clone(), Arc::clone(&self.clock));
        Ok(Box::new(PacedBytes { bytes, throttles, clock }))
    }

    async fn swarm(&self, digest: Digest) -> io::Result<Option<v1::SwarmReply>> {
        self.from.swarm(digest).await
    }

    fn throttle(&self) -> Option<Arc<Throttle>> {
        let [_host, rollout] = &self.throttles;
        Some(Arc::clone(rollout))
    }
}

struct PacedBytes {
    bytes: Box<dyn ArtifactBytes>,
    throttles: [Arc<Throttle>; 2],
    clock: Arc<dyn Clock>,
}

#[async_trait]
impl ArtifactBytes for PacedBytes {
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        let piece = self.bytes.next().await?;
        for throttle in &self.throttles {
            throttle.take(piece.as_ref().map_or(0, |it| it.len() as u64), &*self.clock).await;
        }
        Ok(piece)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use deploy_core::memory::SystemClock;

    fn rates(text: &str) -> Arc<Rates> {
        let policy = crate::Policy::parse(&format!("folders = ['/srv']\n{text}")).unwrap();
        Rates::new(policy.peers(), Arc::new(SystemClock::new()))
    }

    fn told(download: u64, upload: u64, rollouts: &[(&str, u64)]) -> v1::Limits {
        let rollouts = rollouts.iter().map(|(rollout, download)| v1::RolloutLimit {
            rollout: (*rollout).to_owned(),
            download: *download,
        });
        v1::Limits { download, upload, rollouts: rollouts.collect() }
    }

    fn now(rates: &Rates) -> [u64; 2] {
        [rates.download(), rates.upload()].map(|it| it.total().rate().map_or(0, NonZeroU64::get))
    }

    #[test]
    fn the_smaller_one_counts() {
        let rates = rates("[peers]\ndownload_mbit = 8");
        assert_eq!(now(&rates), [1_000_000, 0]);
        rates.tell(told(2_000_000, 500_000, &[]));
        assert_eq!(now(&rates), [1_000_000, 500_000]);
        rates.tell(told(700_000, 0, &[]));
        assert_eq!(now(&rates), [700_000, 0]);
        rates.tell(told(0, 0, &[]));
        assert_eq!(now(&rates), [1_000_000, 0]);
    }

    #[test]
    fn a_rollout_goes_by_what_was_said_of_it_last() {
        let rates = rates("");
        rates.tell(told(0, 0, &[("r1", 5_000)]));
        let (first, same) = (rates.of_rollout("r1"), rates.of_rollout("r1"));
        assert!(Arc::ptr_eq(&first, &same));
        assert_eq!(first.rate(), NonZeroU64::new(5_000));
        let other = rates.of_rollout("r2");
        assert_eq!(other.rate(), None);
        rates.tell(told(0, 0, &[("r2", 7_000)]));
        assert_eq!((first.rate(), other.rate()), (None, NonZeroU64::new(7_000)));
        drop((first, same, other));
        assert_eq!(rates.of_rollout("r2").rate(), NonZeroU64::new(7_000));
        assert!(rates.rollouts.lock().unwrap().throttles.len() <= 1, "what ended is kept");
    }

    #[test]
    fn what_is_held_back_here_is_waited_for() {
        let rates = rates("[peers]\ndownload_mbit = 1");
        assert_eq!(rates.held_back(None).as_secs(), 202);
        rates.tell(told(0, 0, &[("r1", 62_500)]));
        assert_eq!(rates.held_back(Some(&rates.of_rollout("r1"))).as_secs(), 403);
        assert_eq!(self::rates("").held_back(None), Duration::ZERO);
    }
}
