//! What may be wrong with the way to somebody.
use super::Endpoint;
use crate::schedule::Failure;
use std::time::Duration;

/// Why something could not be had from somebody.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LinkError {
    /// There is no connection, or it broke.
    #[error("{} at {} cannot be reached: {why}", .to.name, .to.address)]
    Unreachable {
        /// Who.
        to: Endpoint,
        /// Why.
        why: String,
    },
    /// Somebody else is there.
    #[error("whoever is at {} is not {}", .to.address, .to.name)]
    SomebodyElse {
        /// Who should be there.
        to: Endpoint,
    },
    /// Nothing came for too long.
    #[error("nothing came from {} at {} for {} ms", .to.name, .to.address, .after.as_millis())]
    Stalled {
        /// Who.
        to: Endpoint,
        /// How long.
        after: Duration,
    },
    /// It does not give it.
    #[error("{} at {} answers {status}: {why}", .to.name, .to.address)]
    Refused {
        /// Who.
        to: Endpoint,
        /// The status of its answer.
        status: u16,
        /// What it says.
        why: String,
    },
    /// A block takes too long, though something comes of it now and then.
    #[error("{} at {} has not sent a block in {} ms", .to.name, .to.address, .after.as_millis())]
    TooSlow {
        /// Who.
        to: Endpoint,
        /// How long it took.
        after: Duration,
    },
    /// What came cannot be right, whatever it should be.
    #[error("what {} at {} sends is not what was asked for", .to.name, .to.address)]
    Wrong {
        /// Who.
        to: Endpoint,
    },
}

impl LinkError {
    /// What a scheduler is told.
    #[must_use]
    pub const fn failure(&self) -> Failure {
        match self {
            Self::Unreachable { .. } | Self::SomebodyElse { .. } => Failure::Unreachable,
            Self::Stalled { .. } | Self::TooSlow { .. } => Failure::Stalled,
            Self::Refused { status: 404, .. } => Failure::Missing,
            Self::Refused { .. } => Failure::Busy,
            Self::Wrong { .. } => Failure::Corrupt,
        }
    }
}
