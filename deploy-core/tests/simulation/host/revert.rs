//! What a host does by itself with what nobody has told it to keep. Its verdict is one, and durable.
use super::{Fate, Order, SimHost};
use crate::{mutant::Mutant, rng::Rng};
use deploy_core::{
    id::Seq,
    rollout::{AttemptEnd, Reply},
    spec::{Direction, StepName},
};

impl SimHost {
    /// Whether it waits to be told to keep something, or goes back.
    pub(crate) fn is_deciding(&self) -> bool {
        let deciding = |it: &Fate| matches!(it, Fate::Awaiting { .. } | Fate::Reverting { .. });
        self.attempts.values().any(deciding)
    }

    /// What went forward and succeeded though nobody has told the host to keep it.
    pub(crate) fn unasked(&self) -> impl Iterator<Item = Seq> {
        let forward = self.executions.iter().filter(|it| it.1 == Direction::Forward);
        let succeeded = forward
            .map(|it| it.0)
            .filter(|it| matches!(self.attempts.get(it), Some(Fate::Ended(AttemptEnd::Succeeded))));
        succeeded.filter(|it| !self.kept.iter().any(|(kept, _)| kept == it))
    }

    /// The last step is done: that is the end, unless the host has to be told to keep it.
    pub(super) fn finish_steps(&mut self, generation: Seq, order: Order, now: u64) -> Seq {
        let fate = match order.confirm {
            Some(_) => Fate::Awaiting { order, since: now },
            None => Fate::Ended(AttemptEnd::Succeeded),
        };
        self.attempts.insert(generation, fate);
        generation
    }

    pub(super) fn revert(
        &mut self,
        generation: Seq,
        order: Order,
        reason: &'static str,
        now: u64,
        rng: &mut Rng,
    ) {
        self.reverts.push(generation);
        let ends_at = now + 1 + rng.below(self.slowest);
        self.attempts.insert(generation, Fate::Reverting { order, reason, ends_at });
    }

    /// The way back comes to its end.
    pub(super) fn come_back(
        &mut self,
        generation: Seq,
        order: &Order,
        reason: &str,
        rng: &mut Rng,
    ) -> Seq {
        let failed = rng.one_in(self.fails);
        if !failed || rng.one_in(2) {
            self.release = order.before();
        }
        let end = if failed {
            let (step, reason) = (Some(StepName::Start), String::new());
            AttemptEnd::RevertFailed { step, code: Some(1), reason }
        } else {
            AttemptEnd::SelfReverted { reason: reason.to_owned() }
        };
        self.attempts.insert(generation, Fate::Ended(end));
        generation
    }

    /// The power goes on the way back.
    pub(super) fn cut_revert(
        &mut self,
        generation: Seq,
        order: &Order,
        mutant: Mutant,
        rng: &mut Rng,
    ) {
        if rng.one_in(2) {
            self.release = order.before();
        }
        let (step, reason) = (Some(StepName::Start), "rebooted".to_owned());
        let end = if mutant == Mutant::ForgetsTheWayBack {
            AttemptEnd::Lost { step, reason }
        } else {
            AttemptEnd::RevertFailed { step, code: None, reason }
        };
        self.attempts.insert(generation, Fate::Ended(end));
    }

    /// Somebody says that it is to keep what an attempt did.
    pub(crate) fn confirm(
        &mut self,
        generation: Seq,
        now: u64,
        mutant: Mutant,
        rng: &mut Rng,
    ) -> Reply {
        match self.attempts.get(&generation).cloned() {
            Some(fate @ Fate::Awaiting { .. }) if fate.due().is_some_and(|at| at <= now) => {
                // The timer has gone off, and nobody has looked yet.
                if let Fate::Awaiting { order, .. } = fate {
                    self.revert(generation, order, "nobody confirmed", now, rng);
                }
                Reply::StillRunning
            }
            Some(Fate::Awaiting { since, .. }) => {
                self.kept.push((generation, now - since));
                self.attempts.insert(generation, Fate::Ended(AttemptEnd::Succeeded));
                Reply::Ended(AttemptEnd::Succeeded)
            }
            Some(Fate::Reverting { .. } | Fate::Ended(AttemptEnd::SelfReverted { .. }))
                if mutant == Mutant::TakesTwoVerdicts =>
            {
                Reply::Ended(AttemptEnd::Succeeded)
            }
            Some(Fate::Ended(end)) => Reply::Ended(end),
            Some(Fate::Reverting { .. } | Fate::Running { .. }) => Reply::StillRunning,
            None => {
                let reason = "the host knows nothing of it".to_owned();
                Reply::Ended(AttemptEnd::Lost { step: None, reason })
            }
        }
    }
}
