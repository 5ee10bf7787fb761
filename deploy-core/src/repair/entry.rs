use crate::{
    id::{HostName, Principal, ReleaseId, RolloutId},
    rollout::{Outcome, TaskState},
    time::Timestamp,
};
use serde::{Deserialize, Serialize};
use std::fmt;

/// What one host is owed, and what becomes of that.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Owed {
    /// Which host.
    pub host: HostName,
    /// Why.
    pub cause: Cause,
    /// What it was last seen to run.
    pub runs: Option<ReleaseId>,
    /// What it should run; `None` is nothing.
    pub should_run: Option<ReleaseId>,
    /// For debt, the end of the rollout; for drift, the newest sight of it.
    pub since: Timestamp,
    /// What becomes of it.
    pub next: Next,
}

/// Why a host is owed something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(tag = "cause", rename_all = "snake_case")]
#[expect(clippy::exhaustive_enums, reason = "complete by definition")]
pub enum Cause {
    /// The rollout ended without it.
    Debt {
        /// Where the rollout left it.
        state: TaskState,
    },
    /// It had what it is owed, and runs something else.
    Drift,
}

impl Cause {
    /// A stable, lower-case name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Debt { .. } => "debt",
            Self::Drift => "drift",
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// When a host gets what it is owed, as far as that hangs on the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "next", rename_all = "snake_case")]
#[expect(clippy::exhaustive_enums, reason = "the keeper must handle each")]
pub enum Next {
    /// Not before this: it was repaired not long ago.
    At {
        /// When.
        at: Timestamp,
    },
    /// As soon as it answers.
    Due,
    /// Not until a person does something.
    Left {
        /// Why.
        why: Left,
    },
}

/// Why a host is left to people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "why", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Left {
    /// The service does not ask for debt to be made good.
    DebtUnwanted,
    /// The selector of the service does not select the host any more.
    Deselected,
    /// The debt has become older than the service allows.
    Expired {
        /// When.
        at: Timestamp,
    },
    /// The service asks for drift to be reported.
    Reported,
    /// A person took the host out of the rollout.
    TakenOut {
        /// Who.
        by: Principal,
    },
}

/// Why nothing of a service is repaired now, whatever its hosts are owed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "hold", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Hold {
    /// A rollout of the service is not over.
    Active {
        /// Which.
        rollout: RolloutId,
    },
    /// A repair ended with hosts that could not be brought back.
    Broken {
        /// Which.
        rollout: RolloutId,
    },
    /// The journal was restored after the newest rollout that it knows, and may have lost a later one.
    Restored {
        /// Which.
        rollout: RolloutId,
    },
    /// A person ended a repair.
    Stopped {
        /// Which.
        rollout: RolloutId,
        /// Who.
        by: Principal,
    },
    /// The last rollout does not say what hosts should run from now on.
    Unsettled {
        /// Which.
        rollout: RolloutId,
        /// How it ended; a rollback may have ended well.
        outcome: Outcome,
    },
    /// No start is allowed now.
    Window {
        /// What a person wants to know about that.
        note: String,
    },
}

impl Hold {
    /// A stable, lower-case name.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Active { .. } => "active",
            Self::Broken { .. } => "broken",
            Self::Restored { .. } => "restored",
            Self::Stopped { .. } => "stopped",
            Self::Unsettled { .. } => "unsettled",
            Self::Window { .. } => "window",
        }
    }

    /// Whether a person can have a repair planned all the same.
    #[must_use]
    pub const fn yields_to_person(&self) -> bool {
        matches!(
            self,
            Self::Broken { .. }
                | Self::Restored { .. }
                | Self::Stopped { .. }
                | Self::Window { .. }
        )
    }
}

impl fmt::Display for Next {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::At { at } => {
                write!(f, "repaired not before {at}: the last repair was not long ago")
            }
            Self::Due => f.write_str("repaired as soon as it answers"),
            Self::Left { why } => why.fmt(f),
        }
    }
}

impl fmt::Display for Left {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DebtUnwanted => {
                f.write_str("the service does not ask for its debt to be made good")
            }
            Self::Deselected => f.write_str("the service does not belong on it any more"),
            Self::Expired { at } => write!(f, "not repaired since {at}: the debt is too old"),
            Self::Reported => f.write_str("the service asks for drift to be reported"),
            Self::TakenOut { by } => write!(f, "{by} took it out of the rollout"),
        }
    }
}

impl fmt::Display for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Active { rollout } => write!(f, "rollout {rollout} is not over"),
            Self::Broken { rollout } => {
                write!(f, "repair {rollout} failed, and somebody has to look")
            }
            Self::Restored { rollout } => {
                write!(
                    f,
                    "a backup was restored since rollout {rollout}: the next one says what hosts run"
                )
            }
            Self::Stopped { rollout, by } => write!(f, "{by} ended repair {rollout}"),
            Self::Unsettled {
                rollout,
                outcome: Outcome::Succeeded | Outcome::SucceededWithDebt,
            } => {
                write!(f, "rollout {rollout} was a rollback: the next release says what hosts run")
            }
            Self::Unsettled { rollout, outcome } => {
                let outcome = outcome.as_str().replace('_', " ");
                write!(f, "rollout {rollout} was {outcome}: the next one says what hosts run")
            }
            Self::Window { note } => f.write_str(note),
        }
    }
}
