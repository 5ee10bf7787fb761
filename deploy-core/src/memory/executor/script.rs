use crate::{
    backend::Resolution,
    id::{HostName, OutputName, ReleaseId},
    spec::StepName,
};
use std::time::Duration;

/// Something that the script of a step does.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "who plays a script must know how to do each")]
pub enum Act {
    /// Makes the release of the attempt the current one of the service, or takes the service off where nothing is to be kept.
    Activate,
    /// Waits until it is let go on, at most for a minute.
    Block,
    /// Ends the script with this code.
    Exit(i32),
    /// Ignores TERM from here on, and all processes it starts later do as well.
    IgnoreTerm,
    /// Leaves a process in a session of its own that lives for a minute, holds no output open, and ends on TERM.
    LeaveDaemon,
    /// Puts a file with these bytes into `$DEPLOY_OUTPUT`.
    Output(OutputName, Vec<u8>),
    /// Writes these bytes to its standard output.
    Print(Vec<u8>),
}

/// What a step does on the hosts of a [`MemoryExecutor`](super::MemoryExecutor).
#[derive(Clone, Debug)]
pub struct Script {
    step: StepName,
    host: Option<HostName>,
    release: Option<ReleaseId>,
    pub(super) acts: Vec<Act>,
    pub(super) takes: Duration,
    pub(super) check: Option<Resolution>,
}

impl Script {
    /// `step` does `acts` one after another, on every host and for every release, and ends with 0.
    #[must_use]
    pub fn new(step: StepName, acts: impl Into<Vec<Act>>) -> Self {
        Self {
            step,
            host: None,
            release: None,
            acts: acts.into(),
            takes: Duration::ZERO,
            check: None,
        }
    }

    /// Only on `host`.
    #[must_use]
    pub fn on_host(mut self, host: HostName) -> Self {
        self.host = Some(host);
        self
    }

    /// Only for `release`.
    #[must_use]
    pub fn of_release(mut self, release: ReleaseId) -> Self {
        self.release = Some(release);
        self
    }

    /// After waiting for `takes`.
    #[must_use]
    pub const fn taking(mut self, takes: Duration) -> Self {
        self.takes = takes;
        self
    }

    /// With a read-only check that says `check`.
    #[must_use]
    pub const fn with_check(mut self, check: Resolution) -> Self {
        self.check = Some(check);
        self
    }

    /// What a step does that nobody has written a script for.
    pub(super) fn standard(step: StepName) -> Self {
        let activates = matches!(step, StepName::Install | StepName::Rollback);
        Self::new(step, if activates { vec![Act::Activate] } else { Vec::new() })
    }

    pub(super) fn is_for(&self, step: StepName, host: &HostName, release: &ReleaseId) -> bool {
        self.step == step
            && self.host.as_ref().is_none_or(|mine| mine == host)
            && self.release.as_ref().is_none_or(|mine| mine == release)
    }
}
