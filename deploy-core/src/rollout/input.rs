use super::{AttemptEnd, SkipKind};
use crate::{
    id::{HostName, Principal, Seq},
    spec::StepName,
};

/// What an effect came back with.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reply {
    /// The attempt has done all its steps, and its host waits to be told to keep what they did.
    AwaitsConfirm,
    /// The attempt has ended. From a run, a probe, or a kill that came too late.
    Ended(AttemptEnd),
    /// The host was healthy all the time its wave was watched.
    Healthy,
    /// The attempt never started, and never will.
    NeverStarted,
    /// The host could not fetch what it is to run.
    NotStaged {
        /// Why.
        reason: String,
    },
    /// The check of a step whose outcome nobody knew cannot tell either.
    CannotTell,
    /// The host has what it is to run, fetched and verified.
    Staged,
    /// The attempt is under way: its steps, or its host's way back.
    StillRunning,
    /// The host got ill.
    Unhealthy {
        /// What its check said.
        reason: String,
    },
    /// The effect may or may not have taken place.
    Unknown {
        /// Why nobody knows.
        reason: String,
    },
}

/// Something happened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Input {
    /// Somebody wants it ended where it is; with `kill`, what is under way is ended as well.
    Abort {
        /// Who.
        by: Principal,
        /// What they said.
        note: String,
        /// Whether running attempts are killed.
        kill: bool,
    },
    /// Somebody lets the next wave go.
    Confirm {
        /// Who.
        by: Principal,
    },
    /// Somebody wants the attempt on a host ended.
    Kill {
        /// Which host.
        host: HostName,
        /// Who.
        by: Principal,
    },
    /// Somebody wants nothing more to start.
    Pause {
        /// Who.
        by: Principal,
        /// What they said.
        note: String,
    },
    /// An effect came back. One about an older generation than the target's means nothing.
    Replied {
        /// On which host.
        host: HostName,
        /// Of which attempt.
        generation: Seq,
        /// With what.
        reply: Reply,
    },
    /// Somebody wants starts again.
    Resume {
        /// Who.
        by: Principal,
    },
    /// Somebody wants a target tried again, or (`None`) all that failed.
    Retry {
        /// Which host.
        host: Option<HostName>,
        /// Who.
        by: Principal,
    },
    /// Somebody wants every touched host back on its previous release.
    Rollback {
        /// Who.
        by: Principal,
        /// What they said.
        note: String,
    },
    /// Somebody takes a target out.
    Skip {
        /// Which host.
        host: HostName,
        /// How.
        kind: SkipKind,
        /// Who.
        by: Principal,
    },
    /// Time has passed, or the engine has just started.
    Tick,
}

impl Input {
    /// The step an `Ended` reply is about, if it is about one.
    #[must_use]
    pub const fn step(&self) -> Option<StepName> {
        match self {
            Self::Replied { reply: Reply::Ended(end), .. } => end.step(),
            _ => None,
        }
    }
}
