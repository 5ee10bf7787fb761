//! Lengths of time as people write them: `30s`, `5m`, `1h30m`, `250ms`.
use std::{fmt::Write as _, time::Duration};

/// Why a text is not a length of time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is not a length of time: {reason}", .input.escape_debug())]
pub struct ParseDurationError {
    input: String,
    reason: &'static str,
}

/// The units, the largest first: how they are written, and how many milliseconds they are.
const UNITS: [(&str, u64); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// The longest: a thousand days.
const LONGEST: u64 = 1_000 * 86_400_000;

/// Reads a length of time: numbers with `d`, `h`, `m`, `s` or `ms`, the larger units first, each at most once.
///
/// ```
/// use deploy_host::duration::parse;
/// use std::time::Duration;
///
/// assert_eq!(parse("1h30m"), Ok(Duration::from_secs(5_400)));
/// assert_eq!(parse("250ms"), Ok(Duration::from_millis(250)));
/// assert!(parse("30").is_err());
/// ```
///
/// # Errors
/// If it is anything else, or longer than a thousand days.
pub fn parse(input: &str) -> Result<Duration, ParseDurationError> {
    millis(input)
        .map(Duration::from_millis)
        .map_err(|reason| ParseDurationError { input: input.chars().take(80).collect(), reason })
}

fn millis(input: &str) -> Result<u64, &'static str> {
    const FORM: &str = "write numbers with units, such as `30s`, `5m`, `1h30m` or `250ms`";
    let mut rest = input;
    let mut units = UNITS.iter();
    let mut sum = 0_u64;
    if rest.is_empty() {
        return Err(FORM);
    }
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, after) = rest.split_at_checked(digits).ok_or(FORM)?;
        let letters = after.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (unit, after) = after.split_at_checked(letters).ok_or(FORM)?;
        if number.is_empty() || unit.is_empty() {
            return Err(FORM);
        }
        let known = units.find(|(name, _)| *name == unit);
        let (_, scale) =
            known.ok_or("the units are d, h, m, s and ms, the larger first, each once")?;
        let part = number.parse::<u64>().ok().and_then(|it| it.checked_mul(*scale));
        sum = part.and_then(|it| it.checked_add(sum)).ok_or("it is longer than 1000 days")?;
        rest = after;
    }
    if sum > LONGEST { Err("it is longer than 1000 days") } else { Ok(sum) }
}

/// Writes a length of time so that [`parse`] reads the same (to the millisecond).
///
/// ```
/// use deploy_host::duration::format;
/// use std::time::Duration;
///
/// assert_eq!(format(Duration::from_secs(5_400)), "1h30m");
/// assert_eq!(format(Duration::ZERO), "0s");
/// ```
#[must_use]
pub fn format(duration: Duration) -> String {
    let mut left = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    if left == 0 {
        return "0s".to_owned();
    }
    let mut text = String::new();
    for (unit, scale) in UNITS {
        if left >= scale {
            // Writing to a string cannot fail.
            _ = write!(text, "{}{unit}", left / scale);
            left %= scale;
        }
    }
    text
}

/// Whole seconds, rounded up: what the programs on a host count in.
#[must_use]
pub fn whole_seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}
