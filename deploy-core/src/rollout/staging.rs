//! Staging: what a host is to run is there before its wave begins.
//!
//! It saves time and decides nothing. A host that could not fetch has not failed, one that could is not ahead of its turn, and
//! whatever an attempt needs and does not find it fetches by itself.
use super::{Event, Reply, Rollout, state::TargetIx};
use crate::spec::{Direction, Limit};

/// Too few targets of a wave are staged.
pub(super) struct Unstaged {
    /// So many are not.
    pub(super) missing: u32,
    /// So many may be.
    pub(super) limit: u32,
    /// Whether some of their hosts fetch, or are still to.
    pub(super) may_come: bool,
}

impl Rollout {
    /// How many hosts may fetch at a time, now. None does while starts are held back: whoever pauses wants the line free.
    pub(super) fn staging_limit(&self) -> usize {
        let goes_on =
            self.direction == Direction::Forward && !self.is_held() && self.aborting.is_none();
        let staging = self.plan().strategy.staging.filter(|_| goes_on);
        staging.map_or(0, |it| usize::try_from(it.max_parallel.get()).unwrap_or(usize::MAX))
    }

    /// How many targets of a wave have to be staged before it begins, if the strategy says so.
    pub(super) fn min_staged(&self) -> Option<Limit> {
        self.plan().strategy.staging?.min_staged
    }

    /// What a wave waits for before it begins, if too few of its targets are staged.
    pub(super) fn unstaged_in(&self, wave: u32) -> Option<Unstaged> {
        let min_staged = self.min_staged().filter(|_| self.unstaged_allowed != Some(wave))?;
        let missing = self.unready.get(&wave).copied().unwrap_or(0);
        let size = u32::try_from(self.frame.wave(wave).len()).unwrap_or(u32::MAX);
        let limit = size.saturating_sub(min_staged.needed_of(size));
        (missing > limit).then(|| {
            let targets = || self.frame.wave(wave);
            let fetches = self.staging.range(targets()).chain(self.unstaged.range(targets()));
            Unstaged { missing, limit, may_come: fetches.into_iter().next().is_some() }
        })
    }

    /// What it means that a host has fetched, or could not. From one that is no longer asked to it means nothing.
    pub(super) fn staging_replied(&self, ix: TargetIx, reply: &Reply) -> Option<Event> {
        let host = self.staging.get(&ix).and_then(|ix| self.name(*ix))?.clone();
        match reply {
            Reply::NotStaged { reason } => {
                Some(Event::TargetNotStaged { host, reason: reason.clone() })
            }
            Reply::Staged => Some(Event::TargetStaged { host }),
            _ => None,
        }
    }
}
