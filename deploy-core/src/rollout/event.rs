use super::{AttemptEnd, Outcome, Reason};
use crate::{
    digest::Digest,
    id::{HostName, Principal, Seq},
    plan::{FORMAT, Plan, UNCONFIRMED},
    spec::{Direction, StepName},
    time::Timestamp,
};
use serde::{Deserialize, Serialize};

/// How a person takes a target out of a rollout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::exhaustive_enums, reason = "complete by definition")]
pub enum SkipKind {
    /// For good: it no longer counts in the budget, and is not brought back either.
    Exclude,
    /// It is left as it is; what it did counts.
    Skip,
}

/// A fact. Facts are appended, never changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Event {
    /// Nothing more starts, and the rollout ends once nothing is under way.
    AbortStarted {
        /// Why.
        reason: Reason,
    },
    /// A plan was accepted: the first fact of every rollout.
    Accepted {
        /// What will be done.
        plan: Box<Plan>,
        /// Who wants it.
        by: Principal,
        /// What the request goes by that asked for it, where it may come again.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        request: Option<Digest>,
    },
    /// An attempt has done all its steps, and its host waits to be told to keep what they did.
    AttemptAwaitsConfirm {
        /// On which host.
        host: HostName,
        /// Which attempt.
        generation: Seq,
    },
    /// The host of an attempt is to keep what the attempt did, and is told so from here on. Whether that came in time is for
    /// the host to say: its verdict is how the attempt ends.
    AttemptConfirmed {
        /// On which host.
        host: HostName,
        /// Which attempt.
        generation: Seq,
    },
    /// An attempt has ended. A fact about an older generation than the target's is never written.
    AttemptEnded {
        /// On which host.
        host: HostName,
        /// Which attempt.
        generation: Seq,
        /// How.
        end: AttemptEnd,
        /// When the next try begins; `None` if this was the last.
        retry_at: Option<Timestamp>,
    },
    /// A probe saw that an attempt goes on.
    AttemptFound {
        /// On which host.
        host: HostName,
        /// Which attempt.
        generation: Seq,
    },
    /// An attempt is about to be made. Written before anything is sent; its position is the attempt's generation.
    AttemptStarted {
        /// On which host.
        host: HostName,
        /// Which way.
        direction: Direction,
        /// The first step to run.
        first_step: StepName,
    },
    /// The host of an attempt that is being looked for, or ended, could not be asked. It is asked again.
    AttemptUnanswered {
        /// On which host.
        host: HostName,
        /// Which attempt.
        generation: Seq,
        /// Why.
        reason: String,
    },
    /// Nobody knows what became of an attempt: it has to be probed.
    AttemptUncertain {
        /// On which host.
        host: HostName,
        /// Which attempt.
        generation: Seq,
        /// Why.
        reason: String,
    },
    /// A wave has been watched for long enough.
    BakePassed {
        /// Which, counted from 0.
        wave: u32,
    },
    /// A wave is in place and being watched.
    BakeStarted {
        /// Which, counted from 0.
        wave: u32,
        /// Until when.
        until: Timestamp,
    },
    /// A person let the next wave go.
    Confirmed {
        /// After which wave, counted from 0.
        wave: u32,
        /// Who.
        by: Principal,
    },
    /// A person has to let the next wave go.
    ConfirmRequested {
        /// After which wave, counted from 0.
        wave: u32,
    },
    /// The rollout is over: the last fact of every rollout.
    Finished {
        /// How.
        outcome: Outcome,
    },
    /// Somebody wants an attempt ended.
    KillRequested {
        /// On which host.
        host: HostName,
        /// Which attempt.
        generation: Seq,
        /// Who.
        by: Principal,
    },
    /// Nothing is under way any more: the rollout stands still.
    Paused,
    /// Nothing more starts.
    PauseStarted {
        /// Why.
        reason: Reason,
    },
    /// Starts are allowed again.
    Resumed {
        /// Who.
        by: Principal,
    },
    /// The rollout turns back.
    RollbackStarted {
        /// Why.
        reason: Reason,
    },
    /// A person wants a target tried again.
    TargetRetried {
        /// Which host.
        host: HostName,
        /// Who.
        by: Principal,
    },
    /// Nobody knows whether a step took effect: its own check is to be asked.
    StepUnresolved {
        /// On which host.
        host: HostName,
        /// Of which attempt.
        generation: Seq,
        /// Which step.
        step: StepName,
        /// Why nobody knows.
        reason: String,
    },
    /// A host was healthy all the time its wave was watched.
    TargetHealthy {
        /// Which host.
        host: HostName,
    },
    /// A host could not fetch what it is to run ahead of its attempt. It is not asked to again: its attempt fetches what is
    /// missing.
    TargetNotStaged {
        /// Which host.
        host: HostName,
        /// Why.
        reason: String,
    },
    /// A person took a target out.
    TargetSkipped {
        /// Which host.
        host: HostName,
        /// How.
        kind: SkipKind,
        /// Who.
        by: Principal,
    },
    /// A host has what it is to run, fetched and verified, and runs none of it yet.
    TargetStaged {
        /// Which host.
        host: HostName,
    },
    /// A host got ill while its wave was watched.
    TargetUnhealthy {
        /// Which host.
        host: HostName,
        /// What its check said.
        reason: String,
    },
    /// A wave begins.
    WaveStarted {
        /// Which, counted from 0.
        wave: u32,
    },
}

impl Event {
    /// A stable, lower-case name: the one that records are written with.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::AbortStarted { .. } => "abort_started",
            Self::Accepted { .. } => "accepted",
            Self::AttemptAwaitsConfirm { .. } => "attempt_awaits_confirm",
            Self::AttemptConfirmed { .. } => "attempt_confirmed",
            Self::AttemptEnded { .. } => "attempt_ended",
            Self::AttemptFound { .. } => "attempt_found",
            Self::AttemptStarted { .. } => "attempt_started",
            Self::AttemptUnanswered { .. } => "attempt_unanswered",
            Self::AttemptUncertain { .. } => "attempt_uncertain",
            Self::BakePassed { .. } => "bake_passed",
            Self::BakeStarted { .. } => "bake_started",
            Self::Confirmed { .. } => "confirmed",
            Self::ConfirmRequested { .. } => "confirm_requested",
            Self::Finished { .. } => "finished",
            Self::KillRequested { .. } => "kill_requested",
            Self::Paused => "paused",
            Self::PauseStarted { .. } => "pause_started",
            Self::Resumed { .. } => "resumed",
            Self::RollbackStarted { .. } => "rollback_started",
            Self::TargetRetried { .. } => "target_retried",
            Self::StepUnresolved { .. } => "step_unresolved",
            Self::TargetHealthy { .. } => "target_healthy",
            Self::TargetNotStaged { .. } => "target_not_staged",
            Self::TargetSkipped { .. } => "target_skipped",
            Self::TargetStaged { .. } => "target_staged",
            Self::TargetUnhealthy { .. } => "target_unhealthy",
            Self::WaveStarted { .. } => "wave_started",
        }
    }

    /// The oldest format that has it.
    pub(super) const fn format(&self) -> u32 {
        match self {
            Self::Accepted { plan, .. } => plan.format,
            Self::AttemptAwaitsConfirm { .. }
            | Self::AttemptConfirmed { .. }
            | Self::TargetNotStaged { .. }
            | Self::TargetStaged { .. }
            | Self::AttemptEnded {
                end: AttemptEnd::RevertFailed { .. } | AttemptEnd::SelfReverted { .. },
                ..
            } => FORMAT,
            _ => UNCONFIRMED,
        }
    }

    /// The one host that this is about; `None` if it is about a wave, or the rollout.
    #[must_use]
    pub const fn host(&self) -> Option<&HostName> {
        match self {
            Self::AttemptAwaitsConfirm { host, .. }
            | Self::AttemptConfirmed { host, .. }
            | Self::AttemptEnded { host, .. }
            | Self::AttemptFound { host, .. }
            | Self::AttemptStarted { host, .. }
            | Self::AttemptUnanswered { host, .. }
            | Self::AttemptUncertain { host, .. }
            | Self::KillRequested { host, .. }
            | Self::StepUnresolved { host, .. }
            | Self::TargetHealthy { host }
            | Self::TargetNotStaged { host, .. }
            | Self::TargetRetried { host, .. }
            | Self::TargetSkipped { host, .. }
            | Self::TargetStaged { host }
            | Self::TargetUnhealthy { host, .. } => Some(host),
            Self::AbortStarted { .. }
            | Self::Accepted { .. }
            | Self::BakePassed { .. }
            | Self::BakeStarted { .. }
            | Self::ConfirmRequested { .. }
            | Self::Confirmed { .. }
            | Self::Finished { .. }
            | Self::PauseStarted { .. }
            | Self::Paused
            | Self::Resumed { .. }
            | Self::RollbackStarted { .. }
            | Self::WaveStarted { .. } => None,
        }
    }
}
