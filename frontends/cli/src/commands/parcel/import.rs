use super::{parcel_problem, place};
use crate::{
    app::App,
    commands::artifact::blocking,
    output::plural,
    packages::{Packed, judge},
    plane::{Place, Plane},
    problem::io_problem,
};
use clap::{Args, ValueHint};
use deploy_artifacts::{Parcel, ParcelEntry, ParcelRelease, verify_parcel};
use deploy_operations::{ArtifactSearch, RepositoryPattern, another_already};
use deploy_wire::{Exit, Imported, NewRelease, Problem, ProblemCode, Signed};
use std::{
    collections::BTreeSet,
    fs::File,
    path::{Path, PathBuf},
};

/// Brings what `artifact export` wrote into the store: all of it is verified before anything is put there
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  deploy artifact import web.tar\n\nOnce more changes nothing, and goes on where an import was cut off."
)]
pub(crate) struct Import {
    /// The file
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    file: PathBuf,
    /// Verifies the file and says what it would bring, and brings nothing
    #[arg(long)]
    dry_run: bool,
}

impl Import {
    pub(crate) async fn run(self, app: &App) -> Result<Exit, Problem> {
        let failed = |err: &std::io::Error| io_problem(self.file.display(), err);
        let file = File::open(&self.file).map_err(|err| failed(&err))?;
        let second = file.try_clone().map_err(|err| failed(&err))?;
        let verified = verify_parcel(&mut tokio::fs::File::from_std(second)).await;
        let parcel = verified.map_err(|err| parcel_problem(&self.file, &err))?;
        let source = Source { path: &self.file, file, parcel };
        source.judge().await?;
        let plane = app.plane().await?;
        let new = source.new_versions(&*plane).await?;
        source.demand_releases(&*plane).await?;
        if !self.dry_run {
            source.bring(&*plane, &new).await?;
        }
        let document = source.document(&new, self.dry_run);
        app.output.result(&document, |output| {
            for version in &document.added {
                output.line(format_args!("+ {version}"));
            }
            let count = |it: &Vec<String>| u64::try_from(it.len()).unwrap_or(u64::MAX);
            let verb = if document.dry_run { "would be" } else { "are" };
            output.line(format_args!(
                "{} {verb} new, {} there already, {}",
                plural(count(&document.added), "version"),
                count(&document.unchanged),
                plural(count(&document.releases), "release")
            ));
        });
        Ok(Exit::Succeeded)
    }
}

/// A verified file.
struct Source<'a> {
    path: &'a Path,
    file: File,
    parcel: Parcel,
}

impl Source<'_> {
    /// The bytes of an artifact, where they lie in the file.
    fn packed(&self, entry: &ParcelEntry) -> Result<Packed, Problem> {
        let file = self.file.try_clone().map_err(|err| io_problem(self.path.display(), &err))?;
        let begin = self.parcel.offset_of(&entry.digest).unwrap_or_default();
        Ok(Packed { file, begin, digest: entry.digest, size: entry.size })
    }

    /// Judges archives as if they were pushed.
    async fn judge(&self) -> Result<(), Problem> {
        let mut seen = BTreeSet::new();
        for entry in self.parcel.index.entries.iter().filter(|it| seen.insert((it.kind, it.digest)))
        {
            let (packed, kind) = (self.packed(entry)?, entry.kind);
            let name = format!("{}: {}", self.path.display(), place(entry));
            blocking(move || judge(&packed, kind, Path::new(&name))).await?;
        }
        Ok(())
    }

    /// The versions that are not there yet; refuses those that are something else there.
    async fn new_versions(&self, plane: &dyn Plane) -> Result<Vec<&ParcelEntry>, Problem> {
        let mut new = Vec::new();
        for entry in &self.parcel.index.entries {
            let ParcelEntry { repository, kind, version, digest, .. } = entry;
            let search = ArtifactSearch {
                repository: Some(RepositoryPattern::Is(repository.clone())),
                kind: Some(*kind),
                version: Some(version.to_string()),
                ..ArtifactSearch::default()
            };
            let found = plane.artifacts(&search).await?;
            match found.iter().find(|it| it.version == version.as_str()) {
                None => new.push(entry),
                Some(it) if it.digest == digest.to_string() => {}
                Some(_) => return Err(another_already(repository, *kind, version)),
            }
        }
        Ok(new)
    }

    /// Refuses releases that could not be made, before anything else is.
    async fn demand_releases(&self, plane: &dyn Plane) -> Result<(), Problem> {
        for release in &self.parcel.index.releases {
            plane.service(&release.service).await.map_err(|problem| match problem.code {
                ProblemCode::NotFound => problem.with_hint(
                    "`deploy service apply` adds it: an export brings releases, and no services",
                ),
                _ => problem,
            })?;
            let there = match plane.release(&release.id).await {
                Ok(there) => there,
                Err(problem) if problem.code == ProblemCode::NotFound => continue,
                Err(problem) => return Err(problem),
            };
            let same = there.service == release.service.as_str()
                && there.version == release.version.as_str()
                && there.package.as_deref() == Some(release.package.to_string().as_str())
                && there.descriptor == release.descriptor.to_string();
            if !same {
                let message =
                    format!("release `{}` is there already, and is another one", release.id);
                return Err(Problem::new(ProblemCode::AlreadyExists, message)
                    .with_hint("a release never changes: nothing of this file was imported")
                    .with_context("release", &release.id));
            }
        }
        Ok(())
    }

    async fn bring(&self, plane: &dyn Plane, new: &[&ParcelEntry]) -> Result<(), Problem> {
        for entry in new {
            let ParcelEntry { repository, kind, version, .. } = (*entry).clone();
            plane.put_artifact(self.packed(entry)?, &Place { repository, kind, version }).await?;
        }
        for release in &self.parcel.index.releases {
            plane.create_release(&asked(release)).await?;
        }
        Ok(())
    }

    fn document(&self, new: &[&ParcelEntry], dry_run: bool) -> Imported {
        let all = self.parcel.index.entries.iter();
        Imported {
            file: self.path.display().to_string(),
            added: new.iter().map(|it| place(it)).collect(),
            unchanged: all.filter(|it| !new.contains(it)).map(place).collect(),
            releases: self.parcel.index.releases.iter().map(|it| it.id.to_string()).collect(),
            dry_run,
        }
    }
}

fn asked(release: &ParcelRelease) -> NewRelease {
    let parameters = release.parameters.iter();
    NewRelease {
        id: Some(release.id.to_string()),
        service: release.service.to_string(),
        version: release.version.to_string(),
        package: release.package.to_string(),
        descriptor: release.descriptor.to_string(),
        parameters: parameters.map(|(name, it)| (name.to_string(), it.clone())).collect(),
        provenance: release.provenance.clone(),
        signed: release.signed.as_ref().map(Signed::from),
    }
}
