//! When a start is allowed.
mod freeze;
mod recurring;
mod zone;

use crate::time::Timestamp;
use jiff::ToSpan as _;
use serde::{Deserialize, Serialize};
use zone::{instant, timestamp};

pub use freeze::Freeze;
pub use recurring::Window;

/// When a start is allowed. The default is always.
///
/// ```
/// use deploy_core::{spec::Schedule, time::Timestamp};
///
/// let mut schedule = Schedule::default();
/// schedule.windows.push("mon-fri 09:00-17:00 Europe/Berlin".parse()?);
/// let sunday = Timestamp::from_millis(1_795_320_000_000);
/// assert!(!schedule.allows(sunday));
/// assert_eq!(schedule.explain(sunday), "window opens Mon 2026-11-23 09:00 Europe/Berlin");
/// # Ok::<(), deploy_core::spec::ParseWindowError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Schedule {
    /// Allowed in any of these; always if there is none.
    #[serde(default)]
    pub windows: Vec<Window>,
    /// Never in any of these.
    #[serde(default)]
    pub freezes: Vec<Freeze>,
}

/// Why a text is no window and no freeze.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{}` does not say when starts are allowed: {reason}", .input.escape_debug())]
pub struct ParseWindowError {
    input: String,
    reason: &'static str,
}

impl Schedule {
    /// How far [`next_allowed`](Self::next_allowed) looks ahead, in years.
    const HORIZON: i64 = 2;

    /// In any of `windows`, or always if there is none, but in none of `freezes`.
    #[must_use]
    pub const fn new(windows: Vec<Window>, freezes: Vec<Freeze>) -> Self {
        Self { windows, freezes }
    }

    /// Whether a start is allowed at `at`.
    #[must_use]
    pub fn allows(&self, at: Timestamp) -> bool {
        match instant(at) {
            Some(at) => self.frozen_until(at).is_none() && self.is_open(at),
            None => self.is_always(),
        }
    }

    /// The first time from `at` on at which a start is allowed: `at` itself if it is then. `None` if there is none within two
    /// years.
    #[must_use]
    pub fn next_allowed(&self, at: Timestamp) -> Option<Timestamp> {
        if self.allows(at) {
            return Some(at);
        }
        let mut next = instant(at)?;
        let until = next.checked_add((Self::HORIZON * 365 * 24).hours()).ok()?;
        while next < until {
            next = match self.frozen_until(next) {
                Some(end) => end,
                None if self.is_open(next) => return Some(timestamp(next)),
                None => self.windows.iter().filter_map(|it| it.next_open(next, until)).min()?,
            };
        }
        None
    }

    /// What a person who waits for a start at `at` wants to know, such as
    /// `window opens Mon 2026-11-23 09:00 Europe/Berlin`.
    #[must_use]
    pub fn explain(&self, at: Timestamp) -> String {
        if self.allows(at) {
            return "starts are allowed".into();
        }
        let Some(next) = self.next_allowed(at).and_then(instant) else {
            return "no start is allowed within two years".into();
        };
        let ended = self.freezes.iter().find(|it| it.ends() == next);
        let opened = self.windows.iter().find(|it| it.is_open(next));
        match (ended, opened) {
            (Some(freeze), _) => format!("freeze ends {}", freeze.zone().describe(next)),
            (None, Some(window)) => format!("window opens {}", window.zone().describe(next)),
            (None, None) => format!("starts are allowed from {next}"),
        }
    }

    fn is_always(&self) -> bool {
        self.windows.is_empty() && self.freezes.is_empty()
    }

    fn is_open(&self, at: jiff::Timestamp) -> bool {
        self.windows.is_empty() || self.windows.iter().any(|it| it.is_open(at))
    }

    /// The latest end of all freezes that hold at `at`.
    fn frozen_until(&self, at: jiff::Timestamp) -> Option<jiff::Timestamp> {
        self.freezes.iter().filter(|it| it.holds(at)).map(Freeze::ends).max()
    }
}

impl ParseWindowError {
    fn new(input: &str, reason: &'static str) -> Self {
        Self { input: input.chars().take(80).collect(), reason }
    }
}
