//! What people do to targets, and to the direction of all.
use super::{Applied, Touched};
use crate::{
    id::{HostName, Principal},
    rollout::{
        Phase, Rollout, SkipKind, Task, TaskState,
        state::{Hold, TargetIx},
    },
    spec::Direction,
    time::Timestamp,
};

impl Rollout {
    pub(super) fn skip(
        &mut self,
        host: &HostName,
        kind: SkipKind,
        by: &Principal,
        at: Timestamp,
    ) -> Applied {
        let ix = self.find(host)?;
        let direction = self.direction;
        let task = self.slot(direction, ix).ok_or("the target has no task")?;
        let (settled, waited) = (task.state.is_settled(), (task.at, ix));
        if self.in_flight.contains(&ix) {
            return Err("an attempt of the target is in flight");
        }
        self.delayed.remove(&waited);
        self.ready.remove(&ix);
        let begun = direction == Direction::Back || Some(self.frame.wave_of(ix)) <= self.wave;
        if !settled && begun {
            self.open = self.open.saturating_sub(1);
        }
        let watched = self.watching.remove(&ix);
        let others = self.leave_unstaged(ix, at);
        match kind {
            SkipKind::Exclude => {
                self.uncount(Direction::Forward, ix);
                self.set(direction, ix, TaskState::Excluded, at)?;
            }
            SkipKind::Skip => self.set(direction, ix, TaskState::Skipped, at)?,
        }
        self.edit(direction, ix)?.taken_out_by = Some(by.clone());
        let touched = if watched || settled { Touched::One(ix) } else { Touched::Nothing };
        Ok(touched.and_all(others))
    }

    pub(super) fn retry(&mut self, host: &HostName, at: Timestamp) -> Applied {
        let ix = self.find(host)?;
        let direction = self.direction;
        let state = self.slot(direction, ix).map(|it| it.state).ok_or("the target has no task")?;
        if !state.is_trouble() && state != TaskState::Skipped {
            return Err("only a task that is in trouble can be tried again");
        }
        self.uncount(direction, ix);
        self.set(direction, ix, TaskState::Pending, at)?;
        let first_step = self.frame.first_step(direction, ix);
        let task = self.edit(direction, ix)?;
        task.tries = 0;
        task.first_step = first_step;
        task.taken_out_by = None;
        if direction == Direction::Forward && Some(self.frame.wave_of(ix)) > self.wave {
            return Ok(Touched::of(self.stage_again(ix, at)).and(ix));
        }
        self.ready.insert(ix);
        Ok(self.reopen(ix, at).and(ix))
    }

    /// The rollout waits for a target again that had settled; if its wave was in place, it no longer is.
    pub(super) fn reopen(&mut self, ix: TargetIx, at: Timestamp) -> Touched {
        self.open += 1;
        if self.direction == Direction::Back || self.phase == Phase::Rolling {
            return Touched::One(ix);
        }
        self.phase = Phase::Rolling;
        self.begin_progress(at);
        self.stop_watching()
    }

    /// Every host that was touched, or may be, gets a task that takes it back.
    pub(super) fn turn_back(&mut self, at: Timestamp) -> Touched {
        self.hold = Hold::None;
        self.direction = Direction::Back;
        self.phase = Phase::Settled;
        self.ready.clear();
        self.delayed.clear();
        self.open = 0;
        let touched = self.stop_asking();
        let mut back = Vec::with_capacity(self.forward.len());
        for (ix, task) in (0..).zip(&self.forward) {
            let mut new = Task::new(self.frame.first_step(Direction::Back, ix));
            new.at = at;
            new.state = match task.state {
                TaskState::Excluded => TaskState::Excluded,
                state if state.is_in_flight() || task.touched => TaskState::Pending,
                _ => TaskState::Skipped,
            };
            self.back_counts.add(new.state, 1);
            if new.state == TaskState::Pending {
                self.open += 1;
                if !self.in_flight.contains(&ix) {
                    self.ready.insert(ix);
                }
            }
            back.push(new);
        }
        self.back = back;
        touched
    }
}
