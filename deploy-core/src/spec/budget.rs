//! How much may go wrong before a rollout stops.
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// A number of targets, or a share of them.
///
/// ```
/// use deploy_core::spec::Limit;
///
/// let limit: Limit = "10%".parse()?;
/// assert_eq!(limit.of(25), 2); // a share is rounded down: never more than was allowed
/// assert_eq!("3".parse::<Limit>()?.of(25), 3);
/// # Ok::<(), deploy_core::spec::ParseLimitError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
#[expect(clippy::exhaustive_enums, reason = "complete by definition")]
pub enum Limit {
    /// That many.
    Count(u32),
    /// That many of a hundred.
    Percent(u8),
}

/// Why a string is not a limit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is not a limit: it must be a number such as `3`, or a share such as `10%`", .input.escape_debug())]
pub struct ParseLimitError {
    input: String,
}

impl Limit {
    /// How many of `total` this is; a share is rounded down.
    #[must_use]
    pub fn of(self, total: u32) -> u32 {
        match self {
            Self::Count(count) => count,
            Self::Percent(percent) => {
                u32::try_from(u64::from(total) * u64::from(percent) / 100).unwrap_or(u32::MAX)
            }
        }
    }

    /// How many of `total` it takes to have this; a share is rounded up, and never more than all.
    #[must_use]
    pub fn needed_of(self, total: u32) -> u32 {
        match self {
            Self::Count(count) => count.min(total),
            Self::Percent(percent) => {
                let needed = (u64::from(total) * u64::from(percent)).div_ceil(100);
                u32::try_from(needed).unwrap_or(u32::MAX)
            }
        }
    }
}

impl Default for Limit {
    fn default() -> Self {
        Self::Count(0)
    }
}

impl FromStr for Limit {
    type Err = ParseLimitError;

    fn from_str(input: &str) -> Result<Self, ParseLimitError> {
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let parsed = match input.strip_suffix('%') {
            Some(share) if digits(share) => {
                share.parse().ok().filter(|it| *it <= 100).map(Self::Percent)
            }
            None if digits(input) => input.parse().ok().map(Self::Count),
            Some(_) | None => None,
        };
        parsed.ok_or_else(|| ParseLimitError { input: input.chars().take(80).collect() })
    }
}

impl TryFrom<String> for Limit {
    type Error = ParseLimitError;

    fn try_from(input: String) -> Result<Self, ParseLimitError> {
        input.parse()
    }
}

impl From<Limit> for String {
    fn from(limit: Limit) -> Self {
        limit.to_string()
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => write!(f, "{count}"),
            Self::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

/// How many targets may end in each way, counted apart. One more than that stops the rollout.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Budget {
    /// Whose steps failed.
    pub max_failed: Limit,
    /// That could not be reached.
    pub max_unreachable: Limit,
    /// Whose steps took too long, or that did not get healthy in time.
    pub max_timed_out: Limit,
    /// That failed in any of these ways one after another.
    pub max_consecutive: Option<Limit>,
    /// Whose outcome nobody knows.
    pub max_unknown: Limit,
}

/// The budget of a rollout: over all of it, and over each wave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct FailureBudget {
    /// Over the rollout; shares are of all targets.
    pub rollout: Budget,
    /// Over each wave, if that is limited apart; shares are of the targets of the wave.
    pub wave: Option<Budget>,
}
