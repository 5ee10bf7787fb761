//! Staging: what a host is to run is there before its wave begins.
//!
//! It saves time and decides nothing. A host that could not fetch has not failed, one that could is not ahead of its turn, and
//! whatever an attempt needs and does not find it fetches by itself.
use super::{Event, Reply, Rollout, state::TargetIx};
use crate::spec::Direction;

impl Rollout {
    /// How many hosts may fetch at a time, now. None does while starts are held back: whoever pauses wants the line free.
    pub(super) fn staging_limit(&self) -> usize {
        let goes_on =
            self.direction == Direction::Forward && !self.is_held() && self.aborting.is_none();
        let staging = self.plan().strategy.staging.filter(|_| goes_on);
        staging.map_or(0, |it| usize::try_from(it.max_parallel.get()).unwrap_or(usize::MAX))
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
