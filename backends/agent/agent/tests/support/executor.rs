//! An [`Executor`] over a [`HostSide`], without a network in between.
use super::FromStore;
use async_trait::async_trait;
use deploy_agent::{Followed, HostSide as _, JournaledHost};
use deploy_agent_protocol::v1::{self, answer::Kind};
use deploy_core::{
    access::{Action, Permit, Resource},
    backend::{
        ArtifactStore, AttemptLog, AttemptReport, AttemptRequest, CheckRequest, CollectRequest,
        ConfirmRequest, Confirmation, Executor, ExecutorCapabilities, Health, HostRequest,
        KillReport, KillRequest, Observed, Piece, ProbeReport, ProbeRequest, Resolution,
        ResolveRequest, StageReport, StageRequest,
    },
    error::{BackendError, BackendResult, ErrorKind},
    host::Connection,
    id::Seq,
    plan::DiskRoom,
    spec::{ArtifactRef, Effect, StepName},
};
use deploy_host::descriptor::{self, Script};
use std::sync::Arc;
use tokio::io::AsyncReadExt as _;

/// Runs attempts on a host of this process.
#[derive(Debug)]
pub(crate) struct LocalAgent {
    pub(crate) host: Arc<JournaledHost>,
    pub(crate) store: Arc<dyn ArtifactStore>,
    /// What an attempt may print at most; 0 is no limit.
    pub(crate) log_limit: u64,
}

impl LocalAgent {
    /// The order that a request becomes.
    pub(crate) async fn order(&self, request: &AttemptRequest) -> BackendResult<v1::Attempt> {
        let mut order = self.one_way(request).await?;
        if let (Some(revert), Some(back)) = (&request.revert, request.way_back()) {
            let after_ms = u64::try_from(revert.after.as_millis()).unwrap();
            let back = Some(Box::new(self.one_way(&back).await?));
            order.revert = Some(Box::new(v1::Revert { after_ms, back }));
        }
        Ok(order)
    }

    async fn one_way(&self, request: &AttemptRequest) -> BackendResult<v1::Attempt> {
        let release = &request.release;
        let mut bytes = Vec::new();
        let mut reader = self.store.open(&release.descriptor.digest, 0).await?;
        reader.read_to_end(&mut bytes).await.unwrap();
        let bundle = descriptor::read(&bytes).unwrap();
        let steps = request.steps().map(|step| {
            let described = bundle.descriptor.step(step.name).unwrap();
            let script = match &described.script {
                Script::Custom(path) => path.clone(),
                Script::Default => String::new(),
            };
            v1::Step {
                name: step.name.to_string(),
                timeout_s: u32::try_from(step.timeout.as_secs()).unwrap(),
                script,
                check: described.check.clone().unwrap_or_default(),
                rerunnable: step.effect == Effect::Idempotent,
            }
        });
        let steps = steps.collect();
        let previous = request.previous.as_ref();
        let parameters = release.parameters.iter();
        Ok(v1::Attempt {
            place: Some(place(&request.on)),
            generation: request.generation.get(),
            token: request.token.clone(),
            rollout: request.rollout.to_string(),
            release: release.id.to_string(),
            version: release.version.to_string(),
            previous_release: previous.map(|it| it.id.to_string()).unwrap_or_default(),
            previous_version: previous.map(|it| it.version.to_string()).unwrap_or_default(),
            direction: request.direction.as_str().to_owned(),
            keeps_release: request.keeps_release,
            step_key_prefix: "key".to_owned(),
            steps,
            environment: parameters.map(|(it, value)| (format!("P_{it}"), value.clone())).collect(),
            descriptor: Some(artifact(release.descriptor)),
            package: release.package.map(artifact),
            min_healthy_s: u32::try_from(request.health.min_healthy_time.as_secs()).unwrap(),
            healthy_deadline_s: u32::try_from(request.health.healthy_deadline.as_secs()).unwrap(),
            kill_grace_s: 2,
            log_limit: self.log_limit,
            log_offset: request.log_offset,
            masked: Vec::new(),
            revert: None,
            delivery: None,
            published: None,
            downgrade: false,
        })
    }

    async fn follow(
        &self,
        request: &AttemptRequest,
        log: &dyn AttemptLog,
    ) -> BackendResult<AttemptReport> {
        let follow = v1::Follow {
            place: Some(place(&request.on)),
            generation: request.generation.get(),
            token: request.token.clone(),
            log_offset: request.log_offset,
        };
        let mut following = self.host.follow(follow).await.map_err(|it| refused(&it))?;
        while let Some(said) = following.next().await {
            match said {
                Followed::Log { offset, bytes } => log.write(offset, &bytes).await?,
                Followed::Step(begun) => log.step(step(&begun).unwrap()),
                Followed::AwaitsConfirm => return Ok(AttemptReport::AwaitsConfirm),
                Followed::Ended(ended) => {
                    assert_eq!(ended.token, request.token);
                    return Ok(report(&ended));
                }
                Followed::Died(died) => return Ok(lost(&died)),
                Followed::NeverStarted { .. } => {
                    return Err(error(ErrorKind::Unavailable, "never started"));
                }
                other => panic!("{other:?}"),
            }
        }
        Err(error(ErrorKind::OutcomeUnknown, "the host side was shut down"))
    }
}

pub(crate) fn place(on: &HostRequest) -> v1::Place {
    let Connection::Local { root } = &on.host.connection else { panic!("not a local host") };
    v1::Place {
        service: on.service.to_string(),
        deploy_path: format!("{root}{}", on.deploy_path),
        account: on.account.as_ref().map(ToString::to_string).unwrap_or_default(),
    }
}

fn artifact(artifact: ArtifactRef) -> v1::Artifact {
    v1::Artifact { digest: artifact.digest.as_bytes().to_vec(), size: artifact.size }
}

fn step(name: &str) -> Option<StepName> {
    StepName::ALL.into_iter().find(|it| it.as_str() == name)
}

fn report(ended: &v1::Ended) -> AttemptReport {
    let step = step(&ended.step);
    match ended.outcome() {
        v1::Outcome::Succeeded => AttemptReport::Succeeded,
        v1::Outcome::Failed => AttemptReport::Failed {
            step: step.unwrap(),
            code: ended.code,
            reason: ended.reason.clone(),
        },
        v1::Outcome::TimedOut => AttemptReport::TimedOut { step: step.unwrap() },
        v1::Outcome::Killed => AttemptReport::Killed,
        v1::Outcome::KillFailed => AttemptReport::KillFailed { survivors: ended.survivors.clone() },
        v1::Outcome::RevertFailed => AttemptReport::RevertFailed {
            step,
            code: Some(ended.code),
            reason: ended.reason.clone(),
        },
        v1::Outcome::SelfReverted => AttemptReport::SelfReverted { reason: ended.reason.clone() },
        v1::Outcome::Unspecified => panic!("no outcome"),
    }
}

fn lost(died: &v1::Died) -> AttemptReport {
    let (step, reason) = (step(&died.step), died.reason.clone());
    if died.reverting {
        return AttemptReport::RevertFailed { step, code: None, reason };
    }
    AttemptReport::Lost { step, reason }
}

fn error(kind: ErrorKind, why: &str) -> BackendError {
    BackendError::new(kind, "agent").because(why)
}

pub(crate) fn refused(refused: &v1::Refused) -> BackendError {
    let kind = match refused.code() {
        v1::Refusal::Invalid => ErrorKind::InvalidInput,
        v1::Refusal::NotTrusted | v1::Refusal::NotAllowed => ErrorKind::PermissionDenied,
        v1::Refusal::Fenced => ErrorKind::Fenced,
        v1::Refusal::Busy => ErrorKind::Conflict,
        v1::Refusal::NoSpace => ErrorKind::NoSpace,
        v1::Refusal::NoAccount => ErrorKind::NotFound,
        v1::Refusal::Artifact | v1::Refusal::Failing => ErrorKind::Unavailable,
        v1::Refusal::Unspecified => panic!("no code"),
    };
    error(kind, &refused.message)
}

fn allow(permit: &Permit, action: Action, on: &HostRequest) -> BackendResult<()> {
    let resource = Resource::Host(on.host.name.clone(), Some(on.service.clone()));
    permit.demand(action, &resource, "agent")
}

fn unexpected<T>(answer: Kind) -> BackendResult<T> {
    match answer {
        Kind::Refused(why) => Err(refused(&why)),
        other => panic!("{other:?}"),
    }
}

fn disk(disk: v1::DiskRoom) -> DiskRoom {
    DiskRoom::new(disk.folder, disk.needed_bytes, disk.free_bytes)
        .with_inodes(disk.needed_inodes, disk.free_inodes)
}

#[async_trait]
impl Executor for LocalAgent {
    fn capabilities(&self) -> ExecutorCapabilities {
        ExecutorCapabilities::default()
            .with_check(true)
            .with_collect(true)
            .with_confirm(true)
            .with_kill(true)
            .with_room(true)
            .with_stage(true)
    }

    async fn run(
        &self,
        permit: &Permit,
        request: &AttemptRequest,
        log: &dyn AttemptLog,
    ) -> BackendResult<AttemptReport> {
        allow(permit, Action::HostExecute, &request.on)?;
        let order = self.order(request).await?;
        let artifacts = FromStore(Arc::clone(&self.store));
        self.host.start(order, &artifacts).await.map_err(|it| refused(&it))?;
        self.follow(request, log).await
    }

    async fn probe(&self, permit: &Permit, request: &ProbeRequest) -> BackendResult<ProbeReport> {
        allow(permit, Action::HostExecute, &request.on)?;
        let probe = v1::Probe {
            place: Some(place(&request.on)),
            generation: request.generation.get(),
            token: request.token.clone(),
        };
        match self.host.probe(probe).await {
            Kind::AwaitsConfirm(_) => Ok(ProbeReport::AwaitsConfirm),
            Kind::Running(_) => Ok(ProbeReport::Running),
            Kind::NeverStarted(_) => Ok(ProbeReport::NeverStarted),
            Kind::Ended(ended) => Ok(ProbeReport::Ended(report(&ended))),
            Kind::Died(died) => Ok(ProbeReport::Ended(lost(&died))),
            other => unexpected(other),
        }
    }

    async fn kill(&self, permit: &Permit, request: &KillRequest) -> BackendResult<KillReport> {
        allow(permit, Action::HostExecute, &request.on)?;
        let kill = v1::Kill {
            place: Some(place(&request.on)),
            generation: request.generation.get(),
            token: request.token.clone(),
            grace_s: u32::try_from(request.grace.as_secs()).unwrap(),
        };
        match self.host.kill(kill).await {
            Kind::Killed(_) => Ok(KillReport::Killed),
            Kind::KillFailed(failed) => Ok(KillReport::KillFailed { survivors: failed.survivors }),
            Kind::NeverStarted(_) => Ok(KillReport::NeverStarted),
            Kind::Reverting(_) => Ok(KillReport::Reverting),
            Kind::Ended(ended) => Ok(KillReport::Ended(report(&ended))),
            Kind::Died(died) => Ok(KillReport::Ended(lost(&died))),
            other => unexpected(other),
        }
    }

    async fn confirm(
        &self,
        permit: &Permit,
        request: &ConfirmRequest,
    ) -> BackendResult<Confirmation> {
        allow(permit, Action::HostExecute, &request.on)?;
        let confirm = v1::Confirm {
            place: Some(place(&request.on)),
            generation: request.generation.get(),
            token: request.token.clone(),
        };
        Ok(match self.host.confirm(confirm).await {
            Kind::Ended(ended) => match report(&ended) {
                AttemptReport::Succeeded => Confirmation::Confirmed,
                report => Confirmation::Ended(report),
            },
            Kind::Died(died) => Confirmation::Ended(lost(&died)),
            Kind::NeverStarted(_) => {
                let reason = "it is not known".to_owned();
                Confirmation::Ended(AttemptReport::Lost { step: None, reason })
            }
            Kind::Running(_) => Confirmation::Running,
            other => return unexpected(other),
        })
    }

    async fn stage(&self, permit: &Permit, request: &StageRequest) -> BackendResult<StageReport> {
        allow(permit, Action::HostExecute, &request.on)?;
        let artifacts = request
            .artifacts
            .iter()
            .map(|it| v1::Artifact { digest: it.digest.as_bytes().to_vec(), size: it.size });
        let (place, artifacts) = (Some(place(&request.on)), artifacts.collect());
        let stage = v1::Stage { place, artifacts, ..v1::Stage::default() };
        match self.host.stage(stage, &FromStore(Arc::clone(&self.store) as _)).await {
            Kind::Staged(it) => Ok(StageReport::new(it.fetched_bytes)),
            other => unexpected(other),
        }
    }

    async fn room(
        &self,
        permit: &Permit,
        attempt: &AttemptRequest,
    ) -> BackendResult<Vec<DiskRoom>> {
        allow(permit, Action::HostObserve, &attempt.on)?;
        let room = v1::Room { attempt: Some(self.order(attempt).await?) };
        let artifacts = FromStore(Arc::clone(&self.store));
        match self.host.room(room, &artifacts).await {
            Kind::RoomLeft(left) => Ok(left.disks.into_iter().map(disk).collect()),
            other => unexpected(other),
        }
    }

    async fn collect(&self, permit: &Permit, request: &CollectRequest) -> BackendResult<Piece> {
        allow(permit, Action::HostExecute, &request.on)?;
        let collect = v1::Collect {
            place: Some(place(&request.on)),
            generation: request.generation.get(),
            token: request.token.clone(),
            output: request.output.to_string(),
            offset: request.offset,
            limit: u32::try_from(request.limit).unwrap(),
        };
        match self.host.collect(collect).await {
            Kind::Collected(it) if it.found => Ok(Piece::new(it.bytes, it.size)),
            Kind::Collected(_) => Err(BackendError::new(ErrorKind::NotFound, "agent")),
            other => unexpected(other),
        }
    }

    async fn check(&self, permit: &Permit, request: &CheckRequest) -> BackendResult<Health> {
        allow(permit, Action::HostExecute, &request.on)?;
        let check = v1::Check {
            place: Some(place(&request.on)),
            generation: request.generation.get(),
            timeout_s: u32::try_from(request.timeout.as_secs()).unwrap(),
        };
        match self.host.check(check).await {
            Kind::Checked(it) if it.healthy || !it.supported => Ok(Health::Healthy),
            Kind::Checked(it) => Ok(Health::Unhealthy { reason: it.reason }),
            other => unexpected(other),
        }
    }

    async fn resolve(
        &self,
        permit: &Permit,
        request: &ResolveRequest,
    ) -> BackendResult<Resolution> {
        allow(permit, Action::HostExecute, &request.attempt.on)?;
        let resolve = v1::Resolve {
            place: Some(place(&request.attempt.on)),
            generation: request.attempt.generation.get(),
            step: request.step.to_string(),
            timeout_s: 10,
        };
        match self.host.resolve(resolve).await {
            Kind::Resolved(it) => Ok(match it.resolution() {
                v1::Resolution::CannotTell => Resolution::CannotTell,
                v1::Resolution::Done => Resolution::Done,
                v1::Resolution::NotDone => Resolution::NotDone,
            }),
            other => unexpected(other),
        }
    }

    async fn observe(&self, permit: &Permit, request: &HostRequest) -> BackendResult<Observed> {
        allow(permit, Action::HostObserve, request)?;
        match self.host.observe(v1::Observe { place: Some(place(request)) }).await {
            Kind::Observed(it) => {
                let release = (!it.release.is_empty()).then(|| it.release.parse().unwrap());
                let running = (it.running > 0).then(|| Seq::new(it.running));
                Ok(Observed::new(release, Seq::new(it.fence), running))
            }
            other => unexpected(other),
        }
    }
}
