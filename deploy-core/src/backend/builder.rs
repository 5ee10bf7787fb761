use super::ArtifactReader;
use crate::{
    access::Permit,
    digest::{Digest, digest_of},
    error::BackendResult,
    id::{BuildId, HostName, Principal, ServiceName},
    spec::{
        ArchiveFormat, ArtifactRef, CommitId, GitRevision, ParameterName, Recipe, Selector, Source,
    },
    time::Timestamp,
};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt};

/// What is to be built.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct BuildRequest {
    /// For which service.
    pub service: ServiceName,
    /// Of which source.
    pub source: Source,
    /// Which revision of it.
    pub revision: GitRevision,
    /// How.
    pub recipe: Recipe,
    /// On which hosts; `None`: wherever the builder builds by itself. It is no part of what makes two builds the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on: Option<Selector>,
    /// The parameters of the release that is to be made of it; `None`: of none that is known. A builder that can read the descriptor refuses them before it runs
    /// anything, with [`ParametersRefused`](BuildFault::ParametersRefused). They are no part of what makes two builds the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameters: Option<BTreeMap<ParameterName, String>>,
}

impl BuildRequest {
    /// `revision` of `source`, by `recipe`, for `service`.
    #[must_use]
    pub const fn new(
        service: ServiceName,
        source: Source,
        revision: GitRevision,
        recipe: Recipe,
    ) -> Self {
        Self { service, source, revision, recipe, on: None, parameters: None }
    }

    /// On one of these hosts.
    #[must_use]
    pub fn with_on(mut self, on: Option<Selector>) -> Self {
        self.on = on;
        self
    }

    /// For a release with these parameters.
    #[must_use]
    pub fn with_parameters(mut self, parameters: Option<BTreeMap<ParameterName, String>>) -> Self {
        self.parameters = parameters;
        self
    }

    /// The identity of the build once its revision is known to be `commit`: two builds of one identity are one build.
    #[must_use]
    pub fn identity(&self, commit: &CommitId) -> Digest {
        digest_of(&(&self.service, &self.source.remote, commit, self.recipe.digest()))
    }
}

/// How far a build is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::exhaustive_enums, reason = "whoever shows a build shows each")]
pub enum BuildState {
    /// Its commands run.
    Building,
    /// Somebody has ended it.
    Cancelled,
    /// It came to nothing, and says why.
    Failed,
    /// Its source is brought in.
    Fetching,
    /// The process that ran it is gone.
    Lost,
    /// Its outputs are packed.
    Packing,
    /// Others go first.
    Queued,
    /// Its outputs are there.
    Succeeded,
    /// It took longer than it may.
    TimedOut,
}

impl BuildState {
    /// Whether nothing more happens to it.
    #[must_use]
    pub const fn is_over(self) -> bool {
        match self {
            Self::Building | Self::Fetching | Self::Packing | Self::Queued => false,
            Self::Cancelled | Self::Failed | Self::Lost | Self::Succeeded | Self::TimedOut => true,
        }
    }

    /// A stable, lower-case name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Building => "building",
            Self::Cancelled => "cancelled",
            Self::Failed => "failed",
            Self::Fetching => "fetching",
            Self::Lost => "lost",
            Self::Packing => "packing",
            Self::Queued => "queued",
            Self::Succeeded => "succeeded",
            Self::TimedOut => "timed_out",
        }
    }
}

/// Why a build came to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum BuildFault {
    /// A command did not end with 0.
    CommandFailed,
    /// The folder that was to be the descriptor is none.
    DescriptorRefused,
    /// It has written more than it may.
    DiskLimit,
    /// No host can build it.
    HostMissing,
    /// The host that built it gives something else than it says.
    HostUntrue,
    /// A bug, or a machine that does not do what it should.
    Internal,
    /// There is no room left.
    NoSpace,
    /// An output is not there.
    OutputMissing,
    /// An output breaks a rule for archives.
    OutputRefused,
    /// The descriptor does not take the parameters of the release that was to be made, or needs others.
    ParametersRefused,
    /// There is no such revision.
    RevisionUnknown,
    /// There is no sandbox on the machine that builds, and nothing is built there without one.
    SandboxMissing,
    /// A secret that was named is not there, or cannot be used.
    SecretMissing,
    /// The source is not one that may be built.
    SourceRefused,
    /// The source cannot be had.
    SourceUnavailable,
    /// A process of the build could not be ended.
    Survivors,
}

impl BuildFault {
    /// A stable, lower-case name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CommandFailed => "command_failed",
            Self::DescriptorRefused => "descriptor_refused",
            Self::DiskLimit => "disk_limit",
            Self::HostMissing => "host_missing",
            Self::HostUntrue => "host_untrue",
            Self::Internal => "internal",
            Self::NoSpace => "no_space",
            Self::OutputMissing => "output_missing",
            Self::OutputRefused => "output_refused",
            Self::ParametersRefused => "parameters_refused",
            Self::RevisionUnknown => "revision_unknown",
            Self::SandboxMissing => "sandbox_missing",
            Self::SecretMissing => "secret_missing",
            Self::SourceRefused => "source_refused",
            Self::SourceUnavailable => "source_unavailable",
            Self::Survivors => "survivors",
        }
    }
}

/// Why a build came to nothing, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct BuildFailure {
    /// To branch on.
    pub fault: BuildFault,
    /// To read.
    pub message: String,
}

impl BuildFailure {
    /// `fault`, in words.
    #[must_use]
    pub fn new(fault: BuildFault, message: impl Into<String>) -> Self {
        Self { fault, message: message.into() }
    }
}

/// What kept the commands of a build from the machine they ran on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Isolation {
    /// Nothing: they were plain processes.
    Process,
    /// Views of their own of files, processes and network.
    Sandbox,
}

impl Isolation {
    /// A stable, lower-case name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Process => "process",
            Self::Sandbox => "sandbox",
        }
    }
}

/// Something that a build made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum BuildOutput {
    /// The descriptor, as `tar.gz`.
    Descriptor,
    /// What runs.
    Package,
    /// How both came about: an in-toto statement, as JSON.
    Provenance,
}

impl BuildOutput {
    /// A stable, lower-case name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Descriptor => "descriptor",
            Self::Package => "package",
            Self::Provenance => "provenance",
        }
    }
}

/// What a build that succeeded made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct BuildReport {
    /// What runs.
    pub package: ArtifactRef,
    /// How that is written.
    pub archive: ArchiveFormat,
    /// How it is put on hosts; `None` if the recipe names no descriptor.
    pub descriptor: Option<ArtifactRef>,
    /// How both came about.
    pub provenance: ArtifactRef,
    /// What kept the commands from the machine.
    pub isolation: Isolation,
}

impl BuildReport {
    /// A `package` that is written as `archive`, and came about as `provenance` says.
    #[must_use]
    pub const fn new(
        package: ArtifactRef,
        archive: ArchiveFormat,
        provenance: ArtifactRef,
        isolation: Isolation,
    ) -> Self {
        Self { package, archive, descriptor: None, provenance, isolation }
    }

    /// With a descriptor.
    #[must_use]
    pub const fn with_descriptor(mut self, descriptor: ArtifactRef) -> Self {
        self.descriptor = Some(descriptor);
        self
    }

    /// The artifact that `output` is; `None` if there is none.
    #[must_use]
    pub const fn artifact(&self, output: BuildOutput) -> Option<ArtifactRef> {
        match output {
            BuildOutput::Descriptor => self.descriptor,
            BuildOutput::Package => Some(self.package),
            BuildOutput::Provenance => Some(self.provenance),
        }
    }
}

/// A build, as far as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Build {
    /// Its id.
    pub id: BuildId,
    /// What was asked for.
    pub request: BuildRequest,
    /// By whom.
    pub by: Principal,
    /// How far it is.
    pub state: BuildState,
    /// The commit that the revision named when the build began; `None` until that is known.
    pub commit: Option<CommitId>,
    /// The tag that the revision was, without `refs/tags/`; `None` of a branch or a commit, and until that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<GitRevision>,
    /// The build whose outputs are this one's, because source and recipe are the same.
    pub same_as: Option<BuildId>,
    /// The host that works on it, or did; `None` if that is the builder's own machine, and until it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<HostName>,
    /// When it was asked for.
    pub queued_at: Timestamp,
    /// When it began.
    pub started_at: Option<Timestamp>,
    /// When it was over.
    pub ended_at: Option<Timestamp>,
    /// What somebody should know who relies on it.
    pub warnings: Vec<String>,
    /// Why it came to nothing.
    pub failure: Option<BuildFailure>,
    /// What it made.
    pub report: Option<BuildReport>,
}

impl Build {
    /// A build that was asked for, and has not begun.
    #[must_use]
    pub const fn queued(id: BuildId, request: BuildRequest, by: Principal, at: Timestamp) -> Self {
        Self {
            id,
            request,
            by,
            state: BuildState::Queued,
            commit: None,
            tag: None,
            same_as: None,
            host: None,
            queued_at: at,
            started_at: None,
            ended_at: None,
            warnings: Vec::new(),
            failure: None,
            report: None,
        }
    }

    /// What makes it the same as another; `None` until its commit is known.
    #[must_use]
    pub fn identity(&self) -> Option<Digest> {
        self.commit.as_ref().map(|it| self.request.identity(it))
    }
}

/// Which builds to list; the newest hundred by default.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ListBuilds {
    /// Only of this service.
    pub service: Option<ServiceName>,
    /// At most so many.
    pub limit: usize,
}

impl Default for ListBuilds {
    fn default() -> Self {
        Self { service: None, limit: 100 }
    }
}

impl ListBuilds {
    /// Only those of `service`.
    #[must_use]
    pub fn with_service(mut self, service: ServiceName) -> Self {
        self.service = Some(service);
        self
    }

    /// At most `limit`.
    #[must_use]
    pub const fn with_limit(mut self, limit: usize) -> Self {
        self.limit = limit;
        self
    }
}

/// A piece of what a build has printed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BuildLog {
    /// The bytes, from the offset that was asked for.
    pub bytes: Vec<u8>,
    /// Whether nothing comes after them, now or later.
    pub is_last: bool,
}

impl BuildLog {
    /// These bytes.
    #[must_use]
    pub const fn new(bytes: Vec<u8>, is_last: bool) -> Self {
        Self { bytes, is_last }
    }
}

/// Makes packages of sources.
///
/// # Contract
/// * `submit` takes a build in and answers at once; from then on `build` and `builds` show it, the newest first.
/// * A build that succeeded says which commit its revision named, and `open` gives what its report says, byte for byte.
/// * The same commit by the same recipe is built once: a later build succeeds with the report of the earlier, and `same_as` names that. Another
///   commit, or another recipe, is another build.
/// * Commands run in order, and the first that fails ends the build. What failed is built again when it is asked for again.
/// * A revision that is not there is `RevisionUnknown`, an output that is not there `OutputMissing`.
/// * `log` gives what was printed, in order, from an offset on and no more than asked for, and says once nothing comes any more.
/// * Builds of a service begin in the order in which they came, one after another.
/// * `cancel` keeps a build from beginning, or ends what it does; a build that is over stays what it is, which is no error.
/// * Commands that take longer than the recipe allows are ended, and the build is `TimedOut`.
/// * A recipe that cannot be carried out is `InvalidInput`, and no build.
/// * So is a request for hosts that are not there, or that a builder without hosts gets.
/// * A build that is not there is `NotFound`, from `build`, `cancel`, `log` and `open` alike; so is an output that a build has not made.
/// * A permit for another action or service is `PermissionDenied`: `submit` and `cancel` take `BuildRun` on the service.
///
/// ```
/// use deploy_core::{
///     access::{Action, Resource},
///     backend::{BuildRequest, BuildState, Builder, authorize},
///     memory::{MemoryAuthorizer, MemoryBuilder, Rule, SystemClock},
///     spec::{Recipe, Source},
/// };
/// use std::sync::Arc;
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let rules = MemoryAuthorizer::new(vec![Rule::allow("ci".parse()?, [Action::BuildRun])]);
/// let permit = authorize(&rules, "ci".parse()?, Action::BuildRun, Resource::System).await?;
/// let outputs = [("bin/web".parse()?, "target/release/web".parse()?)].into();
/// let recipe = Recipe::new(vec!["make".to_owned()], outputs);
/// let source = Source::new("https://git.example.com/team/web.git".parse()?);
/// let request = BuildRequest::new("web".parse()?, source, "v1.4.2".parse()?, recipe);
///
/// let builder = MemoryBuilder::new(Arc::new(SystemClock::new()));
/// let build = builder.submit(&permit, &request).await?;
/// assert_eq!(builder.build(&build.id).await?.request, request);
/// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
/// ```
#[async_trait]
pub trait Builder: fmt::Debug + Send + Sync + 'static {
    /// Takes a build in. It begins by itself, in its turn.
    async fn submit(&self, permit: &Permit, request: &BuildRequest) -> BackendResult<Build>;

    /// How far a build is.
    async fn build(&self, id: &BuildId) -> BackendResult<Build>;

    /// Builds, newest first.
    async fn builds(&self, request: &ListBuilds) -> BackendResult<Vec<Build>>;

    /// Has a build end. What it has come to is for [`build`](Self::build) to say.
    async fn cancel(&self, permit: &Permit, id: &BuildId) -> BackendResult<Build>;

    /// At most `limit` bytes of what a build has printed, from `offset` on.
    async fn log(&self, id: &BuildId, offset: u64, limit: usize) -> BackendResult<BuildLog>;

    /// Opens what a build made.
    async fn open(&self, id: &BuildId, output: BuildOutput) -> BackendResult<ArtifactReader>;
}
