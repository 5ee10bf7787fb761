//! A host as the machine may rely on it: it keeps the newest generation, and what became of every attempt.
mod revert;

use crate::{mutant::Mutant, rng::Rng};
use deploy_core::{
    id::{ReleaseId, Seq},
    rollout::AttemptEnd,
    spec::{Direction, StepName},
};
use std::collections::BTreeMap;

/// One attempt, as it is asked for.
#[derive(Clone, Debug)]
pub(crate) struct Order {
    /// What the host ran before, if it is to wait for a confirmation, and for how long it does.
    pub(crate) confirm: Option<(Option<ReleaseId>, u64)>,
    pub(crate) generation: Seq,
    pub(crate) direction: Direction,
    pub(crate) steps: Vec<StepName>,
    pub(crate) goal: Option<ReleaseId>,
}

impl Order {
    /// What the host is to run again if it goes back by itself.
    fn before(&self) -> Option<ReleaseId> {
        self.confirm.as_ref().and_then(|(before, _)| before.clone())
    }
}

/// What became of an attempt.
#[derive(Clone, Debug)]
pub(crate) enum Fate {
    /// Its steps are done, and the host has waited since then to be told to keep what they did.
    Awaiting {
        order: Order,
        since: u64,
    },
    Ended(AttemptEnd),
    /// The host's verdict is that it goes back.
    Reverting {
        order: Order,
        reason: &'static str,
        ends_at: u64,
    },
    Running {
        order: Order,
        next: usize,
        ends_at: u64,
    },
}

impl Fate {
    /// When something happens to it by itself.
    fn due(&self) -> Option<u64> {
        match self {
            Self::Awaiting { order, since } => {
                Some(since + order.confirm.as_ref().map_or(0, |(_, wait)| *wait))
            }
            Self::Ended(_) => None,
            Self::Reverting { ends_at, .. } | Self::Running { ends_at, .. } => Some(*ends_at),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Answer {
    Attached,
    Busy,
    Fenced,
    Started,
}

#[derive(Clone, Debug)]
pub(crate) struct SimHost {
    pub(crate) release: Option<ReleaseId>,
    pub(crate) fence: Seq,
    pub(crate) attempts: BTreeMap<Seq, Fate>,
    /// Every execution of a step, the oracle outside the system under test.
    pub(crate) executions: Vec<(Seq, Direction, StepName)>,
    /// The attempts that it was told to keep, and did, and how long it had waited.
    pub(crate) kept: Vec<(Seq, u64)>,
    /// The attempts that it went back from, or tried to.
    pub(crate) reverts: Vec<Seq>,
    /// One in so many steps fails.
    pub(crate) fails: u64,
    /// One in so many steps hangs.
    pub(crate) hangs: u64,
    /// The longest that a step takes.
    slowest: u64,
    pub(crate) unreachable: bool,
    /// Whether it has what it is to run.
    pub(crate) staged: bool,
}

impl SimHost {
    pub(crate) fn new(release: Option<ReleaseId>, rng: &mut Rng) -> Self {
        Self {
            release,
            fence: Seq::ZERO,
            attempts: BTreeMap::new(),
            executions: Vec::new(),
            kept: Vec::new(),
            reverts: Vec::new(),
            fails: *rng.pick(&[5, 30, 1_000, 1_000]),
            hangs: *rng.pick(&[20, 1_000, 1_000]),
            slowest: *rng.pick(&[400, 400, 400, 20_000]),
            unreachable: rng.one_in(12),
            staged: false,
        }
    }

    pub(crate) fn is_busy(&self) -> bool {
        self.attempts.values().any(|it| !matches!(it, Fate::Ended(_)))
    }

    /// Takes an order, fencing as the contract has it unless the world has that broken.
    pub(crate) fn start(&mut self, order: Order, now: u64, fences: bool, rng: &mut Rng) -> Answer {
        let generation = order.generation;
        if self.attempts.contains_key(&generation) {
            return Answer::Attached;
        }
        if fences && self.is_busy() {
            return Answer::Busy;
        }
        if fences && generation <= self.fence {
            return Answer::Fenced;
        }
        self.fence = self.fence.max(generation);
        let ends_at = now + 1 + rng.below(self.slowest);
        self.begin(generation, &order, 0);
        self.attempts.insert(generation, Fate::Running { order, next: 0, ends_at });
        Answer::Started
    }

    fn begin(&mut self, generation: Seq, order: &Order, at: usize) {
        if let Some(step) = order.steps.get(at) {
            self.executions.push((generation, order.direction, *step));
        }
    }

    /// The time at which something happens next.
    pub(crate) fn next_at(&self) -> Option<u64> {
        self.attempts.values().filter_map(Fate::due).min()
    }

    /// Lets what is due end. Gives the attempt if whoever follows it has to be told.
    pub(crate) fn advance(&mut self, now: u64, rng: &mut Rng) -> Option<Seq> {
        let is_due = |it: &Fate| it.due().is_some_and(|at| at <= now);
        let (due, fate) = self.attempts.iter().find(|(_, it)| is_due(it))?;
        let (due, fate) = (*due, fate.clone());
        match fate {
            Fate::Awaiting { order, .. } => {
                self.revert(due, order, "nobody confirmed", now, rng);
                None
            }
            Fate::Ended(_) => None,
            Fate::Reverting { order, reason, .. } => Some(self.come_back(due, &order, reason, rng)),
            Fate::Running { order, next, .. } => self.advance_step(due, order, next, now, rng),
        }
    }

    fn advance_step(
        &mut self,
        due: Seq,
        order: Order,
        next: usize,
        now: u64,
        rng: &mut Rng,
    ) -> Option<Seq> {
        let Some(step) = order.steps.get(next).copied() else {
            return Some(self.finish_steps(due, order, now));
        };
        if rng.one_in(self.fails) {
            let end = AttemptEnd::Failed { step: Some(step), code: Some(1), reason: String::new() };
            self.attempts.insert(due, Fate::Ended(end));
            return Some(due);
        }
        if rng.one_in(self.hangs) {
            self.attempts.insert(due, Fate::Ended(AttemptEnd::TimedOut { step }));
            return Some(due);
        }
        if matches!(step, StepName::Install | StepName::Rollback) {
            self.release = order.goal.clone();
        }
        if next + 1 == order.steps.len() {
            return Some(self.finish_steps(due, order, now));
        }
        self.begin(due, &order, next + 1);
        let ends_at = now + 1 + rng.below(self.slowest);
        self.attempts.insert(due, Fate::Running { order, next: next + 1, ends_at });
        None
    }

    /// The power goes: what runs is cut, half way or just after the deed.
    pub(crate) fn reboot(&mut self, mutant: Mutant, now: u64, rng: &mut Rng) -> Option<Seq> {
        let (generation, fate) =
            self.attempts.iter().find(|(_, it)| !matches!(it, Fate::Ended(_)))?;
        let (generation, fate) = (*generation, fate.clone());
        let (order, next) = match fate {
            Fate::Running { order, next, .. } => (order, next),
            Fate::Awaiting { .. } if mutant == Mutant::ForgetsToRevert => {
                self.attempts.insert(generation, Fate::Ended(AttemptEnd::Succeeded));
                return Some(generation);
            }
            Fate::Awaiting { order, .. } => {
                self.revert(generation, order, "rebooted", now, rng);
                return None;
            }
            Fate::Reverting { order, .. } => {
                self.cut_revert(generation, &order, mutant, rng);
                return Some(generation);
            }
            Fate::Ended(_) => return None,
        };
        let step = order.steps.get(next).copied();
        let deed = matches!(step, Some(StepName::Install | StepName::Rollback)) && rng.one_in(2);
        if deed {
            self.release = order.goal.clone();
        }
        let end = AttemptEnd::Lost { step, reason: "rebooted".to_owned() };
        self.attempts.insert(generation, Fate::Ended(end));
        Some(generation)
    }

    /// Ends an attempt; `None` if the host goes back. A kill that comes too late gives what it was too late for.
    pub(crate) fn kill(&mut self, generation: Seq, now: u64, rng: &mut Rng) -> Option<AttemptEnd> {
        self.fence = self.fence.max(generation);
        Some(match self.attempts.get(&generation) {
            Some(Fate::Awaiting { order, .. }) => {
                let order = order.clone();
                self.revert(generation, order, "killed", now, rng);
                return None;
            }
            Some(Fate::Reverting { .. }) => return None,
            Some(Fate::Ended(end)) => end.clone(),
            Some(Fate::Running { .. }) => {
                let end = if rng.one_in(6) {
                    AttemptEnd::KillFailed { survivors: vec!["7:sleep".to_owned()] }
                } else {
                    AttemptEnd::Killed
                };
                self.attempts.insert(generation, Fate::Ended(end.clone()));
                end
            }
            None => AttemptEnd::Killed,
        })
    }
}
