//! What a fact does to the state. Nothing else changes it.
mod attempt;
mod confirm;
mod person;
mod staging;
mod wave;

use super::{
    Event, Record, RecordError, Rollout, Task, TaskState,
    state::{Hold, TargetIx},
};
use crate::{
    id::{HostName, Seq},
    spec::Direction,
    time::Timestamp,
};
use std::collections::BTreeSet;

/// The targets whose effect a fact may have changed.
#[derive(Debug)]
pub(super) enum Touched {
    Many(Vec<TargetIx>),
    Nothing,
    One(TargetIx),
}

impl Touched {
    fn of(targets: BTreeSet<TargetIx>) -> Self {
        if targets.is_empty() { Self::Nothing } else { Self::Many(targets.into_iter().collect()) }
    }

    fn and(self, ix: TargetIx) -> Self {
        self.and_all([ix])
    }

    pub(super) fn and_all(self, more: impl IntoIterator<Item = TargetIx>) -> Self {
        let mut all = match self {
            Self::Many(all) => all,
            Self::Nothing => Vec::new(),
            Self::One(one) => vec![one],
        };
        all.extend(more);
        Self::Many(all)
    }
}

type Applied = Result<Touched, &'static str>;

impl Rollout {
    /// Takes in one fact.
    ///
    /// # Errors
    /// If the fact cannot follow the ones before it. The state is then good for nothing, and has to be replayed.
    pub fn apply(&mut self, record: &Record) -> Result<(), RecordError> {
        self.take(record).map(|_touched| ())
    }

    pub(super) fn take(&mut self, record: &Record) -> Result<Touched, RecordError> {
        let err = |reason| RecordError { seq: record.seq, reason };
        if record.format > crate::plan::FORMAT {
            return Err(err("it was written by a newer program"));
        }
        if record.rollout != self.id {
            return Err(err("it is of another rollout"));
        }
        if record.previous() != self.head || record.seq <= self.head {
            return Err(err("there is a gap"));
        }
        if self.outcome.is_some() {
            return Err(err("the rollout is over"));
        }
        // Positions are given up by nothing else.
        self.restored |= record.previous() != record.seq.before();
        let touched = self.take_event(&record.event, record.seq, record.at).map_err(err)?;
        self.head = record.seq;
        self.expected = record.seq;
        self.updated_at = record.at;
        Ok(touched)
    }

    fn take_event(&mut self, event: &Event, seq: Seq, at: Timestamp) -> Applied {
        match event {
            Event::Accepted { .. } => Err("a plan is accepted once"),
            Event::AttemptAwaitsConfirm { host, generation } => {
                self.await_confirm(host, *generation, at)
            }
            Event::AttemptConfirmed { host, generation } => self.confirm(host, *generation),
            Event::AttemptEnded { host, generation, end, retry_at } => {
                self.end_attempt(host, *generation, end, *retry_at, at)
            }
            Event::AttemptFound { host, generation } => {
                self.look(host, *generation, TaskState::Running, at).map(Touched::One)
            }
            Event::AttemptStarted { host, direction, first_step } => {
                self.start_attempt(host, *direction, *first_step, seq, at)
            }
            Event::AttemptUnanswered { host, generation, reason } => {
                self.doubt(host, *generation, reason)
            }
            Event::AttemptUncertain { host, generation, reason } => {
                self.look(host, *generation, TaskState::Uncertain, at)?;
                self.doubt(host, *generation, reason)
            }
            Event::KillRequested { host, generation, .. } => self.begin_kill(host, *generation, at),
            Event::StepUnresolved { host, generation, step, reason } => {
                self.ask_of_step(host, *generation, *step, reason, at)
            }
            Event::TargetHealthy { host } => self.end_watch(host),
            Event::TargetRetried { host, .. } => self.retry(host, at),
            Event::TargetNotStaged { host, reason } => self.fail_to_stage(host, reason, at),
            Event::TargetSkipped { host, kind, by } => self.skip(host, *kind, by, at),
            Event::TargetStaged { host } => self.staged(host, at),
            Event::TargetUnhealthy { host, reason } => self.fall_ill(host, reason, at),
            Event::BakePassed { .. }
            | Event::BakeStarted { .. }
            | Event::Confirmed { .. }
            | Event::ConfirmRequested { .. }
            | Event::WaveStarted { .. } => self.take_wave_event(event, at),
            Event::AbortStarted { .. }
            | Event::Finished { .. }
            | Event::Paused
            | Event::PauseStarted { .. }
            | Event::Resumed { .. }
            | Event::RollbackStarted { .. } => self.take_rollout_event(event, at),
        }
    }

    fn take_rollout_event(&mut self, event: &Event, at: Timestamp) -> Applied {
        match event {
            Event::AbortStarted { reason } => {
                self.aborting = Some(reason.clone());
                self.hold = Hold::None;
                let left = self.stop_staging(at);
                Ok(self.stop_watching().and_all(self.awaiting()).and_all(left))
            }
            Event::Finished { outcome } => {
                self.outcome = Some(*outcome);
                Ok(self.stop_asking())
            }
            Event::Paused => match &self.hold {
                Hold::Pausing(reason) => {
                    self.hold = Hold::Paused(reason.clone());
                    Ok(Touched::Nothing)
                }
                Hold::None | Hold::Paused(_) => {
                    Err("only a rollout that is pausing can stand still")
                }
            },
            Event::PauseStarted { reason } => {
                self.hold = Hold::Pausing(reason.clone());
                Ok(Touched::of(self.stop_staging(at)))
            }
            Event::Resumed { .. } => {
                self.restored = false;
                self.allow_unstaged();
                self.hold = Hold::None;
                self.begin_progress(at);
                Ok(Touched::of(self.stage_more(at)))
            }
            Event::RollbackStarted { reason } => {
                if self.direction == Direction::Back {
                    return Err("a rollout turns back once");
                }
                self.restored = false;
                self.turned_back = Some(reason.clone());
                let left = self.stop_staging(at);
                Ok(self.turn_back(at).and_all(self.awaiting()).and_all(left))
            }
            _ => Err("not a fact about the rollout"),
        }
    }

    pub(super) fn find(&self, host: &HostName) -> Result<TargetIx, &'static str> {
        self.frame.index.get(host).copied().ok_or("the plan has no such target")
    }

    pub(super) fn edit(
        &mut self,
        direction: Direction,
        ix: TargetIx,
    ) -> Result<&mut Task, &'static str> {
        let tasks = match direction {
            Direction::Back => &mut self.back,
            Direction::Forward => &mut self.forward,
        };
        let slot = usize::try_from(ix).ok().and_then(|it| tasks.get_mut(it));
        slot.ok_or("the target has no task in this direction")
    }

    pub(super) fn set(
        &mut self,
        direction: Direction,
        ix: TargetIx,
        state: TaskState,
        at: Timestamp,
    ) -> Result<(), &'static str> {
        self.unanswered.remove(&ix);
        self.unconfirmed.remove(&ix);
        let task = self.edit(direction, ix)?;
        let old = std::mem::replace(&mut task.state, state);
        task.at = at;
        if direction == Direction::Forward {
            self.weigh_staged(ix, old, state);
        }
        let counts = match direction {
            Direction::Back => &mut self.back_counts,
            Direction::Forward => &mut self.counts,
        };
        counts.remove(old);
        counts.add(state, 1);
        Ok(())
    }
}
