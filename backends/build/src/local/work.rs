//! One build, from its turn to its end.
use super::{
    SandboxUse, Shared,
    outputs::{self, Making},
};
use crate::{
    ended::{Ended, Halt, internal},
    git::{Git, Mirror, Resolved},
    kept,
    log::Log,
    pack::Watch,
    parameters,
    queue::{FETCH, PACK, Turn, turn},
    quota::Quota,
    records::Owner,
    sandbox::{Bench, Places, Sandbox},
    secrets::Secret,
};
use deploy_core::{
    backend::{
        BackendError, BackendResult, Build, BuildFailure, BuildFault, BuildOutput, BuildReport,
        BuildState, ErrorKind, Isolation,
    },
    id::{BuildId, SecretName},
};
use std::{fs, path::PathBuf, sync::Arc, time::Duration};

/// Between two looks whether it is this build's turn.
const PAUSE: Duration = Duration::from_millis(100);

/// A build that this process works on.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) shared: Arc<Shared>,
    pub(super) build: Build,
    owner: Owner,
    pub(super) log: Log,
    pub(super) halt: Halt,
}

impl Work {
    pub(super) fn new(shared: Arc<Shared>, build: Build, owner: Owner, log: Log) -> Self {
        let halt = Halt::new(Arc::clone(&shared.clock), shared.records.cancel_file(&build.id));
        Self { shared, build, owner, log, halt }
    }

    /// Does all of it. What it comes to is in the build's record.
    pub(super) async fn run(mut self) {
        let came_to = self.work().await;
        self.clear_up();
        let build = &mut self.build;
        build.ended_at = Some(self.shared.clock.now());
        let said = match came_to {
            Ok(report) => {
                // Who has packed it has said so.
                let adopted = build.same_as.is_some().then(|| outputs::said(report.package));
                (build.state, build.report) = (BuildState::Succeeded, Some(report));
                adopted
            }
            Err(Ended::Cancelled) => {
                build.state = BuildState::Cancelled;
                Some("cancelled".to_owned())
            }
            Err(Ended::TimedOut) => {
                build.state = BuildState::TimedOut;
                let limit = deploy_host::duration::format(build.request.recipe.limits.time);
                Some(format!("timed out: its commands may run for {limit}"))
            }
            Err(Ended::Failed(failure)) => {
                let said = format!("failed: {} ({})", failure.message, failure.fault.as_str());
                (build.state, build.failure) = (BuildState::Failed, Some(failure));
                Some(said)
            }
        };
        if let Some(said) = said {
            self.log.close(&said);
        }
        // A record that cannot be written leaves a build that nobody works on: whoever looks takes it for lost.
        if self.shared.records.write(&self.build).is_ok() {
            self.retain();
        }
        drop(self.owner);
    }

    async fn work(&mut self) -> Result<BuildReport, Ended> {
        self.wait_for_turn().await?;
        let places = self.prepare().await?;
        let (commit_known, checkout) = self.bring_in(&places).await?;
        if let Some(report) = commit_known {
            return Ok(report);
        }
        let isolation = self.run_commands(&places, checkout).await?;
        self.halt.check()?;
        self.enter(BuildState::Packing)?;
        self.log.say("packing");
        let (shared, build) = (Arc::clone(&self.shared), self.build.clone());
        let (log, halt) = (self.log.clone(), self.halt.clone());
        let packed = tokio::task::spawn_blocking(move || {
            outputs::pack(&Making {
                build: &build,
                folder: &shared.records.folder(&build.id),
                source: &places.source,
                builder: &shared.name,
                log: &log,
                isolation,
                watch: Watch::new(halt, shared.clock.now().after(PACK)),
                at: shared.clock.now(),
            })
        });
        packed.await.map_err(internal)?
    }

    async fn wait_for_turn(&mut self) -> Result<(), Ended> {
        loop {
            self.halt.check()?;
            match self.take_turn().map_err(|err| internal(err.chain()))? {
                Turn::Now => return Ok(()),
                Turn::Stuck(other) => return Err(self.stuck(&other)),
                Turn::Wait => {
                    let next = self.shared.clock.now().after(PAUSE);
                    self.shared.clock.sleep_until(next).await;
                }
            }
        }
    }

    /// Why nothing comes of this build while `other` goes on.
    fn stuck(&self, other: &BuildId) -> Ended {
        let message = format!(
            "build {other} of `{}` ought to be over and is not: the process that works on it{} was stopped, or hangs; let it go on or end it, and build again",
            self.build.request.service,
            self.shared.records.owner(other).map(|it| format!(" ({it})")).unwrap_or_default()
        );
        BuildFailure::new(BuildFault::Internal, message).into()
    }

    /// Begins, if it is this build's turn.
    fn take_turn(&mut self) -> BackendResult<Turn> {
        let _queue = self.shared.records.lock_queue()?;
        let now = self.shared.clock.now();
        let mut builds = self.shared.records.all(now)?;
        builds.reverse();
        let turn = turn(&builds, &self.build.id, self.shared.limit.get(), now);
        if turn != Turn::Now {
            return Ok(turn);
        }
        self.build.started_at = Some(now);
        self.build.state = BuildState::Fetching;
        self.shared.records.write(&self.build)?;
        Ok(Turn::Now)
    }

    fn enter(&mut self, state: BuildState) -> Result<(), Ended> {
        self.build.state = state;
        self.shared.records.write(&self.build).map_err(|err| internal(err.chain()))
    }

    /// What may come to these folders.
    async fn quota(&self, folders: Vec<PathBuf>) -> Result<Quota, Ended> {
        Quota::begin(folders, self.build.request.recipe.limits.disk.get()).await
    }

    /// Writes the source out, unless there is a build already that is the same.
    async fn bring_in(&mut self, places: &Places) -> Result<(Option<BuildReport>, u64), Ended> {
        let shared = Arc::clone(&self.shared);
        let request = self.build.request.clone();
        let secret = match &request.source.credential {
            Some(name) => Some(self.secret(name).await?),
            None => None,
        };
        let (mark, folder) = (self.mark(&self.build), self.place());
        let (home, keys, log, halt) =
            (folder.join("nobody"), folder.join("keys"), self.log.clone(), self.halt.clone());
        let mirror = self.mirror_folder();
        let quota = self.quota(vec![mirror.clone(), places.source.clone()]).await?;
        let git = Git {
            program: &shared.git,
            home: &home,
            mark: &mark,
            log: &log,
            halt: &halt,
            deadline: shared.clock.now().after(FETCH),
            quota: &quota,
        };
        let mirror = Mirror {
            folder: mirror,
            remote: &request.source.remote,
            policy: &shared.policy,
            secret: secret.as_ref(),
            known_hosts: &shared.known_hosts,
            keys: &keys,
        };
        let _lock = mirror.lock(&git).await?;
        let Resolved { commit, tag } = mirror.resolve(&git, &request.revision).await?;
        self.log.say(format_args!("{} is commit {commit}", request.revision));
        self.build.commit = Some(commit.clone());
        self.build.tag = tag;
        if let Some(report) = self.same_report(self.isolation().await)? {
            return Ok((Some(report), 0));
        }
        let checkout = mirror.check_out(&git, &commit, &places.source).await?;
        if checkout.has_submodules {
            self.warn(
                "the source names other repositories (submodules): their files are not there"
                    .to_owned(),
            );
        }
        parameters::judge_source(&request, &places.source)?;
        Ok((None, checkout.committed_at))
    }

    /// The report of a build that is the same as this one.
    fn same_report(&mut self, isolation: Isolation) -> Result<Option<BuildReport>, Ended> {
        let records = &self.shared.records;
        let mut builds =
            records.all(self.shared.clock.now()).map_err(|err| internal(err.chain()))?;
        // The statement goes with the outputs, and names who has built.
        let identity = self.build.identity();
        builds.retain(|it| {
            it.identity() == identity
                && kept::builder(records, it) == Some(self.shared.name.clone())
        });
        let Some(same) = kept::same(records, &builds, &self.build, isolation) else {
            return Ok(None);
        };
        if let Some(BuildReport { descriptor: Some(_), .. }) = &same.report {
            let descriptor = records.folder(&same.id).join(BuildOutput::Descriptor.as_str());
            parameters::judge(&self.build.request, &fs::read(descriptor)?)?;
        }
        kept::adopt(records, same, &self.build)?;
        self.log.say(format_args!(
            "source and recipe are those of build {}, and so are the outputs",
            same.id
        ));
        self.build.same_as = Some(same.same_as.clone().unwrap_or_else(|| same.id.clone()));
        self.build.warnings.clone_from(&same.warnings);
        Ok(same.report.clone())
    }

    fn warn(&mut self, warning: String) {
        self.log.say(format_args!("warning: {warning}"));
        self.build.warnings.push(warning);
    }

    pub(super) async fn secret(&self, name: &SecretName) -> Result<Secret, Ended> {
        let secret = self.shared.secrets.secret(&self.build.request.service, name).await;
        secret.map_err(|err: BackendError| {
            let message = match err.kind() {
                ErrorKind::NotFound => format!(
                    "there is no secret `{name}` for service `{}`",
                    self.build.request.service
                ),
                _ => format!("the secret `{name}` cannot be used: {}", err.chain()),
            };
            BuildFailure::new(BuildFault::SecretMissing, message).into()
        })
    }

    async fn run_commands(
        &mut self,
        places: &Places,
        committed_at: u64,
    ) -> Result<Isolation, Ended> {
        let shared = Arc::clone(&self.shared);
        let sandbox = self.sandbox(&shared).await;
        let recipe = self.build.request.recipe.clone();
        if let Some(warning) = sandbox.warning(&recipe) {
            if shared.sandbox_use == SandboxUse::Required {
                let message = format!("nothing is built here without a sandbox: {warning}");
                return Err(BuildFailure::new(BuildFault::SandboxMissing, message).into());
            }
            self.warn(warning);
        }
        self.hand_out_secrets(places).await?;
        let cgroup = self.make_group()?;
        if recipe.limits.memory.is_some() && !cgroup.bounds_memory {
            self.warn(
                "there is no control group here: the limit of memory holds for each process alone"
                    .to_owned(),
            );
        }
        let quota = self.quota(vec![self.place(), places.cache.clone()]).await?;
        self.enter(BuildState::Building)?;
        let given = [
            (
                "DEPLOY_COMMIT",
                self.build.commit.as_ref().map(ToString::to_string).unwrap_or_default(),
            ),
            ("DEPLOY_SERVICE", self.build.request.service.to_string()),
            ("SOURCE_DATE_EPOCH", committed_at.to_string()),
        ];
        let mark = self.mark(&self.build);
        let deadline = shared.clock.now().after(recipe.limits.time);
        let (log, halt) = (&self.log, &self.halt);
        let bench = Bench {
            sandbox,
            places,
            recipe: &recipe,
            given: &given,
            mark: &mark,
            cgroup: &cgroup,
            quota: Some(&quota),
            log,
            halt,
        };
        let done = bench.work(deadline).await;
        cgroup.remove();
        done.map(|()| sandbox.isolation())
    }

    async fn sandbox<'a>(&self, shared: &'a Shared) -> &'a Sandbox {
        shared.sandbox.get_or_init(|| self.probe()).await
    }

    /// What would keep the commands of this build from the machine. What was kept by less is not taken for the same.
    async fn isolation(&self) -> Isolation {
        match self.shared.sandbox_use {
            SandboxUse::Required => Isolation::Sandbox,
            SandboxUse::Never | SandboxUse::Preferred => {
                self.sandbox(&self.shared).await.isolation()
            }
        }
    }

    async fn probe(&self) -> Sandbox {
        if self.shared.sandbox_use == SandboxUse::Never {
            return Sandbox::Missing("whoever runs the builder wants none".to_owned());
        }
        let scratch = self.place().join("probe");
        Sandbox::probe(&self.shared.tools, &scratch, Arc::clone(&self.shared.clock)).await
    }

    /// Removes the oldest builds that are over, as far as there are more than are kept.
    fn retain(&self) {
        let records = &self.shared.records;
        let Ok(builds) = records.all(self.shared.clock.now()) else { return };
        kept::retain(records, &builds, self.shared.kept.get());
    }
}
