use super::{Place, Plane, Printed, Watch};
use crate::{
    app::Embedded,
    packages::Packed,
    problem::{OrProblem as _, io_problem},
};
use async_trait::async_trait;
use deploy_core::{
    backend::{ArtifactReader, Revision},
    digest::Digest,
    engine::Parts,
    id::{HostName, PinName, ReleaseId, RolloutId, Seq, ServiceName},
    spec::Selector,
};
use deploy_operations::{
    ArtifactSearch, ArtifactUpload, EventFeed, LogTail, Operations, Tail, Tokens, demand_target,
    parse::field,
};
use deploy_wire::{
    Artifact, Explanation, Garbage, GarbageToCollect, Holders, Host, HostCheck, HostSpec,
    HostsToImport, HostsToRemove, Import, IssuedToken, LabelChanges, LogLine, NewHost, NewPlan,
    NewRelease, NewRollbackPlan, NewRollout, NewRun, NewToken, Plan, Problem, Release, ReleaseDiff,
    Removed, Rollout, RolloutCommand, RolloutEvent, RolloutSummary, Service, ServiceSpec, Status,
    Token, Upload, Verification,
};
use std::{
    io::{Seek as _, SeekFrom},
    sync::Arc,
};
use tokio::io::AsyncReadExt as _;

/// This program's own control plane, over the backends of this machine.
#[derive(Debug)]
pub(crate) struct OwnPlane {
    pub(super) embedded: Embedded,
    pub(super) operations: Operations,
}

impl OwnPlane {
    pub(crate) fn new(embedded: Embedded) -> Self {
        let operations = embedded.operations();
        Self { embedded, operations }
    }

    /// Whoever has the data may make any token.
    fn all_tokens(&self) -> Tokens {
        let credentials = Arc::new(self.embedded.credentials.clone());
        Tokens::new(self.operations.clone(), credentials, None)
    }
}

#[async_trait]
impl Plane for OwnPlane {
    fn own(&self) -> Option<&Embedded> {
        Some(&self.embedded)
    }

    async fn services(&self) -> Result<Vec<Service>, Problem> {
        Ok(self.operations.services(None, usize::MAX).await?.items)
    }

    async fn service(&self, name: &ServiceName) -> Result<Service, Problem> {
        self.operations.service(name).await
    }

    async fn put_service(
        &self,
        name: &ServiceName,
        spec: &ServiceSpec,
        revision: Option<u64>,
    ) -> Result<Service, Problem> {
        self.operations.put_service(name.clone(), spec, revision.map(Revision::new)).await
    }

    async fn history(&self, name: &ServiceName, limit: usize) -> Result<Vec<Service>, Problem> {
        self.operations.history(name, limit).await
    }

    async fn status(&self, service: &ServiceName, refresh: bool) -> Result<Status, Problem> {
        match refresh {
            true => self.operations.refresh(service).await,
            false => self.operations.status(service).await,
        }
    }

    async fn hosts(&self, selector: Option<&Selector>) -> Result<Vec<Host>, Problem> {
        Ok(self.operations.hosts(selector, None, usize::MAX).await?.items)
    }

    async fn host(&self, name: &HostName) -> Result<Host, Problem> {
        self.operations.host(name).await
    }

    async fn add_host(&self, host: NewHost) -> Result<Host, Problem> {
        let spec = HostSpec { connection: host.connection, labels: host.labels };
        self.operations.put_host(field("name", &host.name)?, &spec, None).await
    }

    async fn import_hosts(&self, hosts: HostsToImport) -> Result<Import, Problem> {
        self.operations.import_hosts(hosts).await
    }

    async fn label_host(
        &self,
        name: &HostName,
        changes: &LabelChanges,
        revision: u64,
    ) -> Result<Host, Problem> {
        self.operations.label_host(name, changes, Revision::new(revision)).await
    }

    async fn remove_hosts(&self, hosts: &HostsToRemove) -> Result<Removed, Problem> {
        self.operations.remove_hosts(hosts).await
    }

    async fn check_hosts(&self, selector: Option<&Selector>) -> Result<Vec<HostCheck>, Problem> {
        self.operations.check_hosts(selector).await
    }

    async fn artifacts(&self, search: &ArtifactSearch) -> Result<Vec<Artifact>, Problem> {
        Ok(self.operations.artifacts(search, None, usize::MAX).await?.items)
    }

    async fn upload(&self, digest: &Digest) -> Result<Upload, Problem> {
        self.operations.upload(digest).await
    }

    async fn put_artifact(&self, mut packed: Packed, place: &Place) -> Result<Artifact, Problem> {
        let store = &self.embedded.parts().artifacts;
        let offset = store.partial(&packed.digest).await.or_problem()?;
        let sought = packed.file.seek(SeekFrom::Start(packed.begin.saturating_add(offset)));
        sought.map_err(|err| io_problem("the artifact", &err))?;
        let file = tokio::fs::File::from_std(packed.file);
        let mut rest = file.take(packed.size.saturating_sub(offset));
        let upload = ArtifactUpload {
            digest: packed.digest,
            size: packed.size,
            repository: place.repository.clone(),
            kind: place.kind,
            version: place.version.clone(),
            offset,
        };
        self.operations.put_artifact(upload, &mut rest).await
    }

    async fn open_artifact(&self, digest: &Digest) -> Result<ArtifactReader, Problem> {
        self.operations.open_artifact(digest).await
    }

    async fn descriptor(&self, digest: &Digest) -> Result<Vec<u8>, Problem> {
        self.operations.descriptor_archive(digest).await
    }

    async fn verify_artifact(&self, digest: &Digest) -> Result<Verification, Problem> {
        self.operations.verify_artifact(digest).await
    }

    async fn holders(&self, digest: &Digest) -> Result<Holders, Problem> {
        self.operations.holders(digest).await
    }

    async fn pin(&self, digest: &Digest, name: &PinName) -> Result<Holders, Problem> {
        self.operations.pin(digest, name).await
    }

    async fn unpin(&self, digest: &Digest, name: &PinName) -> Result<(), Problem> {
        self.operations.unpin(digest, name).await
    }

    async fn collect_garbage(&self, garbage: &GarbageToCollect) -> Result<Garbage, Problem> {
        self.operations.collect_garbage(garbage).await
    }

    async fn releases(&self, service: &ServiceName, limit: usize) -> Result<Vec<Release>, Problem> {
        Ok(self.operations.releases(service, None, limit).await?.items)
    }

    async fn release(&self, id: &ReleaseId) -> Result<Release, Problem> {
        self.operations.release(id).await
    }

    async fn create_release(&self, release: &NewRelease) -> Result<Release, Problem> {
        self.operations.create_release(release).await
    }

    async fn release_diff(&self, from: &ReleaseId, to: &ReleaseId) -> Result<ReleaseDiff, Problem> {
        self.operations.release_diff(from, to).await
    }

    async fn plan(&self, plan: &NewPlan) -> Result<Plan, Problem> {
        self.operations.plan(plan).await
    }

    async fn plan_rollback(&self, plan: &NewRollbackPlan) -> Result<Plan, Problem> {
        self.operations.plan_rollback(plan).await
    }

    async fn plan_run(&self, run: &NewRun) -> Result<Plan, Problem> {
        self.operations.plan_run(run).await
    }

    async fn start(&self, rollout: &NewRollout) -> Result<Rollout, Problem> {
        let id = self.operations.start(rollout).await?;
        self.operations.rollout(&id, false).await
    }

    async fn start_run(&self, run: &NewRun) -> Result<Rollout, Problem> {
        let id = self.operations.start_run(run).await?;
        self.operations.rollout(&id, false).await
    }

    async fn rollouts(
        &self,
        service: Option<&ServiceName>,
        limit: usize,
    ) -> Result<Vec<RolloutSummary>, Problem> {
        Ok(self.operations.rollouts(service.cloned(), None, limit).await?.items)
    }

    async fn rollout(&self, named: &str, hosts: bool) -> Result<Rollout, Problem> {
        let id = self.operations.find_rollout(named).await?;
        self.operations.rollout(&id, hosts).await
    }

    async fn command(&self, id: &str, command: &RolloutCommand) -> Result<Rollout, Problem> {
        self.operations.command(&field("rollout", id)?, command).await
    }

    async fn why(&self, named: &str, host: &HostName) -> Result<Explanation, Problem> {
        let id = self.operations.find_rollout(named).await?;
        self.operations.why(&id, host).await
    }

    async fn watch(&self, id: &str, after: u64) -> Result<Box<dyn Watch>, Problem> {
        let parts = self.embedded.parts().clone();
        let id: RolloutId = field("rollout", id)?;
        let feed = EventFeed::open(&parts, &id, Seq::new(after)).await?;
        let rollout = self.operations.rollout(&id, false).await?;
        Ok(Box::new(OwnWatch { parts, feed, rollout, happened: Vec::new() }))
    }

    async fn printed(
        &self,
        id: &str,
        host: Option<&HostName>,
    ) -> Result<Box<dyn Printed>, Problem> {
        let parts = self.embedded.parts().clone();
        let id: RolloutId = field("rollout", id)?;
        if let Some(host) = host {
            demand_target(&Tail::open(&parts, &id).await?.0.rollout, host)?;
        }
        Ok(Box::new(OwnPrinted { parts, tail: LogTail::new(id).of_host(host.cloned()) }))
    }

    async fn tokens(&self) -> Result<Vec<Token>, Problem> {
        Ok(self.all_tokens().list(None, usize::MAX).await?.items)
    }

    async fn create_token(&self, token: NewToken) -> Result<IssuedToken, Problem> {
        self.all_tokens().create(token).await
    }

    async fn revoke_token(&self, id: &str) -> Result<(), Problem> {
        self.all_tokens().revoke(&field("token", id)?).await
    }
}

/// A rollout, out of the journal.
struct OwnWatch {
    parts: Parts,
    feed: EventFeed,
    rollout: Rollout,
    happened: Vec<RolloutEvent>,
}

#[async_trait]
impl Watch for OwnWatch {
    async fn look(&mut self) -> Result<Vec<RolloutEvent>, Problem> {
        loop {
            let new = self.feed.next(&self.parts).await?;
            if new.is_empty() {
                break;
            }
            self.happened.extend(new);
        }
        if let Some(newest) = self.feed.newer(self.rollout.seq) {
            self.rollout = newest;
        }
        Ok(std::mem::take(&mut self.happened))
    }

    fn rollout(&self) -> &Rollout {
        &self.rollout
    }
}

/// Output, out of the store of logs.
struct OwnPrinted {
    parts: Parts,
    tail: LogTail,
}

#[async_trait]
impl Printed for OwnPrinted {
    async fn read(&mut self) -> Result<Vec<LogLine>, Problem> {
        self.tail.documents(&*self.parts.logs).await
    }

    async fn rest(&mut self) -> Result<Vec<LogLine>, Problem> {
        let mut lines = Vec::new();
        loop {
            let read = self.read().await?;
            if read.is_empty() {
                return Ok(lines);
            }
            lines.extend(read);
        }
    }
}
