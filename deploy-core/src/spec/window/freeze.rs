//! Times in which nothing may start.
use super::{ParseWindowError, zone::Zone};
use jiff::{Timestamp, civil::DateTime};
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// A time in which nothing may start, such as `2026-12-20T00:00 .. 2027-01-02T00:00 Europe/Berlin`.
///
/// It begins when clocks in its zone first show its begin, and ends when they last come to show its end. Where they leap over
/// one of these, the leap is it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Freeze {
    from: DateTime,
    to: DateTime,
    zone: Zone,
    begins: Timestamp,
    ends: Timestamp,
}

impl Freeze {
    pub(super) const fn zone(&self) -> &Zone {
        &self.zone
    }

    pub(super) fn holds(&self, at: Timestamp) -> bool {
        self.begins <= at && at < self.ends
    }

    pub(super) const fn ends(&self) -> Timestamp {
        self.ends
    }
}

impl FromStr for Freeze {
    type Err = ParseWindowError;

    fn from_str(input: &str) -> Result<Self, ParseWindowError> {
        let refuse = |reason| ParseWindowError::new(input, reason);
        let parts: Vec<&str> = input.split_whitespace().collect();
        let [from, "..", to, zone] = parts.as_slice() else {
            return Err(refuse(
                "it must be like `2026-12-20T00:00 .. 2027-01-02T00:00 Europe/Berlin`",
            ));
        };
        let zone: Zone = zone.parse()?;
        let (Some(from), Some(to)) = (civil(from), civil(to)) else {
            return Err(refuse("its begin and its end must be like `2026-12-20T00:00`"));
        };
        let (Some(begins), Some(ends)) = (zone.first_reaching(from), zone.last_reaching(to)) else {
            return Err(refuse("it is too far away"));
        };
        if begins >= ends {
            return Err(refuse("it ends before it begins"));
        }
        Ok(Self { from, to, zone, begins, ends })
    }
}

/// Reads `YYYY-MM-DDTHH:MM` and nothing else.
fn civil(text: &str) -> Option<DateTime> {
    let like = "dddd-dd-ddTdd:dd";
    let fits = |(found, wanted): (u8, u8)| match wanted {
        b'd' => found.is_ascii_digit(),
        wanted => found == wanted,
    };
    let valid = text.len() == like.len() && text.bytes().zip(like.bytes()).all(fits);
    text.parse().ok().filter(|_| valid)
}

impl TryFrom<String> for Freeze {
    type Error = ParseWindowError;

    fn try_from(input: String) -> Result<Self, ParseWindowError> {
        input.parse()
    }
}

impl From<Freeze> for String {
    fn from(freeze: Freeze) -> Self {
        freeze.to_string()
    }
}

impl fmt::Display for Freeze {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let minutes = "%Y-%m-%dT%H:%M";
        let (from, to) = (self.from.strftime(minutes), self.to.strftime(minutes));
        write!(f, "{from} .. {to} {}", self.zone)
    }
}
