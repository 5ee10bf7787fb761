use super::{AttemptReport, AttemptRequest, HostRequest};
use crate::{
    id::Seq,
    plan::{Move, PlannedRelease},
    spec::{Direction, StepName},
};
use std::time::Duration;

/// What a host does by itself with an attempt that nobody confirms.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Revert {
    /// How long it waits, from the end of the last step on, by a clock that also counts while the host sleeps.
    pub after: Duration,
    /// The release whose descriptor is run.
    pub release: PlannedRelease,
    /// Whether the host is to run `release` afterwards; `false` takes the service off the host.
    pub keeps_release: bool,
}

impl Revert {
    /// Back to `release` unless confirmed within `after`.
    #[must_use]
    pub const fn new(after: Duration, release: PlannedRelease) -> Self {
        Self { after, release, keeps_release: true }
    }

    /// The way back that a plan has for a target.
    #[must_use]
    pub fn of(after: Duration, back: Move<'_>) -> Self {
        Self { keeps_release: back.keeps_release, ..Self::new(after, back.release.clone()) }
    }
}

impl AttemptRequest {
    /// With what its host does by itself unless it is confirmed in time.
    #[must_use]
    pub fn with_revert(mut self, revert: Revert) -> Self {
        self.revert = Some(Box::new(revert));
        self
    }

    /// What the host runs to go back by itself, in the words of an attempt; `None` if it never does.
    #[must_use]
    pub fn way_back(&self) -> Option<Self> {
        let revert = self.revert.as_deref()?;
        Some(Self {
            direction: Direction::Back,
            release: revert.release.clone(),
            keeps_release: revert.keeps_release,
            previous: Some(self.release.clone()),
            first_step: StepName::Fetch,
            revert: None,
            ..self.clone()
        })
    }
}

/// What to confirm.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ConfirmRequest {
    /// Which service on which host.
    pub on: HostRequest,
    /// Which attempt.
    pub generation: Seq,
    /// The attempt's token.
    pub token: String,
}

impl ConfirmRequest {
    /// The attempt `generation` with `token`.
    #[must_use]
    pub const fn new(on: HostRequest, generation: Seq, token: String) -> Self {
        Self { on, generation, token }
    }
}

/// What a host says to a confirmation.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Confirmation {
    /// It keeps what the attempt did, durably: the attempt has succeeded.
    Confirmed,
    /// The attempt has ended otherwise; `Lost` if the host knows nothing of it.
    Ended(AttemptReport),
    /// Its steps are under way, or the host goes back: run it again under the same generation to follow it to its end.
    Running,
}
