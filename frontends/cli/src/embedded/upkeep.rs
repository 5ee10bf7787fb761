use super::transport::AnyTransport;
use async_trait::async_trait;
use deploy_artifacts::{CollectGarbage, ObjectArtifactStore};
use deploy_core::{
    access::{Action, Permit, Resource},
    backend::Expect,
    error::BackendResult,
    host::{Connection, Host},
    id::HostName,
};
use deploy_host::executor::ShellExecutor;
use deploy_operations::{Collect, Collected, Upkeep, tools};
use deploy_sql::SqlHostInventory;
use std::{collections::BTreeSet, sync::Arc};

/// What the backends of this program can do beyond their traits.
#[derive(Clone, Debug)]
pub(super) struct EmbeddedUpkeep {
    /// It has the way to hosts on which anything can be asked.
    pub(super) executor: Arc<ShellExecutor<AnyTransport>>,
    /// It can collect garbage.
    pub(super) store: Arc<ObjectArtifactStore>,
    /// It can change many hosts at once.
    pub(super) hosts: SqlHostInventory,
}

#[async_trait]
impl Upkeep for EmbeddedUpkeep {
    async fn collect(&self, permit: &Permit, request: &Collect) -> BackendResult<Collected> {
        let asked = CollectGarbage::new(request.keep, request.now)
            .with_older_than(request.older_than)
            .with_needed(request.needed.clone())
            .with_obsolete(request.obsolete.clone())
            .with_dry_run(request.dry_run);
        let report = self.store.collect(permit, asked).await?;
        Ok(Collected {
            entries: report.entries,
            held: report.held,
            artifacts: report.artifacts,
            bytes: report.bytes,
            partials: report.partials,
        })
    }

    async fn lacking(&self, permit: &Permit, host: &Host) -> BackendResult<Vec<String>> {
        let service = match permit.resource() {
            Resource::Host(_, service) => service.clone(),
            _ => None,
        };
        let resource = Resource::Host(host.name.clone(), service);
        permit.demand(Action::HostObserve, &resource, "host.lacking")?;
        // An agent brings what its steps need, and there is no shell to ask.
        if matches!(host.connection, Connection::Agent) {
            return Ok(Vec::new());
        }
        tools::lacking(self.executor.transport(), host).await
    }

    async fn put_hosts(&self, permits: &[Permit], hosts: Vec<(Host, Expect)>) -> BackendResult<()> {
        self.hosts.put_all(permits, hosts).await
    }

    async fn remove_hosts(
        &self,
        permits: &[Permit],
        names: &BTreeSet<HostName>,
    ) -> BackendResult<()> {
        self.hosts.remove_all(permits, names).await
    }
}
