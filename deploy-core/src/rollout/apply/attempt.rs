//! What facts about attempts do.
use super::{Applied, Touched};
use crate::{
    id::{HostName, Seq},
    rollout::{AttemptEnd, BudgetColumn, Rollout, TaskState, state::TargetIx},
    spec::{Direction, StepName},
    time::Timestamp,
};

impl Rollout {
    pub(super) fn start_attempt(
        &mut self,
        host: &HostName,
        direction: Direction,
        first_step: StepName,
        seq: Seq,
        at: Timestamp,
    ) -> Applied {
        let ix = self.find(host)?;
        if direction != self.direction || self.in_flight.contains(&ix) {
            return Err("an attempt of the target is in flight, or it goes the other way");
        }
        let ready = self.ready.remove(&ix);
        let idle = self.in_flight.is_empty();
        let task = self.edit(direction, ix)?;
        let waited = (task.at, ix);
        let due = if task.state == TaskState::Waiting { task.at } else { Timestamp::default() };
        match task.state {
            state if ready && state.is_unbegun() => {}
            TaskState::Waiting => {}
            _ => return Err("only a task that is ready can be started"),
        }
        task.tries = if task.first_step == first_step { task.tries + 1 } else { 1 };
        task.first_step = first_step;
        task.generation = seq;
        task.confirmed = false;
        task.not_staged = None;
        task.attempts += 1;
        self.delayed.remove(&waited);
        if idle {
            // Nothing could go on until it was allowed to start: that is no lack of progress.
            let since = self.idle_since.max(due);
            self.last_progress = self.last_progress.after(at.since(since));
        }
        self.set(direction, ix, TaskState::Running, at)?;
        self.in_flight.insert(ix);
        self.starts += 1;
        self.last_start = Some(at);
        Ok(Touched::of(self.leave_unstaged(ix, at)).and(ix))
    }

    /// Changes how an attempt that is in flight is looked at.
    pub(super) fn look(
        &mut self,
        host: &HostName,
        generation: Seq,
        state: TaskState,
        at: Timestamp,
    ) -> Result<TargetIx, &'static str> {
        let (ix, direction) = self.attempt_in_flight(host, generation)?;
        self.set(direction, ix, state, at)?;
        let task = self.edit(direction, ix)?;
        (task.unresolved, task.doubt) = (None, None);
        Ok(ix)
    }

    /// Keeps why nobody knows how an attempt goes. Since when nobody does stays what it was.
    pub(super) fn doubt(&mut self, host: &HostName, generation: Seq, reason: &str) -> Applied {
        let (ix, direction) = self.attempt_in_flight(host, generation)?;
        self.edit(direction, ix)?.doubt = Some(reason.into());
        Ok(Touched::One(ix))
    }

    pub(super) fn ask_of_step(
        &mut self,
        host: &HostName,
        generation: Seq,
        step: StepName,
        reason: &str,
        at: Timestamp,
    ) -> Applied {
        let ix = self.look(host, generation, TaskState::Resolving, at)?;
        let direction = self.direction_of(ix, generation).unwrap_or(self.direction);
        self.edit(direction, ix)?.unresolved = Some(step);
        self.doubt(host, generation, reason)
    }

    fn attempt_in_flight(
        &self,
        host: &HostName,
        generation: Seq,
    ) -> Result<(TargetIx, Direction), &'static str> {
        let ix = self.find(host)?;
        let direction = self.direction_of(ix, generation).ok_or("there is no such attempt")?;
        if !self.in_flight.contains(&ix) {
            return Err("the attempt is not in flight");
        }
        Ok((ix, direction))
    }

    pub(super) fn begin_kill(
        &mut self,
        host: &HostName,
        generation: Seq,
        at: Timestamp,
    ) -> Applied {
        let ix = self.find(host)?;
        let reopened = if self.unanswered.contains(&ix) {
            self.in_flight.insert(ix);
            self.reopen(ix, at)
        } else {
            Touched::Nothing
        };
        self.look(host, generation, TaskState::Killing, at)?;
        Ok(reopened.and(ix))
    }

    pub(super) fn end_attempt(
        &mut self,
        host: &HostName,
        generation: Seq,
        end: &AttemptEnd,
        retry_at: Option<Timestamp>,
        at: Timestamp,
    ) -> Applied {
        let ix = self.find(host)?;
        let direction = self.direction_of(ix, generation).ok_or("there is no such attempt")?;
        let state = self.slot(direction, ix).map_or(TaskState::Pending, |it| it.state);
        let was_in_flight = state.is_in_flight();
        if !was_in_flight && state != TaskState::Unknown {
            return Err("the attempt has ended already");
        }
        if was_in_flight && self.in_flight.remove(&ix) && self.in_flight.is_empty() {
            self.idle_since = at;
        }
        let resolved =
            matches!(end, AttemptEnd::ResolvedDone { .. } | AttemptEnd::ResolvedNotDone { .. });
        if resolved && retry_at.is_none() {
            return Err("an attempt that was cut is tried again, or has failed");
        }
        if retry_at.is_some() && (direction != self.direction || !was_in_flight) {
            return Err("nothing is tried again that way any more");
        }
        self.uncount(direction, ix);
        let next_step = self.step_after(direction, ix, end);
        let task = self.edit(direction, ix)?;
        task.touched = end.touched(task.touched);
        (task.unresolved, task.doubt) = (None, None);
        task.last_end = Some(Box::new(end.clone()));
        if let Some(retry_at) = retry_at {
            if task.first_step != next_step {
                task.first_step = next_step;
                task.tries = u32::from(matches!(
                    end,
                    AttemptEnd::Failed { .. } | AttemptEnd::TimedOut { .. }
                ));
            }
            self.set(direction, ix, TaskState::Waiting, retry_at)?;
            self.delayed.insert((retry_at, ix));
        } else {
            self.set(direction, ix, end.state(), at)?;
            if direction == self.direction && matches!(end, AttemptEnd::NoAnswer { .. }) {
                self.unanswered.insert(ix);
            }
            self.conclude(direction, ix, end, was_in_flight, at);
        }
        Ok(Touched::One(ix))
    }

    /// The step that a further attempt begins with.
    fn step_after(&self, direction: Direction, ix: TargetIx, end: &AttemptEnd) -> StepName {
        let mut steps = self.frame.steps(direction, ix).map(|it| it.name);
        let now = self.slot(direction, ix).map_or(StepName::Fetch, |it| it.first_step);
        match end {
            AttemptEnd::ResolvedDone { step } => steps.find(|it| it > step).unwrap_or(now),
            other => other.step().unwrap_or(now),
        }
    }

    fn conclude(
        &mut self,
        direction: Direction,
        ix: TargetIx,
        end: &AttemptEnd,
        was_in_flight: bool,
        at: Timestamp,
    ) {
        if direction == Direction::Forward {
            match end.column() {
                Some(column) => self.count(ix, column),
                None if matches!(end, AttemptEnd::Succeeded) => self.row.clear(),
                None => {}
            }
        }
        if matches!(end, AttemptEnd::Succeeded) {
            self.last_progress = at;
        }
        if direction != self.direction {
            self.unblock_back(ix, at);
        } else if was_in_flight {
            self.open = self.open.saturating_sub(1);
        }
    }

    /// A forward attempt ended after the rollout turned back: the way back of its target is free now.
    fn unblock_back(&mut self, ix: TargetIx, at: Timestamp) {
        let touched = self.slot(Direction::Forward, ix).is_some_and(|it| it.touched);
        let waits = self.slot(Direction::Back, ix).is_some_and(|it| it.state == TaskState::Pending);
        if touched && waits {
            self.ready.insert(ix);
        } else if waits {
            // It may have been ready, if the attempt was given up before its host said that it had gone back.
            self.ready.remove(&ix);
            self.open = self.open.saturating_sub(1);
            let _known = self.set(Direction::Back, ix, TaskState::Skipped, at);
        }
    }

    pub(super) fn count(&mut self, ix: TargetIx, column: BudgetColumn) {
        let wave = self.frame.wave_of(ix);
        self.row.add(ix, wave);
        self.tally.change(column, 1);
        self.wave_tally.entry(wave).or_default().change(column, 1);
        if let Ok(task) = self.edit(Direction::Forward, ix) {
            task.counted = Some(column);
        }
    }

    pub(super) fn uncount(&mut self, direction: Direction, ix: TargetIx) {
        if direction == Direction::Back {
            return;
        }
        let counted = self.edit(direction, ix).ok().and_then(|it| it.counted.take());
        if let Some(column) = counted {
            let wave = self.frame.wave_of(ix);
            self.row.remove(ix, wave);
            self.tally.change(column, -1);
            self.wave_tally.entry(wave).or_default().change(column, -1);
        }
    }
}
