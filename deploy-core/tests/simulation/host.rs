//! A host as the machine may rely on it: it keeps the newest generation, and what became of every attempt.
use crate::rng::Rng;
use deploy_core::{
    id::{ReleaseId, Seq},
    rollout::AttemptEnd,
    spec::{Direction, StepName},
};
use std::collections::BTreeMap;

/// One attempt, as it is asked for.
#[derive(Clone, Debug)]
pub(crate) struct Order {
    pub(crate) generation: Seq,
    pub(crate) direction: Direction,
    pub(crate) steps: Vec<StepName>,
    pub(crate) goal: Option<ReleaseId>,
}

/// What became of an attempt.
#[derive(Clone, Debug)]
pub(crate) enum Fate {
    Ended(AttemptEnd),
    Running { order: Order, next: usize, ends_at: u64 },
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
    /// One in so many steps fails.
    pub(crate) fails: u64,
    /// One in so many steps hangs.
    pub(crate) hangs: u64,
    /// The longest that a step takes.
    slowest: u64,
    pub(crate) unreachable: bool,
}

impl SimHost {
    pub(crate) fn new(release: Option<ReleaseId>, rng: &mut Rng) -> Self {
        Self {
            release,
            fence: Seq::ZERO,
            attempts: BTreeMap::new(),
            executions: Vec::new(),
            fails: *rng.pick(&[5, 30, 1_000, 1_000]),
            hangs: *rng.pick(&[20, 1_000, 1_000]),
            slowest: *rng.pick(&[400, 400, 400, 20_000]),
            unreachable: rng.one_in(12),
        }
    }

    pub(crate) fn is_busy(&self) -> bool {
        self.attempts.values().any(|it| matches!(it, Fate::Running { .. }))
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
        let running = self.attempts.values().filter_map(|it| match it {
            Fate::Running { ends_at, .. } => Some(*ends_at),
            Fate::Ended(_) => None,
        });
        running.min()
    }

    /// Lets a step that is due end. Gives the attempt if that was its end.
    pub(crate) fn advance(&mut self, now: u64, rng: &mut Rng) -> Option<Seq> {
        let due = self.attempts.iter().find_map(|(generation, fate)| match fate {
            Fate::Running { ends_at, .. } if *ends_at <= now => Some(*generation),
            _ => None,
        })?;
        let Some(Fate::Running { order, next, .. }) = self.attempts.get(&due).cloned() else {
            return None;
        };
        let Some(step) = order.steps.get(next).copied() else {
            self.attempts.insert(due, Fate::Ended(AttemptEnd::Succeeded));
            return Some(due);
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
            self.attempts.insert(due, Fate::Ended(AttemptEnd::Succeeded));
            return Some(due);
        }
        self.begin(due, &order, next + 1);
        let ends_at = now + 1 + rng.below(self.slowest);
        self.attempts.insert(due, Fate::Running { order, next: next + 1, ends_at });
        None
    }

    /// The power goes: what runs is cut, half way or just after the deed.
    pub(crate) fn reboot(&mut self, rng: &mut Rng) -> Option<Seq> {
        let (generation, fate) =
            self.attempts.iter().find(|(_, it)| matches!(it, Fate::Running { .. }))?;
        let (generation, fate) = (*generation, fate.clone());
        let Fate::Running { order, next, .. } = fate else {
            return None;
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

    /// Ends an attempt. A kill that comes too late gives what it was too late for.
    pub(crate) fn kill(&mut self, generation: Seq, rng: &mut Rng) -> AttemptEnd {
        self.fence = self.fence.max(generation);
        match self.attempts.get(&generation) {
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
        }
    }
}
