//! Exports and imports, for networks that no other way leads into.
mod import;

use super::artifact::Kind;
use crate::{
    app::App,
    output::size,
    plane::Plane,
    problem::{io_problem, usage},
};
use clap::{Args, ValueEnum, ValueHint};
use deploy_artifacts::{ParcelEntry, ParcelError, ParcelIndex, ParcelRelease, ParcelWriter};
use deploy_core::{
    backend::ArtifactKind,
    id::{ReleaseId, RepositoryName},
    spec::Signed,
};
use deploy_operations::{ArtifactSearch, DigestPrefix, RepositoryPattern, parse::field};
use deploy_wire::{Artifact, Exit, Exported, Problem, ProblemCode, Release};
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};
use tokio::io::BufWriter;

pub(crate) use import::Import;

/// Writes versions, or whole releases, to one file that can be imported elsewhere
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  deploy artifact export web@stable --with descriptor,provenance --to web.tar\n  \
    deploy artifact export --release web-1.4.2 --to web-1.4.2.tar\n\n\
    A release brings its package, its descriptor, and the provenance of its version where there is one."
)]
pub(crate) struct Export {
    /// Packages: `REPOSITORY@NAME`, where the name is a version or a channel
    #[arg(value_name = "PACKAGE", required_unless_present = "releases")]
    packages: Vec<String>,
    /// What goes with them, of the same version
    #[arg(long, value_enum, value_delimiter = ',', value_name = "KIND")]
    with: Vec<With>,
    /// A release; may be given again
    #[arg(long = "release", value_name = "RELEASE")]
    releases: Vec<ReleaseId>,
    /// The file to write
    #[arg(long = "to", value_name = "FILE", value_hint = ValueHint::FilePath)]
    file: PathBuf,
}

/// What goes with a package.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum With {
    Descriptor,
    Provenance,
}

impl From<With> for ArtifactKind {
    fn from(with: With) -> Self {
        match with {
            With::Descriptor => Kind::Descriptor.into(),
            With::Provenance => Self::Provenance,
        }
    }
}

impl Export {
    pub(crate) async fn run(self, app: &App) -> Result<Exit, Problem> {
        let plane = app.plane().await?;
        let (mut entries, mut releases) = (BTreeSet::new(), Vec::new());
        for name in &self.packages {
            entries.extend(named(&*plane, name, &self.with).await?);
        }
        for id in &self.releases {
            let (release, parts) = whole(&*plane, id).await?;
            entries.extend(parts);
            releases.push(release);
        }
        let index = ParcelIndex::new(entries.into_iter().collect(), releases);
        write(&*plane, &index, &self.file).await?;
        let document = Exported {
            file: self.file.display().to_string(),
            versions: index.entries.iter().map(place).collect(),
            releases: index.releases.iter().map(|it| it.id.to_string()).collect(),
            bytes: index.artifacts().iter().map(|it| it.size).sum(),
        };
        app.output.result(&document, |output| {
            for version in &document.versions {
                output.line(format_args!("  {version}"));
            }
            let (file, bytes) = (&document.file, size(document.bytes));
            output.line(format_args!("{file} has {bytes} of artifacts"));
        });
        Ok(Exit::Succeeded)
    }
}

/// A package by its name, and what is to go with it.
async fn named(plane: &dyn Plane, name: &str, with: &[With]) -> Result<Vec<ParcelEntry>, Problem> {
    if name.split_once('@').is_none_or(|(repository, _)| repository.is_empty()) {
        return Err(usage(format_args!(
            "`{}` names no repository: say REPOSITORY@VERSION",
            name.escape_debug()
        )));
    }
    let package = entry(&plane.resolve(name, ArtifactKind::Package, None).await?)?;
    let mut entries = Vec::new();
    for kind in with.iter().map(|it| ArtifactKind::from(*it)) {
        let found = version_of(plane, &package.repository, kind, package.version.as_str()).await?;
        entries.push(found.ok_or_else(|| {
            let (repository, version, kind) =
                (&package.repository, &package.version, kind.as_str());
            let message = format!("repository `{repository}` has no {kind} `{version}`");
            Problem::new(ProblemCode::NotFound, message)
                .with_hint("`--release` exports a release with all that it consists of")
        })?);
    }
    entries.push(package);
    Ok(entries)
}

/// A release, and all that it consists of.
async fn whole(
    plane: &dyn Plane,
    id: &ReleaseId,
) -> Result<(ParcelRelease, Vec<ParcelEntry>), Problem> {
    let release = plane.release(id).await?;
    let package = release.package.as_ref().ok_or_else(|| {
        Problem::new(ProblemCode::Unsupported, format!("release `{id}` has no package"))
    })?;
    let parts = [(package, ArtifactKind::Package), (&release.descriptor, ArtifactKind::Descriptor)];
    let mut entries = Vec::new();
    for (digest, kind) in parts {
        entries.push(listed(plane, &release, digest, kind).await?);
    }
    let repository: RepositoryName = field("service", &release.service)?;
    let provenance = ArtifactKind::Provenance;
    entries.extend(version_of(plane, &repository, provenance, &release.version).await?);
    let parameters = release.parameters.iter();
    let parcelled = ParcelRelease {
        id: id.clone(),
        service: field("service", &release.service)?,
        version: field("version", &release.version)?,
        package: field("package", package)?,
        descriptor: field("descriptor", &release.descriptor)?,
        parameters: parameters
            .map(|(name, it)| Ok((field("parameters", name)?, it.clone())))
            .collect::<Result<_, Problem>>()?,
        provenance: release.provenance.clone(),
        signed: release.signed.as_ref().map(Signed::from),
    };
    Ok((parcelled, entries))
}

/// A part of a release, as the version that it is listed as: of the release's own repository, if there is one.
async fn listed(
    plane: &dyn Plane,
    release: &Release,
    digest: &str,
    kind: ArtifactKind,
) -> Result<ParcelEntry, Problem> {
    let digest: DigestPrefix = field(kind.as_str(), digest)?;
    let search =
        ArtifactSearch { digest: Some(digest), kind: Some(kind), ..ArtifactSearch::default() };
    let found = plane.artifacts(&search).await?;
    let own = found.iter().find(|it| it.repository == release.service);
    let found = own.or_else(|| found.first()).ok_or_else(|| {
        let message = format!(
            "release `{}` is retired: its {} is not in the store any more",
            release.id,
            kind.as_str()
        );
        Problem::new(ProblemCode::NotFound, message).with_context("release", &release.id)
    })?;
    entry(found)
}

async fn version_of(
    plane: &dyn Plane,
    repository: &RepositoryName,
    kind: ArtifactKind,
    version: &str,
) -> Result<Option<ParcelEntry>, Problem> {
    let search = ArtifactSearch {
        repository: Some(RepositoryPattern::Is(repository.clone())),
        kind: Some(kind),
        version: Some(version.to_owned()),
        ..ArtifactSearch::default()
    };
    let found = plane.artifacts(&search).await?;
    found.iter().find(|it| it.version == version).map(entry).transpose()
}

fn entry(artifact: &Artifact) -> Result<ParcelEntry, Problem> {
    let unknown = || Problem::new(ProblemCode::Unsupported, format!("kind `{}`", artifact.kind));
    Ok(ParcelEntry {
        repository: field("repository", &artifact.repository)?,
        kind: ArtifactKind::from_name(&artifact.kind).ok_or_else(unknown)?,
        version: field("version", &artifact.version)?,
        digest: field("digest", &artifact.digest)?,
        size: artifact.size,
    })
}

fn place(entry: &ParcelEntry) -> String {
    format!("{}/{}/{}", entry.repository, entry.kind.as_str(), entry.version)
}

/// Writes the file whole, or leaves what was there.
async fn write(plane: &dyn Plane, index: &ParcelIndex, file: &Path) -> Result<(), Problem> {
    let failed = |err: &std::io::Error| io_problem(file.display(), err);
    let folder = file.parent().filter(|it| !it.as_os_str().is_empty());
    let draft = tempfile::NamedTempFile::new_in(folder.unwrap_or_else(|| Path::new(".")));
    let draft = draft.map_err(|err| failed(&err))?;
    let out = draft.reopen().map_err(|err| failed(&err))?;
    let out = BufWriter::new(tokio::fs::File::from_std(out));
    let mut writer =
        ParcelWriter::begin(out, index.clone()).await.map_err(|err| parcel_problem(file, &err))?;
    for artifact in index.artifacts() {
        let mut body = plane.open_artifact(&artifact.digest).await?;
        let added = writer.add(&artifact.digest, &mut body).await;
        added.map_err(|err| parcel_problem(file, &err))?;
    }
    let out = writer.finish().await.map_err(|err| parcel_problem(file, &err))?;
    out.into_inner().sync_all().await.map_err(|err| failed(&err))?;
    draft.persist(file).map_err(|err| failed(&err.error))?;
    Ok(())
}

/// What is wrong with a parcel.
fn parcel_problem(file: &Path, err: &ParcelError) -> Problem {
    let code = match err {
        ParcelError::Io(cause) => return io_problem(file.display(), cause),
        ParcelError::TooNew { .. } => ProblemCode::DataTooNew,
        ParcelError::TooLarge { .. } => ProblemCode::TooLarge,
        _ => ProblemCode::InvalidArchive,
    };
    let problem = Problem::new(code, format!("{}: {err}", file.display()));
    let problem = problem.with_context("file", file.display()).with_context("rule", err.as_str());
    match err {
        ParcelError::Damaged { .. } | ParcelError::Short { .. } => {
            problem.with_hint("export it again, or copy it again: nothing of it was imported")
        }
        ParcelError::TooNew { .. } => problem.with_hint("import it with the newer program"),
        _ => problem,
    }
}
