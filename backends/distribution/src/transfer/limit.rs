//! How fast bytes may go: for a whole host, for a blob, for one other host; each can be changed while bytes go.
use crate::block::Blob;
use deploy_core::{backend::Clock, id::HostName};
use std::{
    collections::BTreeMap,
    num::NonZeroU64,
    sync::{Arc, Mutex, PoisonError},
};

/// Bytes a second; `None` is as fast as it goes. With less than some 32 KiB a second nothing comes of it: whoever gives blocks does not wait
/// that long until they are taken.
pub type Rate = Option<NonZeroU64>;

/// How much may go at once after nothing went, in microseconds of the rate.
const BURST: u64 = 50_000;
/// For how many blobs and hosts there are limits of their own: those of the longest ago that nobody uses go first.
const MOST: usize = 4_096;

/// The limits of one direction. Whatever is slower counts.
#[derive(Debug)]
pub struct Limits {
    total: Arc<Bucket>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    blobs: BTreeMap<Blob, Arc<Bucket>>,
    peers: BTreeMap<HostName, Arc<Bucket>>,
    peer_rate: Rate,
}

impl Limits {
    /// With a limit for everything together.
    #[must_use]
    pub fn new(total: Rate) -> Self {
        Self { total: Arc::new(Bucket::new(total)), state: Mutex::default() }
    }

    /// Changes the limit for everything together. It counts from the next piece on.
    pub fn set_total(&self, rate: Rate) {
        self.total.set(rate);
    }

    /// Changes the limit for one blob.
    pub fn set_blob(&self, blob: Blob, rate: Rate) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        trim(&mut state.blobs);
        state.blobs.entry(blob).or_default().set(rate);
    }

    /// Changes the limit for each other host.
    pub fn set_each_peer(&self, rate: Rate) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.peer_rate = rate;
        state.peers.values().for_each(|it| it.set(rate));
    }

    /// What a blob may take, of what counts for all of it together.
    pub(super) fn rate_of(&self, blob: Blob) -> Rate {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let of_blob = state.blobs.get(&blob).and_then(|it| it.rate());
        [self.total.rate(), of_blob].into_iter().flatten().min()
    }

    /// What a transfer goes by.
    pub(super) fn gauge(&self, blob: Blob, peer: &HostName) -> Gauge {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        trim(&mut state.peers);
        let rate = state.peer_rate;
        let peer = state.peers.entry(peer.clone()).or_insert_with(|| Arc::new(Bucket::new(rate)));
        let peer = Arc::clone(peer);
        let blob = state.blobs.get(&blob).map(Arc::clone);
        Gauge([Some(Arc::clone(&self.total)), blob, Some(peer)])
    }
}

fn trim<K: Ord + Clone>(buckets: &mut BTreeMap<K, Arc<Bucket>>) {
    if buckets.len() >= MOST {
        buckets.retain(|_, it| Arc::strong_count(it) > 1);
    }
}

/// The limits that one transfer is under.
#[derive(Clone, Debug)]
pub(super) struct Gauge([Option<Arc<Bucket>>; 3]);

impl Gauge {
    /// Waits until so many bytes may go.
    pub(super) async fn take(&self, bytes: u64, clock: &dyn Clock) {
        for bucket in self.0.iter().flatten() {
            let now = clock.now();
            let wait = bucket.reserve(bytes, now.as_millis().saturating_mul(1_000));
            if wait > 0 {
                clock.sleep_until(now.after(std::time::Duration::from_micros(wait))).await;
            }
        }
    }
}

#[derive(Debug, Default)]
struct Bucket(Mutex<Level>);

#[derive(Debug, Default)]
struct Level {
    rate: Rate,
    /// When all that was reserved has gone, in microseconds.
    free_at: u64,
}

impl Bucket {
    const fn new(rate: Rate) -> Self {
        Self(Mutex::new(Level { rate, free_at: 0 }))
    }

    fn set(&self, rate: Rate) {
        let mut level = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *level = Level { rate, free_at: 0 };
    }

    fn rate(&self) -> Rate {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).rate
    }

    /// How long to wait for so many bytes, in microseconds.
    fn reserve(&self, bytes: u64, now: u64) -> u64 {
        let mut level = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(rate) = level.rate else { return 0 };
        let takes = bytes.saturating_mul(1_000_000) / rate;
        let free_at = level.free_at.max(now.saturating_sub(BURST)).saturating_add(takes);
        level.free_at = free_at;
        free_at.saturating_sub(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::{collection::vec, prelude::*};

    proptest! {
        /// Over any stretch no more goes than the rate and one burst allow, and no less than the rate if more was wanted.
        #[test]
        fn a_rate_is_kept(rate in 1_000_u64..100_000_000, pieces in vec(1_u64..200_000, 1..200)) {
            let bucket = Bucket::new(NonZeroU64::new(rate));
            let (mut now, mut sent) = (1_000_000_000_u64, 0);
            let start = now;
            for piece in pieces {
                now += bucket.reserve(piece, now);
                sent += piece;
            }
            let took = now - start;
            let least = (sent * 1_000_000 / rate).saturating_sub(BURST);
            prop_assert!(took + 200 >= least, "{took} < {least}");
            prop_assert!(took <= least + 200, "{took} > {least}");
        }
    }

    #[test]
    fn a_limit_that_is_lifted_holds_nobody_back() {
        let bucket = Bucket::new(NonZeroU64::new(1));
        assert!(bucket.reserve(1_000, 0) > 900_000_000);
        bucket.set(None);
        assert_eq!(bucket.reserve(1 << 40, 0), 0);
        bucket.set(NonZeroU64::new(1_000_000));
        assert_eq!(bucket.reserve(1_000_000, 0), 1_000_000);
    }
}
