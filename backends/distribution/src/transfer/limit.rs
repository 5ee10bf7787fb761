//! How fast bytes may go: for a whole host, for a blob, for one other host; each can be changed while bytes go.
use super::throttle::{Rate, Throttle};
use crate::block::Blob;
use deploy_core::{backend::Clock, id::HostName};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

/// For how many blobs and hosts there are limits of their own: those of the longest ago that nobody uses go first.
const MOST: usize = 4_096;

/// The limits of one direction. Whatever is slower counts.
#[derive(Debug)]
pub struct Limits {
    total: Arc<Throttle>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    blobs: BTreeMap<Blob, Arc<Throttle>>,
    peers: BTreeMap<HostName, Arc<Throttle>>,
    peer_rate: Rate,
}

impl Limits {
    /// With a limit for everything together.
    #[must_use]
    pub fn new(total: Rate) -> Self {
        Self { total: Arc::new(Throttle::new(total)), state: Mutex::default() }
    }

    /// Changes the limit for everything together. It counts from the next piece on.
    pub fn set_total(&self, rate: Rate) {
        self.total.set(rate);
    }

    /// What all of it goes through: for whatever travels beside the blocks, under the same limit.
    #[must_use]
    pub fn total(&self) -> Arc<Throttle> {
        Arc::clone(&self.total)
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
        let peer = state.peers.entry(peer.clone()).or_insert_with(|| Arc::new(Throttle::new(rate)));
        let peer = Arc::clone(peer);
        let blob = state.blobs.get(&blob).map(Arc::clone);
        Gauge([Some(Arc::clone(&self.total)), blob, Some(peer), None])
    }
}

fn trim<K: Ord + Clone>(buckets: &mut BTreeMap<K, Arc<Throttle>>) {
    if buckets.len() >= MOST {
        buckets.retain(|_, it| Arc::strong_count(it) > 1);
    }
}

/// The limits that one transfer is under.
#[derive(Clone, Debug)]
pub(super) struct Gauge([Option<Arc<Throttle>>; 4]);

impl Gauge {
    /// And under this one, if there is one.
    pub(super) fn and(self, throttle: Option<Arc<Throttle>>) -> Self {
        let Self([total, blob, peer, _]) = self;
        Self([total, blob, peer, throttle])
    }

    /// Waits until so many bytes may go.
    pub(super) async fn take(&self, bytes: u64, clock: &dyn Clock) {
        for throttle in self.0.iter().flatten() {
            throttle.take(bytes, clock).await;
        }
    }
}
