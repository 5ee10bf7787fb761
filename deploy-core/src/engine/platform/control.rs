//! Rollouts: started, driven, looked at, and told what to do.
use super::Platform;
use crate::{
    access::Permit,
    backend::{AppendError, JournalExt as _, RolloutRef},
    digest::Digest,
    engine::{DriveEnd, DriveError, DriveOptions, Driver, Observer, PlatformError},
    error::{BackendError, ErrorKind},
    id::{HostName, Principal, RolloutId, Seq, ServiceName, StreamId},
    plan::{Plan, Work},
    rollout::{Event, Explanation, Input, Record, Rollout, SkipKind},
    time::Timestamp,
};
use std::sync::Arc;

/// How often a command that others got ahead of is decided anew.
const TRIES: u32 = 64;

/// What a person wants of a rollout.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Command {
    /// End it where it is.
    Abort {
        /// Why.
        note: String,
        /// Whether what is under way is killed.
        kill: bool,
    },
    /// Let the next wave go.
    Confirm,
    /// Take a host out for good.
    Exclude(HostName),
    /// End the attempt on a host.
    Kill(HostName),
    /// Start nothing more for now.
    Pause {
        /// Why.
        note: String,
    },
    /// Start again.
    Resume,
    /// Try a host again, or (`None`) all that are in trouble.
    Retry(Option<HostName>),
    /// Take every touched host back.
    Rollback {
        /// Why.
        note: String,
    },
    /// Leave a host as it is.
    Skip(HostName),
}

impl Command {
    fn input(self, by: Principal) -> Input {
        match self {
            Self::Abort { note, kill } => Input::Abort { by, note, kill },
            Self::Confirm => Input::Confirm { by },
            Self::Exclude(host) => Input::Skip { host, kind: SkipKind::Exclude, by },
            Self::Kill(host) => Input::Kill { host, by },
            Self::Pause { note } => Input::Pause { by, note },
            Self::Resume => Input::Resume { by },
            Self::Retry(host) => Input::Retry { host, by },
            Self::Rollback { note } => Input::Rollback { by, note },
            Self::Skip(host) => Input::Skip { host, kind: SkipKind::Skip, by },
        }
    }
}

impl Platform {
    /// Accepts a plan: from here on there is a rollout, which [`drive`](Self::drive) carries out.
    ///
    /// A plan is carried out once: the rollout's id comes from the plan's digest.
    ///
    /// # Errors
    /// If `principal` may not, another rollout of the service is not over, the inventory is no longer what the plan was made
    /// for, an artifact is missing, or the plan changes nothing.
    pub async fn start(
        &self,
        principal: &Principal,
        plan: Plan,
    ) -> Result<RolloutId, PlatformError> {
        self.start_asked(principal, plan, None).await
    }

    /// Accepts a plan, and writes down which `request` asked for it: [`started_by`](Self::started_by) finds the rollout again.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub async fn start_asked(
        &self,
        principal: &Principal,
        plan: Plan,
        request: Option<Digest>,
    ) -> Result<RolloutId, PlatformError> {
        plan.check()?;
        let stream = plan.stream();
        let permit = self.control_permit(principal, &stream).await?;
        if plan.waves.is_empty() {
            return Err(PlatformError::NothingToDo(plan.release));
        }
        // Whatever somebody else starts from here on is behind this position.
        let head = self.parts.journal.head(&stream).await?;
        let previous = self.refuse_second(&plan.service, &stream).await?;
        self.refuse_late_repair(&plan, &stream).await?;
        self.check_inventory(&plan).await?;
        self.check_capabilities(&plan)?;
        self.check_artifacts(&plan).await?;
        let (id, service) = (rollout_id(&plan)?, plan.service.clone());
        let event = Event::Accepted { plan: Box::new(plan), by: principal.clone(), request };
        let record = Record::new(head.next(), self.parts.clock.now(), id.clone(), event);
        let record = record.behind(previous);
        let Err(err) = self.parts.journal.append(&permit, &stream, head, &[record]).await else {
            return Ok(id);
        };
        if matches!(err, AppendError::Conflict { .. }) {
            // Somebody else was faster: say who.
            self.refuse_second(&service, &stream).await?;
        }
        Err(err.into())
    }

    /// The rollout that was started by `request`, unless that was before `since`.
    ///
    /// Reads one record of every rollout since then.
    ///
    /// # Errors
    /// If the journal cannot be read.
    pub async fn started_by(
        &self,
        request: &Digest,
        since: Timestamp,
    ) -> Result<Option<RolloutId>, PlatformError> {
        let journal = &self.parts.journal;
        for at in journal.rollouts(None, usize::MAX).await? {
            let first = journal.accepted(&at).await?;
            let Some(first) = first.filter(|it| it.at >= since) else { break };
            if matches!(&first.event, Event::Accepted { request: Some(it), .. } if it == request) {
                return Ok(Some(at.rollout));
            }
        }
        Ok(None)
    }

    /// One rollout of a service at a time: gives where the newest has ended.
    async fn refuse_second(
        &self,
        service: &ServiceName,
        stream: &StreamId,
    ) -> Result<Seq, PlatformError> {
        let newest = self.parts.journal.rollouts(Some(stream), 1).await?;
        let Some(newest) = newest.first() else { return Ok(Seq::ZERO) };
        if let Some(last) = newest.last {
            return Ok(last);
        }
        let active = self.load_at(newest).await?;
        Err(PlatformError::ActiveRollout {
            service: service.clone(),
            rollout: newest.rollout.clone(),
            by: active.by().clone(),
            at: active.accepted_at(),
            plan: active.plan().digest(),
        })
    }

    /// A repair goes by what hosts were owed after the newest rollout: after another one, that may be anything.
    async fn refuse_late_repair(
        &self,
        plan: &Plan,
        stream: &StreamId,
    ) -> Result<(), PlatformError> {
        if plan.repairs.is_none() {
            return Ok(());
        }
        let newest = self.rollouts(Some(stream), 1).await?;
        match newest.first() {
            Some(newest) if Some(newest.plan().digest()) != plan.parent => {
                Err(PlatformError::Superseded {
                    service: plan.service.clone(),
                    rollout: newest.id().clone(),
                })
            }
            Some(_) | None => Ok(()),
        }
    }

    async fn check_artifacts(&self, plan: &Plan) -> Result<(), PlatformError> {
        for release in plan.releases.values() {
            for artifact in release.package.iter().chain([&release.descriptor]) {
                self.parts.artifacts.head(&artifact.digest).await?;
            }
        }
        Ok(())
    }

    /// Drives a rollout to its end, or to where a person is needed. Takes over whatever a driver before has left.
    ///
    /// # Errors
    /// If `principal` may not, the journal fails, or somebody else drives the rollout.
    pub async fn drive(
        &self,
        principal: &Principal,
        rollout: &RolloutId,
        options: DriveOptions,
        observer: &dyn Observer,
    ) -> Result<DriveEnd, PlatformError> {
        let at = self.find(rollout).await?;
        let permit = self.control_permit(principal, &at.stream).await?;
        let driver = Driver::new(self.parts.clone(), permit, at, options, observer);
        driver.drive().await.map_err(|err| match err {
            DriveError::Backend(err) | DriveError::TakenOver(err) => err.into(),
            DriveError::Record(source) => {
                PlatformError::Record { rollout: rollout.clone(), source }
            }
        })
    }

    /// Tells a rollout what to do. It is durable when this returns, whether anybody drives the rollout or not.
    ///
    /// # Errors
    /// If `principal` may not, or the rollout does not take the command as it stands.
    pub async fn command(
        &self,
        principal: &Principal,
        rollout: &RolloutId,
        command: Command,
    ) -> Result<Rollout, PlatformError> {
        let at = self.find(rollout).await?;
        let permit = self.control_permit(principal, &at.stream).await?;
        let input = command.input(principal.clone());
        for _try in 0..TRIES {
            if let Some(done) = self.append_command(&permit, &at, &input).await? {
                return Ok(done);
            }
        }
        Err(BackendError::new(ErrorKind::Conflict, "rollout.command").with("tries", TRIES).into())
    }

    /// Decides a command once; `None` if others got ahead.
    async fn append_command(
        &self,
        permit: &Permit,
        at: &RolloutRef,
        input: &Input,
    ) -> Result<Option<Rollout>, PlatformError> {
        // Read first: every record up to there is among those read next.
        let head = self.parts.journal.head(&at.stream).await?;
        let rollout = self.load_at(at).await?.at_head(head);
        rollout.admits(input)?;
        let pending = rollout.instruct(input, self.parts.clock.now());
        if pending.records().is_empty() {
            return Ok(Some(pending.commit().0));
        }
        let journal = &self.parts.journal;
        match journal.append(permit, &at.stream, pending.expected(), pending.records()).await {
            Ok(_head) => Ok(Some(pending.commit().0)),
            Err(AppendError::Conflict { .. }) => Ok(None),
            Err(err) => Err(err.into()),
        }
    }

    /// The rollout as its journal tells it.
    ///
    /// # Errors
    /// If there is no such rollout, or its journal cannot be read.
    pub async fn load(&self, rollout: &RolloutId) -> Result<Rollout, PlatformError> {
        let at = self.find(rollout).await?;
        self.load_at(&at).await
    }

    pub(super) async fn load_at(&self, at: &RolloutRef) -> Result<Rollout, PlatformError> {
        let records = self.parts.journal.records(at).await?;
        Rollout::replay(&records)
            .map_err(|source| PlatformError::Record { rollout: at.rollout.clone(), source })
    }

    /// The newest `limit` rollouts, of one service's stream or of all.
    ///
    /// # Errors
    /// If the journal cannot be read.
    pub async fn rollouts(
        &self,
        stream: Option<&StreamId>,
        limit: usize,
    ) -> Result<Vec<Arc<Rollout>>, PlatformError> {
        let mut all = Vec::new();
        for at in self.parts.journal.rollouts(stream, limit).await? {
            all.push(Arc::new(self.load_at(&at).await?));
        }
        Ok(all)
    }

    /// Why a host of a rollout is where it is, from the journal.
    ///
    /// # Errors
    /// If there is no such rollout, or its plan does not have the host.
    pub async fn why(
        &self,
        rollout: &RolloutId,
        host: &HostName,
    ) -> Result<Explanation, PlatformError> {
        let loaded = self.load(rollout).await?;
        let explained = loaded.why(host, self.parts.clock.now());
        explained.ok_or_else(|| crate::rollout::Refusal::NotTarget(host.clone()).into())
    }

    /// The lease of whoever drives a rollout now or did last; `None` if nobody does.
    ///
    /// # Errors
    /// If there is no such rollout, or the leases cannot be read.
    pub async fn driver_of(
        &self,
        rollout: &RolloutId,
    ) -> Result<Option<crate::backend::Lease>, PlatformError> {
        let at = self.find(rollout).await?;
        Ok(self.parts.leases.current(&at.stream.to_string()).await?)
    }
}

/// The id of the one rollout that carries `plan` out.
pub(super) fn rollout_id(plan: &Plan) -> Result<RolloutId, PlatformError> {
    if plan.work == Work::Run {
        return Ok(plan.service.clone().into());
    }
    let digest: Digest = plan.digest();
    let short: String = digest.hex().chars().take(8).collect();
    let id = format!("{}-{short}", plan.service).parse();
    id.map_err(|err| {
        BackendError::new(ErrorKind::Internal, "rollout.start")
            .with("head", Seq::ZERO)
            .because(err)
            .into()
    })
}
