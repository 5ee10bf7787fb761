mod attempt;
mod faults;
mod host;
mod play;
mod script;
mod stage;

use crate::{
    access::{Action, Permit, Resource},
    backend::{
        AttemptLog, AttemptReport, AttemptRequest, CheckRequest, Clock, CollectRequest,
        ConfirmRequest, Confirmation, Executor, ExecutorCapabilities, Health, HostRequest,
        KillReport, KillRequest, Observed, Piece, ProbeReport, ProbeRequest, Resolution,
        ResolveRequest, StageReport, StageRequest,
    },
    error::{BackendError, BackendResult, ErrorKind},
    id::{HostName, ReleaseId, Seq, ServiceName},
    plan::DiskRoom,
    spec::StepName,
};
use async_trait::async_trait;
use host::{Start, World};
use std::sync::Arc;

pub use faults::HostFaults;
pub use script::{Act, Script};

/// Runs attempts on simulated hosts.
///
/// Every step does at once what its newest [`Script`] says; without one, `install` and `rollback` make the release the
/// current one, and the others do nothing. Waiting goes through the clock. Clones share the hosts.
#[derive(Clone, Debug)]
pub struct MemoryExecutor {
    world: Arc<World>,
    capabilities: ExecutorCapabilities,
}

impl MemoryExecutor {
    /// An executor that offers everything, and reaches every host there is.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        let capabilities = ExecutorCapabilities::default()
            .with_check(true)
            .with_collect(true)
            .with_confirm(true)
            .with_kill(true)
            .with_room(true)
            .with_stage(true);
        Self { world: Arc::new(World::new(clock)), capabilities }
    }

    /// That offers just this.
    #[must_use]
    pub const fn with_capabilities(mut self, capabilities: ExecutorCapabilities) -> Self {
        self.capabilities = capabilities;
        self
    }

    /// Has a step do something else from now on.
    pub fn script(&self, script: Script) {
        self.world.script(script);
    }

    /// Sets what is wrong with `host`; a host that cannot be reached loses its connections as well.
    pub fn set_faults(&self, host: &HostName, faults: HostFaults) {
        let cut = faults.unreachable;
        self.world.set_faults(host, faults);
        if cut {
            self.cut(host);
        }
    }

    /// Makes `release` the current one of `service` on `host`, as if it had been there before all this.
    pub fn install(&self, host: &HostName, service: &ServiceName, release: ReleaseId) {
        self.world.activate(host, service, Some(release));
    }

    /// Cuts the connections to `host`: who follows an attempt there does not learn how it ends.
    pub fn cut(&self, host: &HostName) {
        self.world.cut(host);
    }

    /// Restarts `host`: what was under way is lost.
    pub fn reboot(&self, host: &HostName) {
        self.world.reboot(host);
    }

    /// Lets every step go on that is at [`Act::Block`] or comes to one.
    pub fn unblock(&self) {
        self.world.unblock();
    }

    /// How often `step` was started on `host`.
    #[must_use]
    pub fn runs(&self, host: &HostName, step: StepName) -> u32 {
        self.world.runs(host, step)
    }

    /// The generations of all attempts that were started of `service` on `host`, in order.
    #[must_use]
    pub fn attempts(&self, host: &HostName, service: &ServiceName) -> Vec<Seq> {
        self.world.attempts(host, service)
    }

    /// How many processes live on `host`: those of steps, and daemons that steps have left.
    #[must_use]
    pub fn processes(&self, host: &HostName) -> usize {
        self.world.processes(host)
    }

    fn offer(&self, offered: bool, operation: &'static str) -> BackendResult<()> {
        if offered { Ok(()) } else { Err(BackendError::new(ErrorKind::Unsupported, operation)) }
    }
}

#[async_trait]
impl Executor for MemoryExecutor {
    fn capabilities(&self) -> ExecutorCapabilities {
        self.capabilities
    }

    async fn run(
        &self,
        permit: &Permit,
        request: &AttemptRequest,
        log: &dyn AttemptLog,
    ) -> BackendResult<AttemptReport> {
        const RUN: &str = "executor.run";
        may_execute(permit, &request.on, RUN)?;
        check_token(&request.token, RUN)?;
        self.offer(self.capabilities.confirm || request.revert.is_none(), RUN)?;
        let host = &request.on.host.name;
        let cut = self.world.cut_off(host);
        let reply = self.world.reach(host, RUN).await?;
        let started = self.world.start(request);
        if let Ok(Start::New(attempt)) = &started {
            // Whether the reply gets through or not, the attempt goes on.
            tokio::spawn(Arc::clone(&self.world).supervise(Arc::clone(attempt)));
        }
        let (Start::Attached(attempt) | Start::New(attempt)) = reply.deliver(started)?;
        let offset = usize::try_from(request.log_offset).unwrap_or(usize::MAX);
        tokio::select! {
            biased;
            () = cut => Err(BackendError::new(ErrorKind::OutcomeUnknown, RUN).with("host", host)),
            report = attempt.follow(offset, log) => report,
        }
    }

    async fn probe(&self, permit: &Permit, request: &ProbeRequest) -> BackendResult<ProbeReport> {
        const PROBE: &str = "executor.probe";
        may_execute(permit, &request.on, PROBE)?;
        check_token(&request.token, PROBE)?;
        let reply = self.world.reach(&request.on.host.name, PROBE).await?;
        let found = self.world.fence_off(&request.on, request.generation, &request.token, PROBE);
        let found = reply.deliver(found)?;
        let Some(attempt) = found else {
            return Ok(ProbeReport::NeverStarted);
        };
        Ok(match attempt.report() {
            Some(report) => ProbeReport::Ended(report),
            None if attempt.waits() => ProbeReport::AwaitsConfirm,
            None => ProbeReport::Running,
        })
    }

    async fn kill(&self, permit: &Permit, request: &KillRequest) -> BackendResult<KillReport> {
        const KILL: &str = "executor.kill";
        may_execute(permit, &request.on, KILL)?;
        self.offer(self.capabilities.kill, KILL)?;
        check_token(&request.token, KILL)?;
        let reply = self.world.reach(&request.on.host.name, KILL).await?;
        let found = self.world.fence_off(&request.on, request.generation, &request.token, KILL)?;
        let report = match found {
            None => KillReport::NeverStarted,
            Some(attempt) => self.world.kill(&attempt, request.grace).await,
        };
        reply.deliver(Ok(report))
    }

    async fn confirm(
        &self,
        permit: &Permit,
        request: &ConfirmRequest,
    ) -> BackendResult<Confirmation> {
        const CONFIRM: &str = "executor.confirm";
        may_execute(permit, &request.on, CONFIRM)?;
        self.offer(self.capabilities.confirm, CONFIRM)?;
        check_token(&request.token, CONFIRM)?;
        let reply = self.world.reach(&request.on.host.name, CONFIRM).await?;
        let found = self.world.find(&request.on, request.generation, &request.token, CONFIRM)?;
        let answer = match found {
            Some(attempt) => self.world.confirm(&attempt).await,
            None => Confirmation::Ended(AttemptReport::Lost {
                step: None,
                reason: "the host knows nothing of it".to_owned(),
            }),
        };
        reply.deliver(Ok(answer))
    }

    async fn stage(&self, permit: &Permit, request: &StageRequest) -> BackendResult<StageReport> {
        const STAGE: &str = "executor.stage";
        may_execute(permit, &request.on, STAGE)?;
        self.offer(self.capabilities.stage, STAGE)?;
        let reply = self.world.reach(&request.on.host.name, STAGE).await?;
        reply.deliver(self.world.stage(request))
    }

    async fn room(
        &self,
        permit: &Permit,
        attempt: &AttemptRequest,
    ) -> BackendResult<Vec<DiskRoom>> {
        const ROOM: &str = "executor.room";
        permit.demand(Action::HostObserve, &resource(&attempt.on), ROOM)?;
        self.offer(self.capabilities.room, ROOM)?;
        let reply = self.world.reach(&attempt.on.host.name, ROOM).await?;
        reply.deliver(Ok(vec![self.world.room(attempt)]))
    }

    async fn collect(&self, permit: &Permit, request: &CollectRequest) -> BackendResult<Piece> {
        const COLLECT: &str = "executor.collect";
        may_execute(permit, &request.on, COLLECT)?;
        self.offer(self.capabilities.collect, COLLECT)?;
        check_token(&request.token, COLLECT)?;
        let reply = self.world.reach(&request.on.host.name, COLLECT).await?;
        let found = self.world.find(&request.on, request.generation, &request.token, COLLECT)?;
        let piece = found.and_then(|it| it.left(request)).ok_or_else(|| {
            BackendError::new(ErrorKind::NotFound, COLLECT)
                .with("host", &request.on.host.name)
                .with("output", &request.output)
        });
        reply.deliver(piece)
    }

    async fn check(&self, permit: &Permit, request: &CheckRequest) -> BackendResult<Health> {
        const CHECK: &str = "executor.check";
        may_execute(permit, &request.on, CHECK)?;
        self.offer(self.capabilities.check, CHECK)?;
        let reply = self.world.reach(&request.on.host.name, CHECK).await?;
        let attempt = self.world.attempt(&request.on, request.generation).ok_or_else(|| {
            BackendError::new(ErrorKind::NotFound, CHECK)
                .with("host", &request.on.host.name)
                .with("generation", request.generation)
        })?;
        reply.deliver(Ok(self.world.check(&attempt, request.timeout).await))
    }

    async fn resolve(
        &self,
        permit: &Permit,
        request: &ResolveRequest,
    ) -> BackendResult<Resolution> {
        const RESOLVE: &str = "executor.resolve";
        let on = &request.attempt.on;
        may_execute(permit, on, RESOLVE)?;
        let reply = self.world.reach(&on.host.name, RESOLVE).await?;
        let release = &request.attempt.release.id;
        let script = self.world.script_of(request.step, &on.host.name, release);
        reply.deliver(Ok(script.check.unwrap_or(Resolution::CannotTell)))
    }

    async fn observe(&self, permit: &Permit, request: &HostRequest) -> BackendResult<Observed> {
        const OBSERVE: &str = "executor.observe";
        permit.demand(Action::HostObserve, &resource(request), OBSERVE)?;
        let reply = self.world.reach(&request.host.name, OBSERVE).await?;
        reply.deliver(Ok(self.world.observe(request)))
    }
}

fn may_execute(permit: &Permit, on: &HostRequest, operation: &'static str) -> BackendResult<()> {
    permit.demand(Action::HostExecute, &resource(on), operation)
}

fn resource(on: &HostRequest) -> Resource {
    Resource::Host(on.host.name.clone(), Some(on.service.clone()))
}

/// A token is a secret of sorts, so the error does not repeat it.
fn check_token(token: &str, operation: &'static str) -> BackendResult<()> {
    let digit = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    if token.len() == 32 && token.bytes().all(digit) {
        return Ok(());
    }
    Err(BackendError::new(ErrorKind::InvalidInput, operation)
        .with("reason", "the token is not 32 hexadecimal digits"))
}
