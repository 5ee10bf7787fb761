use super::{Layer, Layered, Operation};
use crate::{
    access::Permit,
    backend::{
        AttemptLog, AttemptReport, AttemptRequest, CheckRequest, CollectRequest, ConfirmRequest,
        Confirmation, Delivery, Executor, ExecutorCapabilities, Health, HostRequest, KillReport,
        KillRequest, Observed, Piece, ProbeReport, ProbeRequest, Resolution, ResolveRequest,
        StageReport, StageRequest, Transfer,
    },
    error::BackendResult,
    host::Host,
    plan::DiskRoom,
};
use async_trait::async_trait;

#[async_trait]
impl<B: Executor, L: Layer> Executor for Layered<B, L> {
    fn capabilities(&self) -> ExecutorCapabilities {
        self.backend.capabilities()
    }

    fn capabilities_on(&self, host: &Host) -> ExecutorCapabilities {
        self.backend.capabilities_on(host)
    }

    async fn run(
        &self,
        permit: &Permit,
        request: &AttemptRequest,
        log: &dyn AttemptLog,
    ) -> BackendResult<AttemptReport> {
        let operation = Operation::write("executor.run").unbounded();
        self.layer.around(operation, || self.backend.run(permit, request, log)).await
    }

    async fn probe(&self, permit: &Permit, request: &ProbeRequest) -> BackendResult<ProbeReport> {
        let operation = Operation::write("executor.probe");
        self.layer.around(operation, || self.backend.probe(permit, request)).await
    }

    async fn kill(&self, permit: &Permit, request: &KillRequest) -> BackendResult<KillReport> {
        let operation = Operation::write("executor.kill").taking(request.grace);
        self.layer.around(operation, || self.backend.kill(permit, request)).await
    }

    async fn confirm(
        &self,
        permit: &Permit,
        request: &ConfirmRequest,
    ) -> BackendResult<Confirmation> {
        let operation = Operation::write("executor.confirm");
        self.layer.around(operation, || self.backend.confirm(permit, request)).await
    }

    async fn stage(&self, permit: &Permit, request: &StageRequest) -> BackendResult<StageReport> {
        let operation = Operation::write("executor.stage").unbounded();
        self.layer.around(operation, || self.backend.stage(permit, request)).await
    }

    async fn room(
        &self,
        permit: &Permit,
        attempt: &AttemptRequest,
    ) -> BackendResult<Vec<DiskRoom>> {
        let operation = Operation::read("executor.room");
        self.layer.around(operation, || self.backend.room(permit, attempt)).await
    }

    async fn transfer(&self, host: &Host, delivery: &Delivery) -> BackendResult<Transfer> {
        let operation = Operation::read("executor.transfer").unbounded();
        self.layer.around(operation, || self.backend.transfer(host, delivery)).await
    }

    async fn collect(&self, permit: &Permit, request: &CollectRequest) -> BackendResult<Piece> {
        let operation = Operation::read("executor.collect");
        self.layer.around(operation, || self.backend.collect(permit, request)).await
    }

    async fn check(&self, permit: &Permit, request: &CheckRequest) -> BackendResult<Health> {
        let operation = Operation::read("executor.check").taking(request.timeout);
        self.layer.around(operation, || self.backend.check(permit, request)).await
    }

    async fn resolve(
        &self,
        permit: &Permit,
        request: &ResolveRequest,
    ) -> BackendResult<Resolution> {
        let operation = Operation::read("executor.resolve");
        self.layer.around(operation, || self.backend.resolve(permit, request)).await
    }

    async fn observe(&self, permit: &Permit, request: &HostRequest) -> BackendResult<Observed> {
        let operation = Operation::read("executor.observe");
        self.layer.around(operation, || self.backend.observe(permit, request)).await
    }
}
