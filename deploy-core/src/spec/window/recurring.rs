//! Windows that open every week.
use super::{ParseWindowError, zone::Zone};
use jiff::{
    Timestamp, ToSpan as _,
    civil::{DateTime, Time, Weekday},
};
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// A recurring window, such as `mon-fri 09:00-17:00 Europe/Berlin`.
///
/// It is open whenever clocks in its zone show a time in it. A window that ends on or before its begin ends on the next
/// day: `fri 22:00-06:00` closes on Saturday. Where clocks leap over its begin, it opens with the leap; what they show
/// twice is in it twice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Window {
    days: Days,
    opens: Minute,
    closes: Minute,
    zone: Zone,
}

impl Window {
    pub(super) const fn zone(&self) -> &Zone {
        &self.zone
    }

    pub(super) fn is_open(&self, at: Timestamp) -> bool {
        let clock = self.zone.clock(at);
        let (day, now) = (clock.weekday(), Minute::of(clock.time()));
        if self.opens < self.closes {
            self.days.has(day) && self.opens <= now && now < self.closes
        } else {
            (self.days.has(day) && self.opens <= now)
                || (self.days.has(day.previous()) && now < self.closes)
        }
    }

    /// The first instant in `from..until` at which it is open.
    ///
    /// It can get open in two ways only: clocks come to show its begin, or they are set. So these are the instants to look at.
    pub(super) fn next_open(&self, from: Timestamp, until: Timestamp) -> Option<Timestamp> {
        let mut at = from;
        while at < until {
            if self.is_open(at) {
                return Some(at);
            }
            let begin = self
                .next_begin(self.zone.clock(at))
                .and_then(|shown| self.zone.next_showing(shown, at));
            at = begin.into_iter().chain(self.zone.next_change(at)).min()?;
        }
        None
    }

    /// The first begin that clocks are yet to show when they show `clock`.
    fn next_begin(&self, clock: DateTime) -> Option<DateTime> {
        let today = clock.date();
        (0..=7)
            .filter_map(|days| today.checked_add(days.days()).ok())
            .filter(|date| self.days.has(date.weekday()))
            .map(|date| date.to_datetime(self.opens.time()))
            .find(|begin| *begin > clock)
    }
}

impl FromStr for Window {
    type Err = ParseWindowError;

    fn from_str(input: &str) -> Result<Self, ParseWindowError> {
        let refuse = |reason| ParseWindowError::new(input, reason);
        let parts: Vec<&str> = input.split_whitespace().collect();
        let [days, times, zone] = parts.as_slice() else {
            return Err(refuse("it must be like `mon-fri 09:00-17:00 Europe/Berlin`"));
        };
        let zone = zone.parse()?;
        let days = Days::parse(days)
            .ok_or_else(|| refuse("its days must be `daily` or like `mon-fri` or `mon,wed,sat`"))?;
        let times = times.split_once('-').and_then(|(opens, closes)| {
            Some((Minute::parse(opens)?, Minute::parse(closes)?))
                .filter(|it| it.0 < Minute::MIDNIGHT)
        });
        let (opens, closes) =
            times.ok_or_else(|| refuse("its times must be like `09:00-17:00` or `00:00-24:00`"))?;
        if opens == closes {
            return Err(refuse("it ends when it begins; a whole day is `00:00-24:00`"));
        }
        Ok(Self { days, opens, closes, zone })
    }
}

impl TryFrom<String> for Window {
    type Error = ParseWindowError;

    fn try_from(input: String) -> Result<Self, ParseWindowError> {
        input.parse()
    }
}

impl From<Window> for String {
    fn from(window: Window) -> Self {
        window.to_string()
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}-{} {}", self.days, self.opens, self.closes, self.zone)
    }
}

/// A minute of a day, the end of the day included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Minute {
    hour: i8,
    minute: i8,
}

impl Minute {
    /// That at which a day ends.
    const MIDNIGHT: Self = Self { hour: 24, minute: 0 };

    fn of(time: Time) -> Self {
        Self { hour: time.hour(), minute: time.minute() }
    }

    fn parse(text: &str) -> Option<Self> {
        let two_digits = |it: &str| -> Option<i8> {
            it.parse().ok().filter(|_| it.len() == 2 && it.bytes().all(|b| b.is_ascii_digit()))
        };
        let (hour, minute) = text.split_once(':')?;
        let minute = Self { hour: two_digits(hour)?, minute: two_digits(minute)? };
        (minute.minute < 60 && minute <= Self::MIDNIGHT).then_some(minute)
    }

    /// A window never opens at the end of a day, so there is such a time.
    fn time(self) -> Time {
        Time::new(self.hour, self.minute, 0, 0).unwrap_or_default()
    }
}

impl fmt::Display for Minute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}:{:02}", self.hour, self.minute)
    }
}

/// A set of weekdays that is never empty: one bit each, Monday the lowest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Days(u8);

impl Days {
    const ALL: Self = Self(0b111_1111);
    const NAMES: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

    fn has(self, day: Weekday) -> bool {
        self.0 & Self::bit(day) != 0
    }

    fn bit(day: Weekday) -> u8 {
        1 << day.to_monday_zero_offset()
    }

    fn parse(text: &str) -> Option<Self> {
        if text.eq_ignore_ascii_case("daily") {
            return Some(Self::ALL);
        }
        let mut ranges = text.split(',').map(|part| match part.split_once('-') {
            Some((first, last)) => Some(Self::range(Self::day(first)?, Self::day(last)?)),
            None => Some(Self::bit(Self::day(part)?)),
        });
        ranges.try_fold(0, |days, range| Some(days | range?)).map(Self)
    }

    fn day(name: &str) -> Option<Weekday> {
        let at = Self::NAMES.iter().position(|it| it.eq_ignore_ascii_case(name))?;
        Weekday::from_monday_zero_offset(i8::try_from(at).ok()?).ok()
    }

    /// From `first` to the next `last`, also over the end of a week.
    fn range(first: Weekday, last: Weekday) -> u8 {
        let mut day = first;
        let mut days = Self::bit(day);
        while day != last {
            day = day.next();
            days |= Self::bit(day);
        }
        days
    }
}

impl fmt::Display for Days {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::ALL {
            return f.write_str("daily");
        }
        let named: Vec<(usize, &str)> =
            Self::NAMES.into_iter().enumerate().filter(|(at, _)| self.0 & (1 << at) != 0).collect();
        let runs = named.chunk_by(|(before, _), (after, _)| before + 1 == *after);
        for (at, run) in runs.enumerate() {
            f.write_str(if at == 0 { "" } else { "," })?;
            match run {
                [(_, first), .., (_, last)] => write!(f, "{first}-{last}")?,
                run => run.iter().try_for_each(|(_, day)| f.write_str(day))?,
            }
        }
        Ok(())
    }
}
