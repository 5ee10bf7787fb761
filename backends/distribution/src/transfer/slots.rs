//! To how many blocks are given at a time, and who is next.
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::oneshot;

/// How many may wait for a slot. More are sent away: they find others.
const MOST_WAITING: usize = 256;

/// Slots, with two queues: whoever was sent by a scheduler comes before whoever was not.
#[derive(Debug)]
pub(super) struct Slots(Mutex<State>);

#[derive(Debug)]
struct State {
    free: usize,
    assigned: VecDeque<oneshot::Sender<Slot>>,
    others: VecDeque<oneshot::Sender<Slot>>,
}

/// A slot that somebody has. It is free again once this is dropped.
#[derive(Debug)]
pub(super) struct Slot(Option<Arc<Slots>>);

impl Slots {
    pub(super) fn new(slots: usize) -> Arc<Self> {
        let (assigned, others) = (VecDeque::new(), VecDeque::new());
        Arc::new(Self(Mutex::new(State { free: slots.max(1), assigned, others })))
    }

    /// Waits for a slot; `None` if too many do already.
    pub(super) async fn take(self: Arc<Self>, assigned: bool) -> Option<Slot> {
        let turn = {
            let mut state = self.lock();
            if state.free > 0 {
                state.free -= 1;
                drop(state);
                return Some(Slot(Some(self)));
            }
            let (sender, receiver) = oneshot::channel();
            let queue = if assigned { &mut state.assigned } else { &mut state.others };
            queue.retain(|it| !it.is_closed());
            if queue.len() >= MOST_WAITING {
                return None;
            }
            queue.push_back(sender);
            receiver
        };
        turn.await.ok()
    }

    fn give_back(self: Arc<Self>) {
        let mut slot = Slot(Some(Arc::clone(&self)));
        loop {
            let next = {
                let mut state = self.lock();
                let next = state.assigned.pop_front().or_else(|| state.others.pop_front());
                if next.is_none() {
                    state.free += 1;
                }
                next
            };
            let Some(next) = next else {
                slot.0 = None;
                return;
            };
            match next.send(slot) {
                Ok(()) => return,
                // Whoever was next does not wait any more.
                Err(back) => slot = back,
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if let Some(slots) = self.0.take() {
            slots.give_back();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::{FutureExt as _, future::join_all};

    #[tokio::test]
    async fn whoever_was_sent_comes_first() {
        let slots = Slots::new(1);
        let held = Arc::clone(&slots).take(true).await;
        let mut other = Box::pin(Arc::clone(&slots).take(false));
        let mut assigned = Box::pin(Arc::clone(&slots).take(true));
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
        let held = Arc::clone(&slots).take(true).await;
        let gone: Vec<_> = (0..3)
            .map(|_| Box::pin(Arc::clone(&slots).take(true)))
            .map(|mut it| {
                assert!((&mut it).now_or_never().is_none());
                it
            })
            .collect();
        drop(gone);
        drop(held);
        assert!(Arc::clone(&slots).take(false).now_or_never().flatten().is_some());
    }

    #[tokio::test]
    async fn too_many_are_sent_away() {
        let slots = Slots::new(1);
        let _held = Arc::clone(&slots).take(true).await;
        let mut waiting: Vec<_> =
            (0..MOST_WAITING).map(|_| Box::pin(Arc::clone(&slots).take(true))).collect();
        assert!(join_all(waiting.iter_mut()).now_or_never().is_none());
        assert!(matches!(Arc::clone(&slots).take(true).now_or_never(), Some(None)));
        assert!(Arc::clone(&slots).take(false).now_or_never().is_none());
    }
}
