//! The host's side of a session, over an executor that reaches the host in another way.
use async_trait::async_trait;
use deploy_agent::{FetchArtifact, Followed, Following, HostSide};
use deploy_agent_protocol::v1::{self, Outcome, Refusal, answer::Kind};
use deploy_core::{
    access::{Action, Permit, Resource},
    backend::{
        AttemptLog, AttemptReport, AttemptRequest, CheckRequest, Executor, Health, HostRequest,
        KillReport, KillRequest, ProbeReport, ProbeRequest, Resolution, ResolveRequest,
    },
    conformance::{executor::planned, permit, sample},
    digest::Digest,
    error::{BackendError, BackendResult, ErrorKind},
    id::Seq,
    plan::PlannedRelease,
    spec::{ArtifactRef, Direction, Effect, Step, StepName},
};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::sync::{mpsc, watch};

/// A host that an executor reaches.
#[derive(Debug)]
pub(crate) struct ExecutorHost {
    executor: Arc<dyn Executor>,
    on: HostRequest,
    attempts: Mutex<BTreeMap<u64, Arc<Kept>>>,
    pub(crate) confirmed: Mutex<Vec<u64>>,
}

/// An attempt, and what came of it so far.
#[derive(Debug)]
struct Kept {
    request: AttemptRequest,
    /// The log, the steps that began, and how it ended.
    progress: watch::Sender<Progress>,
}

#[derive(Debug, Clone, Default)]
struct Progress {
    log: Vec<u8>,
    steps: Vec<StepName>,
    ended: Option<Result<AttemptReport, (ErrorKind, String)>>,
}

#[async_trait]
impl AttemptLog for Kept {
    async fn write(&self, offset: u64, bytes: &[u8]) -> BackendResult<()> {
        self.progress.send_modify(|it| {
            assert_eq!(it.log.len() as u64, offset);
            it.log.extend_from_slice(bytes);
        });
        Ok(())
    }

    fn step(&self, step: StepName) {
        self.progress.send_modify(|it| it.steps.push(step));
    }
}

impl ExecutorHost {
    pub(crate) fn new(executor: Arc<dyn Executor>, on: HostRequest) -> Self {
        Self { executor, on, attempts: Mutex::default(), confirmed: Mutex::default() }
    }

    async fn permit(&self, action: Action) -> Permit {
        let service = Some(self.on.service.clone());
        permit(action, Resource::Host(self.on.host.name.clone(), service)).await
    }

    fn request(&self, attempt: &v1::Attempt) -> AttemptRequest {
        let mut release = planned(&attempt.release, &[]);
        let artifact = attempt.descriptor.as_ref().unwrap();
        let digest = Digest::from_bytes(artifact.digest.as_slice().try_into().unwrap());
        release.descriptor = ArtifactRef::new(digest, artifact.size);
        release.steps = attempt.steps.iter().map(step).collect();
        let parameters = attempt.environment.iter().filter_map(|(name, value)| {
            Some((name.strip_prefix("P_")?.parse().unwrap(), value.clone()))
        });
        release.parameters = parameters.collect();
        self.attempt(attempt, release)
    }

    fn attempt(&self, attempt: &v1::Attempt, release: PlannedRelease) -> AttemptRequest {
        let (rollout, generation) = (sample::name(&attempt.rollout), Seq::new(attempt.generation));
        let on = self.on.clone();
        let mut request =
            AttemptRequest::new(on, rollout, generation, attempt.token.clone(), release);
        if attempt.direction == "back" {
            request.direction = Direction::Back;
        }
        request.health.min_healthy_time = Duration::from_secs(attempt.min_healthy_s.into());
        request.health.healthy_deadline = Duration::from_secs(attempt.healthy_deadline_s.into());
        request.keeps_release = attempt.keeps_release;
        request
    }

    /// The attempt, once it is known whether there is one.
    async fn begin(&self, attempt: &v1::Attempt) -> Arc<Kept> {
        let known = self.attempts.lock().unwrap().get(&attempt.generation).map(Arc::clone);
        let kept = known.unwrap_or_else(|| self.spawn(attempt));
        let begun = |it: &Progress| !it.steps.is_empty() || it.ended.is_some();
        let _begun = kept.progress.subscribe().wait_for(begun).await.unwrap().clone();
        kept
    }

    fn spawn(&self, attempt: &v1::Attempt) -> Arc<Kept> {
        let progress = watch::Sender::new(Progress::default());
        let kept = Arc::new(Kept { request: self.request(attempt), progress });
        self.attempts.lock().unwrap().insert(attempt.generation, Arc::clone(&kept));
        let (executor, running) = (Arc::clone(&self.executor), Arc::clone(&kept));
        let resource = Resource::Host(self.on.host.name.clone(), Some(self.on.service.clone()));
        tokio::spawn(async move {
            let permit = permit(Action::HostExecute, resource).await;
            let ended = executor.run(&permit, &running.request, &*running).await;
            let ended = ended.map_err(|err| (err.kind(), err.chain()));
            running.progress.send_modify(|it| it.ended = Some(ended));
        });
        kept
    }

    fn kept(&self, generation: u64) -> Option<Arc<Kept>> {
        self.attempts.lock().unwrap().get(&generation).map(Arc::clone)
    }

    fn probe_request(&self, generation: u64, token: String) -> ProbeRequest {
        ProbeRequest::new(self.on.clone(), Seq::new(generation), token)
    }

    /// An end, as a host tells it. The length of the log is what an executor does not say.
    fn end(&self, report: AttemptReport, generation: u64, token: &str) -> Kind {
        let kept = self.kept(generation);
        let log = kept.map_or(0, |it| it.progress.borrow().log.len() as u64);
        end(report, generation, token, log)
    }
}

#[async_trait]
impl HostSide for ExecutorHost {
    async fn start(
        &self,
        attempt: v1::Attempt,
        artifacts: &dyn FetchArtifact,
    ) -> Result<v1::Accepted, v1::Refused> {
        let descriptor = attempt.descriptor.as_ref().unwrap();
        let digest = Digest::from_bytes(descriptor.digest.as_slice().try_into().unwrap());
        let mut bytes = Vec::new();
        let mut pieces = artifacts.fetch(digest, 0).await.unwrap();
        while let Some(piece) = pieces.next().await.unwrap() {
            bytes.extend_from_slice(&piece);
        }
        assert_eq!(Digest::of(&bytes), digest);
        let kept = self.begin(&attempt).await;
        let ended = kept.progress.borrow().ended.clone();
        let Some(Err((kind, why))) = ended else { return Ok(v1::Accepted {}) };
        self.attempts.lock().unwrap().remove(&attempt.generation);
        Err(refused(kind, why))
    }

    async fn follow(&self, follow: v1::Follow) -> Result<Following, v1::Refused> {
        let (to, from) = mpsc::channel(4);
        let Some(kept) = self.kept(follow.generation) else {
            to.try_send(Followed::NeverStarted).unwrap();
            return Ok(Following::new(from));
        };
        tokio::spawn(tell(kept, follow, to));
        Ok(Following::new(from))
    }

    async fn probe(&self, probe: v1::Probe) -> Kind {
        let request = self.probe_request(probe.generation, probe.token.clone());
        let permit = self.permit(Action::HostExecute).await;
        match self.executor.probe(&permit, &request).await {
            Ok(ProbeReport::Ended(report)) => self.end(report, probe.generation, &probe.token),
            Ok(ProbeReport::NeverStarted) => Kind::NeverStarted(v1::NeverStarted {}),
            Ok(ProbeReport::Running) => Kind::Running(v1::Running::default()),
            Err(err) => refusal(&err),
            Ok(other) => panic!("{other:?}"),
        }
    }

    async fn kill(&self, kill: v1::Kill) -> Kind {
        let mut request =
            KillRequest::new(self.on.clone(), Seq::new(kill.generation), kill.token.clone());
        request.grace = Duration::from_secs(kill.grace_s.into());
        let permit = self.permit(Action::HostExecute).await;
        match self.executor.kill(&permit, &request).await {
            Ok(KillReport::Ended(report)) => self.end(report, kill.generation, &kill.token),
            Ok(KillReport::Killed) => Kind::Killed(v1::Killed {}),
            Ok(KillReport::KillFailed { survivors }) => {
                Kind::KillFailed(v1::KillFailed { survivors })
            }
            Ok(KillReport::NeverStarted) => Kind::NeverStarted(v1::NeverStarted {}),
            Err(err) => refusal(&err),
            Ok(other) => panic!("{other:?}"),
        }
    }

    async fn check(&self, check: v1::Check) -> Kind {
        let timeout = Duration::from_secs(check.timeout_s.into());
        let request = CheckRequest::new(self.on.clone(), Seq::new(check.generation), timeout);
        let permit = self.permit(Action::HostExecute).await;
        let (healthy, reason) = match self.executor.check(&permit, &request).await {
            Ok(Health::Healthy) => (true, String::new()),
            Ok(Health::Unhealthy { reason }) => (false, reason),
            Ok(other) => panic!("{other:?}"),
            Err(err) => return refusal(&err),
        };
        Kind::Checked(v1::Checked { supported: true, healthy, reason })
    }

    async fn resolve(&self, resolve: v1::Resolve) -> Kind {
        let step = StepName::ALL.into_iter().find(|it| it.as_str() == resolve.step).unwrap();
        let resolution = match self.kept(resolve.generation) {
            None => Resolution::CannotTell,
            Some(kept) => {
                let request = ResolveRequest::new(kept.request.clone(), step);
                let permit = self.permit(Action::HostExecute).await;
                match self.executor.resolve(&permit, &request).await {
                    Ok(resolution) => resolution,
                    Err(err) => return refusal(&err),
                }
            }
        };
        let resolution = match resolution {
            Resolution::CannotTell => v1::Resolution::CannotTell,
            Resolution::Done => v1::Resolution::Done,
            Resolution::NotDone => v1::Resolution::NotDone,
        };
        Kind::Resolved(v1::Resolved { resolution: resolution.into() })
    }

    async fn observe(&self, _observe: v1::Observe) -> Kind {
        let permit = self.permit(Action::HostObserve).await;
        match self.executor.observe(&permit, &self.on).await {
            Ok(seen) => Kind::Observed(v1::Observed {
                release: seen.release.map_or_else(String::new, |it| it.to_string()),
                fence: seen.fence.get(),
                running: seen.running.map_or(0, Seq::get),
            }),
            Err(err) => refusal(&err),
        }
    }

    fn open(&self) -> Vec<v1::AttemptId> {
        Vec::new()
    }

    fn running(&self) -> u32 {
        0
    }

    async fn confirm_end(&self, attempt: &v1::AttemptId) {
        self.confirmed.lock().unwrap().push(attempt.generation);
    }

    async fn log_durable(&self, _attempt: &v1::AttemptId, _offset: u64) {}

    async fn shutdown(&self) {}
}

/// Tells what happens in an attempt, to its end.
async fn tell(kept: Arc<Kept>, follow: v1::Follow, to: mpsc::Sender<Followed>) {
    let mut progress = kept.progress.subscribe();
    let (mut offset, mut steps) = (usize::try_from(follow.log_offset).unwrap(), 0);
    loop {
        let now = progress.borrow_and_update().clone();
        for step in now.steps.iter().skip(steps) {
            if to.send(Followed::Step(step.to_string())).await.is_err() {
                return;
            }
        }
        steps = now.steps.len();
        if let Some(bytes) = now.log.get(offset..).filter(|it| !it.is_empty()) {
            let piece = Followed::Log { offset: offset as u64, bytes: bytes.to_vec().into() };
            offset = now.log.len();
            if to.send(piece).await.is_err() {
                return;
            }
        }
        if let Some(ended) = now.ended {
            let length = now.log.len() as u64;
            let followed = match ended {
                Ok(report) => match end(report, follow.generation, &follow.token, length) {
                    Kind::Ended(ended) => Followed::Ended(ended),
                    Kind::Died(died) => Followed::Died(died),
                    other => panic!("{other:?}"),
                },
                Err(_) => Followed::NeverStarted,
            };
            // Nobody listens: nobody has to know.
            let _gone = to.send(followed).await;
            return;
        }
        if progress.changed().await.is_err() {
            return;
        }
    }
}

fn end(report: AttemptReport, generation: u64, token: &str, log_length: u64) -> Kind {
    let mut ended =
        v1::Ended { token: token.to_owned(), generation, log_length, ..Default::default() };
    let outcome = match report {
        AttemptReport::Succeeded => Outcome::Succeeded,
        AttemptReport::Failed { step, code, reason } => {
            (ended.step, ended.code, ended.reason) = (step.to_string(), code, reason);
            Outcome::Failed
        }
        AttemptReport::TimedOut { step } => {
            ended.step = step.to_string();
            Outcome::TimedOut
        }
        AttemptReport::Killed => Outcome::Killed,
        AttemptReport::KillFailed { survivors } => {
            ended.survivors = survivors;
            Outcome::KillFailed
        }
        AttemptReport::Lost { step, reason } => {
            let step = step.map_or_else(String::new, |it| it.to_string());
            return Kind::Died(v1::Died { reason, step, survivors: Vec::new() });
        }
        other => panic!("{other:?}"),
    };
    ended.outcome = outcome.into();
    Kind::Ended(ended)
}

fn step(step: &v1::Step) -> Step {
    let name = StepName::ALL.into_iter().find(|it| it.as_str() == step.name).unwrap();
    let mut parsed = Step::new(name).with_timeout(Duration::from_secs(step.timeout_s.into()));
    if step.rerunnable {
        parsed.effect = Effect::Idempotent;
    } else if !step.check.is_empty() {
        parsed.effect = Effect::Check;
    }
    parsed
}

fn refused(kind: ErrorKind, message: String) -> v1::Refused {
    let code = match kind {
        ErrorKind::Fenced => Refusal::Fenced,
        ErrorKind::Conflict => Refusal::Busy,
        ErrorKind::NoSpace => Refusal::NoSpace,
        ErrorKind::InvalidInput => Refusal::Invalid,
        ErrorKind::PermissionDenied => Refusal::NotAllowed,
        ErrorKind::NotFound => Refusal::NoAccount,
        _ => Refusal::Failing,
    };
    v1::Refused { code: code.into(), message, generation: 0 }
}

fn refusal(err: &BackendError) -> Kind {
    Kind::Refused(refused(err.kind(), err.chain()))
}
