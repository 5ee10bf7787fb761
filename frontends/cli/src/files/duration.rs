use serde::{Deserialize, Deserializer, de};
use std::{fmt, time::Duration};

/// Why a text is not a duration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ParseDurationError {
    input: String,
}

impl fmt::Display for ParseDurationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let input = self.input.escape_debug();
        write!(
            f,
            "`{input}` is not a duration: write it as `250ms`, `30s`, `5m`, `1h30m` or `2d`"
        )
    }
}

impl std::error::Error for ParseDurationError {}

/// The longest duration that a file or an option may name: a year.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 3_600);

/// Units from the largest on, and their length in milliseconds.
const UNITS: [(&str, u64); 5] = [
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// Reads `250ms`, `30s`, `5m`, `1h30m`, `2d`; units may follow one another from the largest to the smallest.
pub(crate) fn parse_duration(input: &str) -> Result<Duration, ParseDurationError> {
    let error = || ParseDurationError {
        input: input.chars().take(80).collect(),
    };
    if input == "0" {
        return Ok(Duration::ZERO);
    }
    let mut total = 0_u64;
    let mut units = UNITS.as_slice();
    let mut rest = input;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(error)?;
        let (number, after) = rest.split_at(digits);
        let letters = after
            .find(|c: char| !c.is_ascii_lowercase())
            .unwrap_or(after.len());
        let (unit, after) = after.split_at(letters);
        let at = units
            .iter()
            .position(|(name, _)| *name == unit)
            .ok_or_else(error)?;
        let (_, millis) = units.get(at).ok_or_else(error)?;
        let number: u64 = number.parse().map_err(|_| error())?;
        let part = number.checked_mul(*millis).ok_or_else(error)?;
        total = total.checked_add(part).ok_or_else(error)?;
        units = units.get(at + 1..).unwrap_or(&[]);
        rest = after;
    }
    let parsed = Duration::from_millis(total);
    if input.is_empty() || parsed > LONGEST {
        Err(error())
    } else {
        Ok(parsed)
    }
}

/// A duration as people write it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Human(pub(crate) Duration);

impl fmt::Display for Human {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        let mut text = String::new();
        for (unit, millis) in UNITS {
            if rest >= millis {
                text.push_str(&format!("{}{unit}", rest / millis));
                rest %= millis;
            }
        }
        f.pad(if text.is_empty() { "0s" } else { &text })
    }
}

impl<'de> Deserialize<'de> for Human {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl de::Visitor<'_> for Visitor {
            type Value = Human;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a duration such as \"30s\"")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Human, E> {
                parse_duration(text).map(Human).map_err(E::custom)
            }
        }

        deserializer.deserialize_str(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations_are_read_as_people_write_them() {
        for (text, millis) in [
            ("0", 0),
            ("0s", 0),
            ("250ms", 250),
            ("30s", 30_000),
            ("5m", 300_000),
            ("1h30m", 5_400_000),
            ("2d", 172_800_000),
            ("1m5ms", 60_005),
        ] {
            assert_eq!(
                parse_duration(text),
                Ok(Duration::from_millis(millis)),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in [
            "",
            "5",
            "s",
            "-5s",
            "5 s",
            "5S",
            "1.5s",
            "30m1h",
            "5s5s",
            "999999999999d",
            "367d",
        ] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn written_and_read_back_is_the_same(millis in 0_u64..31_536_000_000) {
            let duration = Duration::from_millis(millis);
            prop_assert_eq!(parse_duration(&Human(duration).to_string()), Ok(duration));
        }

        #[test]
        fn any_text_is_taken_or_refused(text in "\\PC{0,20}") {
            drop(parse_duration(&text));
        }
    }
}
