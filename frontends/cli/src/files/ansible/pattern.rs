//! Host patterns: `web[01:20].example.com`, `db-[a:c]:2222`.
use crate::files::hosts::MOST_HOSTS;
use std::fmt;

/// The hosts a pattern stands for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Expanded {
    pub(super) names: Vec<String>,
    pub(super) port: Option<String>,
}

/// Why a text is not a host pattern.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct PatternError {
    input: String,
    reason: &'static str,
}

impl fmt::Display for PatternError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is not a host pattern: {}", self.input.escape_debug(), self.reason)
    }
}

pub(super) fn expand(input: &str) -> Result<Expanded, PatternError> {
    let refuse = |reason| PatternError { input: input.chars().take(80).collect(), reason };
    let (pattern, port) = split_port(input);
    let mut names = vec![String::new()];
    let mut rest = pattern;
    while let Some((before, after)) = rest.split_once('[') {
        let (range, after) = after.split_once(']').ok_or_else(|| refuse("`[` without `]`"))?;
        let values = values(range).map_err(refuse)?;
        if names.len().saturating_mul(values.len()) > MOST_HOSTS {
            return Err(refuse("it stands for too many hosts"));
        }
        names = names
            .iter()
            .flat_map(|name| values.iter().map(move |value| format!("{name}{before}{value}")))
            .collect();
        rest = after;
    }
    if rest.contains(']') {
        return Err(refuse("`]` without `[`"));
    }
    for name in &mut names {
        name.push_str(rest);
    }
    Ok(Expanded { names, port: port.map(ToOwned::to_owned) })
}

/// Takes `:PORT` off the end, but not from an IPv6 address or from inside a range.
fn split_port(input: &str) -> (&str, Option<&str>) {
    match input.rsplit_once(':') {
        Some((host, port))
            if !port.is_empty()
                && port.bytes().all(|b| b.is_ascii_digit())
                && outside_ranges(host).is_some_and(|it| !it.contains(':')) =>
        {
            (host, Some(port))
        }
        Some(_) | None => (input, None),
    }
}

/// What is left of `text` without its `[…]`; `None` if one is open at its end.
fn outside_ranges(text: &str) -> Option<String> {
    let mut outside = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('[') {
        outside.push_str(before);
        rest = after.split_once(']')?.1;
    }
    outside.push_str(rest);
    Some(outside)
}

/// The values of `01:20`, `a:f` or `0:10:2`.
fn values(range: &str) -> Result<Vec<String>, &'static str> {
    let mut parts = range.split(':');
    let (Some(first), Some(last)) = (parts.next(), parts.next()) else {
        return Err("a range is written [FIRST:LAST] or [FIRST:LAST:STEP]");
    };
    let step = match parts.next() {
        None => 1,
        Some(step) => {
            step.parse().ok().filter(|it| *it > 0).ok_or("the step must be a number above 0")?
        }
    };
    if parts.next().is_some() {
        return Err("a range is written [FIRST:LAST] or [FIRST:LAST:STEP]");
    }
    match (letter(first), letter(last)) {
        (Some(first), Some(last)) if first <= last => {
            Ok((first..=last).step_by(step).map(String::from).collect())
        }
        (Some(_), Some(_)) => Err("the range runs backwards"),
        _ => numbers(first, last, step),
    }
}

fn letter(text: &str) -> Option<char> {
    let mut chars = text.chars();
    chars.next().filter(|c| c.is_ascii_alphabetic() && chars.next().is_none())
}

/// Numbers have as many digits as the first one where that begins with 0.
fn numbers(first: &str, last: &str, step: usize) -> Result<Vec<String>, &'static str> {
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        text.parse::<usize>().ok().filter(|_| digits)
    };
    let low = if first.is_empty() { Some(0) } else { number(first) };
    let (Some(low), Some(high)) = (low, number(last)) else {
        return Err("the ends of a range must be numbers, or single letters");
    };
    if low > high {
        return Err("the range runs backwards");
    }
    if (high - low) / step >= MOST_HOSTS {
        return Err("it stands for too many hosts");
    }
    let padded = first.starts_with('0') && first.len() > 1;
    if padded && first.len() != last.len() {
        return Err(
            "the ends of a range must have the same number of digits when the first begins with 0",
        );
    }
    let width = if padded { first.len() } else { 0 };
    Ok((low..=high).step_by(step).map(|it| format!("{it:0width$}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn names(pattern: &str) -> Vec<String> {
        expand(pattern).unwrap().names
    }

    #[test]
    fn ranges_are_expanded() {
        assert_eq!(names("web[08:11]"), ["web08", "web09", "web10", "web11"]);
        assert_eq!(names("web[8:10].x"), ["web8.x", "web9.x", "web10.x"]);
        assert_eq!(names("db-[a:c]"), ["db-a", "db-b", "db-c"]);
        assert_eq!(names("n[0:10:5]"), ["n0", "n5", "n10"]);
        assert_eq!(names("r[1:2]-[a:b]"), ["r1-a", "r1-b", "r2-a", "r2-b"]);
        assert_eq!(names("plain"), ["plain"]);
    }

    #[test]
    fn ports_are_told_from_addresses() {
        let port = |pattern| expand(pattern).unwrap().port;
        assert_eq!(port("web:2222").as_deref(), Some("2222"));
        assert_eq!(port("web[1:3]:2222").as_deref(), Some("2222"));
        assert_eq!(port("web[1:3]"), None);
        assert_eq!(port("2001:db8::1"), None);
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for pattern in [
            "a[1",
            "a1]",
            "a[]",
            "a[1]",
            "a[3:1]",
            "a[1:x]",
            "a[01:100]",
            "a[1:9:0]",
            "a[0:999999999]",
            "a[1:2:3:4]",
        ] {
            assert!(expand(pattern).is_err(), "{pattern}");
        }
        assert!(expand("[0:999][0:999][0:999]").is_err());
    }

    proptest! {
        #[test]
        fn any_text_is_taken_or_refused(text in "[a-z0-9:.\\[\\]é]{0,24}") {
            drop(expand(&text));
        }
    }
}
