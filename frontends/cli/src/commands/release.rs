use super::artifact::blocking;
use crate::{
    app::App,
    output::{Output, Table, styles, when},
    packages::{Packed, pack_descriptor, pack_package},
    plane::{Place, Plane},
    problem::{chain, invalid, usage},
    signing::{PublishArgs, text_of},
};
use clap::{Args, Subcommand, ValueHint};
use deploy_core::{
    backend::{ArtifactKind, Clock as _},
    digest::Digest,
    id::{ReleaseId, RepositoryName, ServiceName, Version},
    memory::SystemClock,
    spec::ParameterName,
};
use deploy_host::descriptor::{self, Descriptor};
use deploy_operations::{ArtifactSearch, RepositoryPattern, another_already, parse::field};
use deploy_package::publisher::Statement;
use deploy_wire::{Exit, NewRelease, Problem, ProblemCode, Release, Signed};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// Releases: a package, a descriptor and parameters under a name, unchangeable
#[derive(Debug, Subcommand)]
pub(crate) enum ReleaseCommand {
    Create(Create),
    Statement(StatementArgs),
    List(List),
    Show(Show),
    Diff(Diff),
}

/// Makes a release
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  deploy release create web 1.4.2 --package build/srv.tar.gz --descriptor ./descriptor -p PORT=8080\n  \
    deploy release create web 1.4.3 --package 1.4.3 --descriptor 7\n  \
    deploy release create web 1.4.4 --package web@stable --descriptor @7\n\n\
    A package or descriptor is a path (which is put into the store first), a digest or its beginning, a version in the store, or\n\
    REPOSITORY@NAME, where NAME is a channel or a version. What a channel leads to is looked up now: moving it later changes no release."
)]
pub(crate) struct Create {
    /// Of which service
    #[arg(value_name = "SERVICE")]
    service: ServiceName,
    /// The version people know it by
    #[arg(value_name = "VERSION")]
    release_version: Version,
    /// What runs: a path, a digest, a version, or a channel such as `web@stable`
    #[arg(long, value_name = "PACKAGE", value_hint = ValueHint::AnyPath)]
    package: String,
    /// How it is put on hosts: a path, a digest, a version, or a channel
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
    #[command(flatten)]
    publish: PublishArgs,
}

/// Prints what publishers sign of a release, for those whose keys are elsewhere
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  deploy release statement web 1.4.2 --package srv.tar.gz --descriptor ./descriptor > statement.json\n  \
    minisign -Sm statement.json\n  deploy release create web 1.4.2 --package srv.tar.gz --descriptor ./descriptor \
    --statement statement.json --signature statement.json.minisig"
)]
pub(crate) struct StatementArgs {
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
            Self::Statement(command) => command.run(app).await,
            Self::List(command) => command.run(app).await,
            Self::Show(command) => command.run(app).await,
            Self::Diff(command) => command.run(app).await,
        }
    }
}

impl Create {
    async fn run(self, app: &App) -> Result<Exit, Problem> {
        let plane = app.plane().await?;
        let id = match &self.id {
            Some(id) => id.clone(),
            None => format!("{}-{}", self.service, self.release_version).parse().map_err(usage)?,
        };
        plane.service(&self.service).await?;
        let parts =
            Parts { plane: &*plane, service: &self.service, version: &self.release_version };
        // All is judged before anything is put: a release that is refused leaves nothing behind.
        let (descriptor, described) = parts.descriptor(&self.descriptor).await?;
        let package = parts.package(&self.package).await?;
        let given: BTreeMap<_, _> = self.parameters.into_iter().collect();
        described.resolve(&given).map_err(|err| {
            invalid(chain(&err)).with_hint("`--parameter NAME=VALUE` gives a parameter its value")
        })?;
        let asked = NewRelease {
            id: Some(id.to_string()),
            service: self.service.to_string(),
            version: self.release_version.to_string(),
            package: package.digest.clone(),
            descriptor: descriptor.digest.clone(),
            parameters: given.into_iter().map(|(name, it)| (name.to_string(), it)).collect(),
            provenance: self.provenance,
            signed: None,
        };
        differs(&*plane, &id, &asked).await?;
        let statement = statement(&self.service, &self.release_version, &descriptor, &package)?;
        let signed = self.publish.signed(&statement)?;
        let covers_tree = |it: &Signed| {
            let statement = Statement::read_unverified(it.statement.as_bytes());
            statement.is_ok_and(|it| it.manifest.is_some())
        };
        let only_archive = signed.as_ref().is_some_and(|it| !covers_tree(it));
        let asked = NewRelease { signed, ..asked };
        if only_archive {
            app.output.warn("the tree in the package is not signed, since it is not here: hosts that ask for signatures fetch it whole");
        }
        let meant =
            [(&self.package, package.meant.clone()), (&self.descriptor, descriptor.meant.clone())];
        parts.put([package, descriptor]).await?;
        let release = plane.create_release(&asked).await?;
        app.output.result(&release, |output| {
            for (named, version) in &meant {
                if let Some(version) = version {
                    output.line(format_args!("{named} is {version}"));
                }
            }
            output.line(format_args!("release {} is made", release.id));
        });
        Ok(Exit::Succeeded)
    }
}

impl StatementArgs {
    async fn run(self, app: &App) -> Result<Exit, Problem> {
        let plane = app.plane().await?;
        let parts =
            Parts { plane: &*plane, service: &self.service, version: &self.release_version };
        let (descriptor, _) = parts.descriptor(&self.descriptor).await?;
        let package = parts.package(&self.package).await?;
        let statement = statement(&self.service, &self.release_version, &descriptor, &package)?;
        app.output.raw(format_args!("{}", text_of(&statement)?));
        Ok(Exit::Succeeded)
    }
}

/// What publishers say of a release that consists of these.
fn statement(
    service: &ServiceName,
    version: &Version,
    descriptor: &Part,
    package: &Part,
) -> Result<Statement, Problem> {
    let issued = SystemClock::new().now().as_millis() / 1_000;
    let (service, version) = (service.clone(), version.clone());
    let mut statement =
        Statement::new(service, version, field("descriptor", &descriptor.digest)?, issued)
            .with_package(field("package", &package.digest)?);
    statement.manifest = package.manifest;
    Ok(statement)
}

/// Refuses a release of a name that one with other artifacts has already.
async fn differs(plane: &dyn Plane, id: &ReleaseId, asked: &NewRelease) -> Result<(), Problem> {
    let there = match plane.release(id).await {
        Ok(there) => there,
        Err(problem) if problem.code == ProblemCode::NotFound => return Ok(()),
        Err(problem) => return Err(problem),
    };
    let same = there.descriptor == asked.descriptor
        && there.package.as_ref() == Some(&asked.package)
        && there.service == asked.service;
    if same {
        return Ok(());
    }
    let message = format!("release `{id}` is there already, and is another one");
    let hint =
        "a release never changes: give the new one a new version, or another name with `--id`";
    Err(Problem::new(ProblemCode::AlreadyExists, message)
        .with_hint(hint)
        .with_context("release", id))
}

/// An artifact of a release: in the store already, or still to be put there.
#[derive(Debug)]
struct Part {
    kind: ArtifactKind,
    digest: String,
    packed: Option<Packed>,
    /// The digest of the manifest of a package that is here.
    manifest: Option<Digest>,
    /// The version that it was found to be, where it was named by something else.
    meant: Option<String>,
}

/// Where artifacts of a release are looked for, and put.
struct Parts<'a> {
    plane: &'a dyn Plane,
    service: &'a ServiceName,
    version: &'a Version,
}

impl Parts<'_> {
    /// The descriptor that `named` means, and what it says.
    async fn descriptor(&self, named: &str) -> Result<(Part, Descriptor), Problem> {
        const KIND: ArtifactKind = ArtifactKind::Descriptor;
        if let Some(part) = self.stored(named, KIND).await? {
            let archive = self.plane.descriptor(&field("digest", &part.digest)?).await?;
            let bundle = descriptor::read(&archive).map_err(|err| {
                let message = format!("descriptor {}: {err}", part.digest);
                Problem::new(ProblemCode::InvalidFile, message)
            })?;
            return Ok((part, bundle.descriptor));
        }
        let path = PathBuf::from(named);
        let (bundle, packed) = blocking(move || pack_descriptor(&path)).await?;
        Ok((self.part(KIND, packed).await?, bundle.descriptor))
    }

    /// The package that `named` means.
    async fn package(&self, named: &str) -> Result<Part, Problem> {
        const KIND: ArtifactKind = ArtifactKind::Package;
        if let Some(part) = self.stored(named, KIND).await? {
            return Ok(part);
        }
        let path = PathBuf::from(named);
        let packed = blocking(move || pack_package(&path)).await?;
        self.part(KIND, packed).await
    }

    /// The artifact in the store that `named` means: a digest, a version, or where a channel leads. `None` if it is a path.
    async fn stored(&self, named: &str, kind: ArtifactKind) -> Result<Option<Part>, Problem> {
        let by_name = named.starts_with("sha256:") || named.contains('@');
        if !by_name && Path::new(named).exists() {
            return Ok(None);
        }
        let repository = self.repository()?;
        let found = match self.plane.resolve(named, kind, Some(&repository)).await {
            Ok(found) => found,
            Err(problem) if problem.code == ProblemCode::NotFound && !by_name => {
                return Err(unknown(named, kind, &repository));
            }
            Err(problem) => return Err(problem),
        };
        let meant = (found.digest != named && found.version != named).then_some(found.version);
        Ok(Some(Part { kind, digest: found.digest, packed: None, manifest: None, meant }))
    }

    /// What is there under another version already is not listed a second time.
    async fn part(&self, kind: ArtifactKind, packed: Packed) -> Result<Part, Problem> {
        let there = self.plane.upload(&packed.digest).await?.complete;
        let digest = packed.digest.to_string();
        let (packed, manifest) = match kind {
            ArtifactKind::Package => {
                let (packed, manifest) =
                    blocking(move || packed.manifest().map(|it| (packed, it))).await?;
                (packed, Some(manifest))
            }
            _ => (packed, None),
        };
        Ok(Part { kind, digest, packed: (!there).then_some(packed), manifest, meant: None })
    }

    /// Puts what is not in the store yet, unless one of the two cannot be listed as this version.
    async fn put(&self, parts: [Part; 2]) -> Result<(), Problem> {
        let repository = self.repository()?;
        let search = ArtifactSearch {
            repository: Some(RepositoryPattern::Is(repository.clone())),
            ..ArtifactSearch::default()
        };
        let entries = self.plane.artifacts(&search).await?;
        for part in parts.iter().filter(|it| it.packed.is_some()) {
            let same = entries
                .iter()
                .find(|it| it.kind == part.kind.as_str() && it.version == self.version.as_str());
            if same.is_some_and(|it| it.digest != part.digest) {
                return Err(another_already(&repository, part.kind, self.version));
            }
        }
        for Part { kind, packed, .. } in parts {
            if let Some(packed) = packed {
                let (repository, version) = (repository.clone(), self.version.clone());
                self.plane.put_artifact(packed, &Place { repository, kind, version }).await?;
            }
        }
        Ok(())
    }

    fn repository(&self) -> Result<RepositoryName, Problem> {
        self.service.as_str().parse().map_err(usage)
    }
}

fn unknown(named: &str, kind: ArtifactKind, repository: &RepositoryName) -> Problem {
    let what = kind.as_str();
    let message = format!(
        "`{}` is no path, no digest, and no version of a {what} in repository `{repository}`",
        named.escape_debug()
    );
    let hint = format!("`deploy artifact list --repository {repository}` shows what there is");
    Problem::new(ProblemCode::NotFound, message).with_hint(hint)
}

impl List {
    async fn run(self, app: &App) -> Result<Exit, Problem> {
        let documents = app.plane().await?.releases(&self.service, self.limit).await?;
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
        let release = app.plane().await?.release(&self.id).await?;
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
        let diff = app.plane().await?.release_diff(&self.from, &self.to).await?;
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
