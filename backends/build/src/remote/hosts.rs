//! The hosts that builds may run on, and the right to use them.
use super::{handover::Runner, place::service_of};
use deploy_core::{
    access::{Action, Permit, Resource},
    backend::{
        ArtifactKind, ArtifactStore, Authorizer, BackendError, BackendResult, Build, BuildRequest,
        ErrorKind, Executor, HostInventory, HostInventoryExt as _, PutArtifact, authorize,
    },
    host::Host,
    id::{HostName, Principal},
    memory::{MemoryAuthorizer, Rule},
    spec::Selector,
    time::Timestamp,
};
use std::sync::Arc;

/// Where what is run on hosts is listed in the store.
const REPOSITORY: &str = "builds";

/// What it takes to reach hosts.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "a backend that is left out must not build")]
pub struct BuildHosts {
    /// Runs on them.
    pub executor: Arc<dyn Executor>,
    /// Knows them.
    pub inventory: Arc<dyn HostInventory>,
    /// Where the executor has its artifacts from.
    pub artifacts: Arc<dyn ArtifactStore>,
    /// Says who may choose hosts by themselves.
    pub authorizer: Arc<dyn Authorizer>,
}

impl BuildHosts {
    /// The hosts that may build `request` for `by`: those that `selector` selects, and whose executors give back what attempts leave.
    ///
    /// Where hosts were chosen by whoever runs the builder, whoever may build may use them. Who chooses hosts needs the right to run steps of the service
    /// there.
    pub(crate) async fn candidates(
        &self,
        by: &Principal,
        request: &BuildRequest,
        selector: &Selector,
    ) -> BackendResult<Vec<Host>> {
        const OPERATION: &str = "build.hosts";
        let invalid =
            |why: String| BackendError::new(ErrorKind::InvalidInput, OPERATION).because(why);
        let mut hosts = self.inventory.all_hosts().await?;
        hosts.retain(|it| selector.matches(it));
        if hosts.is_empty() {
            return Err(invalid(format!(
                "no host is selected by `{selector}`: give the label to one that is to build"
            )));
        }
        if request.on.is_some() {
            let mut allowed = Vec::new();
            let mut denied = None;
            for host in hosts {
                let resource = Resource::Host(host.name.clone(), Some(request.service.clone()));
                let permit =
                    authorize(&*self.authorizer, by.clone(), Action::HostExecute, resource).await;
                match permit {
                    Ok(_) => allowed.push(host),
                    Err(err) => denied = Some(err),
                }
            }
            hosts = allowed;
            if let Some(err) = denied.filter(|_| hosts.is_empty()) {
                return Err(BackendError::new(ErrorKind::PermissionDenied, OPERATION).because(err));
            }
        }
        hosts.retain(|it| {
            let offered = self.executor.capabilities_on(it);
            offered.collect && offered.kill
        });
        if hosts.is_empty() {
            return Err(invalid(format!(
                "none of the hosts that `{selector}` selects can give back what it builds: install a newer agent on one"
            )));
        }
        Ok(hosts)
    }

    /// The host `name`, if it is there still.
    pub(crate) async fn host(&self, name: &HostName) -> BackendResult<Host> {
        Ok(self.inventory.host(name).await?.value)
    }

    /// The right of the builder itself to work on `build` on `host`. Whether somebody may have it do that was asked before.
    pub(crate) async fn permit(&self, build: &Build, host: &HostName) -> BackendResult<Permit> {
        Self::permit_for(Action::HostExecute, build, host).await
    }

    /// The right of the builder itself to see what `host` knows of builds of the service of `build`.
    pub(crate) async fn permit_to_look(
        &self,
        build: &Build,
        host: &HostName,
    ) -> BackendResult<Permit> {
        Self::permit_for(Action::HostObserve, build, host).await
    }

    async fn permit_for(action: Action, build: &Build, host: &HostName) -> BackendResult<Permit> {
        let service = service_of(&build.request.service).map_err(|err| internal().because(err))?;
        let resource = Resource::Host(host.clone(), Some(service));
        own_permit(&build.by, action, resource).await
    }

    /// Has what is run on hosts in the store.
    pub(crate) async fn put_runner(
        &self,
        build: &Build,
        runner: &Runner,
        now: Timestamp,
    ) -> BackendResult<()> {
        match self.artifacts.head(&runner.artifact.digest).await {
            Err(err) if err.kind() == ErrorKind::NotFound => {}
            known => return known.map(drop),
        }
        let parsed = (REPOSITORY.parse(), runner.artifact.digest.short().parse());
        let (repository, version) = match parsed {
            (Ok(repository), Ok(version)) => (repository, version),
            (Err(err), _) | (_, Err(err)) => return Err(internal().because(err)),
        };
        let place = Resource::Repository(repository);
        let permit = own_permit(&build.by, Action::ArtifactWrite, place.clone()).await?;
        let Resource::Repository(repository) = place else { return Err(internal()) };
        let (digest, size) = (runner.artifact.digest, runner.artifact.size);
        let kind = ArtifactKind::Descriptor;
        let request = PutArtifact::new(digest, size, repository, kind, version, now);
        self.artifacts.put(&permit, request, &mut runner.archive.as_slice()).await.map(drop)
    }
}

/// A permit that whoever runs the builder has given it by setting it up.
async fn own_permit(by: &Principal, action: Action, resource: Resource) -> BackendResult<Permit> {
    let pattern = by.as_str().parse().map_err(|err| internal().because(err))?;
    let rules = MemoryAuthorizer::new(vec![Rule::allow(pattern, [action])]);
    let permit = authorize(&rules, by.clone(), action, resource).await;
    permit.map_err(|err| internal().because(err))
}

fn internal() -> BackendError {
    BackendError::new(ErrorKind::Internal, "build.hosts")
}
