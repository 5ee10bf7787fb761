//! How a rollout is to go.
use super::{FailureBudget, Limit, Schedule, Waves};
use crate::id::LabelKey;
use serde::{Deserialize, Serialize};
use std::{num::NonZeroU32, time::Duration};

/// After which waves a person has to let the rest go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::exhaustive_enums, reason = "the machine must handle each")]
pub enum Confirm {
    /// After the first.
    AfterFirst,
    /// After every one but the last.
    EveryWave,
    /// After none.
    #[default]
    Never,
}

/// What happens when the failure budget is used up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::exhaustive_enums, reason = "the machine must handle each")]
pub enum OnFailure {
    /// Nothing more starts, and the rollout ends where it is.
    Abort,
    /// Nothing more starts until a person decides.
    #[default]
    Pause,
    /// Every host that was touched goes back to its own previous release.
    Rollback,
}

/// How targets follow one another.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::exhaustive_enums, reason = "the planner must handle each")]
pub enum Order {
    /// One value of these labels after another: `zone=a` whole, then `zone=b`.
    Group(Vec<LabelKey>),
    /// By host name.
    #[default]
    Name,
    /// Dealt out evenly over the values of these labels, so that the first targets cover every one of them.
    Spread(Vec<LabelKey>),
}

/// What counts as healthy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Health {
    /// How long `verify` has to pass on end.
    pub min_healthy_time: Duration,
    /// How long a host has to get there, from the first `verify`.
    pub healthy_deadline: Duration,
    /// How often a host is checked while its wave is watched.
    pub check_interval: Duration,
    /// How long a host that is healthy waits to be told to keep the release, before it goes back by itself; `None`: it keeps
    /// the release without being told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirm_timeout: Option<Duration>,
}

impl Default for Health {
    fn default() -> Self {
        Self {
            min_healthy_time: Duration::from_secs(10),
            healthy_deadline: Duration::from_secs(300),
            check_interval: Duration::from_secs(10),
            confirm_timeout: None,
        }
    }
}

/// How often a step is tried again, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Retries {
    /// Tries of one step after the first.
    pub retries: u32,
    /// The wait before the first of them; each further one waits twice as long, and up to a tenth more at random.
    pub backoff: Duration,
    /// The longest wait.
    pub max_backoff: Duration,
}

impl Default for Retries {
    fn default() -> Self {
        Self { retries: 0, backoff: Duration::from_secs(5), max_backoff: Duration::from_secs(300) }
    }
}

/// How hosts get what they are to run ahead of the attempts that need it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Staging {
    /// How many hosts fetch at a time.
    pub max_parallel: NonZeroU32,
    /// How many targets of a wave have to be staged before it begins; a share is rounded up. `None`: a wave waits for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_staged: Option<Limit>,
}

impl Staging {
    /// With `max_parallel` hosts that fetch at a time.
    #[must_use]
    pub const fn new(max_parallel: NonZeroU32) -> Self {
        Self { max_parallel, min_staged: None }
    }

    /// Beginning a wave once so many of its targets are staged.
    #[must_use]
    pub const fn with_min_staged(mut self, min_staged: Limit) -> Self {
        self.min_staged = Some(min_staged);
        self
    }
}

impl Default for Staging {
    /// A hundred hosts at a time: enough to fill a line, and few enough to fit on one control plane.
    fn default() -> Self {
        Self::new(NonZeroU32::new(100).unwrap_or(NonZeroU32::MIN))
    }
}

/// A wait between two starts, so that not all hosts hit a shared resource at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Stagger {
    /// At least this long.
    pub fixed: Duration,
    /// And up to this much longer, at random.
    pub random: Duration,
}

/// How a rollout is to go. `docs/strategy.md` has a table of every field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Strategy {
    /// Barrier groups: all targets of a wave finish before the next wave starts.
    pub waves: Waves,
    /// How many targets of a wave are worked on at a time; `None` is the whole wave.
    pub max_parallel: Option<NonZeroU32>,
    /// Whether hosts fetch what they are to run before their waves begin, and how many at a time; `None`: they do not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub staging: Option<Staging>,
    /// After which waves a person has to let the rest go.
    pub confirm: Confirm,
    /// How long a finished wave is watched.
    pub bake_time: Duration,
    /// What counts as healthy.
    pub health: Health,
    /// How long a running rollout may go without any target succeeding.
    pub progress_deadline: Duration,
    /// How much may go wrong.
    pub failure_budget: FailureBudget,
    /// What happens when more goes wrong.
    pub on_failure: OnFailure,
    /// How often a step is tried again.
    pub retries: Retries,
    /// How targets follow one another.
    pub order: Order,
    /// The wait between two starts.
    pub stagger: Stagger,
    /// When a start is allowed.
    pub schedule: Schedule,
}

impl Strategy {
    /// The defaults: one wave of everything, nothing confirmed, no failure allowed.
    #[must_use]
    pub fn new() -> Self {
        Self {
            waves: Waves::default(),
            max_parallel: None,
            staging: None,
            confirm: Confirm::default(),
            bake_time: Duration::ZERO,
            health: Health::default(),
            progress_deadline: Duration::from_secs(600),
            failure_budget: FailureBudget::default(),
            on_failure: OnFailure::default(),
            retries: Retries::default(),
            order: Order::default(),
            stagger: Stagger::default(),
            schedule: Schedule::default(),
        }
    }
}

impl Default for Strategy {
    fn default() -> Self {
        Self::new()
    }
}
