//! How fast bytes may travel to hosts: limits that people set while things run.
use crate::{
    id::{HostName, LabelValue, ParseNameError, Principal, RolloutId},
    time::Timestamp,
};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    fmt,
    num::{NonZeroU32, NonZeroU64},
    str::FromStr,
};

/// The limits of a control plane.
pub type LimitTable = BTreeMap<LimitScope, Limit>;

/// What a limit is for.
///
/// ```
/// use deploy_core::limit::LimitScope;
///
/// let scope: LimitScope = "host=web-1".parse()?;
/// assert_eq!(scope.to_string(), "host=web-1");
/// assert!("web-1".parse::<LimitScope>().is_err());
/// # Ok::<(), deploy_core::limit::ParseScopeError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
#[expect(clippy::exhaustive_enums, reason = "a further scope must be thought of everywhere")]
pub enum LimitScope {
    /// What this host takes, and what it gives to others.
    Host(HostName),
    /// What the server gives, to all together.
    Origin,
    /// What each host takes for this rollout.
    Rollout(RolloutId),
    /// What the relays of this zone take from outside, each of them.
    Zone(LabelValue),
}

/// Why a text names nothing that can be limited.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseScopeError {
    /// It has another form.
    #[error(
        "`{}` cannot be limited: name `origin`, `zone=NAME`, `host=NAME` or `rollout=ID`", .0.escape_debug()
    )]
    Form(String),
    /// What it names has no such name.
    #[error(transparent)]
    Name(#[from] ParseNameError),
}

impl FromStr for LimitScope {
    type Err = ParseScopeError;

    fn from_str(input: &str) -> Result<Self, ParseScopeError> {
        match input.split_once('=') {
            None if input == "origin" => Ok(Self::Origin),
            Some(("host", name)) => Ok(Self::Host(name.parse()?)),
            Some(("rollout", id)) => Ok(Self::Rollout(id.parse()?)),
            Some(("zone", name)) => Ok(Self::Zone(name.parse()?)),
            _ => Err(ParseScopeError::Form(input.chars().take(80).collect())),
        }
    }
}

impl fmt::Display for LimitScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host(name) => write!(f, "host={name}"),
            Self::Origin => f.write_str("origin"),
            Self::Rollout(id) => write!(f, "rollout={id}"),
            Self::Zone(name) => write!(f, "zone={name}"),
        }
    }
}

impl TryFrom<String> for LimitScope {
    type Error = ParseScopeError;

    fn try_from(input: String) -> Result<Self, ParseScopeError> {
        input.parse()
    }
}

impl From<LimitScope> for String {
    fn from(scope: LimitScope) -> Self {
        scope.to_string()
    }
}

/// A limit, in megabits a second: 1,000,000 bits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Limit {
    /// How fast.
    pub mbit: NonZeroU32,
    /// How fast a host gives to others, where that is another limit. Only hosts have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upload_mbit: Option<NonZeroU32>,
    /// Who has set it.
    pub set_by: Principal,
    /// When.
    pub set_at: Timestamp,
}

impl Limit {
    /// So many megabits a second, as `set_by` has said at `set_at`.
    #[must_use]
    pub const fn new(mbit: NonZeroU32, set_by: Principal, set_at: Timestamp) -> Self {
        Self { mbit, upload_mbit: None, set_by, set_at }
    }

    /// With another limit for what a host gives.
    #[must_use]
    pub const fn with_upload(mut self, mbit: Option<NonZeroU32>) -> Self {
        self.upload_mbit = mbit;
        self
    }

    /// How much a host gives: as much as it takes, unless that was said.
    #[must_use]
    pub fn upload(&self) -> NonZeroU32 {
        self.upload_mbit.unwrap_or(self.mbit)
    }
}

/// So many megabits a second, in bytes a second.
///
/// ```
/// use deploy_core::limit::bytes_per_second;
///
/// assert_eq!(bytes_per_second(20.try_into()?).get(), 2_500_000);
/// # Ok::<(), std::num::TryFromIntError>(())
/// ```
#[must_use]
pub fn bytes_per_second(mbit: NonZeroU32) -> NonZeroU64 {
    const BYTES_OF_ONE: NonZeroU64 = NonZeroU64::MIN.saturating_add(1_000_000 / 8 - 1);
    NonZeroU64::from(mbit).saturating_mul(BYTES_OF_ONE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_scope_is_read_as_it_is_written(kind in 0..4, name in "[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?") {
            let scope = match kind {
                0 => LimitScope::Host(name.parse().unwrap()),
                1 => LimitScope::Rollout(name.parse().unwrap()),
                2 => LimitScope::Zone(name.parse().unwrap()),
                _ => LimitScope::Origin,
            };
            prop_assert_eq!(scope.to_string().parse::<LimitScope>().unwrap(), scope);
        }

        #[test]
        fn whatever_is_read_is_written_alike(input in "(origin|zone|host|rollout)?=?.{0,12}") {
            match input.parse::<LimitScope>() {
                Ok(scope) => prop_assert_eq!(scope.to_string(), input),
                Err(err) => prop_assert!(err.to_string().len() < 1_000),
            }
        }
    }

    #[test]
    fn what_names_nothing_is_refused() {
        for wrong in ["", "Origin", "origin=", "origin=x", "zone", "zone=", "host=", "host=a b"] {
            assert!(wrong.parse::<LimitScope>().is_err(), "{wrong}");
        }
        for wrong in ["h1", "rollout", "rollout=", "rollout=../x", "zone==a", " origin", "rack=a"] {
            assert!(wrong.parse::<LimitScope>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn megabits_are_bytes() {
        let bytes = |mbit| bytes_per_second(NonZeroU32::new(mbit).unwrap()).get();
        assert_eq!((bytes(1), bytes(8)), (125_000, 1_000_000));
        assert_eq!(bytes(u32::MAX), u64::from(u32::MAX) * 125_000);
    }
}
