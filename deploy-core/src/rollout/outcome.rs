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
