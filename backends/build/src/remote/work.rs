//! One remote build, from its turn to its end.
use super::{
    Shared,
    attempt::{Attempted, HostLog},
    place::{Placement, Terms, service_of},
    turn::{Refusals, is_passing},
};
use crate::{
    ended::{Ended, Halt, internal},
    kept,
    log::Log,
    queue::longest,
    records::Owner,
};
use deploy_core::{
    access::Permit,
    backend::{
        AttemptRequest, BackendError, BackendResult, Build, BuildFailure, BuildFault, BuildReport,
        BuildState, ErrorKind, HostRequest,
    },
};
use std::{fs, path::PathBuf, sync::Arc, time::Duration};

/// Between two tries at something that may come right by itself.
pub(super) const RETRY: Duration = Duration::from_secs(1);

/// A build that this process works on.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) shared: Arc<Shared>,
    pub(super) build: Build,
    owner: Owner,
    pub(super) log: Log,
    pub(super) halt: Halt,
    /// Whether something may run on a host that nothing was heard of.
    pub(super) doubt: bool,
    pub(super) refusals: Refusals,
    /// How whoever asked for it wants hosts used.
    pub(super) terms: Terms,
}

/// How a build ends that is not made.
#[derive(Debug)]
pub(super) enum End {
    /// As its host says, whose log says it as well.
    AsSaid(Box<Build>),
    /// By this builder.
    Here(Ended),
    /// Nobody knows how.
    Lost(String),
}

impl<E: Into<Ended>> From<E> for End {
    fn from(ended: E) -> Self {
        Self::Here(ended.into())
    }
}

/// An attempt that is to be, or is under way.
pub(super) struct Job {
    pub(super) placement: Placement,
    pub(super) request: AttemptRequest,
    pub(super) permit: Permit,
}

impl Work {
    /// `build`, which `owner` says is this process's.
    pub(super) fn new(
        shared: Arc<Shared>,
        build: Build,
        owner: Owner,
        log: Log,
        terms: Terms,
    ) -> Self {
        let halt = Halt::new(Arc::clone(&shared.clock), shared.records.cancel_file(&build.id));
        let refusals = Refusals::default();
        Self { shared, build, owner, log, halt, doubt: false, refusals, terms }
    }

    /// Does all of it. What it comes to is in the build's record.
    pub(super) async fn run(mut self) {
        let came_to = self.work().await;
        let build = &mut self.build;
        build.ended_at = Some(self.shared.clock.now());
        let said = match came_to {
            Ok(report) => {
                (build.state, build.report) = (BuildState::Succeeded, Some(report));
                None
            }
            Err(End::AsSaid(said)) => {
                (build.state, build.failure) = (said.state, said.failure);
                None
            }
            Err(End::Lost(message)) => {
                let said = format!("lost: {message}");
                build.state = BuildState::Lost;
                build.failure = Some(BuildFailure::new(BuildFault::Internal, message));
                Some(said)
            }
            Err(End::Here(Ended::Cancelled)) => {
                build.state = BuildState::Cancelled;
                Some("cancelled".to_owned())
            }
            Err(End::Here(Ended::TimedOut)) => {
                build.state = BuildState::TimedOut;
                Some("timed out: its host was given as long as all stages may take".to_owned())
            }
            Err(End::Here(Ended::Failed(failure))) => {
                let said = format!("failed: {} ({})", failure.message, failure.fault.as_str());
                (build.state, build.failure) = (BuildState::Failed, Some(failure));
                Some(said)
            }
        };
        let path = self.log_path();
        if let Some(said) = said.filter(|said| !ends_with(&path, said)) {
            self.log.close(&said);
        }
        if self.write_end().await
            && let Ok(builds) = self.shared.records.all(self.shared.clock.now())
        {
            kept::retain(&self.shared.records, &builds, self.shared.kept.get());
        }
        drop(self.owner);
    }

    async fn work(&mut self) -> Result<BuildReport, End> {
        // Whoever worked on it before may have started it: what is started is written down before as no longer queued.
        self.doubt = self.build.state != BuildState::Queued;
        loop {
            let placed = self.shared.records.placement(&self.build.id).map_err(unusable)?;
            let placement = match placed {
                Some(placement) => {
                    if self.build.state == BuildState::Queued {
                        let now = self.shared.clock.now();
                        self.enter_place(&placement, now).map_err(unusable)?;
                    }
                    placement
                }
                None => {
                    if self.build.state != BuildState::Queued {
                        self.requeue().map_err(unusable)?;
                    }
                    self.wait_for_turn().await?
                }
            };
            let job = match self.job_at_last(&placement).await {
                Ok(job) => job,
                Err(err) if self.doubt => return Err(self.out_of_sight(&err)),
                Err(err) => {
                    self.not_started(&placement, err).await?;
                    continue;
                }
            };
            match self.attempt(&job).await? {
                Attempted::Ended(report) => return self.conclude(&job, report).await,
                Attempted::NotStarted(err) => self.not_started(&placement, err).await?,
            }
        }
    }

    /// Writes the end of it down; whether that could be done. For as long as the builder is patient nobody else takes it over: its outputs are there already.
    async fn write_end(&self) -> bool {
        let shared = &*self.shared;
        let until = shared.clock.now().after(shared.patience);
        while shared.records.write(&self.build).is_err() {
            if shared.clock.now() >= until {
                return false;
            }
            shared.clock.sleep_until(shared.clock.now().after(RETRY)).await;
        }
        true
    }

    /// As [`job`](Self::job), which is tried again where something may be under way that is not to be lost by a passing fault.
    async fn job_at_last(&self, placement: &Placement) -> BackendResult<Job> {
        let shared = &*self.shared;
        let until = shared.clock.now().after(shared.patience);
        loop {
            match self.job(placement).await {
                Err(err) if self.doubt && is_passing(&err) && shared.clock.now() < until => {}
                done => return done,
            }
            shared.clock.sleep_until(shared.clock.now().after(RETRY)).await;
        }
    }

    /// All that is needed to start an attempt, or to follow it.
    async fn job(&self, placement: &Placement) -> BackendResult<Job> {
        let (shared, build) = (&*self.shared, &self.build);
        let invalid = |err| BackendError::new(ErrorKind::Internal, "build.place").because(err);
        let host = shared.hosts.host(&placement.host).await?;
        let put = shared.hosts.put_runner(build, &shared.runner, shared.clock.now()).await;
        // What has begun goes on where the store cannot be written to.
        if !self.doubt {
            put?;
        }
        let service = service_of(&build.request.service).map_err(invalid)?;
        let text = placement.handover.to_json()?;
        let (program, longest, now) = (&placement.program, self.longest(), shared.clock.now());
        let release = shared.runner.release(build, program, text, longest, now)?;
        let permit = shared.hosts.permit(build, &host.name).await?;
        let on = HostRequest::new(host, service.clone(), placement.path.clone())
            .with_account(placement.account.clone());
        let (generation, token) = (placement.generation, placement.token.clone());
        let request = AttemptRequest::new(on, service.into(), generation, token, release);
        Ok(Job { placement: placement.clone(), request, permit })
    }

    /// How long the host may take for all of it. It may have builds of others to do first.
    pub(super) fn longest(&self) -> Duration {
        const OTHERS: u32 = 2;
        longest(&self.build.request.recipe.limits).saturating_mul(OTHERS)
    }

    /// Something may run that cannot be asked for any more.
    fn out_of_sight(&self, err: &BackendError) -> End {
        let host = self.build.host.as_ref().map(ToString::to_string).unwrap_or_default();
        End::Lost(format!("host `{host}` had begun it, and cannot be asked: {}", err.chain()))
    }

    pub(super) fn enter(&mut self, state: BuildState) -> Result<(), End> {
        self.build.state = state;
        self.shared.records.write(&self.build).map_err(unusable)
    }

    pub(super) fn host_log(&self) -> BackendResult<HostLog> {
        HostLog::open(self.log.clone(), &self.log_path())
    }

    pub(super) fn log_path(&self) -> PathBuf {
        self.shared.records.folder(&self.build.id).join("log")
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it stands at the end of `map_err`")]
pub(super) fn unusable(err: BackendError) -> End {
    internal(err.chain()).into()
}

/// Whether the last line of a log says this already: the host may have.
fn ends_with(log: &std::path::Path, said: &str) -> bool {
    last_line(log) == said
}

/// The last line of a log, without what marks the builder's own.
pub(super) fn last_line(log: &std::path::Path) -> String {
    const LONGEST: usize = 500;
    let text = fs::read(log).unwrap_or_default();
    let tail = text.get(text.len().saturating_sub(4 * LONGEST)..).unwrap_or_default();
    let tail = String::from_utf8_lossy(tail);
    let line = tail.lines().next_back().unwrap_or_default();
    line.strip_prefix("== ").unwrap_or(line).chars().take(LONGEST).collect()
}
