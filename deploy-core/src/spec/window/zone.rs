//! Time zones, and the instants at which their clocks show a time.
use super::ParseWindowError;
use crate::time;
use jiff::{
    Timestamp,
    civil::DateTime,
    tz::{AmbiguousOffset, TimeZone, TimeZoneDatabase},
};
use std::{fmt, str::FromStr};

/// A time zone of the IANA database that comes with this program: never that of a machine, which would make the same
/// plan mean different things on different machines.
#[derive(Clone)]
pub(super) struct Zone(TimeZone);

impl Zone {
    pub(super) fn name(&self) -> &str {
        self.0.iana_name().unwrap_or("UTC")
    }

    /// What clocks show at `instant`.
    pub(super) fn clock(&self, instant: Timestamp) -> DateTime {
        self.0.to_datetime(instant)
    }

    /// The first instant after `after` at which clocks are set.
    pub(super) fn next_change(&self, after: Timestamp) -> Option<Timestamp> {
        self.0.following(after).next().map(|it| it.timestamp())
    }

    /// The first instant after `after` at which clocks show `shown`. Where they leap over it, the one that is as long after
    /// the leap as `shown` is after what they showed before it.
    pub(super) fn next_showing(&self, shown: DateTime, after: Timestamp) -> Option<Timestamp> {
        let showing = self.0.to_ambiguous_timestamp(shown);
        [showing.earlier(), showing.later()].into_iter().flatten().find(|it| *it > after)
    }

    /// The first instant at which clocks show `shown` or, having leapt over it, more.
    pub(super) fn first_reaching(&self, shown: DateTime) -> Option<Timestamp> {
        self.reach(shown, |it| it.earlier())
    }

    /// The last instant at which clocks get to `shown` or, leaping over it, to more.
    pub(super) fn last_reaching(&self, shown: DateTime) -> Option<Timestamp> {
        self.reach(shown, |it| it.later())
    }

    fn reach(
        &self,
        shown: DateTime,
        pick: impl FnOnce(jiff::tz::AmbiguousTimestamp) -> Result<Timestamp, jiff::Error>,
    ) -> Option<Timestamp> {
        let showing = self.0.to_ambiguous_timestamp(shown);
        match showing.offset() {
            AmbiguousOffset::Fold { .. } | AmbiguousOffset::Unambiguous { .. } => {
                pick(showing).ok()
            }
            AmbiguousOffset::Gap { .. } => self.next_change(showing.earlier().ok()?),
        }
    }

    /// `instant` as people there write it, such as `Mon 2026-11-23 09:00 Europe/Berlin`.
    pub(super) fn describe(&self, instant: Timestamp) -> String {
        format!("{} {}", self.clock(instant).strftime("%a %Y-%m-%d %H:%M"), self.name())
    }
}

impl FromStr for Zone {
    type Err = ParseWindowError;

    fn from_str(input: &str) -> Result<Self, ParseWindowError> {
        let found = TimeZoneDatabase::bundled().get(input).ok();
        match found.filter(|it| !it.is_unknown()) {
            Some(zone) => Ok(Self(zone)),
            None => Err(ParseWindowError::new(
                input,
                "it is not a time zone of the IANA database, such as `Europe/Berlin` or `UTC`",
            )),
        }
    }
}

/// Zones are the same if they are named the same: others may have the same clock today and another one tomorrow.
impl PartialEq for Zone {
    fn eq(&self, other: &Self) -> bool {
        self.name() == other.name()
    }
}

impl Eq for Zone {}

impl fmt::Debug for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.name(), f)
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// `None` in the far future, for which no clock is known.
pub(super) fn instant(at: time::Timestamp) -> Option<Timestamp> {
    Timestamp::from_millisecond(i64::try_from(at.as_millis()).ok()?).ok()
}

/// Clocks are set on whole seconds, so nothing is lost.
pub(super) fn timestamp(at: Timestamp) -> time::Timestamp {
    time::Timestamp::from_millis(at.as_millisecond().max(0).unsigned_abs())
}
