use crate::id::Principal;
use serde::{Deserialize, Serialize};

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
    /// Too few hosts of the next wave could fetch what they are to run ahead of it.
    Unstaged {
        /// Of which wave, counted from 0.
        wave: u32,
        /// How many targets of it are not staged.
        missing: u32,
        /// How many may be.
        limit: u32,
    },
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
