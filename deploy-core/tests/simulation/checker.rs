//! Reads the journal as it grows, knows nothing of the machine, and says what must not be.
use deploy_core::{
    id::{HostName, Seq},
    plan::Plan,
    rollout::{AttemptEnd, Event, Outcome, Record, SkipKind},
    spec::{Budget, Confirm, Direction, OnFailure},
};
use std::collections::{BTreeMap, BTreeSet};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Last {
    Failed(&'static str),
    InFlight(Seq),
    Open,
    Settled,
    Succeeded,
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
    held: bool,
    aborting: bool,
    finished: bool,
    unanswered: Option<String>,
    consecutive: u32,
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
            held: false,
            aborting: false,
            finished: false,
            unanswered: None,
            consecutive: 0,
            starts: BTreeMap::new(),
        }
    }

    pub(crate) fn see(&mut self, record: &Record) -> Result<(), String> {
        if self.finished {
            return Err("a fact after the end".into());
        }
        match &record.event {
            Event::AttemptStarted { host, direction, .. } => {
                self.started(host, *direction, record.seq)
            }
            Event::AttemptEnded { host, generation, end, retry_at } => {
                self.ended(host, *generation, end, retry_at.is_some())
            }
            Event::TargetUnhealthy { host, .. } => {
                self.settle(Direction::Forward, host, Last::Failed("failed"));
                self.weigh();
                Ok(())
            }
            Event::TargetSkipped { host, kind, .. } => {
                let at = self.last.get(&(self.direction, host.clone()));
                if matches!(at, Some(Last::InFlight(_))) {
                    return Err(format!("{host} is skipped while it is in flight"));
                }
                if *kind == SkipKind::Exclude || !matches!(at, Some(Last::Failed(_))) {
                    self.settle(self.direction, host, Last::Settled);
                }
                Ok(())
            }
            Event::TargetRetried { host, .. } => {
                self.settle(self.direction, host, Last::Open);
                Ok(())
            }
            Event::KillRequested { host, generation, .. } => {
                let key = (self.direction, host.clone());
                if self.last.get(&key) == Some(&Last::Failed("unknown")) {
                    self.last.insert(key, Last::InFlight(*generation));
                }
                Ok(())
            }
            Event::WaveStarted { wave } => self.wave_started(*wave),
            Event::BakePassed { wave } => {
                self.baked.insert(*wave);
                Ok(())
            }
            Event::Confirmed { wave, .. } => {
                self.confirmed.insert(*wave);
                Ok(())
            }
            Event::PauseStarted { .. } => {
                self.held = true;
                self.unanswered = None;
                Ok(())
            }
            Event::Resumed { .. } => {
                self.held = false;
                self.unanswered = None;
                Ok(())
            }
            Event::AbortStarted { .. } => {
                self.aborting = true;
                self.unanswered = None;
                Ok(())
            }
            Event::RollbackStarted { .. } => {
                self.direction = Direction::Back;
                self.held = false;
                self.unanswered = None;
                Ok(())
            }
            Event::Finished { outcome } => self.ended_all(*outcome),
            _ => Ok(()),
        }
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

    fn started(&mut self, host: &HostName, direction: Direction, seq: Seq) -> Result<(), String> {
        let Some(wave) = self.wave_of.get(host).copied() else {
            return Err(format!("{host} is no target, and was started"));
        };
        if self.held || self.aborting || direction != self.direction {
            return Err(format!("{host} was started while nothing may start"));
        }
        if let Some(why) = &self.unanswered
            && direction == Direction::Forward
        {
            return Err(format!("{host} was started though {why}"));
        }
        if direction == Direction::Forward && Some(wave) > self.wave {
            return Err(format!("{host} of wave {wave} was started in wave {:?}", self.wave));
        }
        let other = match direction {
            Direction::Back => Direction::Forward,
            Direction::Forward => Direction::Back,
        };
        for direction in [direction, other] {
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
    ) -> Result<(), String> {
        if self.starts.get(&generation) != Some(host) {
            return Err(format!("attempt {generation} of {host} ended and was never started"));
        }
        let direction = [Direction::Forward, Direction::Back]
            .into_iter()
            .find(|it| self.last.get(&(*it, host.clone())) == Some(&Last::InFlight(generation)));
        let Some(direction) = direction else {
            // A late result of an attempt that counted as unknown.
            let key = (Direction::Forward, host.clone());
            if self.last.get(&key) == Some(&Last::Failed("unknown")) {
                self.settle(key.0, host, last_after(end));
                self.weigh();
            }
            return Ok(());
        };
        let last = if again { Last::Open } else { last_after(end) };
        self.settle(direction, host, last);
        if direction == Direction::Forward && !again {
            match last {
                Last::Failed(_) => self.consecutive += 1,
                _ if *end == AttemptEnd::Succeeded => self.consecutive = 0,
                _ => {}
            }
            if matches!(last, Last::Failed(_)) {
                self.weigh();
            }
        }
        Ok(())
    }

    fn settle(&mut self, direction: Direction, host: &HostName, last: Last) {
        self.last.insert((direction, host.clone()), last);
    }

    /// Whether the budget is used up; then something has to follow before anything starts.
    fn weigh(&mut self) {
        if self.direction == Direction::Back || self.aborting {
            return;
        }
        if self.held && self.plan.strategy.on_failure == OnFailure::Pause {
            return;
        }
        let budget = &self.plan.strategy.failure_budget;
        let total = u32::try_from(self.wave_of.len()).unwrap();
        let all = self.over(&budget.rollout, total, None);
        let waves = (0..).zip(&self.plan.waves);
        let wave = budget.wave.as_ref().and_then(|budget| {
            waves.into_iter().find_map(|(wave, targets)| {
                self.over(budget, u32::try_from(targets.len()).unwrap(), Some(wave))
            })
        });
        if let Some(over) = all {
            self.unanswered = Some(over);
        } else if wave.is_none() {
            self.unanswered = None;
        }
    }

    fn over(&self, budget: &Budget, total: u32, wave: Option<u32>) -> Option<String> {
        let count = |column: &str| {
            let counted = self.last.iter().filter(|((direction, host), last)| {
                *direction == Direction::Forward
                    && **last
                        == Last::Failed(match column {
                            "failed" => "failed",
                            "timed_out" => "timed_out",
                            "unknown" => "unknown",
                            _ => "unreachable",
                        })
                    && wave.is_none_or(|it| self.wave_of.get(host) == Some(&it))
            });
            u32::try_from(counted.count()).unwrap()
        };
        let limits = [
            ("failed", budget.max_failed),
            ("timed_out", budget.max_timed_out),
            ("unknown", budget.max_unknown),
            ("unreachable", budget.max_unreachable),
        ];
        limits.into_iter().find_map(|(column, limit)| {
            let (count, limit) = (count(column), limit.of(total));
            (count > limit).then(|| format!("{column} is {count}, and {limit} are allowed"))
        })
    }

    fn wave_started(&mut self, wave: u32) -> Result<(), String> {
        for (host, of) in &self.wave_of {
            let last = self.last.get(&(Direction::Forward, host.clone()));
            if *of < wave && matches!(last, Some(Last::InFlight(_) | Last::Open)) {
                return Err(format!("wave {wave} began before {host} of wave {of} was done"));
            }
        }
        if let Some(before) = wave.checked_sub(1) {
            let strategy = &self.plan.strategy;
            let asks = match strategy.confirm {
                Confirm::AfterFirst => before == 0,
                Confirm::EveryWave => true,
                Confirm::Never => false,
            };
            if asks && !self.confirmed.contains(&before) {
                return Err(format!("wave {wave} began without a confirmation"));
            }
            let runs = |host: &HostName| {
                self.last.get(&(Direction::Forward, host.clone())) == Some(&Last::Succeeded)
            };
            let watched = self.wave_of.iter().any(|(host, of)| *of == before && runs(host));
            if watched && !strategy.bake_time.is_zero() && !self.baked.contains(&before) {
                return Err(format!("wave {wave} began before wave {before} was watched"));
            }
        }
        self.wave = Some(wave);
        Ok(())
    }

    fn ended_all(&mut self, outcome: Outcome) -> Result<(), String> {
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

fn last_after(end: &AttemptEnd) -> Last {
    match end {
        AttemptEnd::Failed { .. } | AttemptEnd::KillFailed { .. } => Last::Failed("failed"),
        AttemptEnd::Lost { .. } | AttemptEnd::NoAnswer { .. } => Last::Failed("unknown"),
        AttemptEnd::TimedOut { .. } => Last::Failed("timed_out"),
        AttemptEnd::Unreachable { .. } => Last::Failed("unreachable"),
        AttemptEnd::Succeeded => Last::Succeeded,
        _ => Last::Settled,
    }
}
