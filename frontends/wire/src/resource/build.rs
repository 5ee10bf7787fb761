use super::{Artifact, Release, millis};
use deploy_core::{backend, spec};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How a service is built. `docs/building.md` says what each field means.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct BuildSpec {
    /// The git repository.
    pub remote: String,
    /// The name of the secret that opens it; null if everybody may read it.
    #[serde(default)]
    pub credential: Option<String>,
    /// What is run, in order.
    #[serde(default)]
    pub commands: Vec<String>,
    /// The environment of the commands.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
    /// The names of secrets, by the files in which commands find them.
    #[serde(default)]
    pub secrets: BTreeMap<String, String>,
    /// Paths of the source, by where they are in the package.
    pub outputs: BTreeMap<String, String>,
    /// The folder of the source that is the descriptor; null if that is kept elsewhere.
    #[serde(default)]
    pub descriptor: Option<String>,
    /// `tar.gz` or `tar.zst`.
    #[serde(default = "archive")]
    pub archive: String,
    /// Whether commands may speak to the network.
    #[serde(default)]
    pub network: bool,
    /// How long all commands together may run.
    #[serde(default = "time_limit")]
    pub time_limit_ms: u64,
    /// How much memory they may take; null is as much as there is.
    #[serde(default)]
    pub memory_limit_bytes: Option<u64>,
    /// How many processes may run at a time.
    #[serde(default = "process_limit")]
    pub process_limit: u64,
    /// How much of the log is kept.
    #[serde(default = "log_limit")]
    pub log_limit_bytes: u64,
    /// How much of the disk they may fill.
    #[serde(default = "disk_limit")]
    pub disk_limit_bytes: u64,
}

fn archive() -> String {
    spec::ArchiveFormat::default().as_str().to_owned()
}

fn time_limit() -> u64 {
    millis(spec::BuildLimits::default().time)
}

fn process_limit() -> u64 {
    spec::BuildLimits::default().processes.get()
}

fn log_limit() -> u64 {
    spec::BuildLimits::default().log.get()
}

fn disk_limit() -> u64 {
    spec::BuildLimits::default().disk.get()
}

impl From<&spec::BuildSpec> for BuildSpec {
    fn from(build: &spec::BuildSpec) -> Self {
        let spec::BuildSpec { source, recipe, .. } = build;
        let text = |(name, value): (&spec::VariableName, String)| (name.to_string(), value);
        Self {
            remote: source.remote.to_string(),
            credential: source.credential.as_ref().map(ToString::to_string),
            commands: recipe.commands.clone(),
            environment: recipe
                .environment
                .iter()
                .map(|(name, it)| text((name, it.clone())))
                .collect(),
            secrets: recipe.secrets.iter().map(|(name, it)| text((name, it.to_string()))).collect(),
            outputs: recipe
                .outputs
                .iter()
                .map(|(to, from)| (to.to_string(), from.to_string()))
                .collect(),
            descriptor: recipe.descriptor.as_ref().map(ToString::to_string),
            archive: recipe.archive.as_str().to_owned(),
            network: recipe.network,
            time_limit_ms: millis(recipe.limits.time),
            memory_limit_bytes: recipe.limits.memory.map(Into::into),
            process_limit: recipe.limits.processes.into(),
            log_limit_bytes: recipe.limits.log.into(),
            disk_limit_bytes: recipe.limits.disk.into(),
        }
    }
}

/// A build: `build SERVICE`, `build show` and `build cancel` print one, `build list` a list of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Build {
    /// Its id.
    pub id: String,
    /// Of which service.
    pub service: String,
    /// `queued`, `fetching`, `building`, `packing`, `succeeded`, `failed`, `timed_out`, `cancelled` or `lost`.
    pub state: String,
    /// Of which repository.
    pub remote: String,
    /// Which tag, branch or commit was asked for.
    pub revision: String,
    /// The full id of the commit that it named; null until that is known.
    pub commit: Option<String>,
    /// The tag that the revision was; null of a branch or a commit, and until that is known.
    pub tag: Option<String>,
    /// The digest of the recipe.
    pub recipe: String,
    /// Who asked for it.
    pub by: String,
    /// When.
    pub queued_at: String,
    /// When it began.
    pub started_at: Option<String>,
    /// When it was over.
    pub ended_at: Option<String>,
    /// The build whose outputs are this one's, because source and recipe are the same.
    pub same_as: Option<String>,
    /// The host that builds it; null if that is the machine that was asked, and until it is known.
    #[serde(default)]
    pub host: Option<String>,
    /// What somebody should know who relies on it.
    pub warnings: Vec<String>,
    /// Why it did not succeed, for programs.
    pub fault: Option<String>,
    /// Why it did not succeed, for people.
    pub reason: Option<String>,
    /// `sandbox` or `process`: what kept its commands from the machine.
    pub isolation: Option<String>,
    /// The digest of the package.
    pub package: Option<String>,
    /// How many bytes that has.
    pub package_size: Option<u64>,
    /// How that is written: `tar.gz` or `tar.zst`.
    pub archive: Option<String>,
    /// The digest of the descriptor.
    pub descriptor: Option<String>,
    /// The digest of the statement of how both came about.
    pub provenance: Option<String>,
}

impl From<&backend::Build> for Build {
    fn from(build: &backend::Build) -> Self {
        let (request, report) = (&build.request, build.report.as_ref());
        Self {
            id: build.id.to_string(),
            service: request.service.to_string(),
            state: build.state.as_str().to_owned(),
            remote: request.source.remote.to_string(),
            revision: request.revision.to_string(),
            commit: build.commit.as_ref().map(ToString::to_string),
            tag: build.tag.as_ref().map(ToString::to_string),
            recipe: request.recipe.digest().to_string(),
            by: build.by.to_string(),
            queued_at: build.queued_at.to_string(),
            started_at: build.started_at.map(|it| it.to_string()),
            ended_at: build.ended_at.map(|it| it.to_string()),
            same_as: build.same_as.as_ref().map(ToString::to_string),
            host: build.host.as_ref().map(ToString::to_string),
            warnings: build.warnings.clone(),
            fault: build.failure.as_ref().map(|it| it.fault.as_str().to_owned()),
            reason: build.failure.as_ref().map(|it| it.message.clone()),
            isolation: report.map(|it| it.isolation.as_str().to_owned()),
            package: report.map(|it| it.package.digest.to_string()),
            package_size: report.map(|it| it.package.size),
            archive: report.map(|it| it.archive.as_str().to_owned()),
            descriptor: report.and_then(|it| it.descriptor).map(|it| it.digest.to_string()),
            provenance: report.map(|it| it.provenance.digest.to_string()),
        }
    }
}

/// What became of a build that was put into the store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct PublishedBuild {
    /// The build.
    pub build: Build,
    /// What was put there.
    pub artifacts: Vec<Artifact>,
    /// The release that was made of it; null if none was asked for.
    pub release: Option<Release>,
}

/// A line that a build has printed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct BuildLogLine {
    /// Which build.
    pub build: String,
    /// The line, without its end; what is not UTF-8 in it is replaced.
    pub text: String,
}

/// What came of a webhook.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct HookAnswer {
    /// The build that it has started; null if it is about nothing that is built.
    pub build: Option<Build>,
}
