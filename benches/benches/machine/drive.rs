//! A driver without a journal and without a world.
use deploy_benches::START;
use deploy_core::{
    id::{HostName, Seq},
    rollout::{AttemptEnd, Effect, EffectKind, Input, Record, Reply, Rollout},
    time::Timestamp,
};
use std::{collections::VecDeque, time::Duration};

/// A rollout that is being driven, with the attempts under way from the oldest on.
#[derive(Clone)]
pub(crate) struct Drive {
    pub(crate) rollout: Rollout,
    pub(crate) flights: VecDeque<(HostName, Seq)>,
    now: Timestamp,
}

impl Drive {
    /// `rollout`, before anything happens.
    pub(crate) const fn new(rollout: Rollout) -> Self {
        Self { rollout, flights: VecDeque::new(), now: START }
    }

    /// Takes in one input, as the engine's driver does.
    pub(crate) fn take(self, input: &Input, append: impl FnOnce(&[Record])) -> Self {
        let Self { rollout, mut flights, now } = self;
        let pending = rollout.decide(input, now);
        append(pending.records());
        let (rollout, changed) = pending.commit();
        for (host, effect) in changed {
            if let Some(Effect { generation, kind: EffectKind::Run, .. }) = effect {
                flights.push_back((host, generation));
            }
        }
        let later = now.after(Duration::from_millis(1));
        let wakes = rollout.wake_at(now).filter(|_| flights.is_empty());
        Self { rollout, flights, now: wakes.unwrap_or(later).max(later) }
    }

    /// `reply` from the attempt that has been under way for longest; time passes if there is none.
    pub(crate) fn oldest(&mut self, reply: Reply) -> Input {
        match self.flights.pop_front() {
            Some((host, generation)) => Input::Replied { host, generation, reply },
            None => Input::Tick,
        }
    }

    /// Every attempt succeeds, until the rollout is over.
    pub(crate) fn run_out(mut self, journal: &mut Vec<Record>) -> Self {
        while self.rollout.outcome().is_none() {
            let input = self.oldest(Reply::Ended(AttemptEnd::Succeeded));
            self = self.take(&input, |records| journal.extend_from_slice(records));
        }
        self
    }
}
