//! One executor out of two.
use async_trait::async_trait;
use deploy_core::{
    access::Permit,
    backend::{
        AttemptLog, AttemptReport, AttemptRequest, CheckRequest, CollectRequest, ConfirmRequest,
        Confirmation, Delivery, Executor, ExecutorCapabilities, Health, HostRequest, KillReport,
        KillRequest, Observed, Piece, ProbeReport, ProbeRequest, Resolution, ResolveRequest,
        StageReport, StageRequest, Transfer,
    },
    error::BackendResult,
    host::{Connection, Host},
    plan::DiskRoom,
};
use std::sync::Arc;

/// Reaches hosts through their agents where they have one, and otherwise as another executor does.
#[derive(Clone, Debug)]
pub struct RoutedExecutor {
    agents: Arc<dyn Executor>,
    others: Arc<dyn Executor>,
}

impl RoutedExecutor {
    /// Through `agents` where a host's record says so, and through `others` where it does not.
    #[must_use]
    pub const fn new(agents: Arc<dyn Executor>, others: Arc<dyn Executor>) -> Self {
        Self { agents, others }
    }

    fn of(&self, on: &HostRequest) -> &dyn Executor {
        self.of_host(&on.host)
    }

    fn of_host(&self, host: &Host) -> &dyn Executor {
        match host.connection {
            Connection::Agent => &*self.agents,
            _ => &*self.others,
        }
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Executor for RoutedExecutor {
    /// What one of them offers.
    fn capabilities(&self) -> ExecutorCapabilities {
        let (agents, others) = (self.agents.capabilities(), self.others.capabilities());
        ExecutorCapabilities::default()
            .with_check(agents.check || others.check)
            .with_collect(agents.collect || others.collect)
            .with_confirm(agents.confirm || others.confirm)
            .with_kill(agents.kill || others.kill)
            .with_room(agents.room || others.room)
            .with_stage(agents.stage || others.stage)
    }

    fn capabilities_on(&self, host: &Host) -> ExecutorCapabilities {
        self.of_host(host).capabilities_on(host)
    }

    async fn run(
        &self,
        permit: &Permit,
        request: &AttemptRequest,
        log: &dyn AttemptLog,
    ) -> BackendResult<AttemptReport> {
        self.of(&request.on).run(permit, request, log).await
    }

    async fn probe(&self, permit: &Permit, request: &ProbeRequest) -> BackendResult<ProbeReport> {
        self.of(&request.on).probe(permit, request).await
    }

    async fn kill(&self, permit: &Permit, request: &KillRequest) -> BackendResult<KillReport> {
        self.of(&request.on).kill(permit, request).await
    }

    async fn confirm(
        &self,
        permit: &Permit,
        request: &ConfirmRequest,
    ) -> BackendResult<Confirmation> {
        self.of(&request.on).confirm(permit, request).await
    }

    async fn stage(&self, permit: &Permit, request: &StageRequest) -> BackendResult<StageReport> {
        self.of(&request.on).stage(permit, request).await
    }

    async fn room(
        &self,
        permit: &Permit,
        attempt: &AttemptRequest,
    ) -> BackendResult<Vec<DiskRoom>> {
        self.of(&attempt.on).room(permit, attempt).await
    }

    async fn transfer(&self, host: &Host, delivery: &Delivery) -> BackendResult<Transfer> {
        self.of_host(host).transfer(host, delivery).await
    }

    async fn collect(&self, permit: &Permit, request: &CollectRequest) -> BackendResult<Piece> {
        self.of(&request.on).collect(permit, request).await
    }

    async fn check(&self, permit: &Permit, request: &CheckRequest) -> BackendResult<Health> {
        self.of(&request.on).check(permit, request).await
    }

    async fn resolve(
        &self,
        permit: &Permit,
        request: &ResolveRequest,
    ) -> BackendResult<Resolution> {
        self.of(&request.attempt.on).resolve(permit, request).await
    }

    async fn observe(&self, permit: &Permit, request: &HostRequest) -> BackendResult<Observed> {
        self.of(request).observe(permit, request).await
    }
}
