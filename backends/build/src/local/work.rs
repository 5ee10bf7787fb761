//! One build, from its turn to its end.
use super::{
    SandboxUse, Shared,
    outputs::{self, Making},
    queue::may_begin,
    records::{Owner, make_private, write_whole},
};
use crate::{
    clear::clear,
    ended::{Ended, Halt, internal},
    git::{Git, Mirror, Resolved},
    log::Log,
    process::{Cgroup, Tree},
    sandbox::{Bench, Places, Sandbox},
    secrets::Secret,
};
use deploy_core::{
    backend::{
        BackendError, BackendResult, Build, BuildFailure, BuildFault, BuildReport, BuildState,
        ErrorKind, Isolation,
    },
    digest::Digest,
    id::SecretName,
};
use std::{
    fs, io::Write as _, os::unix::fs::OpenOptionsExt as _, path::PathBuf, sync::Arc, time::Duration,
};

/// Between two looks whether it is this build's turn.
const PAUSE: Duration = Duration::from_millis(100);
/// How long it may take to bring the source in.
const FETCH: Duration = Duration::from_secs(15 * 60);
/// What the processes of a build have in their environment.
const MARK: &str = "DEPLOY_BUILD";

/// A build that this process works on.
#[derive(Debug)]
pub(super) struct Work {
    shared: Arc<Shared>,
    build: Build,
    owner: Owner,
    log: Log,
    halt: Halt,
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
        let (shared, build, log) = (Arc::clone(&self.shared), self.build.clone(), self.log.clone());
        let packed = tokio::task::spawn_blocking(move || {
            outputs::pack(&Making {
                build: &build,
                folder: &shared.records.folder(&build.id),
                source: &places.source,
                builder: &shared.name,
                log: &log,
                isolation,
                at: shared.clock.now(),
            })
        });
        packed.await.map_err(internal)?
    }

    async fn wait_for_turn(&mut self) -> Result<(), Ended> {
        loop {
            self.halt.check()?;
            if self.take_turn().map_err(|err| internal(err.chain()))? {
                return Ok(());
            }
            let next = self.shared.clock.now().after(PAUSE);
            self.shared.clock.sleep_until(next).await;
        }
    }

    /// Begins, if it is this build's turn.
    fn take_turn(&mut self) -> BackendResult<bool> {
        let _queue = self.shared.records.lock_queue()?;
        let now = self.shared.clock.now();
        let mut builds = self.shared.records.all(now)?;
        builds.reverse();
        if !may_begin(&builds, &self.build.id, self.shared.limit.get()) {
            return Ok(false);
        }
        self.build.started_at = Some(now);
        self.build.state = BuildState::Fetching;
        self.shared.records.write(&self.build)?;
        Ok(true)
    }

    fn enter(&mut self, state: BuildState) -> Result<(), Ended> {
        self.build.state = state;
        self.shared.records.write(&self.build).map_err(|err| internal(err.chain()))
    }

    /// An empty place to work in. What a build of the service has left that was lost is ended and removed first.
    async fn prepare(&self) -> Result<Places, Ended> {
        let lost = self
            .shared
            .records
            .all(self.shared.clock.now())
            .map_err(|err| internal(err.chain()))?;
        let of_service = |it: &&Build| {
            it.state == BuildState::Lost && it.request.service == self.build.request.service
        };
        for build in lost.iter().filter(of_service) {
            self.end_lost(build).await?;
        }
        let folder = self.place();
        clear(&folder)?;
        let service = self.build.request.service.as_str();
        let places = Places {
            source: folder.join("source"),
            cache: self.shared.records.root().join("cache").join(service),
            home: folder.join("home"),
            temporary: folder.join("tmp"),
            secrets: folder.join("secrets"),
        };
        for it in [
            &places.source,
            &places.cache,
            &places.home,
            &places.temporary,
            &places.secrets,
            &folder.join("keys"),
            &folder.join("nobody"),
        ] {
            make_private(it)?;
        }
        Ok(places)
    }

    async fn end_lost(&self, build: &Build) -> Result<(), Ended> {
        let ((name, value), cgroup) = (self.mark(build), self.left_group(build));
        let mut tree = Tree::new(format!("{name}={value}"), None, cgroup.clone());
        let survivors = tree.end(self.halt.clock()).await?;
        cgroup.remove();
        if survivors.is_empty() {
            return Ok(());
        }
        let survivors = survivors.join(", ");
        let message = format!(
            "these processes of build {} cannot be ended: {survivors}; end them by hand",
            build.id
        );
        Err(BuildFailure::new(BuildFault::Survivors, message).into())
    }

    /// Makes the control group of this build, and writes down where it is: whoever ends what is left of it may be in other groups.
    fn make_group(&self) -> Result<Cgroup, Ended> {
        let (name, limits) = (self.group(&self.build), &self.build.request.recipe.limits);
        let cgroup = Cgroup::make(&name, limits, |folders| {
            let text = serde_json::to_vec(folders)?;
            write_whole(&self.shared.records.groups_file(&self.build.id), &text)
        });
        Ok(cgroup?)
    }

    fn left_group(&self, build: &Build) -> Cgroup {
        // A build that never came so far has written nothing, and has no group.
        let text = fs::read(self.shared.records.groups_file(&build.id)).unwrap_or_default();
        Cgroup::left(serde_json::from_slice(&text).unwrap_or_default())
    }

    /// The control group of a build.
    fn group(&self, build: &Build) -> String {
        let root = Digest::of(self.shared.records.root().as_os_str().as_encoded_bytes());
        format!("{}-{}", root.short(), build.id)
    }

    /// Where the builds of this service work, one after another: always the same, because some programs write it into what they make.
    fn place(&self) -> PathBuf {
        self.shared.records.root().join("work").join(self.build.request.service.as_str())
    }

    fn mark(&self, build: &Build) -> (String, String) {
        (MARK.to_owned(), format!("{}#{}", self.shared.records.root().display(), build.id))
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
        let git = Git {
            program: &shared.git,
            home: &home,
            mark: &mark,
            log: &log,
            halt: &halt,
            deadline: shared.clock.now().after(FETCH),
        };
        let copy = format!(
            "{}-{}.git",
            request.service,
            Digest::of(request.source.remote.as_str().as_bytes()).short()
        );
        let mirror = Mirror {
            folder: shared.records.root().join("mirrors").join(copy),
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
        Ok((None, checkout.committed_at))
    }

    /// The report of a build that is the same as this one.
    fn same_report(&mut self, isolation: Isolation) -> Result<Option<BuildReport>, Ended> {
        let records = &self.shared.records;
        let builds = records.all(self.shared.clock.now()).map_err(|err| internal(err.chain()))?;
        let Some(same) = outputs::same(records, &builds, &self.build, isolation) else {
            return Ok(None);
        };
        outputs::adopt(records, same, &self.build)?;
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

    async fn secret(&self, name: &SecretName) -> Result<Secret, Ended> {
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

    /// Writes the secrets that the recipe names to where its commands find them.
    async fn hand_out_secrets(&self, places: &Places) -> Result<(), Ended> {
        for (file, name) in &self.build.request.recipe.secrets {
            let secret = self.secret(name).await?;
            self.log.mask(&secret);
            let path = places.secrets.join(file.as_str());
            let mut file =
                fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
            file.write_all(secret.reveal())?;
        }
        Ok(())
    }

    /// Removes what was there for this build alone, secrets above all.
    fn clear_up(&self) {
        // A build that never had its turn has no place of its own, and the one that is there is another's.
        if self.build.started_at.is_some()
            && let Err(err) = clear(&self.place())
        {
            self.log
                .say(format_args!("warning: {} cannot be removed: {err}", self.place().display()));
        }
    }

    /// Removes the oldest builds that are over, as far as there are more than are kept.
    fn retain(&self) {
        let records = &self.shared.records;
        let Ok(builds) = records.all(self.shared.clock.now()) else { return };
        let over = builds.iter().filter(|it| it.state.is_over());
        for build in over.skip(self.shared.kept.get()) {
            // What cannot be removed now is tried again after the next build.
            drop(records.remove(&build.id));
        }
    }
}
