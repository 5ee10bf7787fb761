//! How targets are cut into waves.
use serde::{Deserialize, Serialize};
use std::{fmt, num::NonZeroU32, str::FromStr};

/// One expression of a wave list: how many targets a wave has.
///
/// `5` is that many, `10%` that share of all targets, rounded up, `+5` that many more than the wave before, and `*2` that
/// many times the wave before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct WaveSize {
    rule: Rule,
    by: NonZeroU32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Rule {
    Count,
    More,
    Percent,
    Times,
}

/// A list of wave expressions; the last repeats until every target has its wave. The default is one
/// wave of all targets.
///
/// ```
/// use deploy_core::spec::Waves;
///
/// let waves: Waves = "2,10%,*2".parse()?;
/// assert_eq!(waves.sizes(100), [2, 10, 20, 40, 28]);
/// # Ok::<(), deploy_core::spec::ParseWavesError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "Vec<WaveSize>", into = "Vec<WaveSize>")]
pub struct Waves {
    sizes: Vec<WaveSize>,
}

/// Why a text is not a list of wave expressions.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{}` does not say how large waves are: {reason}", .input.escape_debug())]
pub struct ParseWavesError {
    input: String,
    reason: &'static str,
}

impl WaveSize {
    /// How many targets the wave after one of `previous` has, of `total`. Never none.
    fn of(self, total: u32, previous: u32) -> u32 {
        let by = self.by.get();
        match self.rule {
            Rule::Count => by,
            Rule::More => previous.saturating_add(by),
            Rule::Percent => share(total, by).max(1),
            Rule::Times => previous.saturating_mul(by),
        }
    }

    const fn is_relative(self) -> bool {
        matches!(self.rule, Rule::More | Rule::Times)
    }
}

/// `percent` of `total`, rounded up.
fn share(total: u32, percent: u32) -> u32 {
    let share = (u64::from(total) * u64::from(percent)).div_ceil(100);
    u32::try_from(share).unwrap_or(u32::MAX)
}

impl FromStr for WaveSize {
    type Err = ParseWavesError;

    fn from_str(input: &str) -> Result<Self, ParseWavesError> {
        let (rule, digits) = match (input.strip_prefix('+'), input.strip_prefix('*')) {
            (Some(digits), _) => (Rule::More, digits),
            (_, Some(digits)) => (Rule::Times, digits),
            (None, None) => match input.strip_suffix('%') {
                Some(digits) => (Rule::Percent, digits),
                None => (Rule::Count, input),
            },
        };
        let refuse = |reason| ParseWavesError::new(input, reason);
        if digits.is_empty() || !digits.bytes().all(|it| it.is_ascii_digit()) {
            return Err(refuse("each must be like `5`, `10%`, `+5` or `*2`"));
        }
        let number: u32 = digits.parse().map_err(|_| refuse("the number is too large"))?;
        let by = NonZeroU32::new(number).ok_or_else(|| refuse("0 would never end"))?;
        if matches!(rule, Rule::Percent) && number > 100 {
            return Err(refuse("there is no more than 100% of all targets"));
        }
        Ok(Self { rule, by })
    }
}

impl TryFrom<String> for WaveSize {
    type Error = ParseWavesError;

    fn try_from(input: String) -> Result<Self, ParseWavesError> {
        input.parse()
    }
}

impl From<WaveSize> for String {
    fn from(size: WaveSize) -> Self {
        size.to_string()
    }
}

impl fmt::Display for WaveSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.rule {
            Rule::Count => write!(f, "{}", self.by),
            Rule::More => write!(f, "+{}", self.by),
            Rule::Percent => write!(f, "{}%", self.by),
            Rule::Times => write!(f, "*{}", self.by),
        }
    }
}

impl Waves {
    /// How many targets each wave has, of `total`. They add up to `total`, and none is empty.
    #[must_use]
    pub fn sizes(&self, total: u32) -> Vec<u32> {
        let last = self.sizes.last().copied();
        let mut left = total;
        let mut previous = 0;
        let mut sizes = Vec::new();
        for rule in self.sizes.iter().copied().chain(last.into_iter().cycle()) {
            if left == 0 {
                break;
            }
            previous = rule.of(total, previous).clamp(1, left);
            left -= previous;
            sizes.push(previous);
        }
        sizes
    }
}

impl Default for Waves {
    /// `100%`: all is one wave.
    fn default() -> Self {
        let by = NonZeroU32::MIN.saturating_add(99);
        Self { sizes: vec![WaveSize { rule: Rule::Percent, by }] }
    }
}

impl TryFrom<Vec<WaveSize>> for Waves {
    type Error = ParseWavesError;

    fn try_from(sizes: Vec<WaveSize>) -> Result<Self, ParseWavesError> {
        match sizes.first() {
            None => Err(ParseWavesError::new("", "there must be at least one size")),
            Some(first) if first.is_relative() => Err(ParseWavesError::new(
                &first.to_string(),
                "the first wave has none before it, so it must be like `5` or `10%`",
            )),
            Some(_) => Ok(Self { sizes }),
        }
    }
}

impl From<Waves> for Vec<WaveSize> {
    fn from(waves: Waves) -> Self {
        waves.sizes
    }
}

impl FromStr for Waves {
    type Err = ParseWavesError;

    /// From expressions with commas between them, such as `2,10%,*2`.
    fn from_str(input: &str) -> Result<Self, ParseWavesError> {
        let sizes: Result<Vec<WaveSize>, _> =
            input.split(',').map(|it| it.trim().parse()).collect();
        sizes?.try_into()
    }
}

impl fmt::Display for Waves {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, size) in self.sizes.iter().enumerate() {
            write!(f, "{}{size}", if at == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

impl ParseWavesError {
    fn new(input: &str, reason: &'static str) -> Self {
        Self { input: input.chars().take(80).collect(), reason }
    }
}
