//! The units of a descriptor.
use serde::{Deserialize, Serialize};
use std::{fmt, time::Duration};

/// Which way an attempt takes a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::exhaustive_enums, reason = "there is no third way")]
pub enum Direction {
    /// To the release it ran before.
    Back,
    /// To the planned release.
    Forward,
}

impl Direction {
    /// `forward` or `back`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Back => "back",
            Self::Forward => "forward",
        }
    }
}

/// A lifecycle step. The order of the variants is the order in which steps run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum StepName {
    /// Has the package at hand and checked.
    Fetch,
    /// Before the service is taken out of traffic.
    PreStop,
    /// Takes the instance out of traffic.
    Drain,
    /// Ends the running release.
    Stop,
    /// Unpacks the release and makes it current.
    Install,
    /// Stands where `install` does when a host goes back.
    Rollback,
    /// Starts the release.
    Start,
    /// Says whether the release works; read-only, may be repeated.
    Verify,
    /// Puts the instance back into traffic.
    Undrain,
    /// Afterwards.
    Post,
    /// The one step of an ad-hoc run.
    Run,
}

impl StepName {
    /// All of them, in order.
    pub const ALL: [Self; 11] = [
        Self::Fetch,
        Self::PreStop,
        Self::Drain,
        Self::Stop,
        Self::Install,
        Self::Rollback,
        Self::Start,
        Self::Verify,
        Self::Undrain,
        Self::Post,
        Self::Run,
    ];

    /// Its stable, lower-case name, such as `pre_stop`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Drain => "drain",
            Self::Fetch => "fetch",
            Self::Install => "install",
            Self::Post => "post",
            Self::PreStop => "pre_stop",
            Self::Rollback => "rollback",
            Self::Run => "run",
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Undrain => "undrain",
            Self::Verify => "verify",
        }
    }

    /// Whether an attempt in `direction` has this step.
    #[must_use]
    pub const fn runs_in(self, direction: Direction) -> bool {
        match (self, direction) {
            (Self::Install, Direction::Back) | (Self::Rollback, Direction::Forward) => false,
            (
                Self::Drain
                | Self::Fetch
                | Self::Install
                | Self::Post
                | Self::PreStop
                | Self::Rollback
                | Self::Run
                | Self::Start
                | Self::Stop
                | Self::Undrain
                | Self::Verify,
                Direction::Back | Direction::Forward,
            ) => true,
        }
    }
}

impl fmt::Display for StepName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What may follow when nobody knows whether a step took effect.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::exhaustive_enums, reason = "the machine must handle each")]
pub enum Effect {
    /// A read-only script of the descriptor says done, not done or cannot tell.
    Check,
    /// It may simply be run again.
    Idempotent,
    /// It must not be run twice: a person decides.
    #[default]
    Once,
}

/// One unit of a descriptor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Step {
    /// Which.
    pub name: StepName,
    /// How long one run of it may take; then its whole process tree is ended.
    pub timeout: Duration,
    /// What may follow an unknown outcome.
    pub effect: Effect,
}

impl Step {
    /// A step with the default timeout of five minutes that must not run twice. `verify` is idempotent by definition.
    #[must_use]
    pub const fn new(name: StepName) -> Self {
        let effect = match name {
            StepName::Verify => Effect::Idempotent,
            StepName::Drain
            | StepName::Fetch
            | StepName::Install
            | StepName::Post
            | StepName::PreStop
            | StepName::Rollback
            | StepName::Run
            | StepName::Start
            | StepName::Stop
            | StepName::Undrain => Effect::Once,
        };
        Self { name, timeout: Duration::from_secs(300), effect }
    }

    /// With another timeout.
    #[must_use]
    pub const fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// With another effect.
    #[must_use]
    pub const fn with_effect(mut self, effect: Effect) -> Self {
        self.effect = effect;
        self
    }
}
