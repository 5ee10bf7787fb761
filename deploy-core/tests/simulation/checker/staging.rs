//! What has to be true of hosts that fetch ahead of their attempts, and of waves that wait for them.
use super::{Checked, Checker, Hold, Last};
use deploy_core::{
    id::HostName,
    rollout::{Event, Reason},
    spec::Direction,
};
use std::collections::BTreeSet;

/// What came of it.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    staged: BTreeSet<HostName>,
    /// Those that answered that they could not.
    could_not: BTreeSet<HostName>,
    /// The wave that the rollout is paused for.
    waited_for: Option<u32>,
    /// The waves that somebody let begin all the same.
    allowed: BTreeSet<u32>,
}

impl Ahead {
    pub(super) fn see(&mut self, event: &Event) {
        match event {
            Event::TargetStaged { host } => {
                self.staged.insert(host.clone());
            }
            Event::TargetNotStaged { host, .. } => {
                self.could_not.insert(host.clone());
            }
            Event::TargetRetried { host, .. } => {
                self.staged.remove(host);
                self.could_not.remove(host);
            }
            Event::PauseStarted { reason: Reason::Unstaged { wave, .. } } => {
                self.waited_for = Some(*wave);
            }
            Event::PauseStarted { .. } => self.waited_for = None,
            Event::Resumed { .. } => self.allowed.extend(self.waited_for.take()),
            _ => {}
        }
    }
}

impl Checker {
    /// Only hosts whose attempts are still to come fetch, and only while the rollout goes forward.
    pub(crate) fn may_stage(&self, host: &HostName) -> Checked {
        let held = self.hold != Hold::None || self.aborting || self.direction == Direction::Back;
        if held || self.plan.strategy.staging.is_none() {
            return Err(format!("{host} fetches while nobody wants it to"));
        }
        let started = self.starts.values().any(|it| it == host);
        let last = self.last.get(&(Direction::Forward, host.clone()));
        if started || last != Some(&Last::Open) {
            return Err(format!("{host} fetches, and its attempt is not still to come"));
        }
        Ok(())
    }

    /// A wave begins once enough of its hosts have fetched, or somebody has let it.
    pub(super) fn enough_staged(&self, wave: u32) -> Checked {
        let (missing, limit) = self.unready(wave);
        let allowed = self.ahead.allowed.contains(&wave);
        if allowed || missing.len() <= limit {
            return Ok(());
        }
        Err(format!(
            "wave {wave} began, {} of its hosts had not fetched, and {limit} may",
            missing.len()
        ))
    }

    /// The rollout stands still for a wave only when nobody of it is still to answer.
    pub(super) fn pauses(&self, reason: &Reason) -> Checked {
        let Reason::Unstaged { wave, .. } = reason else { return Ok(()) };
        let (missing, limit) = self.unready(*wave);
        match missing.iter().find(|it| !self.ahead.could_not.contains(*it)) {
            Some(host) => Err(format!("it paused before {host} had answered")),
            None if missing.len() <= limit => Err("it paused for want of nobody".to_owned()),
            None => Ok(()),
        }
    }

    /// The hosts of a wave that have not fetched, and how many may be so when it begins.
    fn unready(&self, wave: u32) -> (Vec<HostName>, usize) {
        let size = self.wave_of.values().filter(|it| **it == wave).count();
        let min_staged = self.plan.strategy.staging.and_then(|it| it.min_staged);
        let Some(min_staged) = min_staged else { return (Vec::new(), 0) };
        let runs = self.plan.targets().filter(|it| it.to.is_some()).map(|it| &it.host.name);
        let open = |it: &&HostName| {
            self.wave_of.get(*it) == Some(&wave)
                && self.last.get(&(Direction::Forward, (*it).clone())) == Some(&Last::Open)
                && !self.ahead.staged.contains(*it)
        };
        let needed = min_staged.needed_of(u32::try_from(size).unwrap()) as usize;
        (runs.filter(open).cloned().collect(), size - needed)
    }
}
