//! A builder on this machine, with all it keeps in one folder.
mod outputs;
mod place;
mod work;

use crate::{
    git::{RemotePolicy, usable_git},
    kept::{Kept, blocking},
    log::Log,
    records::{Custody, Records, failed},
    sandbox::Sandbox,
    secrets::{FileSecrets, Secrets},
};
use async_trait::async_trait;
use deploy_core::{
    access::{Action, Permit, Resource},
    backend::{
        ArtifactReader, BackendError, BackendResult, Build, BuildLog, BuildOutput, BuildRequest,
        Builder, Clock, ErrorKind, ListBuilds,
    },
    id::BuildId,
};
use serde::{Deserialize, Serialize};
use std::{
    io,
    num::NonZeroUsize,
    path::{Component, Path, PathBuf},
    sync::Arc,
};
use tokio::sync::OnceCell;
use work::Work;

/// How many builds are kept, unless it is told otherwise.
pub(crate) const KEPT: usize = 100;

/// What a builder asks of sandboxes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::exhaustive_enums, reason = "there is no fourth way")]
pub enum SandboxUse {
    /// None is used: for a machine that is there for one build, and thrown away.
    Never,
    /// One is used where it works; where it does not, builds say so in a warning.
    #[default]
    Preferred,
    /// Nothing is built without one.
    Required,
}

/// Builds on this machine: git sources, in a bubblewrap sandbox where that works.
///
/// Everything is in one folder, which several processes may share: each works on the builds that it was asked for, and shows all of them. A build whose process
/// dies is [`Lost`](deploy_core::backend::BuildState::Lost).
#[derive(Clone, Debug)]
pub struct LocalBuilder {
    shared: Arc<Shared>,
}

/// What all builds of a builder share.
#[derive(Clone, Debug)]
struct Shared {
    records: Records,
    clock: Arc<dyn Clock>,
    secrets: Arc<dyn Secrets>,
    policy: RemotePolicy,
    known_hosts: PathBuf,
    /// How many builds run at a time.
    limit: NonZeroUsize,
    /// How many are kept once they are over.
    kept: NonZeroUsize,
    /// What commands find beside the system.
    tools: Vec<PathBuf>,
    sandbox_use: SandboxUse,
    /// Who builds, as a URI.
    name: String,
    git: PathBuf,
    sandbox: Arc<OnceCell<Sandbox>>,
}

impl LocalBuilder {
    /// A builder over `folder`, which is made if it is missing: one build at a time, of any source that is this machine's own business, with secrets in
    /// `folder/secrets` and known SSH servers in `folder/known_hosts`.
    ///
    /// # Errors
    /// `Unavailable` if the folder cannot be used, `Unsupported` if there is no `git`, or an old one.
    pub fn open(folder: impl Into<PathBuf>, clock: Arc<dyn Clock>) -> BackendResult<Self> {
        let folder = folder.into();
        let git = usable_git().map_err(|why| {
            BackendError::new(ErrorKind::Unsupported, "build.open")
                .because(why)
                .with("hint", "install git 2.37 or newer")
                .with("program", "git")
        })?;
        let records = Records::open(folder.clone(), Custody::Process)
            .map_err(|err| failed("build.open", err).with("path", folder.display()))?;
        let shared = Shared {
            records,
            clock,
            secrets: Arc::new(FileSecrets::new(folder.join("secrets"))),
            policy: RemotePolicy::own(),
            known_hosts: folder.join("known_hosts"),
            limit: NonZeroUsize::MIN,
            kept: NonZeroUsize::new(KEPT).unwrap_or(NonZeroUsize::MIN),
            tools: Vec::new(),
            sandbox_use: SandboxUse::default(),
            name: "tag:deploy,2026:builder/local".to_owned(),
            git,
            sandbox: Arc::default(),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// With secrets from elsewhere.
    #[must_use]
    pub fn with_secrets(self, secrets: Arc<dyn Secrets>) -> Self {
        self.change(|it| it.secrets = secrets)
    }

    /// With another policy on remotes: [`RemotePolicy::outsiders`] where people who do not run the builder choose them.
    #[must_use]
    pub fn with_policy(self, policy: RemotePolicy) -> Self {
        self.change(|it| it.policy = policy)
    }

    /// That runs up to `limit` builds at a time.
    #[must_use]
    pub fn with_limit(self, limit: NonZeroUsize) -> Self {
        self.change(|it| it.limit = limit)
    }

    /// That keeps the newest `kept` builds, with their logs and outputs.
    #[must_use]
    pub fn with_kept(self, kept: NonZeroUsize) -> Self {
        self.change(|it| it.kept = kept)
    }

    /// Whose commands may read these folders as well, such as a toolchain that is not the system's. A relative one is there by its real path.
    ///
    /// # Errors
    /// `InvalidInput` if one of them is no folder that is there: builds would miss it, or have no sandbox.
    pub fn with_tools(self, tools: &[PathBuf]) -> BackendResult<Self> {
        let tools = tools.iter().map(|it| {
            folder(it).map_err(|err| {
                BackendError::new(ErrorKind::InvalidInput, "build.tools")
                    .because(err)
                    .with("path", it.display())
                    .with("hint", "tools have to be folders that are there")
            })
        });
        let tools = tools.collect::<BackendResult<Vec<_>>>()?;
        Ok(self.change(|it| it.tools = tools))
    }

    /// That asks this of sandboxes.
    #[must_use]
    pub fn with_sandbox(self, sandbox: SandboxUse) -> Self {
        self.change(|it| it.sandbox_use = sandbox)
    }

    /// Whom provenance names as the builder: a URI.
    #[must_use]
    pub fn with_name(self, name: impl Into<String>) -> Self {
        let name = name.into();
        self.change(|it| it.name = name)
    }

    /// Where what belongs to a build is kept.
    pub(crate) fn folder_of(&self, id: &BuildId) -> PathBuf {
        self.shared.records.folder(id)
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

#[async_trait]
impl Builder for LocalBuilder {
    async fn submit(&self, permit: &Permit, request: &BuildRequest) -> BackendResult<Build> {
        const OPERATION: &str = "build.submit";
        permit.demand(Action::BuildRun, &Resource::Service(request.service.clone()), OPERATION)?;
        let invalid = |why| BackendError::new(ErrorKind::InvalidInput, OPERATION).because(why);
        request.recipe.check().map_err(invalid)?;
        if request.on.is_some() {
            return Err(invalid("this builder builds on its own machine"));
        }
        let (request, by) = (request.clone(), permit.principal().clone());
        let (build, owner, log) = self
            .blocking(OPERATION, move |shared| {
                let now = shared.clock.now();
                let log_limit = request.recipe.limits.log.get();
                let (build, owner) =
                    shared.records.create(|id| Build::queued(id, request, by, now), |_| Ok(()))?;
                let log = Log::create(&shared.records.folder(&build.id).join("log"), log_limit);
                Ok((build, owner, log.map_err(|err| failed(OPERATION, err))?))
            })
            .await?;
        tokio::spawn(Work::new(Arc::clone(&self.shared), build.clone(), owner, log).run());
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

/// Where a folder is, without `.` and `..`.
fn folder(path: &Path) -> io::Result<PathBuf> {
    let is_plain = path.is_absolute() && path.components().all(|it| it != Component::ParentDir);
    let found = path.canonicalize()?;
    match found.is_dir() {
        true => Ok(if is_plain { path.to_owned() } else { found }),
        false => Err(io::ErrorKind::NotADirectory.into()),
    }
}
