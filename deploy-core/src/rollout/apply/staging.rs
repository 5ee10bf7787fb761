//! What facts about staging do: hosts fetch what they are to run, so many at a time, while nothing holds the rollout back.
use super::{Applied, Touched};
use crate::{
    id::HostName,
    rollout::{
        Reason, Rollout, TaskState,
        state::{Hold, TargetIx},
    },
    spec::Direction,
    time::Timestamp,
};
use std::collections::{BTreeMap, BTreeSet};

impl Rollout {
    /// Every target that is to run something wants it on its host.
    pub(in crate::rollout) fn begin_staging(&mut self, at: Timestamp) {
        if self.plan().strategy.staging.is_some() {
            let targets = (0..).zip(self.plan().targets());
            self.unstaged = targets.filter(|(_, it)| it.to.is_some()).map(|(ix, _)| ix).collect();
            self.count_unready();
            self.stage_more(at);
        }
    }

    fn count_unready(&mut self) {
        if self.min_staged().is_none() {
            return;
        }
        let mut unready = BTreeMap::new();
        for ix in &self.unstaged {
            *unready.entry(self.frame.wave_of(*ix)).or_default() += 1;
        }
        self.unready = unready;
    }

    /// Keeps count of the targets that a wave may wait for.
    pub(super) fn weigh_staged(&mut self, ix: TargetIx, old: TaskState, new: TaskState) {
        let is_unready = |it| matches!(it, TaskState::Pending | TaskState::Staging);
        if self.unready.is_empty() || is_unready(old) == is_unready(new) {
            return;
        }
        let runs = self.frame.target(ix).is_some_and(|it| it.to.is_some());
        let count = self.unready.get_mut(&self.frame.wave_of(ix)).filter(|_| runs);
        if let Some(count) = count {
            *count =
                if is_unready(new) { count.saturating_add(1) } else { count.saturating_sub(1) };
        }
    }

    /// Whoever resumes a rollout that waits for hosts of a wave in vain has the wave begin without them.
    pub(super) fn allow_unstaged(&mut self) {
        if let Hold::Paused(Reason::Unstaged { wave, .. })
        | Hold::Pausing(Reason::Unstaged { wave, .. }) = &self.hold
        {
            self.unstaged_allowed = Some(*wave);
        }
    }

    /// Has as many hosts fetch as may, and says which of them begin to: the targets that start first come first.
    pub(super) fn stage_more(&mut self, at: Timestamp) -> BTreeSet<TargetIx> {
        let mut begun = BTreeSet::new();
        while self.staging.len() < self.staging_limit()
            && let Some(ix) = self.unstaged.pop_first()
        {
            self.staging.insert(ix);
            begun.insert(ix);
            let _target = self.set(Direction::Forward, ix, TaskState::Staging, at);
        }
        begun
    }

    /// Leaves hosts alone that fetch; what they have by then they need not fetch again.
    pub(super) fn stop_staging(&mut self, at: Timestamp) -> BTreeSet<TargetIx> {
        let stopped = std::mem::take(&mut self.staging);
        for ix in &stopped {
            let _target = self.set(Direction::Forward, *ix, TaskState::Pending, at);
        }
        self.unstaged.extend(&stopped);
        stopped
    }

    /// A target needs its host to fetch nothing in advance any more: others get its place.
    pub(super) fn leave_unstaged(&mut self, ix: TargetIx, at: Timestamp) -> BTreeSet<TargetIx> {
        self.unstaged.remove(&ix);
        if !self.staging.remove(&ix) {
            return BTreeSet::new();
        }
        let mut touched = self.stage_more(at);
        touched.insert(ix);
        touched
    }

    /// A target that was taken out before its wave is back.
    pub(super) fn stage_again(&mut self, ix: TargetIx, at: Timestamp) -> BTreeSet<TargetIx> {
        let untouched = self.slot(Direction::Forward, ix).is_some_and(|it| it.attempts == 0);
        let runs = self.frame.target(ix).is_some_and(|it| it.to.is_some());
        if untouched && runs && self.plan().strategy.staging.is_some() {
            self.unstaged.insert(ix);
        }
        self.stage_more(at)
    }

    pub(super) fn staged(&mut self, host: &HostName, at: Timestamp) -> Applied {
        self.end_staging(host, TaskState::Staged, at)
    }

    pub(super) fn fail_to_stage(
        &mut self,
        host: &HostName,
        reason: &str,
        at: Timestamp,
    ) -> Applied {
        let touched = self.end_staging(host, TaskState::Pending, at)?;
        let ix = self.find(host)?;
        self.edit(Direction::Forward, ix)?.not_staged = Some(reason.into());
        Ok(touched)
    }

    fn end_staging(&mut self, host: &HostName, state: TaskState, at: Timestamp) -> Applied {
        let ix = self.find(host)?;
        if !self.staging.remove(&ix) {
            return Err("the host was not asked to fetch anything in advance");
        }
        self.set(Direction::Forward, ix, state, at)?;
        self.edit(Direction::Forward, ix)?.not_staged = None;
        Ok(Touched::of(self.stage_more(at)).and(ix))
    }
}
