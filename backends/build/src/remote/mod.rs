//! A builder whose builds run on hosts, through any executor.
mod attempt;
mod bring_in;
mod collect;
mod handover;
mod here;
mod hosts;
mod judge;
mod place;
mod turn;
mod work;

pub use handover::Handover;
pub use here::HostSide;
pub use hosts::BuildHosts;

use crate::{
    kept::{Kept, blocking},
    local::{KEPT, SandboxUse},
    log::Log,
    records::{Custody, Records, failed},
};
use async_trait::async_trait;
use deploy_core::{
    access::{Action, Permit, Resource},
    backend::{
        ArtifactReader, BackendError, BackendResult, Build, BuildLog, BuildOutput, BuildRequest,
        Builder, Clock, ErrorKind, ListBuilds,
    },
    id::{AccountName, BuildId},
    spec::{AbsolutePath, Selector},
};
use handover::Runner;
use place::Terms;
use std::{num::NonZeroUsize, path::PathBuf, sync::Arc, time::Duration};
use work::Work;

/// How much the log of a remote build may have, in bytes: executors bound what an attempt prints to 64 MiB.
const LARGEST_LOG: u64 = 48 << 20;
/// How long hosts that cannot be reached are waited for.
const PATIENCE: Duration = Duration::from_secs(5 * 60);

/// Builds on hosts, each by a [`LocalBuilder`](crate::LocalBuilder) of its own that an executor starts.
///
/// What is kept is in one folder, which several processes may share: each works on the builds that it was asked for, and shows all of them. A build goes on when
/// its process dies; [`resume`](Self::resume) takes it over. What a host gives is compared with what it says before anybody has it.
#[derive(Clone, Debug)]
pub struct RemoteBuilder {
    shared: Arc<Shared>,
}

/// What all builds of a builder share.
#[derive(Clone, Debug)]
struct Shared {
    records: Records,
    hosts: BuildHosts,
    clock: Arc<dyn Clock>,
    runner: Runner,
    /// Of builds that are asked for here.
    terms: Terms,
    kept: NonZeroUsize,
    patience: Duration,
}

impl RemoteBuilder {
    /// A builder that keeps its builds in `folder`, which is made if it is missing, and has them run on those of `hosts` that `on` selects: one build a host at
    /// a time, below `/var/lib/deploy` there, by the program `deploy`.
    ///
    /// # Errors
    /// `Unavailable` if the folder cannot be used.
    pub fn open(
        folder: impl Into<PathBuf>,
        hosts: BuildHosts,
        on: Selector,
        clock: Arc<dyn Clock>,
    ) -> BackendResult<Self> {
        const OPERATION: &str = "build.open";
        let records =
            Records::open(folder.into(), Custody::Host).map_err(|err| failed(OPERATION, err))?;
        let root = "/var/lib/deploy".parse();
        let shared = Shared {
            records,
            hosts,
            clock,
            runner: Runner::new()?,
            terms: Terms {
                on,
                at_a_time: NonZeroUsize::MIN,
                sandbox_use: SandboxUse::default(),
                private_remotes: true,
                tools: Vec::new(),
                root: root.map_err(|err| {
                    BackendError::new(ErrorKind::Internal, OPERATION).because(err)
                })?,
                account: None,
                program: "deploy".to_owned(),
            },
            kept: NonZeroUsize::new(KEPT).unwrap_or(NonZeroUsize::MIN),
            patience: PATIENCE,
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// That runs up to `at_a_time` builds at a time on each host.
    #[must_use]
    pub fn with_at_a_time(self, at_a_time: NonZeroUsize) -> Self {
        self.change(|it| it.terms.at_a_time = at_a_time)
    }

    /// That keeps the newest `kept` builds, with their logs and outputs.
    #[must_use]
    pub fn with_kept(self, kept: NonZeroUsize) -> Self {
        self.change(|it| it.kept = kept)
    }

    /// That asks this of sandboxes on hosts.
    #[must_use]
    pub fn with_sandbox(self, sandbox: SandboxUse) -> Self {
        self.change(|it| it.terms.sandbox_use = sandbox)
    }

    /// Whether sources may be folders of hosts and at private addresses; they may, unless this says otherwise.
    #[must_use]
    pub fn with_private_remotes(self, allowed: bool) -> Self {
        self.change(|it| it.terms.private_remotes = allowed)
    }

    /// Whose commands may read these folders of hosts as well, such as a toolchain that is not the system's.
    #[must_use]
    pub fn with_tools(self, tools: Vec<PathBuf>) -> Self {
        self.change(|it| it.terms.tools = tools)
    }

    /// That has hosts keep all of it below `root`: sources, caches and builds in `root/builds`, secrets in `root/builds/secrets`.
    #[must_use]
    pub fn with_root(self, root: AbsolutePath) -> Self {
        self.change(|it| it.terms.root = root)
    }

    /// Whose builds run as `account`; `None` is the account that logs in.
    #[must_use]
    pub fn with_account(self, account: Option<AccountName>) -> Self {
        self.change(|it| it.terms.account = account)
    }

    /// That finds the program under another name on hosts, such as `/opt/deploy/bin/deploy`.
    #[must_use]
    pub fn with_program(self, program: impl Into<String>) -> Self {
        let program = program.into();
        self.change(|it| it.terms.program = program)
    }

    /// With another patience for hosts that cannot be reached; five minutes by default.
    #[must_use]
    pub fn with_patience(self, patience: Duration) -> Self {
        self.change(|it| it.patience = patience)
    }

    /// Goes on with all builds that nobody works on: those of processes that are gone. Gives how many these are.
    ///
    /// # Errors
    /// `Unavailable` if the folder cannot be read.
    pub async fn resume(&self) -> BackendResult<usize> {
        let shared = Arc::clone(&self.shared);
        let left = self
            .blocking("build.resume", move |it| {
                let mut left = Vec::new();
                let all = it.records.all(it.clock.now())?;
                for build in all.into_iter().filter(|build| !build.state.is_over()) {
                    let Some(owner) = it.records.take_over(&build.id)? else { continue };
                    // It may have come to its end between the two looks.
                    let build = it.records.read(&build.id, it.clock.now())?;
                    if !build.state.is_over() {
                        let terms = it.records.terms(&build.id)?;
                        left.push((build.clone(), owner, it.log(&build)?, terms));
                    }
                }
                Ok(left)
            })
            .await?;
        let count = left.len();
        for (build, owner, log, terms) in left {
            tokio::spawn(Work::new(Arc::clone(&shared), build, owner, log, terms).run());
        }
        Ok(count)
    }

    fn change(self, change: impl FnOnce(&mut Shared)) -> Self {
        let mut shared = Arc::unwrap_or_clone(self.shared);
        change(&mut shared);
        Self { shared: Arc::new(shared) }
    }

    async fn blocking<T: Send + 'static>(
        &self,
        operation: &'static str,
        work: impl FnOnce(&Shared) -> BackendResult<T> + Send + 'static,
    ) -> BackendResult<T> {
        let shared = Arc::clone(&self.shared);
        blocking(operation, move || work(&shared)).await
    }

    fn kept(&self) -> Kept<'_> {
        Kept { records: &self.shared.records, clock: &self.shared.clock }
    }
}

impl Shared {
    /// Which hosts a request is for.
    fn selector<'a>(&'a self, request: &'a BuildRequest) -> &'a Selector {
        request.on.as_ref().unwrap_or(&self.terms.on)
    }

    /// The log of a build, to be gone on with. What a host sends beyond what the recipe allows, and what the builder says at its end, is not kept.
    fn log(&self, build: &Build) -> BackendResult<Log> {
        const OWN_WORDS: u64 = 64 << 10;
        let limit = build.request.recipe.limits.log.get().saturating_add(OWN_WORDS);
        let path = self.records.folder(&build.id).join("log");
        Log::resume(&path, limit).map_err(|err| failed("build.log", err))
    }
}

#[async_trait]
impl Builder for RemoteBuilder {
    async fn submit(&self, permit: &Permit, request: &BuildRequest) -> BackendResult<Build> {
        const OPERATION: &str = "build.submit";
        permit.demand(Action::BuildRun, &Resource::Service(request.service.clone()), OPERATION)?;
        let invalid =
            |why: String| BackendError::new(ErrorKind::InvalidInput, OPERATION).because(why);
        request.recipe.check().map_err(|why| invalid(why.to_owned()))?;
        if request.recipe.limits.log.get() > LARGEST_LOG {
            let most = LARGEST_LOG >> 10;
            return Err(invalid(format!(
                "a build on a host may print {most} KiB at the most: lower `log_limit_kib`"
            )));
        }
        let by = permit.principal().clone();
        let hosts =
            self.shared.hosts.candidates(&by, request, self.shared.selector(request)).await?;
        if let Some(host) = hosts.first() {
            Handover::new(request.clone(), by.clone(), &host.name).to_json()?;
        }
        let request = request.clone();
        let (build, owner, log) = self
            .blocking(OPERATION, move |shared| {
                let now = shared.clock.now();
                let (build, owner) = shared.records.create(
                    |id| Build::queued(id, request, by, now),
                    |folder| shared.terms.write(folder),
                )?;
                let log = shared.log(&build)?;
                Ok((build, owner, log))
            })
            .await?;
        let (shared, terms) = (Arc::clone(&self.shared), self.shared.terms.clone());
        tokio::spawn(Work::new(shared, build.clone(), owner, log, terms).run());
        Ok(build)
    }

    async fn build(&self, id: &BuildId) -> BackendResult<Build> {
        self.kept().build(id).await
    }

    async fn builds(&self, request: &ListBuilds) -> BackendResult<Vec<Build>> {
        self.kept().builds(request).await
    }

    async fn cancel(&self, permit: &Permit, id: &BuildId) -> BackendResult<Build> {
        self.kept().cancel(permit, id).await
    }

    async fn log(&self, id: &BuildId, offset: u64, limit: usize) -> BackendResult<BuildLog> {
        self.kept().log(id, offset, limit).await
    }

    async fn open(&self, id: &BuildId, output: BuildOutput) -> BackendResult<ArtifactReader> {
        self.kept().open(id, output).await
    }
}
