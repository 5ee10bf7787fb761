//! Who may do what: the request, the answer, and the [`Permit`] that proves the answer.
use crate::{
    error::{BackendError, BackendResult, ErrorKind},
    id::{HostName, Principal, RepositoryName, ServiceName, StreamId},
};
use serde::{Deserialize, Serialize};
use std::fmt;

/// What somebody wants to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Action {
    /// Put or delete artifacts.
    ArtifactWrite,
    /// Have sources built, and end builds.
    BuildRun,
    /// Let hosts in: make and revoke join tokens, admit, quarantine and revoke agents.
    HostEnroll,
    /// Run steps on hosts, probe, kill and check them.
    HostExecute,
    /// Read what hosts run.
    HostObserve,
    /// Add, change or remove hosts.
    HostWrite,
    /// Start, pause, resume, confirm, skip, exclude, retry, kill, abort, roll back.
    RolloutControl,
    /// Create or change services and releases.
    ServiceWrite,
    /// Make and revoke API tokens, for anybody.
    TokenWrite,
}

impl Action {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::ArtifactWrite,
        Self::BuildRun,
        Self::HostEnroll,
        Self::HostExecute,
        Self::HostObserve,
        Self::HostWrite,
        Self::RolloutControl,
        Self::ServiceWrite,
        Self::TokenWrite,
    ];

    /// A stable, lower-case name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ArtifactWrite => "artifact_write",
            Self::BuildRun => "build_run",
            Self::HostEnroll => "host_enroll",
            Self::HostExecute => "host_execute",
            Self::HostObserve => "host_observe",
            Self::HostWrite => "host_write",
            Self::RolloutControl => "rollout_control",
            Self::ServiceWrite => "service_write",
            Self::TokenWrite => "token_write",
        }
    }
}

/// What it is to be done to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Resource {
    /// One host, for one service or (`None`) for ad-hoc runs and the record itself.
    Host(HostName, Option<ServiceName>),
    /// One repository of artifacts.
    Repository(RepositoryName),
    /// One service.
    Service(ServiceName),
    /// The whole installation.
    System,
}

impl Resource {
    /// What writing into `stream` is done to: its service, or the whole installation by an ad-hoc run.
    #[must_use]
    pub fn of_stream(stream: &StreamId) -> Self {
        match stream {
            StreamId::Run(_) => Self::System,
            StreamId::Service(service) => Self::Service(service.clone()),
        }
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host(host, Some(service)) => write!(f, "host/{host} (service {service})"),
            Self::Host(host, None) => write!(f, "host/{host}"),
            Self::Repository(name) => write!(f, "repository/{name}"),
            Self::Service(name) => write!(f, "service/{name}"),
            Self::System => f.write_str("system"),
        }
    }
}

/// Who wants to do what to which.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub struct AccessRequest {
    /// Who asks.
    pub principal: Principal,
    /// What for.
    pub action: Action,
    /// On what.
    pub resource: Resource,
}

impl AccessRequest {
    /// `principal` wants to do `action` to `resource`.
    #[must_use]
    pub const fn new(principal: Principal, action: Action, resource: Resource) -> Self {
        Self { principal, action, resource }
    }
}

/// May they? The texts name the rules that decided.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "a third answer must break every caller")]
pub enum Decision {
    /// Yes, because of these.
    Allow(Vec<String>),
    /// No, because of these; empty where nothing allowed it.
    Deny(Vec<String>),
}

/// Proof that an access check said yes. Every privileged method of a backend takes one, so that forgetting to
/// authorize does not compile.
///
/// Only `backend::authorize` makes one.
///
/// ```compile_fail
/// use deploy_core::access::{AccessRequest, Permit};
/// fn forge(request: AccessRequest) -> Permit {
///     Permit { request }
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permit {
    request: AccessRequest,
}

impl Permit {
    #[cfg(feature = "engine")]
    pub(crate) const fn granted(request: AccessRequest) -> Self {
        Self { request }
    }

    /// Who may.
    #[must_use]
    pub const fn principal(&self) -> &Principal {
        &self.request.principal
    }

    /// What.
    #[must_use]
    pub const fn action(&self) -> Action {
        self.request.action
    }

    /// To what.
    #[must_use]
    pub const fn resource(&self) -> &Resource {
        &self.request.resource
    }

    /// Whether this permit is for `action` on `resource`. A permit for [`Resource::System`] covers every resource;
    /// one for a service covers that service on every host.
    #[must_use]
    pub fn covers(&self, action: Action, resource: &Resource) -> bool {
        let same = match (&self.request.resource, resource) {
            (Resource::System, _) => true,
            (Resource::Service(mine), Resource::Host(_, Some(asked))) => mine == asked,
            (mine, asked) => mine == asked,
        };
        same && self.request.action == action
    }

    /// What a backend asks of a permit before it does anything: that it [`covers`](Self::covers) just that.
    ///
    /// # Errors
    /// `PermissionDenied` if it does not, as every contract has it.
    pub fn demand(
        &self,
        action: Action,
        resource: &Resource,
        operation: &'static str,
    ) -> BackendResult<()> {
        if self.covers(action, resource) {
            return Ok(());
        }
        Err(BackendError::new(ErrorKind::PermissionDenied, operation)
            .with("needs", format_args!("{} on {resource}", action.as_str()))
            .with("has", format_args!("{} on {}", self.action().as_str(), self.resource())))
    }

    /// What a backend asks of a permit for artifacts, whichever repository they are listed in: that it is for
    /// [`ArtifactWrite`](Action::ArtifactWrite), on some repository or on the system.
    ///
    /// # Errors
    /// `PermissionDenied` if it is not.
    pub fn demand_some_repository(&self, operation: &'static str) -> BackendResult<()> {
        let place = match self.resource() {
            mine @ Resource::Repository(_) => mine,
            _ => &Resource::System,
        };
        self.demand(Action::ArtifactWrite, place, operation)
    }
}
