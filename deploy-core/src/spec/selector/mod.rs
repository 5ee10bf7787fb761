//! Label expressions over hosts.
mod glob;
mod parse;

use crate::{
    host::Host,
    id::{LabelKey, LabelValue},
};
use glob::Glob;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeSet, fmt, str::FromStr};

pub use parse::ParseSelectorError;

/// A label expression over hosts. `docs/selectors.md` has the grammar.
///
/// A selector is never empty: `*` is what selects every host.
///
/// ```
/// use deploy_core::spec::Selector;
///
/// let selector: Selector = "zone in (b, a), role!=db,host == web-*".parse()?;
/// assert_eq!(selector.to_string(), "zone in (a,b),role!=db,host=web-*");
/// # Ok::<(), deploy_core::spec::ParseSelectorError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Selector {
    /// All of them must hold.
    terms: Vec<Term>,
}

/// One condition on a host.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Term {
    Host(Test<Glob>),
    Label(LabelKey, Test<LabelValue>),
    LabelExists(LabelKey),
    LabelMissing(LabelKey),
}

/// Whether something is one of a set that is never empty.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Test<T> {
    /// Whether it must be one of them, or must not.
    wanted: bool,
    values: BTreeSet<T>,
}

impl Selector {
    /// Every host.
    #[must_use]
    pub const fn all() -> Self {
        Self { terms: Vec::new() }
    }

    /// Whether it selects `host`.
    #[must_use]
    pub fn matches(&self, host: &Host) -> bool {
        self.terms.iter().all(|term| term.holds(host))
    }
}

impl Term {
    fn holds(&self, host: &Host) -> bool {
        match self {
            Self::Host(test) => {
                let name = host.name.as_str();
                test.values.iter().any(|glob| glob.matches(name)) == test.wanted
            }
            Self::Label(key, test) => {
                host.labels.get(key).is_some_and(|it| test.values.contains(it)) == test.wanted
            }
            Self::LabelExists(key) => host.labels.contains_key(key),
            Self::LabelMissing(key) => !host.labels.contains_key(key),
        }
    }
}

impl FromStr for Selector {
    type Err = ParseSelectorError;

    fn from_str(input: &str) -> Result<Self, ParseSelectorError> {
        parse::terms(input).map(|terms| Self { terms })
    }
}

impl TryFrom<String> for Selector {
    type Error = ParseSelectorError;

    fn try_from(input: String) -> Result<Self, ParseSelectorError> {
        input.parse()
    }
}

impl From<Selector> for String {
    fn from(selector: Selector) -> Self {
        selector.to_string()
    }
}

impl fmt::Display for Selector {
    /// In canonical form: without spaces, with `=` for `==`, and values in their order.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.terms.is_empty() {
            return f.write_str(parse::ALL);
        }
        for (at, term) in self.terms.iter().enumerate() {
            write!(f, "{}{term}", if at == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host(test) => write!(f, "{}{test}", parse::HOST),
            Self::Label(key, test) => write!(f, "{key}{test}"),
            Self::LabelExists(key) => write!(f, "{key}"),
            Self::LabelMissing(key) => write!(f, "!{key}"),
        }
    }
}

impl<T: fmt::Display> fmt::Display for Test<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (one, many) = if self.wanted { ("=", " in ") } else { ("!=", " notin ") };
        if self.values.len() == 1 {
            return self.values.iter().try_for_each(|it| write!(f, "{one}{it}"));
        }
        write!(f, "{many}")?;
        for (at, value) in self.values.iter().enumerate() {
            write!(f, "{}{value}", if at == 0 { "(" } else { "," })?;
        }
        f.write_str(")")
    }
}
