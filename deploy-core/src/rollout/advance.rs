//! What follows from the state and the time alone.
use super::{
    BudgetColumn, BudgetScope, Event, Outcome, Phase, Reason, Rollout, TaskState,
    staging::Unstaged,
    state::{Hold, TargetIx},
    task::Tally,
};
use crate::{
    spec::{Budget, Confirm, Direction, OnFailure},
    time::Timestamp,
};

const COLUMNS: [BudgetColumn; 4] = [
    BudgetColumn::Failed,
    BudgetColumn::TimedOut,
    BudgetColumn::Unreachable,
    BudgetColumn::Unknown,
];

impl Rollout {
    /// The next fact that is due; `None` if there is nothing to do but wait.
    pub(super) fn advance(&self, now: Timestamp) -> Option<Event> {
        if self.outcome.is_some() {
            return None;
        }
        if let Some(event) = self.confirm_next() {
            return Some(event);
        }
        if self.aborting.is_some() {
            let over = self.in_flight.is_empty();
            return over.then_some(Event::Finished { outcome: Outcome::Aborted });
        }
        match self.hold {
            Hold::Pausing(_) if self.in_flight.is_empty() => return Some(Event::Paused),
            Hold::Paused(_) | Hold::Pausing(_) => return self.pass_bake(now),
            Hold::None => {}
        }
        match self.direction {
            Direction::Back => self.advance_back(now),
            Direction::Forward => self.advance_forward(now),
        }
    }

    fn advance_back(&self, now: Timestamp) -> Option<Event> {
        if self.open > 0 || !self.in_flight.is_empty() {
            return self.start(now);
        }
        let stuck = self.back.iter().any(|it| it.state.is_trouble());
        let outcome = if stuck { Outcome::Failed } else { Outcome::RolledBack };
        Some(Event::Finished { outcome })
    }

    fn advance_forward(&self, now: Timestamp) -> Option<Event> {
        match self.phase {
            Phase::AwaitingConfirm => None,
            Phase::Baked => self.request_confirm().or_else(|| self.next_wave(now)),
            Phase::Baking { .. } => self.pass_bake(now),
            Phase::Rolling if self.open > 0 => self.miss_progress(now).or_else(|| self.start(now)),
            Phase::Rolling => self
                .start_bake(now)
                .or_else(|| self.request_confirm())
                .or_else(|| self.next_wave(now)),
            Phase::Settled => self.next_wave(now),
        }
    }

    fn pass_bake(&self, now: Timestamp) -> Option<Event> {
        match self.phase {
            Phase::Baking { until } if now >= until && self.watching.is_empty() => {
                Some(Event::BakePassed { wave: self.wave? })
            }
            _ => None,
        }
    }

    fn start_bake(&self, now: Timestamp) -> Option<Event> {
        let bake = self.plan().strategy.bake_time;
        let wave = self.wave?;
        let watched = !bake.is_zero() && self.succeeded_in(wave).next().is_some();
        watched.then(|| Event::BakeStarted { wave, until: now.after(bake) })
    }

    /// The targets of a wave that run what they should.
    pub(super) fn succeeded_in(&self, wave: u32) -> impl Iterator<Item = TargetIx> {
        self.frame.wave(wave).filter(|ix| {
            self.slot(Direction::Forward, *ix).is_some_and(|it| it.state == TaskState::Succeeded)
        })
    }

    fn request_confirm(&self) -> Option<Event> {
        let wave = self.wave?;
        let asks = match self.plan().strategy.confirm {
            Confirm::AfterFirst => wave == 0,
            Confirm::EveryWave => true,
            Confirm::Never => false,
        };
        (asks && wave + 1 < self.frame.wave_count()).then_some(Event::ConfirmRequested { wave })
    }

    fn next_wave(&self, now: Timestamp) -> Option<Event> {
        let next = self.wave.map_or(0, |it| it + 1);
        if next >= self.frame.wave_count() {
            let settled = self.forward.len();
            let well = self.counts.of(TaskState::Succeeded)
                + self.counts.of(TaskState::Skipped)
                + self.counts.of(TaskState::Excluded);
            let all = usize::try_from(well).is_ok_and(|it| it == settled)
                && self.tally == Tally::default();
            let outcome = if all { Outcome::Succeeded } else { Outcome::SucceededWithDebt };
            return Some(Event::Finished { outcome });
        }
        match self.unstaged_in(next) {
            Some(unstaged) if unstaged.may_come => None,
            Some(Unstaged { missing, limit, .. }) => {
                let reason = Reason::Unstaged { wave: next, missing, limit };
                Some(Event::PauseStarted { reason })
            }
            None => self.may_start(now).then_some(Event::WaveStarted { wave: next }),
        }
    }

    fn miss_progress(&self, now: Timestamp) -> Option<Event> {
        let late = self.progress_deadline().is_some_and(|it| now >= it);
        late.then(|| self.stop(Reason::ProgressDeadline))
    }

    /// When the rollout has gone without progress for too long; `None` while it need not make any.
    ///
    /// The wait before a retry counts. What is due and may not start, because of a window or a stagger, need not get anywhere.
    pub(super) fn progress_deadline(&self) -> Option<Timestamp> {
        let deadline = self.last_progress.after(self.plan().strategy.progress_deadline);
        let retry = self.delayed.first().map(|it| it.0);
        let works = !self.in_flight.is_empty() || retry.is_some_and(|due| deadline <= due);
        let rolls = self.direction == Direction::Forward && self.phase == Phase::Rolling;
        (works && rolls && !self.is_held() && self.aborting.is_none()).then_some(deadline)
    }

    fn start(&self, now: Timestamp) -> Option<Event> {
        let ix = self.startable(now)?;
        if u32::try_from(self.in_flight.len()).unwrap_or(u32::MAX) >= self.limit() {
            return None;
        }
        if self.staggered_until().is_some_and(|it| now < it) || !self.may_start(now) {
            return None;
        }
        let task = self.slot(self.direction, ix)?;
        Some(Event::AttemptStarted {
            host: self.name(ix)?.clone(),
            direction: self.direction,
            first_step: task.first_step,
        })
    }

    /// The target to be started next, if there were room for it.
    fn startable(&self, now: Timestamp) -> Option<TargetIx> {
        let due = self.delayed.first().filter(|(at, _)| *at <= now).map(|(_, ix)| *ix);
        due.or_else(|| self.ready.first().copied())
    }

    /// Whether the schedule lets anything start. Going back is allowed at any time.
    pub(super) fn may_start(&self, now: Timestamp) -> bool {
        self.direction == Direction::Back || self.plan().strategy.schedule.allows(now)
    }

    /// Until when the next start has to wait for the one before it.
    pub(super) fn staggered_until(&self) -> Option<Timestamp> {
        let stagger = self.plan().strategy.stagger;
        if stagger.fixed.is_zero() && stagger.random.is_zero() {
            return None;
        }
        let wait = stagger.fixed.saturating_add(self.chance(self.starts, stagger.random));
        self.last_start.map(|it| it.after(wait))
    }

    /// Why the rollout has to stop now that a task has ended; `None` if the budget allows it.
    pub(super) fn over_budget(&self, ix: TargetIx) -> Option<Reason> {
        let counted = self.slot(Direction::Forward, ix).is_some_and(|it| it.counted.is_some());
        let stopping = self.aborting.is_some() || self.direction == Direction::Back;
        if !counted || stopping || self.stops_already() {
            return None;
        }
        let budget = &self.plan().strategy.failure_budget;
        let total = self.plan().target_count();
        let wave = self.frame.wave_of(ix);
        let size = u32::try_from(self.frame.wave(wave).len()).unwrap_or(u32::MAX);
        self.exceeded(&budget.rollout, self.tally, total, BudgetScope::Rollout).or_else(|| {
            let budget = budget.wave.as_ref()?;
            self.exceeded(budget, self.tally_of(wave), size, BudgetScope::Wave(wave))
        })
    }

    /// A rollout that has paused by itself does not pause again. One that a person paused does, so that whoever resumes it
    /// knows of the failure; and it still turns back or is aborted.
    fn stops_already(&self) -> bool {
        let by_itself = match &self.hold {
            Hold::None => false,
            Hold::Paused(reason) | Hold::Pausing(reason) => {
                !matches!(reason, Reason::Operator { .. })
            }
        };
        let pauses = match self.plan().strategy.on_failure {
            OnFailure::Abort => false,
            OnFailure::Pause => true,
            OnFailure::Rollback => !self.can_turn_back(),
        };
        by_itself && (pauses || self.restored)
    }

    fn exceeded(
        &self,
        budget: &Budget,
        tally: Tally,
        total: u32,
        scope: BudgetScope,
    ) -> Option<Reason> {
        let over = |column, count, limit| {
            (count > limit).then_some(Reason::Budget { column, scope, count, limit })
        };
        let counted = COLUMNS
            .into_iter()
            .find_map(|column| over(column, tally.of(column), limit_of(budget, column).of(total)));
        let row = match scope {
            BudgetScope::Rollout => self.row.len(),
            BudgetScope::Wave(wave) => self.row.len_in(wave),
        };
        let consecutive = budget.max_consecutive.map(|it| it.of(total));
        counted.or_else(|| over(BudgetColumn::Consecutive, row, consecutive?))
    }
}

const fn limit_of(budget: &Budget, column: BudgetColumn) -> crate::spec::Limit {
    match column {
        BudgetColumn::Consecutive | BudgetColumn::Failed => budget.max_failed,
        BudgetColumn::TimedOut => budget.max_timed_out,
        BudgetColumn::Unknown => budget.max_unknown,
        BudgetColumn::Unreachable => budget.max_unreachable,
    }
}
