//! What is outstanding: a function of the state alone, so the same after any crash.
use super::{Phase, Rollout, Task, TaskState, state::TargetIx};
use crate::{
    id::{HostName, Seq},
    spec::{Direction, StepName},
    time::Timestamp,
};

/// Something to do in the world.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub struct Effect {
    /// On which host.
    pub host: HostName,
    /// For which attempt.
    pub generation: Seq,
    /// Which way the attempt goes.
    pub direction: Direction,
    /// The attempt's first step.
    pub first_step: StepName,
    /// What.
    pub kind: EffectKind,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(clippy::exhaustive_enums, reason = "a driver that misses an effect must not build")]
pub enum EffectKind {
    /// Tell the host to keep what the attempt did, and hear whether it does.
    Confirm,
    /// End the attempt. A host that waits to be told to keep what it did goes back at once.
    Kill,
    /// Find out what became of the attempt, and keep it from starting if it has not.
    Probe,
    /// Ask a step's own check what became of the step.
    Resolve {
        /// The step in question.
        step: StepName,
    },
    /// Run the attempt, or follow it if it runs.
    Run,
    /// Have the host fetch what it is to run. There is no attempt yet: the effect's generation is 0.
    Stage,
    /// Check the host's health.
    Watch {
        /// Until when.
        until: Timestamp,
    },
}

impl Rollout {
    /// All that is outstanding, in the order of the plan. Something that has left the agenda is to be left alone.
    #[must_use]
    pub fn agenda(&self) -> Vec<Effect> {
        let asked = self.watching.iter().chain(&self.unanswered).chain(&self.staging);
        let mut targets: Vec<TargetIx> = self.in_flight.iter().chain(asked).copied().collect();
        targets.sort_unstable();
        targets.into_iter().filter_map(|ix| self.effect_of(ix)).collect()
    }

    /// What is outstanding on `host`. There is never more than one thing.
    #[must_use]
    pub fn effect_on(&self, host: &HostName) -> Option<Effect> {
        self.effect_of(*self.frame.index.get(host)?)
    }

    pub(super) fn effect_of(&self, ix: TargetIx) -> Option<Effect> {
        if self.outcome.is_some() {
            return None;
        }
        let host = self.name(ix)?.clone();
        let (direction, task, kind) = match (self.under_way(ix), self.phase) {
            (Some((direction, task)), _) => (direction, task, self.kind_of(direction, task)),
            (None, Phase::Baking { until }) if self.watching.contains(&ix) => {
                let task = self.slot(Direction::Forward, ix)?;
                (Direction::Forward, task, EffectKind::Watch { until })
            }
            (None, _) if self.unanswered.contains(&ix) => {
                (self.direction, self.slot(self.direction, ix)?, EffectKind::Probe)
            }
            (None, _) if self.staging.contains(&ix) => {
                (Direction::Forward, self.slot(Direction::Forward, ix)?, EffectKind::Stage)
            }
            (None, _) => return None,
        };
        let (generation, first_step) = (task.generation, task.first_step);
        Some(Effect { host, generation, direction, first_step, kind })
    }

    fn kind_of(&self, direction: Direction, task: &Task) -> EffectKind {
        match (task.state, task.unresolved) {
            (TaskState::AwaitingConfirm, _) if self.withholds(direction) => EffectKind::Kill,
            (TaskState::AwaitingConfirm, _) if task.confirmed => EffectKind::Confirm,
            (TaskState::Killing, _) => EffectKind::Kill,
            (TaskState::Resolving, Some(step)) => EffectKind::Resolve { step },
            (TaskState::Running, _) => EffectKind::Run,
            _ => EffectKind::Probe,
        }
    }

    pub(super) fn under_way(&self, ix: TargetIx) -> Option<(Direction, &Task)> {
        [Direction::Back, Direction::Forward]
            .into_iter()
            .filter_map(|it| Some((it, self.slot(it, ix)?)))
            .find(|(_, task)| task.state.is_in_flight())
    }

    /// When to look again, if nothing happens before; `None` if nothing depends on the time.
    #[must_use]
    pub fn wake_at(&self, now: Timestamp) -> Option<Timestamp> {
        if self.outcome.is_some() {
            return None;
        }
        let bake = match self.phase {
            // While hosts are watched their answers are waited for, and not the time.
            Phase::Baking { until } if self.watching.is_empty() => Some(until),
            _ => None,
        };
        let start =
            if self.is_held() || self.aborting.is_some() { None } else { self.start_at(now) };
        [bake, start, self.progress_deadline()].into_iter().flatten().min()
    }

    /// When something may start that cannot start now, for no other reason than the time.
    pub(super) fn start_at(&self, now: Timestamp) -> Option<Timestamp> {
        let full = u32::try_from(self.in_flight.len()).unwrap_or(u32::MAX) >= self.limit();
        let between = self.direction == Direction::Forward
            && matches!(self.phase, Phase::Baked | Phase::Settled)
            || self.phase == Phase::Rolling && self.open == 0;
        let retry = self.delayed.first().map(|it| it.0);
        if between && self.unstaged_in(self.wave.map_or(0, |it| it + 1)).is_some() {
            return None;
        }
        let candidate = if between || !self.ready.is_empty() { Some(now) } else { retry };
        let candidate = candidate.filter(|_| between || !full)?;
        let staggered =
            if between { candidate } else { self.staggered_until().unwrap_or(candidate) };
        let at = candidate.max(staggered).max(now);
        if self.direction == Direction::Back {
            return Some(at);
        }
        self.plan().strategy.schedule.next_allowed(at)
    }
}
