use super::Event;
use crate::{
    id::{RolloutId, Seq},
    time::Timestamp,
};
use serde::{Deserialize, Serialize};

/// An event, its place in the journal, and when it was decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Record {
    /// The version of this format.
    pub format: u32,
    /// Where in its stream.
    pub seq: Seq,
    /// When.
    pub at: Timestamp,
    /// Of which rollout.
    pub rollout: RolloutId,
    /// What.
    pub event: Event,
}

/// Why a record cannot be taken in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("record {seq} cannot follow the ones before it: {reason}")]
pub struct RecordError {
    pub(super) seq: Seq,
    pub(super) reason: &'static str,
}

impl Record {
    /// `event` of `rollout`, decided at `at`, to stand at `seq`.
    #[must_use]
    pub const fn new(seq: Seq, at: Timestamp, rollout: RolloutId, event: Event) -> Self {
        Self { format: event.format(), seq, at, rollout, event }
    }

    /// Whether it begins a rollout.
    #[must_use]
    pub const fn is_first(&self) -> bool {
        matches!(self.event, Event::Accepted { .. })
    }

    /// Whether it ends a rollout.
    #[must_use]
    pub const fn is_last(&self) -> bool {
        matches!(self.event, Event::Finished { .. })
    }
}
