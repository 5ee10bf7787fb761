use super::{Layer, Layered, Operation, only_once};
use crate::{
    access::{AccessRequest, Decision, Permit},
    backend::{
        AcquireLease, AppendError, ArtifactEntry, ArtifactMeta, ArtifactReader, ArtifactStore,
        ArtifactStoreCapabilities, Authorizer, Build, BuildLog, BuildOutput, BuildRequest, Builder,
        ChannelKey, ChannelMove, Expect, Holder, HostInventory, Journal, Lease, LeaseStore,
        ListArtifacts, ListBuilds, LogChunk, LogPosition, LogQuery, LogStore, Notification,
        Notifier, Placement, PlacementRequest, PutArtifact, Revision, RolloutRef, Scheduler,
        ServiceRegistry, Versioned,
    },
    digest::Digest,
    error::BackendResult,
    host::{Host, Installed},
    id::{BuildId, HostName, ReleaseId, RolloutId, Seq, ServiceName, StreamId},
    rollout::Record,
    spec::{Release, Service},
};
use async_trait::async_trait;
use std::collections::{BTreeMap, BTreeSet};
use tokio::io::AsyncRead;

#[async_trait]
impl<B: ArtifactStore, L: Layer> ArtifactStore for Layered<B, L> {
    fn capabilities(&self) -> ArtifactStoreCapabilities {
        self.backend.capabilities()
    }

    async fn put(
        &self,
        permit: &Permit,
        request: PutArtifact,
        body: &mut (dyn AsyncRead + Send + Unpin),
    ) -> BackendResult<ArtifactMeta> {
        let operation = Operation::write("artifact.put").unbounded().once();
        let call = self.backend.put(permit, request, body);
        self.layer.around(operation, only_once(operation, call)).await
    }

    async fn partial(&self, digest: &Digest) -> BackendResult<u64> {
        let operation = Operation::read("artifact.partial");
        self.layer.around(operation, || self.backend.partial(digest)).await
    }

    async fn head(&self, digest: &Digest) -> BackendResult<ArtifactMeta> {
        let operation = Operation::read("artifact.head");
        self.layer.around(operation, || self.backend.head(digest)).await
    }

    async fn open(&self, digest: &Digest, offset: u64) -> BackendResult<ArtifactReader> {
        let operation = Operation::read("artifact.open");
        self.layer.around(operation, || self.backend.open(digest, offset)).await
    }

    async fn list(&self, request: &ListArtifacts) -> BackendResult<Vec<ArtifactEntry>> {
        let operation = Operation::read("artifact.list");
        self.layer.around(operation, || self.backend.list(request)).await
    }

    async fn hold(&self, permit: &Permit, digest: &Digest, holder: &Holder) -> BackendResult<()> {
        let operation = Operation::write("artifact.hold");
        self.layer.around(operation, || self.backend.hold(permit, digest, holder)).await
    }

    async fn let_go(&self, permit: &Permit, digest: &Digest, holder: &Holder) -> BackendResult<()> {
        let operation = Operation::write("artifact.let_go");
        self.layer.around(operation, || self.backend.let_go(permit, digest, holder)).await
    }

    async fn holders(&self, digest: &Digest) -> BackendResult<BTreeSet<Holder>> {
        let operation = Operation::read("artifact.holders");
        self.layer.around(operation, || self.backend.holders(digest)).await
    }

    async fn delete(&self, permit: &Permit, digest: &Digest) -> BackendResult<()> {
        let operation = Operation::write("artifact.delete");
        self.layer.around(operation, || self.backend.delete(permit, digest)).await
    }

    async fn verify(&self, digest: &Digest) -> BackendResult<()> {
        let operation = Operation::read("artifact.verify").unbounded();
        self.layer.around(operation, || self.backend.verify(digest)).await
    }
}

#[async_trait]
impl<B: Authorizer, L: Layer> Authorizer for Layered<B, L> {
    async fn authorize(&self, request: &AccessRequest) -> BackendResult<Decision> {
        let operation = Operation::read("access.authorize");
        self.layer.around(operation, || self.backend.authorize(request)).await
    }
}

#[async_trait]
impl<B: Builder, L: Layer> Builder for Layered<B, L> {
    async fn submit(&self, permit: &Permit, request: &BuildRequest) -> BackendResult<Build> {
        // Asked again, it would be another build.
        let operation = Operation::write("build.submit").once();
        let call = self.backend.submit(permit, request);
        self.layer.around(operation, only_once(operation, call)).await
    }

    async fn build(&self, id: &BuildId) -> BackendResult<Build> {
        let operation = Operation::read("build.read");
        self.layer.around(operation, || self.backend.build(id)).await
    }

    async fn builds(&self, request: &ListBuilds) -> BackendResult<Vec<Build>> {
        let operation = Operation::read("build.list");
        self.layer.around(operation, || self.backend.builds(request)).await
    }

    async fn cancel(&self, permit: &Permit, id: &BuildId) -> BackendResult<Build> {
        let operation = Operation::write("build.cancel");
        self.layer.around(operation, || self.backend.cancel(permit, id)).await
    }

    async fn log(&self, id: &BuildId, offset: u64, limit: usize) -> BackendResult<BuildLog> {
        let operation = Operation::read("build.log");
        self.layer.around(operation, || self.backend.log(id, offset, limit)).await
    }

    async fn open(&self, id: &BuildId, output: BuildOutput) -> BackendResult<ArtifactReader> {
        let operation = Operation::read("build.open_output");
        self.layer.around(operation, || self.backend.open(id, output)).await
    }
}

#[async_trait]
impl<B: HostInventory, L: Layer> HostInventory for Layered<B, L> {
    async fn put(&self, permit: &Permit, host: Host, expect: Expect) -> BackendResult<Revision> {
        let operation = Operation::write("inventory.put");
        self.layer.around(operation, || self.backend.put(permit, host.clone(), expect)).await
    }

    async fn host(&self, name: &HostName) -> BackendResult<Versioned<Host>> {
        let operation = Operation::read("inventory.host");
        self.layer.around(operation, || self.backend.host(name)).await
    }

    async fn hosts(
        &self,
        after: Option<&HostName>,
        limit: usize,
    ) -> BackendResult<Vec<Versioned<Host>>> {
        let operation = Operation::read("inventory.hosts");
        self.layer.around(operation, || self.backend.hosts(after, limit)).await
    }

    async fn remove(&self, permit: &Permit, name: &HostName) -> BackendResult<()> {
        let operation = Operation::write("inventory.remove");
        self.layer.around(operation, || self.backend.remove(permit, name)).await
    }

    async fn record(
        &self,
        permit: &Permit,
        name: &HostName,
        service: &ServiceName,
        seen: Installed,
    ) -> BackendResult<()> {
        let operation = Operation::write("inventory.record");
        let call = || self.backend.record(permit, name, service, seen.clone());
        self.layer.around(operation, call).await
    }

    async fn installed(
        &self,
        service: &ServiceName,
    ) -> BackendResult<BTreeMap<HostName, Installed>> {
        let operation = Operation::read("inventory.installed");
        self.layer.around(operation, || self.backend.installed(service)).await
    }
}

#[async_trait]
impl<B: Journal, L: Layer> Journal for Layered<B, L> {
    async fn append(
        &self,
        permit: &Permit,
        stream: &StreamId,
        expected: Seq,
        records: &[Record],
    ) -> Result<Seq, AppendError> {
        // A conflict is an answer and passes through the layer as one.
        let call = || async {
            match self.backend.append(permit, stream, expected, records).await {
                Err(AppendError::Backend(err)) => Err(err),
                answer => Ok(answer),
            }
        };
        self.layer.around(Operation::write("journal.append"), call).await?
    }

    async fn read(
        &self,
        stream: &StreamId,
        after: Seq,
        limit: usize,
    ) -> BackendResult<Vec<Record>> {
        let operation = Operation::read("journal.read");
        self.layer.around(operation, || self.backend.read(stream, after, limit)).await
    }

    async fn head(&self, stream: &StreamId) -> BackendResult<Seq> {
        let operation = Operation::read("journal.head");
        self.layer.around(operation, || self.backend.head(stream)).await
    }

    async fn rollouts(
        &self,
        stream: Option<&StreamId>,
        limit: usize,
    ) -> BackendResult<Vec<RolloutRef>> {
        let operation = Operation::read("journal.rollouts");
        self.layer.around(operation, || self.backend.rollouts(stream, limit)).await
    }

    async fn rollout(&self, id: &RolloutId) -> BackendResult<RolloutRef> {
        let operation = Operation::read("journal.rollout");
        self.layer.around(operation, || self.backend.rollout(id)).await
    }

    async fn raise_floor(&self, permit: &Permit, floor: Seq) -> BackendResult<()> {
        let operation = Operation::write("journal.raise_floor");
        self.layer.around(operation, || self.backend.raise_floor(permit, floor)).await
    }
}

#[async_trait]
impl<B: LeaseStore, L: Layer> LeaseStore for Layered<B, L> {
    async fn acquire(&self, request: &AcquireLease) -> BackendResult<Lease> {
        let operation = Operation::write("lease.acquire");
        self.layer.around(operation, || self.backend.acquire(request)).await
    }

    async fn release(&self, lease: &Lease) -> BackendResult<()> {
        let operation = Operation::write("lease.release");
        self.layer.around(operation, || self.backend.release(lease)).await
    }

    async fn current(&self, name: &str) -> BackendResult<Option<Lease>> {
        let operation = Operation::read("lease.current");
        self.layer.around(operation, || self.backend.current(name)).await
    }
}

#[async_trait]
impl<B: LogStore, L: Layer> LogStore for Layered<B, L> {
    async fn append(&self, chunks: &[LogChunk]) -> BackendResult<()> {
        let operation = Operation::write("log.append");
        self.layer.around(operation, || self.backend.append(chunks)).await
    }

    async fn length(
        &self,
        rollout: &RolloutId,
        host: &HostName,
        generation: Seq,
    ) -> BackendResult<u64> {
        let operation = Operation::read("log.length");
        self.layer.around(operation, || self.backend.length(rollout, host, generation)).await
    }

    async fn read(&self, query: &LogQuery) -> BackendResult<Vec<(LogPosition, LogChunk)>> {
        let operation = Operation::read("log.read");
        self.layer.around(operation, || self.backend.read(query)).await
    }
}

#[async_trait]
impl<B: Notifier, L: Layer> Notifier for Layered<B, L> {
    async fn notify(&self, notification: &Notification) -> BackendResult<()> {
        let operation = Operation::write("notifier.notify");
        self.layer.around(operation, || self.backend.notify(notification)).await
    }
}

#[async_trait]
impl<B: Scheduler, L: Layer> Scheduler for Layered<B, L> {
    async fn place(&self, request: &PlacementRequest) -> BackendResult<Placement> {
        let operation = Operation::read("scheduler.place");
        self.layer.around(operation, || self.backend.place(request)).await
    }
}

#[async_trait]
impl<B: ServiceRegistry, L: Layer> ServiceRegistry for Layered<B, L> {
    async fn put_service(
        &self,
        permit: &Permit,
        service: Service,
        expect: Expect,
    ) -> BackendResult<Revision> {
        let operation = Operation::write("registry.put_service");
        let call = || self.backend.put_service(permit, service.clone(), expect);
        self.layer.around(operation, call).await
    }

    async fn service(&self, name: &ServiceName) -> BackendResult<Versioned<Service>> {
        let operation = Operation::read("registry.service");
        self.layer.around(operation, || self.backend.service(name)).await
    }

    async fn services(
        &self,
        after: Option<&ServiceName>,
        limit: usize,
    ) -> BackendResult<Vec<Versioned<Service>>> {
        let operation = Operation::read("registry.services");
        self.layer.around(operation, || self.backend.services(after, limit)).await
    }

    async fn history(
        &self,
        name: &ServiceName,
        limit: usize,
    ) -> BackendResult<Vec<Versioned<Service>>> {
        let operation = Operation::read("registry.history");
        self.layer.around(operation, || self.backend.history(name, limit)).await
    }

    async fn create_release(&self, permit: &Permit, release: Release) -> BackendResult<()> {
        let operation = Operation::write("registry.create_release");
        let call = || self.backend.create_release(permit, release.clone());
        self.layer.around(operation, call).await
    }

    async fn release(&self, id: &ReleaseId) -> BackendResult<Release> {
        let operation = Operation::read("registry.release");
        self.layer.around(operation, || self.backend.release(id)).await
    }

    async fn releases(&self, service: &ServiceName, limit: usize) -> BackendResult<Vec<Release>> {
        let operation = Operation::read("registry.releases");
        self.layer.around(operation, || self.backend.releases(service, limit)).await
    }

    async fn move_channel(
        &self,
        permit: &Permit,
        moved: ChannelMove,
        expect: Expect,
    ) -> BackendResult<Revision> {
        let operation = Operation::write("registry.move_channel");
        let call = || self.backend.move_channel(permit, moved.clone(), expect);
        self.layer.around(operation, call).await
    }

    async fn channel(&self, key: &ChannelKey) -> BackendResult<Versioned<ChannelMove>> {
        let operation = Operation::read("registry.channel");
        self.layer.around(operation, || self.backend.channel(key)).await
    }

    async fn channels(
        &self,
        after: Option<&ChannelKey>,
        limit: usize,
    ) -> BackendResult<Vec<Versioned<ChannelMove>>> {
        let operation = Operation::read("registry.channels");
        self.layer.around(operation, || self.backend.channels(after, limit)).await
    }

    async fn channel_history(
        &self,
        key: &ChannelKey,
        limit: usize,
    ) -> BackendResult<Vec<Versioned<ChannelMove>>> {
        let operation = Operation::read("registry.channel_history");
        self.layer.around(operation, || self.backend.channel_history(key, limit)).await
    }
}
