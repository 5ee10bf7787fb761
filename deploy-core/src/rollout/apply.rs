//! What a fact does to the state. Nothing else changes it.
use super::{
    AttemptEnd, Event, Phase, Record, RecordError, Rollout, SkipKind, Task, TaskState,
    state::{Hold, TargetIx, column_of, state_after, touches},
};
use crate::{
    id::{HostName, Principal, Seq},
    spec::{Direction, StepName},
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
        match self {
            Self::Many(mut all) => {
                all.push(ix);
                Self::Many(all)
            }
            Self::Nothing => Self::One(ix),
            Self::One(one) => Self::Many(vec![one, ix]),
        }
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
        if record.seq != self.head.next() {
            return Err(err("there is a gap"));
        }
        if self.outcome.is_some() {
            return Err(err("the rollout is over"));
        }
        let touched = self.take_event(&record.event, record.seq, record.at).map_err(err)?;
        self.head = record.seq;
        self.updated_at = record.at;
        Ok(touched)
    }

    fn take_event(&mut self, event: &Event, seq: Seq, at: Timestamp) -> Applied {
        match event {
            Event::Accepted { .. } => Err("a plan is accepted once"),
            Event::AttemptEnded { host, generation, end, retry_at } => {
                self.end_attempt(host, *generation, end, *retry_at, at)
            }
            Event::AttemptFound { host, generation } => {
                self.doubt(host, *generation, TaskState::Running, None, at)
            }
            Event::AttemptStarted { host, direction, first_step } => {
                self.start_attempt(host, *direction, *first_step, seq, at)
            }
            Event::AttemptUncertain { host, generation, .. } => {
                self.doubt(host, *generation, TaskState::Uncertain, None, at)
            }
            Event::KillRequested { host, generation, .. } => self.begin_kill(host, *generation, at),
            Event::StepUnresolved { host, generation, step, .. } => {
                self.doubt(host, *generation, TaskState::Resolving, Some(*step), at)
            }
            Event::TargetHealthy { host } => self.end_watch(host),
            Event::TargetRetried { host, .. } => self.retry(host, at),
            Event::TargetSkipped { host, kind, by } => self.skip(host, *kind, by, at),
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
                Ok(self.stop_watching())
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
                Ok(Touched::Nothing)
            }
            Event::Resumed { .. } => {
                self.hold = Hold::None;
                self.begin_progress(at);
                Ok(Touched::Nothing)
            }
            Event::RollbackStarted { reason } => {
                if self.direction == Direction::Back {
                    return Err("a rollout turns back once");
                }
                self.turned_back = Some(reason.clone());
                Ok(self.turn_back(at))
            }
            _ => Err("not a fact about the rollout"),
        }
    }

    fn take_wave_event(&mut self, event: &Event, at: Timestamp) -> Applied {
        match (event, self.phase) {
            (Event::BakePassed { wave }, Phase::Baking { .. }) if Some(*wave) == self.wave => {
                self.phase = Phase::Baked;
                Ok(self.stop_watching())
            }
            (Event::BakeStarted { wave, until }, Phase::Rolling)
                if Some(*wave) == self.wave && self.open == 0 =>
            {
                self.phase = Phase::Baking { until: *until };
                Ok(self.start_watching(*wave))
            }
            (Event::Confirmed { wave, .. }, Phase::AwaitingConfirm) if Some(*wave) == self.wave => {
                self.phase = Phase::Settled;
                Ok(Touched::Nothing)
            }
            (Event::ConfirmRequested { wave }, Phase::Baked | Phase::Rolling)
                if Some(*wave) == self.wave && self.open == 0 =>
            {
                self.phase = Phase::AwaitingConfirm;
                Ok(Touched::Nothing)
            }
            (Event::WaveStarted { wave }, Phase::Baked | Phase::Rolling | Phase::Settled)
                if *wave == self.wave.map_or(0, |it| it + 1) && self.open == 0 =>
            {
                self.start_wave(*wave, at)
            }
            _ => Err("the wave is not where this fact has it"),
        }
    }

    fn start_wave(&mut self, wave: u32, at: Timestamp) -> Applied {
        if wave >= self.frame.wave_count() {
            return Err("the plan has no such wave");
        }
        self.wave = Some(wave);
        self.phase = Phase::Rolling;
        self.begin_progress(at);
        for ix in self.frame.wave(wave) {
            if self.slot(Direction::Forward, ix).is_some_and(|it| it.state == TaskState::Pending) {
                self.ready.insert(ix);
                self.open += 1;
            }
        }
        Ok(Touched::Nothing)
    }

    fn start_watching(&mut self, wave: u32) -> Touched {
        let watched: Vec<TargetIx> = self.succeeded_in(wave).collect();
        self.watching.extend(&watched);
        Touched::Many(watched)
    }

    fn stop_watching(&mut self) -> Touched {
        Touched::of(std::mem::take(&mut self.watching))
    }

    /// Leaves every host alone on which nothing is in flight.
    fn stop_asking(&mut self) -> Touched {
        let mut asked = std::mem::take(&mut self.watching);
        asked.append(&mut self.unanswered);
        Touched::of(asked)
    }

    /// From here on there can be progress.
    const fn begin_progress(&mut self, at: Timestamp) {
        self.last_progress = at;
        self.idle_since = at;
    }

    fn start_attempt(
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
            TaskState::Pending if ready => {}
            TaskState::Waiting => {}
            _ => return Err("only a task that is ready can be started"),
        }
        task.tries = if task.first_step == first_step { task.tries + 1 } else { 1 };
        task.first_step = first_step;
        task.generation = seq;
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
        Ok(Touched::One(ix))
    }

    /// Changes how an attempt that is in flight is looked at.
    fn doubt(
        &mut self,
        host: &HostName,
        generation: Seq,
        state: TaskState,
        unresolved: Option<StepName>,
        at: Timestamp,
    ) -> Applied {
        let ix = self.find(host)?;
        let direction = self.direction_of(ix, generation).ok_or("there is no such attempt")?;
        if !self.in_flight.contains(&ix) {
            return Err("the attempt is not in flight");
        }
        self.set(direction, ix, state, at)?;
        self.edit(direction, ix)?.unresolved = unresolved;
        Ok(Touched::One(ix))
    }

    fn begin_kill(&mut self, host: &HostName, generation: Seq, at: Timestamp) -> Applied {
        let ix = self.find(host)?;
        let reopened = if self.unanswered.contains(&ix) {
            self.in_flight.insert(ix);
            self.reopen(ix, at)
        } else {
            Touched::Nothing
        };
        self.doubt(host, generation, TaskState::Killing, None, at)?;
        Ok(reopened.and(ix))
    }

    fn end_attempt(
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
        task.touched |= touches(end);
        task.unresolved = None;
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
            self.set(direction, ix, state_after(end), at)?;
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
            match column_of(end) {
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
            self.open = self.open.saturating_sub(1);
            let _known = self.set(Direction::Back, ix, TaskState::Skipped, at);
        }
    }

    fn count(&mut self, ix: TargetIx, column: super::BudgetColumn) {
        let wave = self.frame.wave_of(ix);
        self.row.add(ix, wave);
        self.tally.change(column, 1);
        self.wave_tally.entry(wave).or_default().change(column, 1);
        if let Ok(task) = self.edit(Direction::Forward, ix) {
            task.counted = Some(column);
        }
    }

    fn uncount(&mut self, direction: Direction, ix: TargetIx) {
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

    fn end_watch(&mut self, host: &HostName) -> Applied {
        let ix = self.find(host)?;
        if self.watching.remove(&ix) {
            Ok(Touched::One(ix))
        } else {
            Err("the target is not watched")
        }
    }

    fn fall_ill(&mut self, host: &HostName, reason: &str, at: Timestamp) -> Applied {
        let touched = self.end_watch(host)?;
        let ix = self.find(host)?;
        self.set(Direction::Forward, ix, TaskState::Failed, at)?;
        let end = AttemptEnd::Failed {
            step: Some(StepName::Verify),
            code: None,
            reason: reason.to_owned(),
        };
        self.edit(Direction::Forward, ix)?.last_end = Some(Box::new(end));
        self.count(ix, super::BudgetColumn::Failed);
        Ok(touched)
    }

    fn skip(&mut self, host: &HostName, kind: SkipKind, by: &Principal, at: Timestamp) -> Applied {
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
        match kind {
            SkipKind::Exclude => {
                self.uncount(Direction::Forward, ix);
                self.set(direction, ix, TaskState::Excluded, at)?;
            }
            SkipKind::Skip => self.set(direction, ix, TaskState::Skipped, at)?,
        }
        self.edit(direction, ix)?.taken_out_by = Some(by.clone());
        Ok(if watched || settled { Touched::One(ix) } else { Touched::Nothing })
    }

    fn retry(&mut self, host: &HostName, at: Timestamp) -> Applied {
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
            return Ok(Touched::One(ix));
        }
        self.ready.insert(ix);
        Ok(self.reopen(ix, at).and(ix))
    }

    /// The rollout waits for a target again that had settled; if its wave was in place, it no longer is.
    fn reopen(&mut self, ix: TargetIx, at: Timestamp) -> Touched {
        self.open += 1;
        if self.direction == Direction::Back || self.phase == Phase::Rolling {
            return Touched::One(ix);
        }
        self.phase = Phase::Rolling;
        self.begin_progress(at);
        self.stop_watching()
    }

    /// Every host that was touched, or may be, gets a task that takes it back.
    fn turn_back(&mut self, at: Timestamp) -> Touched {
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

    fn find(&self, host: &HostName) -> Result<TargetIx, &'static str> {
        self.frame.index.get(host).copied().ok_or("the plan has no such target")
    }

    fn edit(&mut self, direction: Direction, ix: TargetIx) -> Result<&mut Task, &'static str> {
        let tasks = match direction {
            Direction::Back => &mut self.back,
            Direction::Forward => &mut self.forward,
        };
        let slot = usize::try_from(ix).ok().and_then(|it| tasks.get_mut(it));
        slot.ok_or("the target has no task in this direction")
    }

    fn set(
        &mut self,
        direction: Direction,
        ix: TargetIx,
        state: TaskState,
        at: Timestamp,
    ) -> Result<(), &'static str> {
        self.unanswered.remove(&ix);
        let task = self.edit(direction, ix)?;
        let old = std::mem::replace(&mut task.state, state);
        task.at = at;
        let counts = match direction {
            Direction::Back => &mut self.back_counts,
            Direction::Forward => &mut self.counts,
        };
        counts.remove(old);
        counts.add(state, 1);
        Ok(())
    }
}
