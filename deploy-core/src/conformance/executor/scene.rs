use super::{Act, ExecutorHarness, ScriptedStep};
use crate::{
    access::{Action, Permit, Resource},
    backend::{
        AttemptLog, AttemptReport, AttemptRequest, BackendResult, Executor, KillReport,
        KillRequest, Observed, ProbeReport, ProbeRequest,
    },
    conformance::{DurableHarness, eventually, permit, sample::name},
    id::Seq,
    plan::PlannedRelease,
    spec::{Health, StepName},
};
use async_trait::async_trait;
use std::{
    hash::{BuildHasher as _, RandomState},
    process,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::task::JoinHandle;

/// What a case plays with: a host, an executor that reaches it, and the permits for both.
pub(super) struct Scene<'h, H: ExecutorHarness> {
    pub(super) harness: &'h H,
    pub(super) executor: Arc<dyn Executor>,
    pub(super) guard: H::Guard,
    pub(super) execute: Permit,
    pub(super) observe: Permit,
    /// What the tokens of this scene begin with: cases run side by side on one machine, and an executor finds the processes
    /// of an attempt by its token.
    tokens: u64,
}

impl<'h, H: ExecutorHarness> Scene<'h, H> {
    pub(super) async fn new(harness: &'h H) -> Self {
        let (executor, guard) = harness.fresh().await;
        let on = harness.on(&guard);
        let resource = Resource::Host(on.host.name, Some(on.service));
        let execute = permit(Action::HostExecute, resource.clone()).await;
        let observe = permit(Action::HostObserve, resource).await;
        let tokens = RandomState::new().hash_one(process::id());
        Self { harness, executor, guard, execute, observe, tokens }
    }

    /// After a crash of the executor.
    pub(super) async fn reopen(self) -> Self
    where
        H: DurableHarness<dyn Executor>,
    {
        let executor = self.harness.reopen(self.executor, &self.guard).await;
        Self { executor, ..self }
    }

    /// The token of the attempt `generation`.
    pub(super) fn token(&self, generation: u64) -> String {
        format!("{:016x}{generation:016x}", self.tokens)
    }

    pub(super) async fn release(&self, id: &str, steps: &[ScriptedStep]) -> PlannedRelease {
        self.harness.release(&self.guard, id, steps).await
    }

    /// A release whose one step `install` does this.
    pub(super) async fn install(&self, acts: impl Into<Vec<Act>>) -> PlannedRelease {
        self.release("one", &[ScriptedStep::new(StepName::Install, acts)]).await
    }

    /// The attempt `generation` at `release`, with a health policy that takes no time.
    pub(super) fn attempt(&self, generation: u64, release: &PlannedRelease) -> AttemptRequest {
        let on = self.harness.on(&self.guard);
        let token = self.token(generation);
        let generation = Seq::new(generation);
        let mut request = AttemptRequest::new(on, name("r1"), generation, token, release.clone());
        request.health = Health {
            min_healthy_time: Duration::ZERO,
            healthy_deadline: Duration::from_secs(1),
            ..Health::default()
        };
        request
    }

    /// Follows an attempt to its end; gives its report and its log from the offset asked for.
    pub(super) async fn run(
        &self,
        request: &AttemptRequest,
    ) -> BackendResult<(AttemptReport, Vec<u8>)> {
        let log = Log::from(request.log_offset);
        let report = self.executor.run(&self.execute, request, &log).await?;
        Ok((report, log.bytes()))
    }

    /// As [`run`](Self::run), in a task of its own.
    pub(super) fn follow(&self, request: &AttemptRequest) -> Follower {
        let log = Arc::new(Log::from(request.log_offset));
        let (executor, permit) = (Arc::clone(&self.executor), self.execute.clone());
        let (request, sink) = (request.clone(), Arc::clone(&log));
        let task = tokio::spawn(async move { executor.run(&permit, &request, &*sink).await });
        Follower { task, log }
    }

    pub(super) async fn probe(&self, generation: u64) -> ProbeReport {
        let on = self.harness.on(&self.guard);
        let request = ProbeRequest::new(on, Seq::new(generation), self.token(generation));
        self.executor.probe(&self.execute, &request).await.unwrap()
    }

    pub(super) async fn kill(&self, generation: u64, grace: Duration) -> BackendResult<KillReport> {
        let on = self.harness.on(&self.guard);
        let mut request = KillRequest::new(on, Seq::new(generation), self.token(generation));
        request.grace = grace;
        self.executor.kill(&self.execute, &request).await
    }

    pub(super) async fn observed(&self) -> Observed {
        let on = self.harness.on(&self.guard);
        self.executor.observe(&self.observe, &on).await.unwrap()
    }

    pub(super) async fn runs(&self, step: StepName) -> u32 {
        self.harness.runs(&self.guard, step).await
    }

    pub(super) async fn unblock(&self) {
        self.harness.unblock(&self.guard).await;
    }

    /// Waits until `step` was started `count` times.
    pub(super) async fn started(&self, step: StepName, count: u32) {
        eventually("a step is started", || async { self.runs(step).await >= count }).await;
    }

    /// Waits until no process of a step is left.
    pub(super) async fn deserted(&self) {
        let none = || async { self.harness.processes(&self.guard).await == 0 };
        eventually("no process of a step is left", none).await;
    }
}

/// Whether an attempt has failed in `step` with `code`.
pub(super) fn failed(step: StepName, code: i32) -> impl Fn(&AttemptReport) -> bool {
    move |report| matches!(report, AttemptReport::Failed { step: at, code: with, .. } if (*at, *with) == (step, code))
}

/// Somebody who follows an attempt.
pub(super) struct Follower {
    pub(super) task: JoinHandle<BackendResult<AttemptReport>>,
    pub(super) log: Arc<Log>,
}

impl Follower {
    pub(super) async fn end(self) -> BackendResult<AttemptReport> {
        self.task.await.unwrap()
    }

    /// Goes away, as a process that is killed does.
    pub(super) async fn vanish(self) -> Vec<u8> {
        self.task.abort();
        // It may have ended just before.
        let _gone = self.task.await;
        self.log.bytes()
    }
}

/// Keeps what it is given, and whether it was given in order.
#[derive(Debug)]
pub(super) struct Log {
    first: u64,
    state: Mutex<(Vec<u8>, Vec<StepName>, Option<String>)>,
}

impl Log {
    pub(super) fn from(first: u64) -> Self {
        Self { first, state: Mutex::default() }
    }

    /// What came; fails if a byte was lost or came twice.
    #[track_caller]
    pub(super) fn bytes(&self) -> Vec<u8> {
        let state = self.state.lock().unwrap();
        assert_eq!(state.2, None, "the log is not in order");
        state.0.clone()
    }

    pub(super) fn length(&self) -> usize {
        self.state.lock().unwrap().0.len()
    }
}

#[async_trait]
impl AttemptLog for Log {
    async fn write(&self, offset: u64, bytes: &[u8]) -> BackendResult<()> {
        let mut state = self.state.lock().unwrap();
        let due = self.first + u64::try_from(state.0.len()).unwrap();
        if offset != due {
            state.2 = Some(format!("bytes at {offset} where {due} was due"));
        }
        state.0.extend_from_slice(bytes);
        Ok(())
    }

    fn step(&self, step: StepName) {
        self.state.lock().unwrap().1.push(step);
    }
}
