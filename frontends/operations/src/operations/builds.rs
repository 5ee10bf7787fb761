use super::{
    ArtifactSearch, Listed, Operations, RepositoryPattern, artifacts::ArtifactUpload, claim::Claim,
};
use crate::{
    parse::field,
    problem::{IntoProblem as _, OrProblem as _, invalid},
};
use deploy_core::{
    access::{Action, Resource},
    backend::{
        self, ArtifactKind, BuildFault, BuildLog, BuildOutput, BuildReport, BuildRequest,
        BuildState, Builder, Holder, ListBuilds,
    },
    id::{BuildId, ReleaseId, RepositoryName, ServiceName, Version},
    spec::{ArtifactRef, GitRemote, ParameterName},
};
use deploy_wire::{
    Artifact, Build, NewBuild, NewRelease, Problem, ProblemCode, Publication, PublishedBuild,
    Release,
};
use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// How often it is looked whether a build is over.
const LOOK: Duration = Duration::from_millis(250);

/// What can be done to builds.
#[derive(Clone, Debug)]
pub struct Builds {
    operations: Operations,
    builder: Arc<dyn Builder>,
}

impl Builds {
    /// The builds of `builder`, in the name of whom `operations` are for.
    #[must_use]
    pub fn new(operations: Operations, builder: Arc<dyn Builder>) -> Self {
        Self { operations, builder }
    }

    /// Has a service built, as its `[build]` says.
    ///
    /// # Errors
    /// If the principal may not, there is no such service, or it does not say how it is built.
    pub async fn start(&self, asked: &NewBuild) -> Result<Build, Problem> {
        let service: ServiceName = field("service", &asked.service)?;
        let revision = field("revision", &asked.revision)?;
        let found = self.operations.parts().registry.service(&service).await.or_problem()?;
        let spec = found.value.build.ok_or_else(|| {
            invalid(format_args!("service `{service}` does not say how it is built"))
                .with_hint("`[build]` in its service file does: docs/building.md")
                .with_context("service", &service)
        })?;
        if let Some(then) = &asked.then {
            self.may_publish(&service, then).await?;
        }
        let of_then = asked.then.as_ref().filter(|it| it.release).map(|it| &it.parameters);
        let parameters = of_then.or(asked.parameters.as_ref()).map(parameters).transpose()?;
        if parameters.is_some() && spec.recipe.descriptor.is_none() {
            return Err(no_descriptor(&format!("service `{service}` builds")));
        }
        let resource = Resource::Service(service.clone());
        let permit = self.operations.permit(Action::BuildRun, resource).await?;
        let on = asked.on.as_ref().map(|it| field("on", it)).transpose()?;
        let request = BuildRequest::new(service, spec.source, revision, spec.recipe)
            .with_on(on)
            .with_parameters(parameters);
        Ok(Build::from(&self.builder.submit(&permit, &request).await.or_problem()?))
    }

    /// Whether the source of a service is one of these remotes.
    ///
    /// # Errors
    /// If there is no such service, or it cannot be read.
    pub async fn is_source_of(
        &self,
        service: &ServiceName,
        remotes: &[GitRemote],
    ) -> Result<bool, Problem> {
        let found = self.operations.parts().registry.service(service).await.or_problem()?;
        Ok(found.value.build.is_some_and(|it| {
            remotes.iter().any(|remote| it.source.remote.is_same_repository(remote))
        }))
    }

    /// Refuses before anything is built what could not be published afterwards.
    async fn may_publish(&self, service: &ServiceName, then: &Publication) -> Result<(), Problem> {
        let version = then.version.as_ref();
        version.map(|it| field::<Version>("version", it)).transpose()?;
        let repository = Resource::Repository(field("service", service.as_str())?);
        self.operations.permit(Action::ArtifactWrite, repository).await?;
        if then.release {
            let service = Resource::Service(service.clone());
            self.operations.permit(Action::ServiceWrite, service).await?;
        }
        Ok(())
    }

    /// How far a build is.
    ///
    /// # Errors
    /// If there is none.
    pub async fn show(&self, id: &BuildId) -> Result<Build, Problem> {
        Ok(Build::from(&self.find(id).await?))
    }

    /// Builds, newest first.
    ///
    /// # Errors
    /// If they cannot be read.
    pub async fn list(
        &self,
        service: Option<ServiceName>,
        limit: usize,
    ) -> Result<Vec<Build>, Problem> {
        let mut request = ListBuilds::default().with_limit(limit);
        request.service = service;
        Ok(self.builder.builds(&request).await.or_problem()?.iter().map(Build::from).collect())
    }

    /// At most `limit` builds, newest first, behind the one called `after`.
    ///
    /// # Errors
    /// If they cannot be read, or there is none that is called so.
    pub async fn page(
        &self,
        service: Option<ServiceName>,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Listed<Build>, Problem> {
        Listed::behind(self.list(service, usize::MAX).await?, after, limit, |it| it.id.clone())
    }

    /// Has a build end.
    ///
    /// # Errors
    /// If the principal may not, or there is none.
    pub async fn cancel(&self, id: &BuildId) -> Result<Build, Problem> {
        let resource = Resource::Service(self.find(id).await?.request.service);
        let permit = self.operations.permit(Action::BuildRun, resource).await?;
        Ok(Build::from(&self.builder.cancel(&permit, id).await.or_problem()?))
    }

    /// At most `limit` bytes of what a build has printed, from `offset` on.
    ///
    /// # Errors
    /// If there is none.
    pub async fn log(&self, id: &BuildId, offset: u64, limit: usize) -> Result<BuildLog, Problem> {
        self.builder.log(id, offset, limit).await.or_problem()
    }

    /// Puts what a build made into the store, and makes the release of it if that is asked for. What is there already is not put again.
    ///
    /// # Errors
    /// If the principal may not, the build has not succeeded, or the version is something else already; with a release, if the build made no descriptor.
    pub async fn publish(
        &self,
        id: &BuildId,
        publication: &Publication,
    ) -> Result<PublishedBuild, Problem> {
        let build = self.find(id).await?;
        let report = succeeded(&build)?;
        let version = match &publication.version {
            Some(version) => field("version", version)?,
            None => version_of(&build)?,
        };
        let with_release = publication.release;
        if with_release && report.descriptor.is_none() {
            return Err(no_descriptor(&format!("build {id} has made")).with_context("build", id));
        }
        let mut artifacts =
            vec![self.put(&build, BuildOutput::Package, report.package, &version).await?];
        if let Some(descriptor) = report.descriptor {
            artifacts.push(self.put(&build, BuildOutput::Descriptor, descriptor, &version).await?);
        }
        let provenance = self.put_provenance(&build, report.provenance, &version).await?;
        let release = match with_release {
            true => Some(self.release(&build, publication, &provenance, &version).await?),
            false => None,
        };
        artifacts.push(provenance);
        Ok(PublishedBuild { build: Build::from(&build), artifacts, release })
    }

    /// Waits until a build is over, and publishes it if it has succeeded; `None` if it has not.
    ///
    /// # Errors
    /// As [`publish`](Self::publish).
    pub async fn publish_when_over(
        &self,
        id: &BuildId,
        publication: &Publication,
    ) -> Result<Option<PublishedBuild>, Problem> {
        let clock = Arc::clone(&self.operations.parts().clock);
        loop {
            let state = self.find(id).await?.state;
            if state == BuildState::Succeeded {
                return self.publish(id, publication).await.map(Some);
            }
            if state.is_over() {
                return Ok(None);
            }
            clock.sleep_until(clock.now().after(LOOK)).await;
        }
    }

    async fn put(
        &self,
        build: &backend::Build,
        output: BuildOutput,
        artifact: ArtifactRef,
        version: &Version,
    ) -> Result<Artifact, Problem> {
        let mut body = self.builder.open(&build.id, output).await.or_problem()?;
        let upload = ArtifactUpload {
            digest: artifact.digest,
            size: artifact.size,
            repository: repository(build)?,
            kind: kind_of(output),
            version: version.clone(),
            offset: 0,
        };
        self.operations.put_artifact(upload, &mut body).await
    }

    /// Puts the statement of how the version came about. Where there is one already it stays if it says the same, and nothing is published otherwise: it may be by
    /// anybody who may write there.
    async fn put_provenance(
        &self,
        build: &backend::Build,
        artifact: ArtifactRef,
        version: &Version,
    ) -> Result<Artifact, Problem> {
        let problem = match self.put(build, BuildOutput::Provenance, artifact, version).await {
            Err(problem) if problem.code == ProblemCode::AlreadyExists => problem,
            done => return done,
        };
        let search = ArtifactSearch {
            repository: Some(RepositoryPattern::Is(repository(build)?)),
            kind: Some(ArtifactKind::Provenance),
            ..ArtifactSearch::default()
        };
        let listed = self.operations.artifacts(&search, None, usize::MAX).await?.items;
        let found = listed.into_iter().find(|it| it.version == version.as_str()).ok_or(problem)?;
        let own = self.builder.open(&build.id, BuildOutput::Provenance).await.or_problem()?;
        let digest = field("provenance", &found.digest)?;
        let other = self.operations.parts().artifacts.open(&digest, 0).await.or_problem()?;
        if Claim::read(own).await? == Claim::read(other).await? {
            return Ok(found);
        }
        let message = format!(
            "version `{version}` of `{}` has a statement already that says something else of how it came about",
            found.repository
        );
        Err(Problem::new(ProblemCode::AlreadyExists, message)
            .with_hint("publish the build as another version, with `--version`")
            .with_context("provenance", &found.digest)
            .with_context("build", &build.id))
    }

    async fn release(
        &self,
        build: &backend::Build,
        publication: &Publication,
        provenance: &Artifact,
        version: &Version,
    ) -> Result<Release, Problem> {
        let (request, report) = (&build.request, succeeded(build)?);
        let commit = build.commit.as_ref().map(ToString::to_string).unwrap_or_default();
        let asked = NewRelease {
            service: request.service.to_string(),
            version: version.to_string(),
            package: report.package.digest.to_string(),
            descriptor: report.descriptor.map(|it| it.digest.to_string()).unwrap_or_default(),
            parameters: publication.parameters.clone(),
            provenance: format!("git+{}@{commit} {}", request.source.remote, provenance.digest),
            signed: publication.signed.clone(),
            id: None,
        };
        let release = self.operations.create_release(&asked).await?;
        // The statement stays for as long as what it is about.
        let holder = Holder::Release(field::<ReleaseId>("release", &release.id)?);
        let place = Resource::Repository(repository(build)?);
        let permit = self.operations.permit(Action::ArtifactWrite, place).await?;
        let digest = field("provenance", &provenance.digest)?;
        self.operations.parts().artifacts.hold(&permit, &digest, &holder).await.or_problem()?;
        Ok(release)
    }

    async fn find(&self, id: &BuildId) -> Result<backend::Build, Problem> {
        self.builder.build(id).await.map_err(|err| {
            let problem = err.into_problem();
            match problem.code {
                ProblemCode::NotFound => problem.with_hint("`deploy build list` shows all builds"),
                _ => problem,
            }
        })
    }
}

fn parameters(
    given: &BTreeMap<String, String>,
) -> Result<BTreeMap<ParameterName, String>, Problem> {
    given.iter().map(|(name, it)| Ok((field("parameters", name)?, it.clone()))).collect()
}

/// Why there is no release of something that `makes` a package alone.
fn no_descriptor(makes: &str) -> Problem {
    invalid(format_args!("{makes} no descriptor, which a release needs"))
        .with_hint("`descriptor` under `[build]` names the folder of the source that is one; or `deploy release create` takes another one")
}

/// What an output is in the store.
const fn kind_of(output: BuildOutput) -> ArtifactKind {
    match output {
        BuildOutput::Descriptor => ArtifactKind::Descriptor,
        BuildOutput::Provenance => ArtifactKind::Provenance,
        _ => ArtifactKind::Package,
    }
}

/// Whose repository a build's artifacts are listed in: that of its service's name.
fn repository(build: &backend::Build) -> Result<RepositoryName, Problem> {
    field("service", build.request.service.as_str())
}

fn succeeded(build: &backend::Build) -> Result<&BuildReport, Problem> {
    build.report.as_ref().filter(|_| build.state == BuildState::Succeeded).ok_or_else(|| {
        let message =
            format!("build {} has made nothing: it is `{}`", build.id, build.state.as_str());
        invalid(message).with_context("build", &build.id)
    })
}

/// The version that a tag speaks of: `v1.4.2` of 1.4.2; of anything else it is the commit. A branch speaks of none, whatever it is called: it moves.
fn version_of(build: &backend::Build) -> Result<Version, Problem> {
    let tag = build.tag.as_ref().map(|it| it.as_str());
    let number = tag.map(|it| it.strip_prefix('v').unwrap_or(it));
    let is_version = |it: &&str| it.starts_with(|it: char| it.is_ascii_digit()) && it.contains('.');
    if let Some(Ok(version)) = number.filter(is_version).map(str::parse) {
        return Ok(version);
    }
    let revision = build.request.revision.as_str();
    field("revision", build.commit.as_ref().map_or(revision, |it| it.short()))
}

/// What is wrong with a build that is over and has not succeeded; `None` otherwise.
#[must_use]
pub fn build_problem(build: &Build) -> Option<Problem> {
    let id = &build.id;
    let message = match (build.state.as_str(), &build.reason) {
        ("cancelled", _) => format!("build {id} was cancelled"),
        ("timed_out", _) => format!("build {id} took longer than it may"),
        ("failed" | "lost", Some(reason)) => format!("build {id} failed: {reason}"),
        ("failed" | "lost", None) => format!("build {id} failed"),
        _ => return None,
    };
    let fault = build.fault.as_ref().unwrap_or(&build.state);
    let hint = match fault == BuildFault::ParametersRefused.as_str() {
        true => "`--parameter NAME=VALUE` gives a parameter its value".to_owned(),
        false => format!("`deploy build log {id}` shows what it printed"),
    };
    let problem = Problem::new(ProblemCode::BuildFailed, message)
        .with_hint(hint)
        .with_context("build", id)
        .with_context("fault", fault);
    Some(problem)
}
