//! Services: what is deployed, where to, and how.
use super::{BuildSpec, Repair, Selector, Strategy};
use crate::id::{AccountName, Principal, ServiceName};
use serde::{Deserialize, Serialize};
use std::{fmt, num::NonZeroU32, str::FromStr};

/// An absolute path on a host, without `.`, `..`, empty parts or control characters, at most 1,024 bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AbsolutePath(Box<str>);

/// Why a string is not such a path.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is not a usable path: {reason}", .input.escape_debug())]
pub struct ParsePathError {
    input: String,
    reason: &'static str,
}

impl AbsolutePath {
    /// The path as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn check(input: &str) -> Result<(), &'static str> {
        let rest = input.strip_prefix('/').ok_or("it must begin with `/`")?;
        if input.len() > 1024 {
            return Err("it is longer than 1,024 bytes");
        }
        if input.chars().any(char::is_control) {
            return Err("it holds a control character");
        }
        if rest.split('/').any(|part| matches!(part, "" | "." | "..")) {
            return Err("it holds an empty part, `.` or `..`");
        }
        Ok(())
    }
}

impl FromStr for AbsolutePath {
    type Err = ParsePathError;

    fn from_str(input: &str) -> Result<Self, ParsePathError> {
        Self::check(input).map_err(|reason| ParsePathError {
            input: input.chars().take(200).collect(),
            reason,
        })?;
        Ok(Self(input.into()))
    }
}

impl TryFrom<String> for AbsolutePath {
    type Error = ParsePathError;

    fn try_from(input: String) -> Result<Self, ParsePathError> {
        input.parse()
    }
}

impl From<AbsolutePath> for String {
    fn from(path: AbsolutePath) -> Self {
        path.0.into()
    }
}

impl fmt::Display for AbsolutePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// A deployable service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Service {
    /// Its globally unique name.
    pub name: ServiceName,
    /// Who answers for it.
    pub owner: Principal,
    /// Where it lies on hosts.
    pub deploy_path: AbsolutePath,
    /// The account its steps run as; `None` is the account that logs in.
    pub account: Option<AccountName>,
    /// Which hosts it belongs on.
    pub selector: Selector,
    /// On how many of them; `None` is all.
    pub count: Option<NonZeroU32>,
    /// How a rollout goes.
    pub strategy: Strategy,
    /// What is made good after a rollout.
    #[serde(default)]
    pub repair: Repair,
    /// How it is built; `None` if that happens elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build: Option<BuildSpec>,
}

impl Service {
    /// A service on all hosts that `selector` selects, with the default strategy.
    #[must_use]
    pub fn new(
        name: ServiceName,
        owner: Principal,
        deploy_path: AbsolutePath,
        selector: Selector,
    ) -> Self {
        Self {
            name,
            owner,
            deploy_path,
            account: None,
            selector,
            count: None,
            strategy: Strategy::new(),
            repair: Repair::default(),
            build: None,
        }
    }

    /// Whose steps run as `account`.
    #[must_use]
    pub fn with_account(mut self, account: AccountName) -> Self {
        self.account = Some(account);
        self
    }

    /// On `count` of the selected hosts.
    #[must_use]
    pub const fn with_count(mut self, count: NonZeroU32) -> Self {
        self.count = Some(count);
        self
    }

    /// With another strategy.
    #[must_use]
    pub fn with_strategy(mut self, strategy: Strategy) -> Self {
        self.strategy = strategy;
        self
    }

    /// That is built like this.
    #[must_use]
    pub fn with_build(mut self, build: BuildSpec) -> Self {
        self.build = Some(build);
        self
    }

    /// With this made good after a rollout.
    #[must_use]
    pub const fn with_repair(mut self, repair: Repair) -> Self {
        self.repair = repair;
        self
    }
}
