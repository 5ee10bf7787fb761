//! Parameters: what a release may be told, and what is wrong with what it was told.
use deploy_core::spec::ParameterName;
use std::{collections::BTreeMap, error::Error as StdError, fmt};

/// The longest value, in bytes.
pub(super) const LONGEST_VALUE: usize = 16 << 10;
/// The most bytes all values of a release have: they are part of every plan, and of the environment of every script.
const LONGEST_VALUES: usize = 64 << 10;

/// A declared parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Parameter {
    /// What values it takes.
    pub kind: ParameterType,
    /// The only values it takes; empty is any.
    pub allowed: Vec<String>,
    /// Its value where none is given.
    pub default: Option<String>,
    /// Whether one has to be given.
    pub required: bool,
    /// What it is for.
    pub description: String,
}

/// What values a parameter takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ParameterType {
    /// `true` or `false`.
    Boolean,
    /// A whole number.
    Integer {
        /// The smallest.
        min: i64,
        /// The largest.
        max: i64,
    },
    /// Text without NUL.
    Text {
        /// How many bytes it may have.
        max_length: usize,
        /// Whether it may hold line breaks, tabs and other control characters.
        multiline: bool,
    },
}

/// What is wrong with one parameter.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParameterProblem {
    /// No value is given.
    #[error("parameter `{0}` is required: give it a value")]
    Missing(ParameterName),
    /// It is not one of the allowed values.
    #[error("parameter `{0}` must be one of: {1}")]
    NotAllowed(ParameterName, String),
    /// It is no boolean.
    #[error("parameter `{0}` must be `true` or `false`")]
    NotBoolean(ParameterName),
    /// It is no whole number.
    #[error("parameter `{0}` must be a whole number")]
    NotInteger(ParameterName),
    /// It is too small or too large.
    #[error("parameter `{name}` must be from {min} to {max}")]
    OutOfRange {
        /// Which.
        name: ParameterName,
        /// The smallest allowed.
        min: i64,
        /// The largest allowed.
        max: i64,
    },
    /// It holds what it may not.
    #[error("parameter `{0}` holds a NUL or, without `multiline = true`, a control character")]
    Unprintable(ParameterName),
    /// It is longer than allowed.
    #[error("parameter `{0}` is longer than {1} bytes")]
    TooLong(ParameterName, usize),
    /// All values together are longer than allowed.
    #[error("all parameters together are longer than {0} bytes")]
    TooLongTogether(usize),
    /// The descriptor does not declare it.
    #[error("parameter `{0}` is not declared by the descriptor, which has: {1}")]
    Unknown(ParameterName, String),
}

/// All that is wrong with the parameters of a release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnusableParameters {
    problems: Vec<ParameterProblem>,
}

impl UnusableParameters {
    /// The problems; never empty.
    #[must_use]
    pub fn problems(&self) -> &[ParameterProblem] {
        &self.problems
    }
}

impl fmt::Display for UnusableParameters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, problem) in self.problems.iter().enumerate() {
            write!(f, "{}{problem}", if at == 0 { "" } else { "\n" })?;
        }
        Ok(())
    }
}

impl StdError for UnusableParameters {}

impl Parameter {
    /// Whether `value` may be the value of this parameter, called `name`; gives it in its one form.
    pub(super) fn check(
        &self,
        name: &ParameterName,
        value: &str,
    ) -> Result<String, ParameterProblem> {
        let value = self.kind.check(name, value)?;
        if !self.allowed.is_empty() && !self.allowed.contains(&value) {
            return Err(ParameterProblem::NotAllowed(name.clone(), self.allowed.join(", ")));
        }
        Ok(value)
    }
}

impl ParameterType {
    fn check(self, name: &ParameterName, value: &str) -> Result<String, ParameterProblem> {
        match self {
            Self::Boolean if matches!(value, "true" | "false") => Ok(value.to_owned()),
            Self::Boolean => Err(ParameterProblem::NotBoolean(name.clone())),
            Self::Integer { min, max } => match value.parse::<i64>() {
                Ok(number) if (min..=max).contains(&number) => Ok(number.to_string()),
                Ok(_) => Err(ParameterProblem::OutOfRange { name: name.clone(), min, max }),
                Err(_) => Err(ParameterProblem::NotInteger(name.clone())),
            },
            Self::Text { max_length, multiline } => {
                if value.contains('\0') || (!multiline && value.chars().any(char::is_control)) {
                    return Err(ParameterProblem::Unprintable(name.clone()));
                }
                if value.len() > max_length {
                    return Err(ParameterProblem::TooLong(name.clone(), max_length));
                }
                Ok(value.to_owned())
            }
        }
    }
}

pub(super) fn resolve(
    declared: &BTreeMap<ParameterName, Parameter>,
    given: &BTreeMap<ParameterName, String>,
) -> Result<BTreeMap<ParameterName, String>, UnusableParameters> {
    let mut problems: Vec<_> = given
        .keys()
        .filter(|name| !declared.contains_key(*name))
        .map(|name| ParameterProblem::Unknown(name.clone(), names(declared)))
        .collect();
    let mut values = BTreeMap::new();
    for (name, parameter) in declared {
        let value = match given.get(name) {
            Some(value) => parameter.check(name, value).map(Some),
            None if parameter.required => Err(ParameterProblem::Missing(name.clone())),
            None => Ok(parameter.default.clone()),
        };
        match value {
            Ok(Some(value)) => _ = values.insert(name.clone(), value),
            Ok(None) => {}
            Err(problem) => problems.push(problem),
        }
    }
    if values.values().map(String::len).sum::<usize>() > LONGEST_VALUES {
        problems.push(ParameterProblem::TooLongTogether(LONGEST_VALUES));
    }
    if problems.is_empty() { Ok(values) } else { Err(UnusableParameters { problems }) }
}

fn names(declared: &BTreeMap<ParameterName, Parameter>) -> String {
    let names: Vec<_> = declared.keys().map(ParameterName::as_str).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}
