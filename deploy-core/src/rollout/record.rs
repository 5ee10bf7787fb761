use super::Event;
use crate::{
    id::{RolloutId, Seq},
    plan::FORMAT,
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
    /// Where the record before it is, if that is not just before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    previous: Option<Seq>,
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
        Self { format: event.format(), seq, previous: None, at, rollout, event }
    }

    /// The same, as it stands behind the record at `previous`, or behind none (0), with nothing in between: the positions there
    /// were given up. Only such a record names the one before it; of any other that is the one just before.
    #[must_use]
    pub const fn behind(mut self, previous: Seq) -> Self {
        if previous.get() < self.seq.before().get() {
            self.previous = Some(previous);
            if self.format < FORMAT {
                self.format = FORMAT;
            }
        }
        self
    }

    /// The position of the record before it in its stream; 0 if it is the first.
    #[must_use]
    pub const fn previous(&self) -> Seq {
        match self.previous {
            None => self.seq.before(),
            Some(previous) => previous,
        }
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
