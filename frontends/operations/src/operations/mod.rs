//! Every operation, for one principal.
mod agents;
mod artifacts;
mod builds;
mod channels;
mod checks;
mod claim;
mod garbage;
mod hosts;
mod limits;
mod limits_in_vain;
mod relays;
mod releases;
mod request;
mod retention;
mod rollouts;
mod runs;
mod search;
mod services;
mod status;
mod tokens;

pub use agents::{AgentLinks, Agents, LinksElsewhere};
pub use artifacts::{ArtifactUpload, another_already};
pub use builds::{Builds, build_problem};
pub use request::NamedRequest;
pub use rollouts::{demand_target, why};
pub use search::{ArtifactSearch, DigestPrefix, RepositoryPattern};
pub use status::status_of;
pub use tokens::{Tokens, new_token, token};

use crate::{Upkeep, problem::OrProblem as _};
use deploy_core::{
    access::{Action, Permit, Resource},
    backend::{Expect, Revision},
    engine::{Parts, Platform},
    error::{BackendError, ErrorKind},
    id::Principal,
};
use deploy_wire::{Problem, ProblemCode};
use std::{fmt::Display, sync::Arc};

/// What `principal` can do on a platform.
#[derive(Clone, Debug)]
pub struct Operations {
    platform: Platform,
    principal: Principal,
    upkeep: Option<Arc<dyn Upkeep>>,
    request: Option<NamedRequest>,
}

impl Operations {
    /// On `platform`, in the name of `principal`.
    #[must_use]
    pub const fn new(platform: Platform, principal: Principal) -> Self {
        Self { platform, principal, upkeep: None, request: None }
    }

    /// With what these backends can do beyond their traits.
    #[must_use]
    pub fn with_upkeep(mut self, upkeep: Option<Arc<dyn Upkeep>>) -> Self {
        self.upkeep = upkeep;
        self
    }

    /// The platform.
    #[must_use]
    pub const fn platform(&self) -> &Platform {
        &self.platform
    }

    /// In whose name.
    #[must_use]
    pub const fn principal(&self) -> &Principal {
        &self.principal
    }

    const fn parts(&self) -> &Parts {
        self.platform.parts()
    }

    /// What the backends can do beyond their traits, or that they cannot.
    fn upkeep(&self, otherwise: &str) -> Result<&dyn Upkeep, Problem> {
        self.upkeep.as_deref().ok_or_else(|| Problem::new(ProblemCode::Unsupported, otherwise))
    }

    async fn permit(&self, action: Action, resource: Resource) -> Result<Permit, Problem> {
        self.platform.permit(&self.principal, action, resource).await.or_problem()
    }
}

/// Some of a list, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Listed<T> {
    /// What was asked for.
    pub items: Vec<T>,
    /// The key after which there is more; `None` at the end.
    pub next: Option<String>,
}

impl<T> Listed<T> {
    /// The first `limit` of `items`, of which one more was read than was asked for.
    fn first(mut items: Vec<T>, limit: usize, key: impl FnOnce(&T) -> String) -> Self {
        let more = items.len() > limit;
        items.truncate(limit);
        let next = items.last().filter(|_| more).map(key);
        Self { items, next }
    }

    /// The first `limit` of `all` behind the one with the key `after`.
    ///
    /// # Errors
    /// If `after` is the key of none.
    fn behind(
        all: impl IntoIterator<Item = T>,
        after: Option<&str>,
        limit: usize,
        key: impl Fn(&T) -> String,
    ) -> Result<Self, Problem> {
        let mut all = all.into_iter();
        if let Some(after) = after
            && !all.any(|it| key(&it) == after)
        {
            return Err(crate::parse::refused("after", "this list has no such entry"));
        }
        Ok(Self::first(all.take(limit.saturating_add(1)).collect(), limit, key))
    }

    fn map<U>(self, each: impl FnMut(T) -> U) -> Listed<U> {
        Listed { items: self.items.into_iter().map(each).collect(), next: self.next }
    }
}

/// What must be there for a value to be put, where the caller has seen `revision` or nothing.
fn expect(revision: Option<Revision>) -> Expect {
    revision.map_or(Expect::Absent, Expect::At)
}

/// What is wrong with putting a value that is no longer, or already, what the caller has seen.
fn put_problem(err: BackendError, what: &str, name: &dyn Display) -> Problem {
    match err.kind() {
        ErrorKind::AlreadyExists => {
            Problem::new(ProblemCode::AlreadyExists, format!("{what} `{name}` is there already"))
                .with_hint("to change it, name the revision that it has")
                .with_context(what, name)
        }
        ErrorKind::Conflict => {
            let message = format!("{what} `{name}` has changed since that revision");
            Problem::new(ProblemCode::PreconditionFailed, message)
                .with_hint("look at it again, and repeat the change")
                .with_context(what, name)
        }
        _ => crate::problem::IntoProblem::into_problem(err),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(after: Option<&str>, limit: usize) -> Result<Listed<u32>, Problem> {
        Listed::behind(1..=5, after, limit, ToString::to_string)
    }

    #[test]
    fn pages_cover_a_list() {
        let first = listed(None, 2).unwrap();
        assert_eq!((first.items, first.next.as_deref()), (vec![1, 2], Some("2")));
        let last = listed(Some("3"), 2).unwrap();
        assert_eq!((last.items, last.next), (vec![4, 5], None));
        assert!(listed(Some("5"), 2).unwrap().items.is_empty());
        assert_eq!(listed(Some("9"), 2).unwrap_err().code, ProblemCode::InvalidInput);
        assert_eq!(listed(None, usize::MAX).unwrap().items.len(), 5);
    }
}
