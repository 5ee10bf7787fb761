use super::AttemptEnd;
use crate::{
    id::{HostName, Principal, RolloutId, Seq},
    plan::{FORMAT, Plan, UNCONFIRMED},
    spec::{Direction, StepName},
    time::Timestamp,
};
use serde::{Deserialize, Serialize};

/// How a rollout ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Outcome {
    /// It was stopped where it was.
    Aborted,
    /// It turned back, and some host could not be brought back: a person has to look.
    Failed,
    /// Every host that was touched runs what it ran before, or was taken out of the rollout by a person.
    RolledBack,
    /// Every target runs the release, or was taken out of the rollout by a person.
    Succeeded,
    /// As `Succeeded`, but for targets whose failures the budget allowed.
    SucceededWithDebt,
}

impl Outcome {
    /// A stable, lower-case name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Aborted => "aborted",
            Self::Failed => "failed",
            Self::RolledBack => "rolled_back",
            Self::Succeeded => "succeeded",
            Self::SucceededWithDebt => "succeeded_with_debt",
        }
    }
}

/// Why a rollout pauses, turns back or is aborted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "why", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Reason {
    /// More went wrong than the budget allows.
    Budget {
        /// Which column.
        column: BudgetColumn,
        /// Over what.
        scope: BudgetScope,
        /// How many there are.
        count: u32,
        /// How many were allowed.
        limit: u32,
    },
    /// A person or a program asked for it.
    Operator {
        /// Who.
        by: Principal,
        /// What they said; may be empty.
        note: String,
    },
    /// No target succeeded for too long.
    ProgressDeadline,
}

/// What the failure budget counts apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum BudgetColumn {
    /// Any failure, one after another.
    Consecutive,
    /// Steps that failed, kills that did not, and hosts that got ill while their wave was watched.
    Failed,
    /// Steps that took too long.
    TimedOut,
    /// Outcomes nobody knows.
    Unknown,
    /// Hosts that could not be reached.
    Unreachable,
}

impl BudgetColumn {
    /// A stable, lower-case name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Consecutive => "consecutive",
            Self::Failed => "failed",
            Self::TimedOut => "timed_out",
            Self::Unknown => "unknown",
            Self::Unreachable => "unreachable",
        }
    }
}

/// Over what a budget is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::exhaustive_enums, reason = "complete by definition")]
pub enum BudgetScope {
    /// All of the rollout.
    Rollout,
    /// This wave, counted from 0.
    Wave(u32),
}

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
    const fn format(&self) -> u32 {
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
