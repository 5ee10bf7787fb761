//! To how many blocks are given at a time, and who is next.
use deploy_core::id::HostName;
use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::oneshot;

/// How many may wait for a slot. More are sent away: they find others.
const MOST_WAITING: usize = 256;
/// How many of them may be of one host.
const MOST_WAITING_OF_ONE: usize = 64;

/// Slots, with two queues: whoever was sent by a scheduler comes before whoever was not. One host has three quarters of them at most, so
/// that one that takes its time leaves something to others.
#[derive(Debug)]
pub(super) struct Slots(Mutex<State>);

#[derive(Debug)]
struct State {
    free: usize,
    most_of_one: usize,
    held: BTreeMap<HostName, usize>,
    assigned: VecDeque<Waiting>,
    others: VecDeque<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    host: HostName,
    sender: oneshot::Sender<Slot>,
}

/// A slot that somebody has. It is free again once this is dropped.
#[derive(Debug)]
pub(super) struct Slot(Option<(Arc<Slots>, HostName)>);

impl Slots {
    pub(super) fn new(slots: usize) -> Arc<Self> {
        let free = slots.max(1);
        let (assigned, others) = (VecDeque::new(), VecDeque::new());
        let most_of_one = free - free / 4;
        let held = BTreeMap::new();
        Arc::new(Self(Mutex::new(State { free, most_of_one, held, assigned, others })))
    }

    /// Waits for a slot; `None` if too many do already.
    pub(super) async fn take(self: Arc<Self>, host: HostName, assigned: bool) -> Option<Slot> {
        let turn = {
            let mut state = self.lock();
            if state.take(&host) {
                drop(state);
                return Some(Slot(Some((self, host))));
            }
            let (sender, receiver) = oneshot::channel();
            let queue = if assigned { &mut state.assigned } else { &mut state.others };
            queue.retain(|it| !it.sender.is_closed());
            let of_it = queue.iter().filter(|it| it.host == host).count();
            if queue.len() >= MOST_WAITING || of_it >= MOST_WAITING_OF_ONE {
                return None;
            }
            queue.push_back(Waiting { host, sender });
            receiver
        };
        turn.await.ok()
    }

    fn give_back(self: Arc<Self>, host: &HostName) {
        self.lock().give_back(host);
        loop {
            let Some(next) = self.lock().next() else { return };
            let slot = Slot(Some((Arc::clone(&self), next.host.clone())));
            // Whoever was next may not wait any more.
            if let Err(mut unwanted) = next.sender.send(slot) {
                unwanted.0 = None;
                self.lock().give_back(&next.host);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Whether there is a slot for a host; then it has it.
    fn take(&mut self, host: &HostName) -> bool {
        if self.free == 0 || !self.may_have_one(host) {
            return false;
        }
        self.free -= 1;
        *self.held.entry(host.clone()).or_default() += 1;
        true
    }

    fn give_back(&mut self, host: &HostName) {
        self.free += 1;
        if let Some(held) = self.held.get_mut(host) {
            *held = held.saturating_sub(1);
            if *held == 0 {
                self.held.remove(host);
            }
        }
    }

    /// The first in a queue that there is a slot for, which it then has.
    fn next(&mut self) -> Option<Waiting> {
        if self.free == 0 {
            return None;
        }
        let may = |it: &Waiting| !it.sender.is_closed() && self.may_have_one(&it.host);
        let next = if let Some(at) = self.assigned.iter().position(may) {
            self.assigned.remove(at)
        } else {
            let at = self.others.iter().position(may)?;
            self.others.remove(at)
        };
        next.filter(|it| self.take(&it.host))
    }

    fn may_have_one(&self, host: &HostName) -> bool {
        self.held.get(host).is_none_or(|it| *it < self.most_of_one)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if let Some((slots, host)) = self.0.take() {
            slots.give_back(&host);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::{FutureExt as _, future::join_all};

    fn host(name: &str) -> HostName {
        name.parse().unwrap()
    }

    #[tokio::test]
    async fn whoever_was_sent_comes_first() {
        let slots = Slots::new(1);
        let held = Arc::clone(&slots).take(host("a"), true).await;
        let mut other = Box::pin(Arc::clone(&slots).take(host("b"), false));
        let mut assigned = Box::pin(Arc::clone(&slots).take(host("a"), true));
        assert!((&mut other).now_or_never().is_none());
        assert!((&mut assigned).now_or_never().is_none());
        drop(held);
        assert!((&mut other).now_or_never().is_none());
        let second = assigned.now_or_never().flatten();
        assert!(second.is_some());
        drop(second);
        assert!(other.now_or_never().flatten().is_some());
    }

    #[tokio::test]
    async fn slots_of_those_who_went_away_are_given_on() {
        let slots = Slots::new(1);
        let held = Arc::clone(&slots).take(host("a"), true).await;
        let gone: Vec<_> = (0..3)
            .map(|_| Box::pin(Arc::clone(&slots).take(host("a"), true)))
            .map(|mut it| {
                assert!((&mut it).now_or_never().is_none());
                it
            })
            .collect();
        drop(gone);
        drop(held);
        assert!(Arc::clone(&slots).take(host("b"), false).now_or_never().flatten().is_some());
    }

    #[tokio::test]
    async fn too_many_are_sent_away() {
        let slots = Slots::new(1);
        let _held = Arc::clone(&slots).take(host("a"), true).await;
        let hosts: Vec<_> = (0..=MOST_WAITING).map(|it| host(&format!("h{it}"))).collect();
        let mut waiting: Vec<_> = hosts[1..]
            .iter()
            .map(|it| Box::pin(Arc::clone(&slots).take(it.clone(), true)))
            .collect();
        assert!(join_all(waiting.iter_mut()).now_or_never().is_none());
        assert!(matches!(
            Arc::clone(&slots).take(hosts[0].clone(), true).now_or_never(),
            Some(None)
        ));
        assert!(Arc::clone(&slots).take(hosts[0].clone(), false).now_or_never().is_none());
    }

    #[tokio::test]
    async fn one_host_leaves_slots_and_places_to_others() {
        let slots = Slots::new(4);
        let (greedy, other) = (host("greedy"), host("other"));
        let mut asked: Vec<_> = (0..3 + MOST_WAITING_OF_ONE)
            .map(|_| Box::pin(Arc::clone(&slots).take(greedy.clone(), true)))
            .collect();
        let polled: Vec<_> = asked.iter_mut().map(|it| it.now_or_never()).collect();
        assert_eq!(polled.iter().filter(|it| it.is_some()).count(), 3);
        assert!(matches!(Arc::clone(&slots).take(greedy.clone(), true).now_or_never(), Some(None)));
        let fourth = Arc::clone(&slots).take(other.clone(), false).now_or_never().flatten();
        assert!(fourth.is_some());
        // The greedy one is first in line, and has enough.
        let mut waits = Box::pin(Arc::clone(&slots).take(other.clone(), false));
        assert!((&mut waits).now_or_never().is_none());
        drop(fourth);
        assert!(waits.now_or_never().flatten().is_some());
    }
}
