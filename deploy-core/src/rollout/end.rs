use super::{BudgetColumn, TaskState};
use crate::spec::StepName;
use serde::{Deserialize, Serialize};
use std::fmt;

/// How an attempt ended, as a fact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "how", rename_all = "snake_case")]
#[non_exhaustive]
pub enum AttemptEnd {
    /// A step ended with another code than 0, or the attempt was refused for good before it started.
    Failed {
        /// Which step; `None` if it never started.
        step: Option<StepName>,
        /// The step's exit code, where it has one.
        code: Option<i32>,
        /// What is worth knowing beyond it.
        reason: String,
    },
    /// A kill left processes behind.
    KillFailed {
        /// They, as `PID:NAME`.
        survivors: Vec<String>,
    },
    /// It was killed, and nothing of it is left.
    Killed,
    /// Nobody knows whether `step` took effect, and its descriptor does not say what then.
    Lost {
        /// Which step; `None` if not even that is known.
        step: Option<StepName>,
        /// Why nobody knows.
        reason: String,
    },
    /// The host could not be asked for too long: the attempt may have ended, or go on. The host is asked on.
    NoAnswer {
        /// The step that is in doubt, where that is known.
        step: Option<StepName>,
        /// Why it could not be asked the last time.
        reason: String,
    },
    /// Nobody knew whether `step` took effect, and it turns out that it did: what is left begins after it.
    ResolvedDone {
        /// Which step.
        step: StepName,
    },
    /// Nobody knew whether `step` took effect, and it turns out that it did not, or that this does not matter.
    ResolvedNotDone {
        /// Which step.
        step: StepName,
    },
    /// Its host was not told in time to keep what it did, and could not go back either: a person has to look.
    RevertFailed {
        /// The step of the way back that did not end well; `None` if not even that is known.
        step: Option<StepName>,
        /// The step's exit code, where it has one.
        code: Option<i32>,
        /// What is worth knowing beyond it.
        reason: String,
    },
    /// Its host was not told in time to keep what it did, and runs again what it ran before.
    SelfReverted {
        /// Why the host went back.
        reason: String,
    },
    /// Every step ended with 0, and where the host waits to be told so, it keeps what they did.
    Succeeded,
    /// A step took too long.
    TimedOut {
        /// Which.
        step: StepName,
    },
    /// The host could not be reached, and nothing was started.
    Unreachable {
        /// Why.
        reason: String,
    },
}

impl AttemptEnd {
    /// The step it ended in, where that is known.
    #[must_use]
    pub const fn step(&self) -> Option<StepName> {
        match self {
            Self::Failed { step, .. }
            | Self::Lost { step, .. }
            | Self::NoAnswer { step, .. }
            | Self::RevertFailed { step, .. } => *step,
            Self::ResolvedDone { step }
            | Self::ResolvedNotDone { step }
            | Self::TimedOut { step } => Some(*step),
            Self::KillFailed { .. }
            | Self::Killed
            | Self::SelfReverted { .. }
            | Self::Succeeded
            | Self::Unreachable { .. } => None,
        }
    }

    /// Which column of the failure budget it counts in, if it is the last word on its task.
    pub(super) const fn column(&self) -> Option<BudgetColumn> {
        match self {
            Self::Failed { .. }
            | Self::KillFailed { .. }
            | Self::RevertFailed { .. }
            | Self::SelfReverted { .. } => Some(BudgetColumn::Failed),
            Self::Lost { .. } | Self::NoAnswer { .. } => Some(BudgetColumn::Unknown),
            Self::TimedOut { .. } => Some(BudgetColumn::TimedOut),
            Self::Unreachable { .. } => Some(BudgetColumn::Unreachable),
            Self::Killed
            | Self::ResolvedDone { .. }
            | Self::ResolvedNotDone { .. }
            | Self::Succeeded => None,
        }
    }

    /// Where a task is after an attempt that was its last.
    pub(super) const fn state(&self) -> TaskState {
        match self {
            Self::Failed { .. } | Self::RevertFailed { .. } => TaskState::Failed,
            Self::KillFailed { .. } => TaskState::KillFailed,
            Self::Killed => TaskState::Killed,
            Self::Lost { .. } | Self::NoAnswer { .. } => TaskState::Unknown,
            Self::ResolvedDone { .. } | Self::ResolvedNotDone { .. } | Self::Succeeded => {
                TaskState::Succeeded
            }
            Self::SelfReverted { .. } => TaskState::SelfReverted,
            Self::TimedOut { .. } => TaskState::TimedOut,
            Self::Unreachable { .. } => TaskState::Unreachable,
        }
    }

    /// Whether the host may be another now than before the rollout, if it `was` that before the attempt.
    pub(super) const fn touched(&self, was: bool) -> bool {
        match self {
            Self::SelfReverted { .. } => false,
            Self::Failed { step: None, .. } | Self::Unreachable { .. } => was,
            _ => true,
        }
    }
}

impl fmt::Display for AttemptEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed { step, code, reason } => {
                match step {
                    Some(step) => write!(f, "failed in {step}")?,
                    None => f.write_str("was refused before it began")?,
                }
                details(f, *code, reason)
            }
            Self::KillFailed { survivors } => {
                write!(f, "could not be killed: left are {}", survivors.join(", "))
            }
            Self::Killed => f.write_str("was killed"),
            Self::Lost { step: Some(step), reason } => {
                write!(f, "was lost in {step}, and nobody knows how far it got: {reason}")
            }
            Self::Lost { step: None, reason } => write!(f, "was lost: {reason}"),
            Self::NoAnswer { step: Some(step), reason } => {
                write!(f, "gave no answer for too long about {step}: {reason}")
            }
            Self::NoAnswer { step: None, reason } => {
                write!(f, "gave no answer for too long: {reason}")
            }
            Self::ResolvedDone { step } => write!(f, "was cut in {step}, which turned out done"),
            Self::ResolvedNotDone { step } => {
                write!(f, "was cut in {step}, which may be run again")
            }
            Self::RevertFailed { step, code, reason } => {
                f.write_str("was not confirmed in time, and the host could not go back")?;
                if let Some(step) = step {
                    write!(f, ": it failed in {step}")?;
                }
                details(f, *code, reason)
            }
            Self::SelfReverted { reason } => {
                f.write_str("was not confirmed in time, and the host went back by itself")?;
                details(f, None, reason)
            }
            Self::Succeeded => f.write_str("succeeded"),
            Self::TimedOut { step } => write!(f, "timed out in {step}"),
            Self::Unreachable { reason } => write!(f, "could not reach the host: {reason}"),
        }
    }
}

fn details(f: &mut fmt::Formatter<'_>, code: Option<i32>, reason: &str) -> fmt::Result {
    if let Some(code) = code {
        write!(f, " with code {code}")?;
    }
    if reason.is_empty() { Ok(()) } else { write!(f, ": {reason}") }
}
