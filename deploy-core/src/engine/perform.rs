//! Performs one effect, and says what came of it.
use super::{
    Parts,
    log::{AttemptWriter, LogWriter},
};
use crate::{
    access::{Action, Permit, Resource},
    backend::{
        AccessError, AttemptReport, AttemptRequest, CheckRequest, ConfirmRequest, Confirmation,
        Health, HostRequest, KillReport, KillRequest, ProbeReport, ProbeRequest, Resolution,
        ResolveRequest, Revert, authorize,
    },
    digest::{Digest, Hasher},
    error::{BackendError, ErrorKind, Retry},
    host::Installed,
    id::{Principal, ReleaseId, RolloutId, Seq},
    plan::{Plan, Target},
    rollout::{AttemptEnd, Effect, EffectKind, Reply},
    spec::{Direction, StepName},
    telemetry::{ERROR_KIND, GENERATION, HOST, TARGET_BACKEND, TARGET_EFFECT},
    time::Timestamp,
};
use std::{sync::Arc, time::Duration};

/// How long one look at a host's health may take.
const CHECK_TIMEOUT: Duration = Duration::from_secs(30);
/// How long the output of an attempt that has ended is asked for: well within the time that a host has for its answer.
const FETCH_FOR: Duration = Duration::from_secs(60);
/// The wait before it is asked for again; it doubles.
const FETCH_AGAIN_AFTER: Duration = Duration::from_millis(250);

/// What performing effects of one rollout takes.
#[derive(Debug)]
pub(super) struct Performer {
    pub(super) parts: Parts,
    pub(super) principal: Principal,
    pub(super) rollout: RolloutId,
    pub(super) plan: Arc<Plan>,
    pub(super) logs: LogWriter,
}

impl Performer {
    #[tracing::instrument(
        level = "debug",
        target = TARGET_EFFECT,
        name = "effect",
        skip_all,
        fields({ HOST } = %effect.host, { GENERATION } = effect.generation.get())
    )]
    pub(super) async fn perform(&self, effect: &Effect, target: &Target, fresh: bool) -> Reply {
        let permit = match self.permit(target, Action::HostExecute).await {
            Ok(permit) => permit,
            Err(err) if effect.kind == EffectKind::Stage => {
                return Reply::NotStaged { reason: err.to_string() };
            }
            Err(err) if fresh => return refused(err.to_string()),
            Err(err) => return Reply::Unknown { reason: err.to_string() },
        };
        let at = Place { performer: self, permit, target, effect, fresh };
        match effect.kind {
            EffectKind::Confirm => at.confirm().await,
            EffectKind::Kill => at.kill().await,
            EffectKind::Probe => at.probe().await,
            EffectKind::Resolve { step } => at.resolve(step).await,
            EffectKind::Run => at.run().await,
            EffectKind::Stage => at.stage().await,
            EffectKind::Watch { until } => at.watch(until).await,
        }
    }

    async fn permit(&self, target: &Target, action: Action) -> Result<Permit, AccessError> {
        let resource = Resource::Host(target.host.name.clone(), Some(self.plan.service.clone()));
        authorize(&*self.parts.authorizer, self.principal.clone(), action, resource).await
    }
}

/// One attempt on one target.
pub(super) struct Place<'a> {
    pub(super) performer: &'a Performer,
    pub(super) permit: Permit,
    target: &'a Target,
    effect: &'a Effect,
    /// Whether nobody can have asked the host for this before: only then does an error that promises that it started nothing
    /// say that nothing was started.
    fresh: bool,
}

impl Place<'_> {
    async fn run(&self) -> Reply {
        let Some(mut request) = self.request() else {
            return refused("there is nothing that the host could go to".to_owned());
        };
        let parts = &self.performer.parts;
        match self.stored().await {
            Ok(length) => request.log_offset = length,
            Err(err) => {
                return Reply::Unknown { reason: err.chain() };
            }
        }
        let log = self.log();
        let ran = parts.executor.run(&self.permit, &request, &log).await;
        if let Err(err) = log.flush().await {
            // The output is still on the host: the attempt is followed again, from where the store is.
            return Reply::Unknown { reason: err.chain() };
        }
        match ran {
            Ok(AttemptReport::AwaitsConfirm) => Reply::AwaitsConfirm,
            Ok(report) => {
                self.record(&request, &report).await;
                reply_of(report)
            }
            Err(err) if self.fresh => reply_to(&err),
            Err(err) => Reply::Unknown { reason: err.chain() },
        }
    }

    async fn probe(&self) -> Reply {
        let request = ProbeRequest::new(self.on(), self.effect.generation, self.token());
        match self.performer.parts.executor.probe(&self.permit, &request).await {
            Ok(ProbeReport::AwaitsConfirm) => Reply::AwaitsConfirm,
            Ok(ProbeReport::Ended(report)) => self.collect(report).await,
            Ok(ProbeReport::NeverStarted) => Reply::NeverStarted,
            Ok(ProbeReport::Running) => Reply::StillRunning,
            Err(err) => Reply::Unknown { reason: err.chain() },
        }
    }

    async fn kill(&self) -> Reply {
        let request = KillRequest::new(self.on(), self.effect.generation, self.token());
        match self.performer.parts.executor.kill(&self.permit, &request).await {
            Ok(KillReport::Ended(report)) => self.collect(report).await,
            Ok(KillReport::Killed) => self.collect(AttemptReport::Killed).await,
            Ok(KillReport::KillFailed { survivors }) => {
                Reply::Ended(AttemptEnd::KillFailed { survivors })
            }
            Ok(KillReport::NeverStarted) => Reply::Ended(AttemptEnd::Killed),
            Ok(KillReport::Reverting) => Reply::StillRunning,
            Err(err) => Reply::Unknown { reason: err.chain() },
        }
    }

    async fn confirm(&self) -> Reply {
        let request = ConfirmRequest::new(self.on(), self.effect.generation, self.token());
        match self.performer.parts.executor.confirm(&self.permit, &request).await {
            Ok(Confirmation::Confirmed) => self.collect(AttemptReport::Succeeded).await,
            Ok(Confirmation::Ended(report)) => self.collect(report).await,
            Ok(Confirmation::Running) => Reply::StillRunning,
            Err(err) => Reply::Unknown { reason: err.chain() },
        }
    }

    /// The attempt has ended while nobody followed it.
    async fn collect(&self, report: AttemptReport) -> Reply {
        if let Some(mut request) = self.request() {
            if let Err(err) = self.fetch_rest(&mut request).await {
                tracing::warn!(
                    target: TARGET_EFFECT,
                    { { ERROR_KIND } = err.kind().as_str() }, "the rest of the output could not be fetched"
                );
            }
            self.record(&request, &report).await;
        }
        reply_of(report)
    }

    /// Fetches what is missing of the output of an attempt that has ended. A connection may be cut in the middle of it; but
    /// what is known of the attempt does not wait for its output for ever.
    async fn fetch_rest(&self, request: &mut AttemptRequest) -> Result<(), BackendError> {
        let clock = &self.performer.parts.clock;
        let until = clock.now().after(FETCH_FOR);
        let mut wait = FETCH_AGAIN_AFTER;
        loop {
            let Err(err) = self.fetch(request).await else { return Ok(()) };
            let next = clock.now().after(wait);
            if err.kind().retry() == Retry::Never || next > until {
                return Err(err);
            }
            clock.sleep_until(next).await;
            wait *= 2;
        }
    }

    async fn fetch(&self, request: &mut AttemptRequest) -> Result<(), BackendError> {
        request.log_offset = self.stored().await?;
        let log = self.log();
        let followed = self.performer.parts.executor.run(&self.permit, request, &log).await;
        log.flush().await?;
        followed.map(drop)
    }

    async fn resolve(&self, step: StepName) -> Reply {
        let Some(attempt) = self.request() else {
            return Reply::CannotTell;
        };
        let request = ResolveRequest::new(attempt, step);
        match self.performer.parts.executor.resolve(&self.permit, &request).await {
            Ok(Resolution::CannotTell) => Reply::CannotTell,
            Ok(Resolution::Done) => Reply::Ended(AttemptEnd::ResolvedDone { step }),
            Ok(Resolution::NotDone) => Reply::Ended(AttemptEnd::ResolvedNotDone { step }),
            Err(err) if err.kind() == ErrorKind::Unsupported => Reply::CannotTell,
            Err(err) => Reply::Unknown { reason: err.chain() },
        }
    }

    /// Looks at the host's health until the wave's time under watch is over.
    async fn watch(&self, until: Timestamp) -> Reply {
        let parts = &self.performer.parts;
        let every = self.performer.plan.strategy.health.check_interval;
        loop {
            let next = parts.clock.now().after(every).min(until);
            parts.clock.sleep_until(next).await;
            let over = parts.clock.now() >= until;
            let request = CheckRequest::new(self.on(), self.effect.generation, CHECK_TIMEOUT);
            match parts.executor.check(&self.permit, &request).await {
                Ok(Health::Healthy) if over => return Reply::Healthy,
                Ok(Health::Healthy) => {}
                Ok(Health::Unhealthy { reason }) => return Reply::Unhealthy { reason },
                Err(err) if err.kind() == ErrorKind::Unsupported && over => return Reply::Healthy,
                Err(err) if err.kind() == ErrorKind::Unsupported => {}
                Err(err) if over => {
                    let reason = format!("it could not be checked: {}", err.chain());
                    return Reply::Unhealthy { reason };
                }
                Err(_passing) => {}
            }
        }
    }

    /// Keeps what the host runs now, as far as the attempt tells.
    async fn record(&self, request: &AttemptRequest, report: &AttemptReport) {
        let Some((release, package)) = self.look(request, report).await else { return };
        if self.performer.plan.work == crate::plan::Work::Run {
            return;
        }
        let parts = &self.performer.parts;
        let seen = Installed::new(release, package, self.effect.generation, parts.clock.now());
        let service = &self.performer.plan.service;
        let kept =
            parts.inventory.record(&self.permit, &self.target.host.name, service, seen).await;
        if let Err(err) = kept {
            tracing::warn!(
                target: TARGET_BACKEND,
                { { ERROR_KIND } = err.kind().as_str() }, "what the host runs could not be recorded"
            );
        }
    }

    async fn look(
        &self,
        request: &AttemptRequest,
        report: &AttemptReport,
    ) -> Option<(Option<ReleaseId>, Option<Digest>)> {
        let release = &request.release;
        match report {
            AttemptReport::Succeeded if request.keeps_release => {
                Some((Some(release.id.clone()), release.package.map(|it| it.digest)))
            }
            AttemptReport::Succeeded => Some((None, None)),
            _ => {
                let permit = self.performer.permit(self.target, Action::HostObserve).await.ok()?;
                let observe = self.performer.parts.executor.observe(&permit, &request.on);
                let runs = observe.await.ok()?.release;
                let known = runs.as_ref().and_then(|it| self.performer.plan.releases.get(it));
                let package = known.and_then(|it| it.package).map(|it| it.digest);
                Some((runs, package))
            }
        }
    }

    pub(super) fn request(&self) -> Option<AttemptRequest> {
        let (plan, rollout) = (&self.performer.plan, self.performer.rollout.clone());
        let (direction, generation) = (self.effect.direction, self.effect.generation);
        let token = self.token();
        let mut request = attempt_of(plan, self.target, direction, rollout, generation, token)?;
        request.first_step = self.effect.first_step;
        Some(request)
    }

    pub(super) fn on(&self) -> HostRequest {
        place_of(&self.performer.plan, self.target)
    }

    /// What the attempt's result has to come back with: the same after a crash, and different for every attempt.
    fn token(&self) -> String {
        let mut hasher = Hasher::new();
        for part in [self.performer.rollout.as_str(), self.target.host.name.as_str()] {
            hasher.update(part);
            hasher.update([0]);
        }
        hasher.update(self.performer.plan.seed.to_be_bytes());
        hasher.update(self.effect.generation.get().to_be_bytes());
        hasher.finish().hex().chars().take(32).collect()
    }

    async fn stored(&self) -> Result<u64, BackendError> {
        let performer = self.performer;
        let host = &self.target.host.name;
        performer.parts.logs.length(&performer.rollout, host, self.effect.generation).await
    }

    fn log(&self) -> AttemptWriter {
        let performer = self.performer;
        performer.logs.attempt(
            Arc::clone(&performer.parts.clock),
            performer.rollout.clone(),
            self.target.host.name.clone(),
            self.effect.generation,
        )
    }
}

fn place_of(plan: &Plan, target: &Target) -> HostRequest {
    HostRequest::new(target.host.clone(), plan.service.clone(), plan.deploy_path.clone())
        .with_account(plan.account.clone())
}

/// All steps of an attempt at a target; `None` where there is nothing that it could go to.
pub(super) fn attempt_of(
    plan: &Plan,
    target: &Target,
    direction: Direction,
    rollout: RolloutId,
    generation: Seq,
    token: String,
) -> Option<AttemptRequest> {
    let movement = plan.movement(target, direction)?;
    let (on, release) = (place_of(plan, target), movement.release.clone());
    let mut request = AttemptRequest::new(on, rollout, generation, token, release);
    request.direction = movement.direction;
    request.keeps_release = movement.keeps_release;
    request.previous = movement.previous.cloned();
    request.health = plan.strategy.health;
    if let Some(after) = plan.confirm_timeout(direction) {
        let back = plan.movement(target, Direction::Back)?;
        request = request.with_revert(Revert::of(after, back));
    }
    Some(request)
}

/// Nothing was started, and nothing will be.
const fn refused(reason: String) -> Reply {
    Reply::Ended(AttemptEnd::Failed { step: None, code: None, reason })
}

fn reply_of(report: AttemptReport) -> Reply {
    Reply::Ended(match report {
        AttemptReport::AwaitsConfirm => return Reply::AwaitsConfirm,
        AttemptReport::Failed { step, code, reason } => {
            AttemptEnd::Failed { step: Some(step), code: Some(code), reason }
        }
        AttemptReport::KillFailed { survivors } => AttemptEnd::KillFailed { survivors },
        AttemptReport::Killed => AttemptEnd::Killed,
        AttemptReport::RevertFailed { step, code, reason } => {
            AttemptEnd::RevertFailed { step, code, reason }
        }
        AttemptReport::SelfReverted { reason } => AttemptEnd::SelfReverted { reason },
        AttemptReport::Lost { step, reason } => AttemptEnd::Lost { step, reason },
        AttemptReport::Succeeded => AttemptEnd::Succeeded,
        AttemptReport::TimedOut { step } => AttemptEnd::TimedOut { step },
    })
}

/// What an executor's error means for the attempt. Only kinds that promise that nothing was started end it.
fn reply_to(err: &BackendError) -> Reply {
    let reason = err.chain();
    match err.kind() {
        ErrorKind::Conflict
        | ErrorKind::RateLimited
        | ErrorKind::Unauthenticated
        | ErrorKind::Unavailable => Reply::Ended(AttemptEnd::Unreachable { reason }),
        ErrorKind::Fenced
        | ErrorKind::InvalidInput
        | ErrorKind::NoSpace
        | ErrorKind::NotFound
        | ErrorKind::PermissionDenied => {
            Reply::Ended(AttemptEnd::Failed { step: None, code: None, reason })
        }
        ErrorKind::AlreadyExists
        | ErrorKind::Corrupt
        | ErrorKind::Internal
        | ErrorKind::OutcomeUnknown
        | ErrorKind::Unsupported => Reply::Unknown { reason },
    }
}
