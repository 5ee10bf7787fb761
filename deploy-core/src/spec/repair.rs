//! What is made good without anybody asking.
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What follows when a host runs something else than the last rollout left on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::exhaustive_enums, reason = "the keeper must handle each")]
pub enum OnDrift {
    /// It is shown.
    #[default]
    Report,
    /// A rollout puts back what should be there.
    Repair,
}

/// What is made good without anybody asking, after a rollout is over. The default is nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Repair {
    /// How long after a rollout its debt is made good: the hosts that it left behind within its failure budget. `None` leaves that
    /// to people.
    #[serde(default)]
    pub debt: Option<Duration>,
    /// What follows on drift.
    #[serde(default)]
    pub drift: OnDrift,
}

impl Repair {
    /// Making debt good for so long.
    #[must_use]
    pub const fn with_debt(mut self, within: Duration) -> Self {
        self.debt = Some(within);
        self
    }

    /// With this following on drift.
    #[must_use]
    pub const fn with_drift(mut self, drift: OnDrift) -> Self {
        self.drift = drift;
        self
    }

    /// Whether anything at all is made good.
    #[must_use]
    pub fn is_wanted(&self) -> bool {
        self.debt.is_some() || self.drift == OnDrift::Repair
    }
}
