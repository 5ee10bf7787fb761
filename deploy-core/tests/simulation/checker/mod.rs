//! Reads the journal as it grows, knows nothing of the machine, and says what must not be.
mod budget;
mod staging;
mod time;

use budget::Row;
use deploy_core::{
    id::{HostName, Seq},
    plan::Plan,
    rollout::{AttemptEnd, BudgetColumn, Event, Outcome, Reason, Record, SkipKind},
    spec::{Confirm, Direction},
};
use staging::Ahead;
use std::collections::{BTreeMap, BTreeSet};
use time::Pace;

/// What is wrong, if something is.
pub(crate) type Checked = Result<(), String>;

/// What the journal said last about a target in one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Last {
    Failed(BudgetColumn),
    InFlight(Seq),
    Open,
    Settled,
    Succeeded,
}

/// Who wants nothing to start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hold {
    ByBudget,
    ByPerson,
    None,
}

#[derive(Debug)]
pub(crate) struct Checker {
    plan: Plan,
    wave_of: BTreeMap<HostName, u32>,
    last: BTreeMap<(Direction, HostName), Last>,
    direction: Direction,
    wave: Option<u32>,
    confirmed: BTreeSet<u32>,
    baked: BTreeSet<u32>,
    /// Whose success became known when their wave may have been over.
    late: BTreeSet<HostName>,
    hold: Hold,
    aborting: bool,
    finished: bool,
    /// A use of the budget that nothing has followed yet.
    unanswered: Option<String>,
    row: Row,
    pace: Pace,
    ahead: Ahead,
    /// The attempts that wait to be confirmed, and those that are.
    awaiting: BTreeSet<Seq>,
    kept: BTreeSet<Seq>,
    pub(crate) starts: BTreeMap<Seq, HostName>,
}

impl Checker {
    pub(crate) fn new(plan: &Plan) -> Self {
        let waves = (0..).zip(&plan.waves);
        let wave_of: BTreeMap<HostName, u32> = waves
            .flat_map(|(wave, targets)| targets.iter().map(move |it| (it.host.name.clone(), wave)))
            .collect();
        let last =
            wave_of.keys().map(|it| ((Direction::Forward, it.clone()), Last::Open)).collect();
        Self {
            plan: plan.clone(),
            wave_of,
            last,
            direction: Direction::Forward,
            wave: None,
            confirmed: BTreeSet::new(),
            baked: BTreeSet::new(),
            late: BTreeSet::new(),
            hold: Hold::None,
            aborting: false,
            finished: false,
            unanswered: None,
            row: Row::default(),
            pace: Pace::default(),
            ahead: Ahead::default(),
            awaiting: BTreeSet::new(),
            kept: BTreeSet::new(),
            starts: BTreeMap::new(),
        }
    }

    pub(crate) fn see(&mut self, record: &Record) -> Checked {
        if self.finished {
            return Err("a fact after the end".into());
        }
        self.pace.see(record, &self.plan)?;
        self.ahead.see(&record.event);
        match &record.event {
            Event::AttemptStarted { host, direction, .. } => {
                self.started(host, *direction, record.seq)?;
                self.check_schedule(record.at, *direction)
            }
            Event::AttemptEnded { host, generation, end, retry_at } => {
                self.ended(host, *generation, end, retry_at.is_some())
            }
            Event::KillRequested { host, generation, .. } => {
                let key = (self.direction, host.clone());
                if self.last.get(&key) == Some(&Last::Failed(BudgetColumn::Unknown)) {
                    self.last.insert(key, Last::InFlight(*generation));
                }
                Ok(())
            }
            Event::TargetUnhealthy { host, .. } => {
                self.settle(Direction::Forward, host, Last::Failed(BudgetColumn::Failed));
                Ok(())
            }
            Event::TargetNotStaged { host, .. } | Event::TargetStaged { host } => {
                self.may_stage(host)
            }
            Event::TargetSkipped { host, kind, .. } => self.skipped(host, *kind),
            Event::TargetRetried { host, .. } => {
                self.late.remove(host);
                self.settle(self.direction, host, Last::Open);
                Ok(())
            }
            Event::AttemptAwaitsConfirm { host, generation } => {
                self.awaits_confirm(host, *generation)
            }
            Event::AttemptConfirmed { host, generation } => self.keep(host, *generation),
            Event::WaveStarted { wave } => self.wave_started(*wave),
            Event::BakePassed { wave } => {
                self.baked.insert(*wave);
                Ok(())
            }
            Event::Confirmed { wave, .. } => {
                self.confirmed.insert(*wave);
                Ok(())
            }
            Event::Finished { outcome } => self.ended_all(*outcome),
            Event::PauseStarted { reason } => {
                self.pauses(reason)?;
                self.turned(&record.event);
                Ok(())
            }
            other => {
                self.turned(other);
                Ok(())
            }
        }
    }

    /// Whether anything may start, and which way.
    fn turned(&mut self, event: &Event) {
        match event {
            Event::AbortStarted { .. } => self.aborting = true,
            Event::PauseStarted { reason: Reason::Operator { .. } } => self.hold = Hold::ByPerson,
            Event::PauseStarted { .. } => self.hold = Hold::ByBudget,
            Event::Resumed { .. } => self.hold = Hold::None,
            Event::RollbackStarted { .. } => {
                self.direction = Direction::Back;
                self.hold = Hold::None;
            }
            _ => return,
        }
        self.unanswered = None;
    }

    fn in_flight(&self) -> usize {
        self.last.values().filter(|it| matches!(it, Last::InFlight(_))).count()
    }

    fn limit(&self) -> usize {
        let sizes = self.plan.waves.iter().map(Vec::len);
        let wave = match self.direction {
            Direction::Back => sizes.max().unwrap_or(0),
            Direction::Forward => {
                self.wave.map_or(0, |wave| self.plan.waves[usize::try_from(wave).unwrap()].len())
            }
        };
        let parallel = self.plan.strategy.max_parallel.map_or(wave, |it| it.get() as usize);
        wave.min(parallel)
    }

    fn started(&mut self, host: &HostName, direction: Direction, seq: Seq) -> Checked {
        let Some(wave) = self.wave_of.get(host).copied() else {
            return Err(format!("{host} is no target, and was started"));
        };
        if self.hold != Hold::None || self.aborting || direction != self.direction {
            return Err(format!("{host} was started while nothing may start"));
        }
        if let Some(why) = &self.unanswered {
            return Err(format!("{host} was started though {why}"));
        }
        if direction == Direction::Forward && Some(wave) > self.wave {
            return Err(format!("{host} of wave {wave} was started in wave {:?}", self.wave));
        }
        for direction in [Direction::Back, Direction::Forward] {
            if let Some(Last::InFlight(_)) = self.last.get(&(direction, host.clone())) {
                return Err(format!("{host} was started while an attempt is in flight"));
            }
        }
        if self.in_flight() >= self.limit() {
            return Err(format!("more than {} in flight", self.limit()));
        }
        self.last.insert((direction, host.clone()), Last::InFlight(seq));
        self.starts.insert(seq, host.clone());
        Ok(())
    }

    fn ended(
        &mut self,
        host: &HostName,
        generation: Seq,
        end: &AttemptEnd,
        again: bool,
    ) -> Checked {
        if self.starts.get(&generation) != Some(host) {
            return Err(format!("attempt {generation} of {host} ended and was never started"));
        }
        let is_at = |direction: &Direction, last: Last| {
            self.last.get(&(*direction, host.clone())) == Some(&last)
        };
        let both = [Direction::Forward, Direction::Back];
        let under_way = both.into_iter().find(|it| is_at(it, Last::InFlight(generation)));
        let unknown = Last::Failed(BudgetColumn::Unknown);
        // Else a late result of an attempt that counted as unknown.
        let direction = under_way.or_else(|| both.into_iter().find(|it| is_at(it, unknown)));
        let Some(direction) = direction else {
            return Err(format!("attempt {generation} of {host} ended twice"));
        };
        if under_way.is_none() {
            self.late.insert(host.clone());
        }
        self.settle(direction, host, if again { Last::Open } else { last_after(end) });
        Ok(())
    }

    fn is_in_flight(&self, host: &HostName, generation: Seq) -> bool {
        let last = self.last.get(&(Direction::Forward, host.clone()));
        last == Some(&Last::InFlight(generation))
    }

    fn awaits_confirm(&mut self, host: &HostName, generation: Seq) -> Checked {
        let waits = self.plan.strategy.health.confirm_timeout.is_some();
        if !waits || !self.is_in_flight(host, generation) {
            return Err(format!("attempt {generation} of {host} has nothing to wait for"));
        }
        self.awaiting.insert(generation);
        Ok(())
    }

    /// Only what waits for it is confirmed, once, and only while the release is to stay.
    fn keep(&mut self, host: &HostName, generation: Seq) -> Checked {
        let may = self.is_in_flight(host, generation) && self.awaiting.contains(&generation);
        if !may || self.aborting || self.direction == Direction::Back {
            return Err(format!("attempt {generation} of {host} was confirmed"));
        }
        if !self.kept.insert(generation) {
            return Err(format!("attempt {generation} of {host} was confirmed twice"));
        }
        Ok(())
    }

    fn skipped(&mut self, host: &HostName, kind: SkipKind) -> Checked {
        let at = self.last.get(&(self.direction, host.clone())).copied();
        if matches!(at, Some(Last::InFlight(_))) {
            return Err(format!("{host} is skipped while it is in flight"));
        }
        if kind == SkipKind::Exclude {
            self.settle(Direction::Forward, host, Last::Settled);
        }
        if kind == SkipKind::Exclude || !matches!(at, Some(Last::Failed(_))) {
            self.settle(self.direction, host, Last::Settled);
        }
        Ok(())
    }

    fn settle(&mut self, direction: Direction, host: &HostName, last: Last) {
        self.last.insert((direction, host.clone()), last);
        if direction == Direction::Forward {
            self.weigh(host, last);
        }
    }

    fn wave_started(&mut self, wave: u32) -> Checked {
        for (host, of) in &self.wave_of {
            let last = self.last.get(&(Direction::Forward, host.clone()));
            if *of < wave && matches!(last, Some(Last::InFlight(_) | Last::Open)) {
                return Err(format!("wave {wave} began before {host} of wave {of} was done"));
            }
        }
        if let Some(why) = &self.unanswered {
            return Err(format!("wave {wave} began though {why}"));
        }
        self.enough_staged(wave)?;
        if let Some(before) = wave.checked_sub(1) {
            self.check_gates(before)?;
        }
        self.wave = Some(wave);
        Ok(())
    }

    /// What has to be between the wave `before` and the next.
    fn check_gates(&self, before: u32) -> Checked {
        let strategy = &self.plan.strategy;
        let asks = match strategy.confirm {
            Confirm::AfterFirst => before == 0,
            Confirm::EveryWave => true,
            Confirm::Never => false,
        };
        if asks && !self.confirmed.contains(&before) {
            return Err(format!("the wave after {before} began without a confirmation"));
        }
        let runs = |host: &HostName| {
            self.last.get(&(Direction::Forward, host.clone())) == Some(&Last::Succeeded)
        };
        let mut of_wave = self.wave_of.iter().filter(|(_, of)| **of == before).map(|it| it.0);
        let watched = of_wave.any(|it| runs(it) && !self.late.contains(it));
        if watched && !strategy.bake_time.is_zero() && !self.baked.contains(&before) {
            return Err(format!("the wave after {before} began before that was watched"));
        }
        Ok(())
    }

    fn ended_all(&mut self, outcome: Outcome) -> Checked {
        self.finished = true;
        if self.in_flight() > 0 {
            return Err("the rollout ended while something was in flight".into());
        }
        let forward =
            self.last.iter().filter(|((direction, _), _)| *direction == Direction::Forward);
        let states: Vec<Last> = forward.map(|(_, last)| *last).collect();
        let troubled = states.iter().any(|it| matches!(it, Last::Failed(_)));
        match outcome {
            Outcome::Succeeded if troubled => Err("it succeeded, yet some target failed".into()),
            Outcome::Succeeded | Outcome::SucceededWithDebt if states.contains(&Last::Open) => {
                Err("it succeeded, yet some target was never done".into())
            }
            _ => Ok(()),
        }
    }
}

const fn last_after(end: &AttemptEnd) -> Last {
    match end {
        AttemptEnd::Failed { .. }
        | AttemptEnd::KillFailed { .. }
        | AttemptEnd::RevertFailed { .. }
        | AttemptEnd::SelfReverted { .. } => Last::Failed(BudgetColumn::Failed),
        AttemptEnd::Lost { .. } | AttemptEnd::NoAnswer { .. } => {
            Last::Failed(BudgetColumn::Unknown)
        }
        AttemptEnd::Succeeded => Last::Succeeded,
        AttemptEnd::TimedOut { .. } => Last::Failed(BudgetColumn::TimedOut),
        AttemptEnd::Unreachable { .. } => Last::Failed(BudgetColumn::Unreachable),
        _ => Last::Settled,
    }
}
