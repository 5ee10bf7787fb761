use async_trait::async_trait;
use deploy_core::{
    access::{Action, Permit, Resource},
    backend::{
        AttemptLog, AttemptReport, AttemptRequest, BackendError, BackendResult, CheckRequest,
        CollectRequest, ConfirmRequest, Confirmation, ErrorKind, Executor, ExecutorCapabilities,
        Health, HostRequest, KillReport, KillRequest, Observed, Piece, ProbeReport, ProbeRequest,
        Resolution, ResolveRequest, StageReport, StageRequest,
    },
    conformance::{Harness, executor::SimulatedHosts, permit, sample},
    id::{HostName, Seq},
    memory::{MemoryExecutor, SystemClock},
    plan::DiskRoom,
    spec::StepName,
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

sabotages! {
    AcceptsAnyToken,
    BeginsAtTheFirstStep,
    CallsFailuresSuccesses,
    CollectsFromTheStart,
    CollectsMoreThanIsAsked,
    CollectsNothingGladly,
    ConfirmsAgainstItsWord,
    ConfirmsNothing,
    CountsWhatIsThere,
    FencesByChecking,
    FencesByConfirming,
    DeliversFromTheStart,
    DeniesThatItCollects,
    DeniesThatItGoesBack,
    DeniesThatItKills,
    DeniesThatItStages,
    DeniesThatItTellsRoom,
    DiesWithItsCaller,
    DiesWithItsExecutor,
    FencesByAskingForRoom,
    FencesByLooking,
    FencesByStaging,
    FetchesAgain,
    FindsAllHealthy,
    FindsRoomEverywhere,
    ForgetsAtACrash,
    ForgetsResults,
    ForgetsThatItWaits,
    ForgetsToGoBack,
    GoesBackByProbing,
    GuessesOutcomes,
    IgnoresPermits,
    IgnoresTheFence,
    IsAlone,
    KillsByProbing,
    KillsNothing,
    KillsWithoutFencing,
    KillsWithoutGoingBack,
    LosesAByte,
    ProbesWithoutFencing,
    PraisesTheWayBack,
    PromisesChecks,
    RunsAgain,
    RunsBackwards,
    SparesWhatIgnoresTerm,
    StagesNothing,
    StartsBesideAnother,
}

saboteurs!(Executor, MemoryExecutor);

fn state(_: Sabotage) -> MemoryExecutor {
    MemoryExecutor::new(Arc::new(SystemClock::new()))
}

fn open(sabotage: Sabotage, hosts: &MemoryExecutor) -> Arc<dyn Executor> {
    Arc::new(Saboteur { hosts: hosts.clone(), extra: AtomicU64::new(1_000_000), sabotage })
}

impl SimulatedHosts for Bad {}

#[derive(Debug)]
struct Saboteur {
    hosts: MemoryExecutor,
    /// The next of its own generations.
    extra: AtomicU64,
    sabotage: Sabotage,
}

impl Drop for Saboteur {
    fn drop(&mut self) {
        if self.sabotage == Sabotage::DiesWithItsExecutor {
            self.hosts.reboot(&sample::name("h1"));
        }
    }
}

/// Restarts the host when it is dropped.
struct Leash<'a>(&'a MemoryExecutor, HostName);

impl Drop for Leash<'_> {
    fn drop(&mut self) {
        self.0.reboot(&self.1);
    }
}

/// Delivers one byte less than there is.
#[derive(Debug)]
struct Leaky<'a>(&'a dyn AttemptLog);

#[async_trait]
impl AttemptLog for Leaky<'_> {
    async fn write(&self, offset: u64, bytes: &[u8]) -> BackendResult<()> {
        let kept =
            bytes.split_last().filter(|_| bytes.len() > 1_000).map_or(bytes, |(_, rest)| rest);
        self.0.write(offset, kept).await
    }

    fn step(&self, step: StepName) {
        self.0.step(step);
    }
}

impl Saboteur {
    fn was_started(&self, on: &HostRequest, generation: Seq) -> bool {
        self.hosts.attempts(&on.host.name, &on.service).contains(&generation)
    }

    fn extra_generation(&self) -> Seq {
        Seq::new(self.extra.fetch_add(1, SeqCst))
    }

    /// Runs what was refused in another way.
    async fn run_anyway(
        &self,
        err: BackendError,
        mut request: AttemptRequest,
        log: &dyn AttemptLog,
    ) -> BackendResult<AttemptReport> {
        let all = permit(Action::HostExecute, Resource::System).await;
        match (self.sabotage, err.kind()) {
            (Sabotage::AcceptsAnyToken, ErrorKind::InvalidInput) => request.token = "0".repeat(32),
            (Sabotage::IgnoresPermits, ErrorKind::PermissionDenied) => {}
            (Sabotage::IgnoresTheFence, ErrorKind::Fenced) => {
                request.generation = self.extra_generation();
            }
            (Sabotage::StartsBesideAnother, ErrorKind::Conflict) => {
                request.on.service = sample::name("beside");
            }
            _ => return Err(err),
        }
        self.hosts.run(&all, &request, log).await
    }
}

fn resource(on: &HostRequest) -> Resource {
    Resource::Host(on.host.name.clone(), Some(on.service.clone()))
}

#[async_trait]
impl Executor for Saboteur {
    fn capabilities(&self) -> ExecutorCapabilities {
        let collects = self.sabotage != Sabotage::DeniesThatItCollects;
        let kills = self.sabotage != Sabotage::DeniesThatItKills;
        let returns = self.sabotage != Sabotage::DeniesThatItGoesBack;
        let stages = self.sabotage != Sabotage::DeniesThatItStages;
        let tells_room = self.sabotage != Sabotage::DeniesThatItTellsRoom;
        let all = self.hosts.capabilities().with_collect(collects).with_room(tells_room);
        all.with_kill(kills).with_confirm(returns).with_stage(stages)
    }

    async fn run(
        &self,
        permit: &Permit,
        request: &AttemptRequest,
        log: &dyn AttemptLog,
    ) -> BackendResult<AttemptReport> {
        let mut request = request.clone();
        let leaky = Leaky(log);
        let log = if self.sabotage == Sabotage::LosesAByte { &leaky } else { log };
        let mut leash = None;
        match self.sabotage {
            Sabotage::BeginsAtTheFirstStep => request.first_step = StepName::Fetch,
            Sabotage::ForgetsToGoBack => {
                request.revert.iter_mut().for_each(|it| it.after = Duration::from_secs(86_400));
            }
            Sabotage::DeliversFromTheStart => request.log_offset = 0,
            Sabotage::DiesWithItsCaller => {
                leash = Some(Leash(&self.hosts, request.on.host.name.clone()));
            }
            Sabotage::RunsAgain if self.was_started(&request.on, request.generation) => {
                request.generation = self.extra_generation();
            }
            Sabotage::RunsBackwards => request.release.steps.reverse(),
            _ => {}
        }
        let done = self.hosts.run(permit, &request, log).await;
        drop(leash);
        match (self.sabotage, done) {
            (Sabotage::CallsFailuresSuccesses, Ok(AttemptReport::Failed { .. })) => {
                Ok(AttemptReport::Succeeded)
            }
            (Sabotage::ForgetsThatItWaits, Ok(AttemptReport::AwaitsConfirm)) => {
                Ok(AttemptReport::Succeeded)
            }
            (Sabotage::PraisesTheWayBack, Ok(AttemptReport::RevertFailed { reason, .. })) => {
                Ok(AttemptReport::SelfReverted { reason })
            }
            (_, Err(err)) => self.run_anyway(err, request, log).await,
            (_, done) => done,
        }
    }

    async fn probe(&self, permit: &Permit, request: &ProbeRequest) -> BackendResult<ProbeReport> {
        let started = self.was_started(&request.on, request.generation);
        if self.sabotage == Sabotage::ProbesWithoutFencing && !started {
            return Ok(ProbeReport::NeverStarted);
        }
        let report = self.hosts.probe(permit, request).await?;
        match (self.sabotage, &report) {
            (Sabotage::ForgetsResults, ProbeReport::Ended(_)) => Ok(ProbeReport::NeverStarted),
            (Sabotage::GoesBackByProbing, ProbeReport::AwaitsConfirm)
            | (Sabotage::KillsByProbing, ProbeReport::Running) => {
                let ProbeRequest { on, generation, token, .. } = request.clone();
                self.hosts.kill(permit, &KillRequest::new(on, generation, token)).await?;
                Ok(report)
            }
            _ => Ok(report),
        }
    }

    async fn kill(&self, permit: &Permit, request: &KillRequest) -> BackendResult<KillReport> {
        let started = self.was_started(&request.on, request.generation);
        match self.sabotage {
            Sabotage::KillsNothing if started => Ok(KillReport::Killed),
            Sabotage::KillsWithoutGoingBack => {
                let KillRequest { on, generation, token, .. } = request.clone();
                let probe = ProbeRequest::new(on, generation, token);
                match self.hosts.probe(permit, &probe).await? {
                    ProbeReport::AwaitsConfirm => Ok(KillReport::Killed),
                    _ => self.hosts.kill(permit, request).await,
                }
            }
            Sabotage::KillsWithoutFencing if !started => Ok(KillReport::NeverStarted),
            Sabotage::SparesWhatIgnoresTerm => {
                let mut request = request.clone();
                let grace = std::mem::replace(&mut request.grace, Duration::from_secs(3_600));
                let killed = tokio::time::timeout(grace, self.hosts.kill(permit, &request)).await;
                killed.unwrap_or(Ok(KillReport::Killed))
            }
            _ => self.hosts.kill(permit, request).await,
        }
    }

    async fn confirm(
        &self,
        permit: &Permit,
        request: &ConfirmRequest,
    ) -> BackendResult<Confirmation> {
        if self.sabotage == Sabotage::FencesByConfirming {
            let ConfirmRequest { on, generation, token, .. } = request.clone();
            self.hosts.probe(permit, &ProbeRequest::new(on, generation, token)).await?;
        }
        let started = self.was_started(&request.on, request.generation);
        if self.sabotage == Sabotage::ConfirmsNothing && started {
            return Ok(Confirmation::Confirmed);
        }
        match (self.sabotage, self.hosts.confirm(permit, request).await?) {
            (Sabotage::ConfirmsAgainstItsWord, Confirmation::Ended(_) | Confirmation::Running) => {
                Ok(Confirmation::Confirmed)
            }
            (_, answer) => Ok(answer),
        }
    }

    async fn stage(&self, permit_: &Permit, request: &StageRequest) -> BackendResult<StageReport> {
        if self.sabotage == Sabotage::StagesNothing {
            permit_.demand(Action::HostExecute, &resource(&request.on), "executor.stage")?;
            return Ok(StageReport::new(0));
        }
        let staged = self.hosts.stage(permit_, request).await?;
        match self.sabotage {
            Sabotage::FencesByStaging => {
                let all = permit(Action::HostExecute, Resource::System).await;
                let probe = ProbeRequest::new(request.on.clone(), Seq::new(9), "0".repeat(32));
                self.hosts.probe(&all, &probe).await?;
                Ok(staged)
            }
            Sabotage::FetchesAgain => {
                Ok(StageReport::new(request.artifacts.iter().map(|it| it.size).sum()))
            }
            _ => Ok(staged),
        }
    }

    async fn room(
        &self,
        permit_: &Permit,
        attempt: &AttemptRequest,
    ) -> BackendResult<Vec<DiskRoom>> {
        let mut disks = self.hosts.room(permit_, attempt).await?;
        match self.sabotage {
            Sabotage::CountsWhatIsThere => {
                let all: u64 = attempt.artifacts().iter().map(|it| it.size).sum();
                disks.iter_mut().for_each(|it| it.needed_bytes = all);
            }
            Sabotage::FencesByAskingForRoom => {
                let all = permit(Action::HostExecute, Resource::System).await;
                let AttemptRequest { on, generation, token, .. } = attempt.clone();
                self.hosts.probe(&all, &ProbeRequest::new(on, generation, token)).await?;
            }
            Sabotage::FindsRoomEverywhere => {
                disks.iter_mut().for_each(|it| it.free_bytes = u64::MAX);
            }
            _ => {}
        }
        Ok(disks)
    }

    async fn collect(&self, permit: &Permit, request: &CollectRequest) -> BackendResult<Piece> {
        let mut request = request.clone();
        match self.sabotage {
            Sabotage::CollectsFromTheStart => request.offset = 0,
            Sabotage::CollectsMoreThanIsAsked => request.limit = usize::MAX,
            _ => {}
        }
        match (self.sabotage, self.hosts.collect(permit, &request).await) {
            (Sabotage::CollectsFromTheStart, Ok(piece)) => Ok(piece),
            (Sabotage::CollectsNothingGladly, Err(err)) if err.kind() == ErrorKind::NotFound => {
                Ok(Piece::new(Vec::new(), 0))
            }
            (_, collected) => collected,
        }
    }

    async fn check(&self, permit_: &Permit, request: &CheckRequest) -> BackendResult<Health> {
        match self.sabotage {
            Sabotage::FencesByChecking => {
                let all = permit(Action::HostExecute, Resource::System).await;
                let probe =
                    ProbeRequest::new(request.on.clone(), self.extra_generation(), "0".repeat(32));
                self.hosts.probe(&all, &probe).await?;
                self.hosts.check(permit_, request).await
            }
            Sabotage::FindsAllHealthy => Ok(Health::Healthy),
            Sabotage::PromisesChecks => {
                Err(BackendError::new(ErrorKind::Unsupported, "executor.check"))
            }
            _ => self.hosts.check(permit_, request).await,
        }
    }

    async fn resolve(
        &self,
        permit: &Permit,
        request: &ResolveRequest,
    ) -> BackendResult<Resolution> {
        let found = self.hosts.resolve(permit, request).await?;
        Ok(if self.sabotage == Sabotage::GuessesOutcomes { Resolution::Done } else { found })
    }

    async fn observe(&self, permit_: &Permit, request: &HostRequest) -> BackendResult<Observed> {
        let seen = self.hosts.observe(permit_, request).await?;
        if self.sabotage == Sabotage::FencesByLooking {
            let all = permit(Action::HostExecute, Resource::System).await;
            let probe = ProbeRequest::new(request.clone(), seen.fence.next(), "0".repeat(32));
            self.hosts.probe(&all, &probe).await?;
        }
        Ok(seen)
    }
}
