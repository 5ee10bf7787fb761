//! The control plane that commands speak to: this program's own, or a server.
//!
//! A command parses its arguments, asks a [`Plane`], and shows what it says. Requests, answers and errors are those of `deploy-wire`
//! either way: so a command neither knows nor cares where the plane is.
mod agents;
mod builds;
mod channels;
mod feed;
mod limits;
mod own;
mod remote;
mod upload;

pub(crate) use agents::AgentPlane;
pub(crate) use builds::{BuildPlane, id_of};
pub(crate) use channels::ChannelPlane;
pub(crate) use limits::LimitPlane;
pub(crate) use own::OwnPlane;
pub(crate) use remote::RemotePlane;

use crate::{app::Embedded, packages::Packed};
use async_trait::async_trait;
use deploy_core::{
    backend::{ArtifactKind, ArtifactReader},
    digest::Digest,
    id::{HostName, PinName, ReleaseId, RepositoryName, ServiceName, Version},
    spec::Selector,
};
use deploy_operations::ArtifactSearch;
use deploy_wire::{
    Artifact, Explanation, Garbage, GarbageToCollect, Holders, Host, HostCheck, HostsToImport,
    HostsToRemove, Import, IssuedToken, LabelChanges, LogLine, NewHost, NewPlan, NewRelease,
    NewRollbackPlan, NewRollout, NewRun, NewToken, Plan, Problem, Release, ReleaseDiff, Removed,
    Rollout, RolloutCommand, RolloutEvent, RolloutSummary, Service, ServiceSpec, Status, Token,
    Upload, Verification,
};
use std::fmt;

/// What commands ask for. Lists come whole, however long.
#[async_trait]
pub(crate) trait Plane:
    AgentPlane + ChannelPlane + LimitPlane + fmt::Debug + Send + Sync
{
    /// This program's own platform, where that is what it is: there, whoever starts a rollout drives it. A server (`None`) does
    /// that by itself.
    fn own(&self) -> Option<&Embedded>;

    async fn services(&self) -> Result<Vec<Service>, Problem>;
    async fn service(&self, name: &ServiceName) -> Result<Service, Problem>;
    /// Changes the service at `revision`, or (`None`) adds one.
    async fn put_service(
        &self,
        name: &ServiceName,
        spec: &ServiceSpec,
        revision: Option<u64>,
    ) -> Result<Service, Problem>;
    /// What a service was, newest first.
    async fn history(&self, name: &ServiceName, limit: usize) -> Result<Vec<Service>, Problem>;
    /// What hosts are known to run of a service; with `refresh`, after a look at them.
    async fn status(&self, service: &ServiceName, refresh: bool) -> Result<Status, Problem>;

    async fn hosts(&self, selector: Option<&Selector>) -> Result<Vec<Host>, Problem>;
    async fn host(&self, name: &HostName) -> Result<Host, Problem>;
    async fn add_host(&self, host: NewHost) -> Result<Host, Problem>;
    async fn import_hosts(&self, hosts: HostsToImport) -> Result<Import, Problem>;
    /// Changes labels of the host at `revision`.
    async fn label_host(
        &self,
        name: &HostName,
        changes: &LabelChanges,
        revision: u64,
    ) -> Result<Host, Problem>;
    async fn remove_hosts(&self, hosts: &HostsToRemove) -> Result<Removed, Problem>;
    async fn check_hosts(&self, selector: Option<&Selector>) -> Result<Vec<HostCheck>, Problem>;

    /// What a search finds in the store, in the order of repository, kind and version.
    async fn artifacts(&self, search: &ArtifactSearch) -> Result<Vec<Artifact>, Problem>;
    /// How much of an artifact is there.
    async fn upload(&self, digest: &Digest) -> Result<Upload, Problem>;
    /// Puts an artifact into the store, going on where a put before was cut off.
    async fn put_artifact(&self, packed: Packed, place: &Place) -> Result<Artifact, Problem>;
    /// The bytes of an artifact, from its beginning.
    async fn open_artifact(&self, digest: &Digest) -> Result<ArtifactReader, Problem>;
    async fn descriptor(&self, digest: &Digest) -> Result<Vec<u8>, Problem>;
    async fn verify_artifact(&self, digest: &Digest) -> Result<Verification, Problem>;
    /// Who keeps an artifact from being removed.
    async fn holders(&self, digest: &Digest) -> Result<Holders, Problem>;
    async fn pin(&self, digest: &Digest, name: &PinName) -> Result<Holders, Problem>;
    async fn unpin(&self, digest: &Digest, name: &PinName) -> Result<(), Problem>;
    async fn collect_garbage(&self, garbage: &GarbageToCollect) -> Result<Garbage, Problem>;

    /// Releases of a service, newest first.
    async fn releases(&self, service: &ServiceName, limit: usize) -> Result<Vec<Release>, Problem>;
    async fn release(&self, id: &ReleaseId) -> Result<Release, Problem>;
    async fn create_release(&self, release: &NewRelease) -> Result<Release, Problem>;
    async fn release_diff(&self, from: &ReleaseId, to: &ReleaseId) -> Result<ReleaseDiff, Problem>;

    async fn plan(&self, plan: &NewPlan) -> Result<Plan, Problem>;
    async fn plan_rollback(&self, plan: &NewRollbackPlan) -> Result<Plan, Problem>;
    async fn plan_run(&self, run: &NewRun) -> Result<Plan, Problem>;
    async fn start(&self, rollout: &NewRollout) -> Result<Rollout, Problem>;
    async fn start_run(&self, run: &NewRun) -> Result<Rollout, Problem>;
    /// Rollouts, newest first.
    async fn rollouts(
        &self,
        service: Option<&ServiceName>,
        limit: usize,
    ) -> Result<Vec<RolloutSummary>, Problem>;
    /// A rollout, by its id or as the newest one of a service; with `hosts`, every host of it.
    async fn rollout(&self, named: &str, hosts: bool) -> Result<Rollout, Problem>;
    /// Tells a rollout what to do; gives the one that does it.
    async fn command(&self, id: &str, command: &RolloutCommand) -> Result<Rollout, Problem>;
    async fn why(&self, named: &str, host: &HostName) -> Result<Explanation, Problem>;
    /// Follows a rollout, and tells what happens after the position `after`.
    async fn watch(&self, id: &str, after: u64) -> Result<Box<dyn Watch>, Problem>;
    /// Follows what the steps of a rollout print, on one host or on all.
    async fn printed(&self, id: &str, host: Option<&HostName>)
    -> Result<Box<dyn Printed>, Problem>;

    async fn tokens(&self) -> Result<Vec<Token>, Problem>;
    async fn create_token(&self, token: NewToken) -> Result<IssuedToken, Problem>;
    async fn revoke_token(&self, id: &str) -> Result<(), Problem>;
}

/// A rollout as it goes. What was not taken in because the call was dropped comes with the next one.
#[async_trait]
pub(crate) trait Watch: Send {
    /// What has happened since the last time. The rollout is as far then.
    async fn look(&mut self) -> Result<Vec<RolloutEvent>, Problem>;

    /// Waits until it is known that nothing more will happen; for ever where nobody says so, and the second time. May be dropped at any time.
    async fn end(&mut self) -> Result<(), Problem> {
        std::future::pending().await
    }

    /// The rollout as of the last look.
    fn rollout(&self) -> &Rollout;
}

/// What the steps of a rollout print.
#[async_trait]
pub(crate) trait Printed: Send {
    /// What has come since the last time.
    async fn read(&mut self) -> Result<Vec<LogLine>, Problem>;

    /// All that there is by now, and was not given before.
    async fn rest(&mut self) -> Result<Vec<LogLine>, Problem>;
}

/// Where an artifact is listed.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) repository: RepositoryName,
    pub(crate) kind: ArtifactKind,
    pub(crate) version: Version,
}
