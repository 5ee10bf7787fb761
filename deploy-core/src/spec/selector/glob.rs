//! Patterns for host names.
use std::{fmt, str::FromStr};

/// A pattern for a host name: `*` stands for any characters or none, `?` for any one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Glob(Box<str>);

/// It holds what no host name can, or is too long for one.
#[derive(Debug)]
pub(super) struct NoGlob;

impl Glob {
    const LONGEST: usize = 253;

    /// Whether `name` fits, all of it.
    pub(super) fn matches(&self, name: &str) -> bool {
        fits(self.0.as_bytes(), name.as_bytes())
    }
}

/// When a character does not fit, the last `*` takes in one more and the match goes on from there. Earlier ones need not be
/// tried again: whatever they could take, the last one can.
fn fits(mut pattern: &[u8], mut name: &[u8]) -> bool {
    let mut resume: Option<(&[u8], &[u8])> = None;
    loop {
        match (pattern.split_first(), name.split_first()) {
            (None, None) => return true,
            (Some((b'*', rest)), _) => {
                pattern = rest;
                resume = Some((rest, name));
            }
            (Some((wanted, rest)), Some((found, left))) if *wanted == b'?' || wanted == found => {
                pattern = rest;
                name = left;
            }
            (Some(_) | None, _) => {
                let Some((after_star, (_, left))) =
                    resume.and_then(|(rest, name)| Some((rest, name.split_first()?)))
                else {
                    return false;
                };
                pattern = after_star;
                name = left;
                resume = Some((after_star, left));
            }
        }
    }
}

impl FromStr for Glob {
    type Err = NoGlob;

    fn from_str(input: &str) -> Result<Self, NoGlob> {
        let valid = |it: u8| it.is_ascii_alphanumeric() || b"-._:@*?".contains(&it);
        if input.len() <= Self::LONGEST && input.bytes().all(valid) {
            Ok(Self(input.into()))
        } else {
            Err(NoGlob)
        }
    }
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
