//! An executor for every host on which processes can be started.
mod attempt;
mod call;
mod environment;
mod failure;
mod offer;
mod progress;
mod releases;
mod reports;
mod run;
mod upload;
mod verbs;

use crate::{archive::Limits, transport::Transport};
use async_trait::async_trait;
use deploy_core::{
    access::{Action, Permit, Resource},
    backend::{
        ArtifactStore, AttemptLog, AttemptReport, AttemptRequest, CheckRequest, Clock,
        CollectRequest, ConfirmRequest, Confirmation, Delivery, Executor, ExecutorCapabilities,
        Health, HostRequest, KillReport, KillRequest, Observed, Piece, ProbeReport, ProbeRequest,
        Resolution, ResolveRequest, StageReport, StageRequest, Transfer,
    },
    error::{BackendError, BackendResult, ErrorKind},
    host::{Connection, Host},
    plan::DiskRoom,
    spec::AbsolutePath,
};
use deploy_parts::Patches;
use std::{sync::Arc, time::Duration};

pub use attempt::ReleaseParts;
pub use environment::{environment, options};
pub use failure::{doubtful, harmless};
pub use releases::Releases;
pub use reports::recorded_reason;

/// Runs attempts through the launcher of `docs/host-contract.md`, over any [`Transport`].
///
/// An attempt outlives the connection: when that is lost, the executor connects anew, goes on with the log at the exact byte, and takes the result
/// from the host's own record. Only when a host stays away for longer than [`with_reconnect_for`](Self::with_reconnect_for) is the outcome unknown.
///
/// What is sent is judged before: a descriptor or package that breaks a rule of [`archive`](crate::archive) reaches no host.
#[derive(Debug)]
pub struct ShellExecutor<T> {
    transport: T,
    artifacts: Releases,
    clock: Arc<dyn Clock>,
    reconnect_for: Duration,
    patches: Option<offer::Known>,
}

impl<T: Transport> ShellExecutor<T> {
    /// An executor that reaches hosts through `transport` and takes artifacts from `store`.
    #[must_use]
    pub fn new(transport: T, store: Arc<dyn ArtifactStore>, clock: Arc<dyn Clock>) -> Self {
        Self {
            transport,
            artifacts: Releases::new(store, Limits::PACKAGE),
            clock,
            reconnect_for: Duration::from_secs(300),
            patches: None,
        }
    }

    /// With patches: to a host over SSH that has the package before, and `zstd`, what makes the one of the other is sent in place of
    /// a package where that is shorter.
    #[must_use]
    pub fn with_patches(mut self, patches: Patches) -> Self {
        self.patches = Some(offer::Known::new(patches));
        self
    }

    /// With another patience for hosts that went away during an attempt; five minutes by default.
    #[must_use]
    pub const fn with_reconnect_for(mut self, reconnect_for: Duration) -> Self {
        self.reconnect_for = reconnect_for;
        self
    }

    /// With other limits for packages.
    #[must_use]
    pub const fn with_package_limits(mut self, limits: Limits) -> Self {
        self.artifacts.set_limits(limits);
        self
    }

    /// What connects it to hosts.
    #[must_use]
    pub const fn transport(&self) -> &T {
        &self.transport
    }
}

#[async_trait]
impl<T: Transport> Executor for ShellExecutor<T> {
    fn capabilities(&self) -> ExecutorCapabilities {
        ExecutorCapabilities::default().with_check(true).with_collect(true).with_kill(true)
    }

    async fn run(
        &self,
        permit: &Permit,
        request: &AttemptRequest,
        log: &dyn AttemptLog,
    ) -> BackendResult<AttemptReport> {
        allow(permit, Action::HostExecute, &request.on, "executor.run")?;
        if request.revert.is_some() {
            return Err(stays("executor.run"));
        }
        self.run_attempt(request, log).await
    }

    async fn probe(&self, permit: &Permit, request: &ProbeRequest) -> BackendResult<ProbeReport> {
        allow(permit, Action::HostExecute, &request.on, "executor.probe")?;
        self.probe_attempt(request).await
    }

    async fn kill(&self, permit: &Permit, request: &KillRequest) -> BackendResult<KillReport> {
        allow(permit, Action::HostExecute, &request.on, "executor.kill")?;
        self.kill_attempt(request).await
    }

    async fn confirm(
        &self,
        permit: &Permit,
        request: &ConfirmRequest,
    ) -> BackendResult<Confirmation> {
        allow(permit, Action::HostExecute, &request.on, "executor.confirm")?;
        Err(stays("executor.confirm"))
    }

    async fn stage(&self, permit: &Permit, request: &StageRequest) -> BackendResult<StageReport> {
        const STAGE: &str = "executor.stage";
        allow(permit, Action::HostExecute, &request.on, STAGE)?;
        Err(BackendError::new(ErrorKind::Unsupported, STAGE)
            .because("a host without an agent keeps nothing ahead of its attempts"))
    }

    async fn room(
        &self,
        permit: &Permit,
        attempt: &AttemptRequest,
    ) -> BackendResult<Vec<DiskRoom>> {
        const ROOM: &str = "executor.room";
        allow(permit, Action::HostObserve, &attempt.on, ROOM)?;
        Err(BackendError::new(ErrorKind::Unsupported, ROOM)
            .because("a host without an agent is not asked before its attempts"))
    }

    async fn transfer(&self, host: &Host, delivery: &Delivery) -> BackendResult<Transfer> {
        self.estimate(host, delivery).await
    }

    async fn collect(&self, permit: &Permit, request: &CollectRequest) -> BackendResult<Piece> {
        allow(permit, Action::HostExecute, &request.on, "executor.collect")?;
        self.collect_piece(request).await
    }

    async fn check(&self, permit: &Permit, request: &CheckRequest) -> BackendResult<Health> {
        allow(permit, Action::HostExecute, &request.on, "executor.check")?;
        self.check_service(request).await
    }

    async fn resolve(
        &self,
        permit: &Permit,
        request: &ResolveRequest,
    ) -> BackendResult<Resolution> {
        allow(permit, Action::HostExecute, &request.attempt.on, "executor.resolve")?;
        self.resolve_step(request).await
    }

    async fn observe(&self, permit: &Permit, request: &HostRequest) -> BackendResult<Observed> {
        allow(permit, Action::HostObserve, request, "executor.observe")?;
        self.observe_service(request).await
    }
}

/// Demands a permit for what is to be done to a service on its host.
///
/// # Errors
/// `PermissionDenied` if it is another.
pub fn allow(
    permit: &Permit,
    action: Action,
    on: &HostRequest,
    operation: &'static str,
) -> BackendResult<()> {
    let resource = Resource::Host(on.host.name.clone(), Some(on.service.clone()));
    permit.demand(action, &resource, operation)
}

/// Nothing lives on a host without an agent that could take back what nobody confirms.
fn stays(operation: &'static str) -> BackendError {
    BackendError::new(ErrorKind::Unsupported, operation)
        .because("a host without an agent does not go back by itself")
}

/// Where a service lies on a host, with the host's own root before it.
fn deploy_path(on: &HostRequest, operation: &'static str) -> BackendResult<String> {
    let root = root(&on.host).trim_end_matches('/');
    if !root.is_empty() {
        let parsed = root.parse::<AbsolutePath>();
        parsed
            .map_err(|err| failure::invalid(operation).with("host", &on.host.name).because(err))?;
    }
    Ok(format!("{root}{}", on.deploy_path))
}

fn root(host: &Host) -> &str {
    match &host.connection {
        Connection::Local { root } => root,
        Connection::Ssh(ssh) => ssh.root.as_deref().unwrap_or_default(),
        _ => "",
    }
}

/// The control folder of a service on a host.
fn control_folder(deploy_path: &str) -> String {
    format!("{deploy_path}/.deploy")
}
