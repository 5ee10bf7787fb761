use super::artifact::{another_already, blocking, put};
use crate::{
    app::{App, Embedded},
    output::{Output, Table, styles, when},
    packages::{Packed, pack_descriptor, pack_package},
    problem::{OrProblem as _, chain, invalid, usage},
};
use clap::{Args, Subcommand, ValueHint};
use deploy_core::{
    backend::{ArtifactEntry, ArtifactKind, ArtifactStoreExt as _, ListArtifacts},
    digest::Digest,
    error::ErrorKind,
    id::{ReleaseId, RepositoryName, ServiceName, Version},
    spec::{self, ArtifactRef, ParameterName},
};
use deploy_host::descriptor;
use deploy_wire::{Exit, Problem, ProblemCode, Release};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// The largest descriptor archive, in bytes.
const LARGEST_DESCRIPTOR: u64 = 16 << 20;

/// Releases: a package, a descriptor and parameters under a name, unchangeable
#[derive(Debug, Subcommand)]
pub(crate) enum ReleaseCommand {
    Create(Create),
    List(List),
    Show(Show),
    Diff(Diff),
}

/// Makes a release
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  deploy release create web 1.4.2 --package build/srv.tar.gz --descriptor ./descriptor -p PORT=8080\n  \
    deploy release create web 1.4.3 --package 1.4.3 --descriptor 7\n\n\
    A package or descriptor is a path (which is put into the store first), a digest, or a version in the store."
)]
pub(crate) struct Create {
    /// Of which service
    #[arg(value_name = "SERVICE")]
    service: ServiceName,
    /// The version people know it by
    #[arg(value_name = "VERSION")]
    release_version: Version,
    /// What runs: a path, a digest, or a version
    #[arg(long, value_name = "PACKAGE", value_hint = ValueHint::AnyPath)]
    package: String,
    /// How it is put on hosts: a path, a digest, or a version
    #[arg(long, value_name = "DESCRIPTOR", value_hint = ValueHint::AnyPath)]
    descriptor: String,
    /// A parameter that scripts see as `P_<NAME>`; may be given again. Not for secrets
    #[arg(short, long = "parameter", value_name = "NAME=VALUE", value_parser = parse_parameter)]
    parameters: Vec<(ParameterName, String)>,
    /// The release's name [default: SERVICE-VERSION]
    #[arg(long, value_name = "ID")]
    id: Option<ReleaseId>,
    /// Where it came from: a commit, a build, a note
    #[arg(long, default_value = "", hide_default_value = true, value_name = "TEXT")]
    provenance: String,
}

/// Shows the releases of a service, newest first
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  deploy release list web")]
pub(crate) struct List {
    /// Of which service
    #[arg(value_name = "SERVICE")]
    service: ServiceName,
    /// How many to show
    #[arg(long, default_value_t = 50, value_name = "N")]
    limit: usize,
}

/// Shows a release
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  deploy release show web-1.4.2")]
pub(crate) struct Show {
    /// Which release
    #[arg(value_name = "RELEASE")]
    id: ReleaseId,
}

/// Shows what differs between two releases
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  deploy release diff web-1.4.1 web-1.4.2")]
pub(crate) struct Diff {
    /// The one
    #[arg(value_name = "FROM")]
    from: ReleaseId,
    /// The other
    #[arg(value_name = "TO")]
    to: ReleaseId,
}

fn parse_parameter(text: &str) -> Result<(ParameterName, String), String> {
    let (name, value) = text.split_once('=').ok_or("a parameter is NAME=VALUE")?;
    Ok((name.parse().map_err(|err| format!("{err}"))?, value.to_owned()))
}

impl ReleaseCommand {
    pub(crate) async fn run(self, app: &App) -> Result<Exit, Problem> {
        match self {
            Self::Create(command) => command.run(app).await,
            Self::List(command) => command.run(app).await,
            Self::Show(command) => command.run(app).await,
            Self::Diff(command) => command.run(app).await,
        }
    }
}

impl Create {
    async fn run(self, app: &App) -> Result<Exit, Problem> {
        let embedded = app.open().await?;
        let id = match &self.id {
            Some(id) => id.clone(),
            None => format!("{}-{}", self.service, self.release_version).parse().map_err(usage)?,
        };
        embedded.parts().registry.service(&self.service).await.or_problem()?;
        let at =
            Place { embedded: &embedded, service: &self.service, version: &self.release_version };
        // All is judged before anything is put: a release that is refused leaves nothing behind.
        let (descriptor, described) = at.descriptor(&self.descriptor).await?;
        let package = at.package(&self.package).await?;
        let given: BTreeMap<_, _> = self.parameters.into_iter().collect();
        let parameters = described.resolve(&given).map_err(|err| {
            invalid(chain(&err)).with_hint("`--parameter NAME=VALUE` gives a parameter its value")
        })?;
        let now = embedded.parts().clock.now();
        let principal = embedded.principal.clone();
        let (service, version) = (self.service.clone(), self.release_version.clone());
        let (steps, artifact) = (described.steps(), descriptor.artifact);
        let release = spec::Release::new(id, service, version, artifact, steps, now, principal)
            .with_package(package.artifact)
            .with_parameters(parameters)
            .with_provenance(self.provenance);
        let release = match existing(&embedded, &release).await? {
            Some(there) => there,
            None => {
                at.put([package, descriptor]).await?;
                let created =
                    embedded.platform.create_release(&embedded.principal, release.clone());
                created.await.or_problem()?;
                release
            }
        };
        let document = Release::from(&release);
        app.output.result(&document, |output| {
            output.line(format_args!("release {} is made", document.id));
        });
        Ok(Exit::Succeeded)
    }
}

/// The release of this name that is there already, if it is the same but for when it was made and by whom.
async fn existing(
    embedded: &Embedded,
    release: &spec::Release,
) -> Result<Option<spec::Release>, Problem> {
    let there = match embedded.parts().registry.release(&release.id).await {
        Ok(there) => there,
        Err(err) if err.kind() == ErrorKind::NotFound => return Ok(None),
        Err(err) => return Err(err).or_problem(),
    };
    let mut same = release.clone();
    same.created_at = there.created_at;
    same.created_by = there.created_by.clone();
    if same == there {
        return Ok(Some(there));
    }
    let message = format!("release `{}` is there already, and is another one", release.id);
    let hint =
        "a release never changes: give the new one a new version, or another name with `--id`";
    Err(Problem::new(ProblemCode::AlreadyExists, message)
        .with_hint(hint)
        .with_context("release", &release.id))
}

/// Reads a descriptor out of the store.
async fn read_stored(
    embedded: &Embedded,
    digest: &Digest,
) -> Result<descriptor::Descriptor, Problem> {
    let bytes =
        embedded.parts().artifacts.read_all(digest, LARGEST_DESCRIPTOR).await.or_problem()?;
    let bundle = descriptor::read(&bytes).map_err(|err| {
        Problem::new(ProblemCode::InvalidFile, format!("descriptor {digest}: {err}"))
    })?;
    Ok(bundle.descriptor)
}

/// An artifact of a release: in the store already, or still to be put there.
#[derive(Debug)]
struct Part {
    kind: ArtifactKind,
    artifact: ArtifactRef,
    packed: Option<Packed>,
}

/// Where artifacts of a release are looked for, and put.
struct Place<'a> {
    embedded: &'a Embedded,
    service: &'a ServiceName,
    version: &'a Version,
}

impl Place<'_> {
    /// The descriptor that `named` means, and what it says.
    async fn descriptor(&self, named: &str) -> Result<(Part, descriptor::Descriptor), Problem> {
        const KIND: ArtifactKind = ArtifactKind::Descriptor;
        if let Some(part) = self.stored(named, KIND).await? {
            let described = read_stored(self.embedded, &part.artifact.digest).await?;
            return Ok((part, described));
        }
        let path = PathBuf::from(named);
        let (bundle, packed) = blocking(move || pack_descriptor(&path)).await?;
        Ok((self.part(KIND, packed).await, bundle.descriptor))
    }

    /// The package that `named` means.
    async fn package(&self, named: &str) -> Result<Part, Problem> {
        const KIND: ArtifactKind = ArtifactKind::Package;
        if let Some(part) = self.stored(named, KIND).await? {
            return Ok(part);
        }
        let path = PathBuf::from(named);
        let packed = blocking(move || pack_package(&path)).await?;
        Ok(self.part(KIND, packed).await)
    }

    /// The artifact in the store that `named` means: a digest, or a version in the service's repository. `None` if it is a path.
    async fn stored(&self, named: &str, kind: ArtifactKind) -> Result<Option<Part>, Problem> {
        let store = &self.embedded.parts().artifacts;
        let part = |digest, size| {
            Some(Part { kind, artifact: ArtifactRef::new(digest, size), packed: None })
        };
        if let Ok(digest) = named.parse::<Digest>() {
            let meta = store.head(&digest).await.or_problem()?;
            return Ok(part(meta.digest, meta.size));
        }
        if Path::new(named).exists() {
            return Ok(None);
        }
        let repository = self.repository()?;
        let listed = ListArtifacts::new().with_repository(repository.clone()).with_kind(kind);
        let entries = store.list(&listed).await.or_problem()?;
        match entries.iter().find(|it| it.version.as_str() == named) {
            Some(entry) => Ok(part(entry.meta.digest, entry.meta.size)),
            None => Err(self.unknown(named, kind, &repository)),
        }
    }

    /// What is there under another version already is not listed a second time.
    async fn part(&self, kind: ArtifactKind, packed: Packed) -> Part {
        let artifact = ArtifactRef::new(packed.digest, packed.size);
        let there = self.embedded.parts().artifacts.head(&packed.digest).await.is_ok();
        Part { kind, artifact, packed: (!there).then_some(packed) }
    }

    /// Puts what is not in the store yet, unless one of the two cannot be listed as this version.
    async fn put(&self, parts: [Part; 2]) -> Result<(), Problem> {
        let repository = self.repository()?;
        let listed = ListArtifacts::new().with_repository(repository.clone());
        let entries = self.embedded.parts().artifacts.list(&listed).await.or_problem()?;
        let new = || parts.iter().filter(|it| it.packed.is_some());
        if let Some(part) = new().find(|part| {
            let same = |it: &&ArtifactEntry| it.kind == part.kind && it.version == *self.version;
            entries.iter().find(same).is_some_and(|it| it.meta.digest != part.artifact.digest)
        }) {
            return Err(another_already(&repository, part.kind, self.version));
        }
        for Part { kind, packed, .. } in parts {
            if let Some(packed) = packed {
                let version = self.version.clone();
                put(self.embedded, packed, kind, repository.clone(), version).await?;
            }
        }
        Ok(())
    }

    fn repository(&self) -> Result<RepositoryName, Problem> {
        self.service.as_str().parse().map_err(usage)
    }

    fn unknown(&self, named: &str, kind: ArtifactKind, repository: &RepositoryName) -> Problem {
        let what = kind.as_str();
        let message = format!(
            "`{}` is no path, no digest, and no version of a {what} in repository `{repository}`",
            named.escape_debug()
        );
        Problem::new(ProblemCode::NotFound, message).with_hint(format!(
            "`deploy artifact list --repository {repository}` shows what there is"
        ))
    }
}

impl List {
    async fn run(self, app: &App) -> Result<Exit, Problem> {
        let embedded = app.open().await?;
        let registry = &embedded.parts().registry;
        registry.service(&self.service).await.or_problem()?;
        let releases = registry.releases(&self.service, self.limit).await.or_problem()?;
        let documents: Vec<_> = releases.iter().map(Release::from).collect();
        app.output.result(&documents, |output| {
            let mut table = Table::new(["RELEASE", "VERSION", "MADE AT", "BY", "FROM"]);
            for it in &documents {
                let made_at = when(&it.created_at);
                table.row([&it.id, &it.version, &made_at, &it.created_by, &it.provenance]);
            }
            if table.is_empty() {
                output.note("no releases yet: `deploy release create` makes one");
            } else {
                output.table(&table);
            }
        });
        Ok(Exit::Succeeded)
    }
}

impl Show {
    async fn run(self, app: &App) -> Result<Exit, Problem> {
        let embedded = app.open().await?;
        let release =
            Release::from(&embedded.parts().registry.release(&self.id).await.or_problem()?);
        app.output.result(&release, |output| show(output, &release));
        Ok(Exit::Succeeded)
    }
}

fn show(output: &Output, release: &Release) {
    let (back, steps): (Vec<_>, Vec<_>) =
        release.steps.iter().map(|it| it.name.as_str()).partition(|it| *it == "rollback");
    let steps = match back.is_empty() {
        true => steps.join(" → "),
        false => format!("{}; back: rollback", steps.join(" → ")),
    };
    let made = format!("{} by {}", when(&release.created_at), release.created_by);
    let none = || "none".to_owned();
    for (name, value) in [
        ("release", release.id.clone()),
        ("service", release.service.clone()),
        ("version", release.version.clone()),
        ("package", release.package.clone().unwrap_or_else(none)),
        ("descriptor", release.descriptor.clone()),
        ("steps", steps),
        ("made", made),
        ("from", release.provenance.clone()),
    ] {
        if value.is_empty() {
            continue;
        }
        output.line(format_args!(
            "{} {value}",
            output.paint(styles::DIM, format_args!("{name:<10}"))
        ));
    }
    for (name, value) in &release.parameters {
        let name = output.paint(styles::DIM, format_args!("P_{name}"));
        output.line(format_args!("{name} {}", crate::output::clean(value)));
    }
}

impl Diff {
    async fn run(self, app: &App) -> Result<Exit, Problem> {
        let embedded = app.open().await?;
        let diff = embedded.operations().release_diff(&self.from, &self.to).await?;
        app.output.result(&diff, |output| {
            output.line(
                output.paint(styles::HEADER, format_args!("--- {}\n+++ {}", diff.from, diff.to)),
            );
            for change in &diff.changes {
                if let Some(was) = &change.from {
                    output.line(
                        output.paint(styles::FAILURE, format_args!("- {}: {was}", change.field)),
                    );
                }
                if let Some(is) = &change.to {
                    output
                        .line(output.paint(styles::GOOD, format_args!("+ {}: {is}", change.field)));
                }
            }
            if diff.changes.is_empty() {
                output.note("they bring the same");
            }
        });
        Ok(Exit::Succeeded)
    }
}
