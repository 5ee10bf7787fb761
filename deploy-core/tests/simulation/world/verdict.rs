//! How a rollout ended, beside what really happened on hosts.
use super::{Checked, World};
use deploy_core::{
    id::{HostName, Seq},
    rollout::{AttemptEnd, Event, Outcome, TaskState},
    spec::{Direction, Effect as StepEffect, StepName},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

impl World {
    pub(super) fn check_hosts(&self, outcome: Outcome) -> Checked {
        for target in self.plan.targets() {
            let name = &target.host.name;
            let runs = &self.hosts[name].release;
            let back = self.live().task(name, Direction::Back);
            let forward = self.live().task(name, Direction::Forward).expect("a target has a task");
            let newest = back.filter(|it| it.state != TaskState::Skipped || it.attempts > 0);
            let want = match (newest, forward.state) {
                (Some(task), _) if task.state == TaskState::Succeeded => &target.from,
                (Some(_), _) => continue,
                (None, TaskState::SelfReverted) => &target.from,
                (None, TaskState::Succeeded) => &target.to,
                (None, _) if !forward.touched => &self.before[name],
                (None, _) => continue,
            };
            if runs != want {
                return Err(format!("{outcome:?}: {name} runs {runs:?}, and should run {want:?}"));
            }
        }
        self.check_verdicts()?;
        match outcome {
            Outcome::RolledBack => self.check_all_well(Direction::Back),
            Outcome::Succeeded => self.check_all_well(Direction::Forward),
            _ => Ok(()),
        }
    }

    /// Whether every target went that way, or was not to.
    fn check_all_well(&self, direction: Direction) -> Checked {
        let well = [TaskState::Succeeded, TaskState::Skipped, TaskState::Excluded];
        let state = |it: &HostName| self.live().task(it, direction).map(|it| it.state);
        let is_well = |it: &HostName| state(it).is_some_and(|it| well.contains(&it));
        match self.plan.targets().find(|it| !is_well(&it.host.name)) {
            Some(target) => Err(format!("it ended well, and not so did {}", target.host.name)),
            None => Ok(()),
        }
    }

    /// What a host keeps the journal has told it to keep before, and the host did not wait for longer than it may.
    pub(super) fn check_kept(&self, name: &HostName, generation: Seq, waited: u64) -> Checked {
        let told = |event: &Event| matches!(event, Event::AttemptConfirmed { host, generation: of } if host == name && *of == generation);
        if !self.journal.iter().any(|it| told(&it.event)) {
            return Err(format!(
                "{name} keeps attempt {generation}, and the journal does not say so"
            ));
        }
        let most = self.plan.strategy.health.confirm_timeout.unwrap_or_default();
        if Duration::from_millis(waited) > most {
            return Err(format!("{name} keeps attempt {generation} after {waited} ms"));
        }
        Ok(())
    }

    /// Each attempt has at most one verdict, and what succeeded was kept where that has to be said.
    fn check_verdicts(&self) -> Checked {
        let waits = self.plan.strategy.health.confirm_timeout.is_some();
        for (name, host) in &self.hosts {
            let kept = host.kept.iter().map(|it| it.0);
            let mut verdicts: Vec<Seq> = kept.chain(host.reverts.iter().copied()).collect();
            verdicts.sort_unstable();
            if let Some(two) = verdicts.windows(2).find(|it| it[0] == it[1]) {
                return Err(format!("{name} has two verdicts on attempt {}", two[0]));
            }
            let ends = self.journal.iter().filter_map(|record| match &record.event {
                Event::AttemptEnded { host, generation, end, .. } if host == name => {
                    Some((*generation, end))
                }
                _ => None,
            });
            for (generation, end) in ends {
                if *end == AttemptEnd::Succeeded && host.reverts.contains(&generation) {
                    return Err(format!(
                        "attempt {generation} of {name} succeeded, and {name} went back"
                    ));
                }
            }
            if !waits && !verdicts.is_empty() {
                return Err(format!("{name} has a verdict that nobody asked for"));
            }
            if let Some(generation) = host.unasked().find(|_| waits) {
                return Err(format!("{name} keeps attempt {generation}, and was not told to"));
            }
        }
        Ok(())
    }

    /// What ran on hosts is what the journal asked for, and what must not run twice did not.
    pub(super) fn check_executions(&self) -> Checked {
        for (name, host) in &self.hosts {
            let mut runs: BTreeMap<(Direction, StepName), u32> = BTreeMap::new();
            let mut seen = BTreeSet::new();
            for (generation, direction, step) in &host.executions {
                if self.checker.starts.get(generation) != Some(name) {
                    return Err(format!(
                        "{name} ran attempt {generation}, which the journal does not know"
                    ));
                }
                if !seen.insert((*generation, *step)) {
                    return Err(format!("{name} ran {step} twice in attempt {generation}"));
                }
                *runs.entry((*direction, *step)).or_default() += 1;
            }
            for ((direction, step), count) in runs {
                let allowed = 1 + self.reasons_to_repeat(name, direction, step);
                if count > allowed {
                    return Err(format!(
                        "{name} ran {step} {count} times, and {allowed} were allowed"
                    ));
                }
            }
        }
        Ok(())
    }

    /// How often a step that may have run was let run again, for a reason that the journal has.
    fn reasons_to_repeat(&self, name: &HostName, direction: Direction, step: StepName) -> u32 {
        let target = self.plan.targets().find(|it| it.host.name == *name).unwrap();
        let moved = self.plan.movement(target, direction).unwrap();
        let effect = moved.steps().find(|it| it.name == step).map(|it| it.effect);
        let reasons = self.journal.iter().filter(|record| match &record.event {
            Event::TargetRetried { host, .. } => host == name,
            Event::AttemptEnded { host, end, .. } if host == name => match end {
                AttemptEnd::Failed { step: Some(at), .. } | AttemptEnd::TimedOut { step: at } => {
                    *at == step
                }
                AttemptEnd::ResolvedNotDone { step: at } => {
                    *at == step && effect.is_some_and(|it| it != StepEffect::Once)
                }
                _ => false,
            },
            _ => false,
        });
        u32::try_from(reasons.count()).unwrap()
    }
}
