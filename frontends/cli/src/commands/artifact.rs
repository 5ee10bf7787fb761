use super::{
    channel::ChannelCommand,
    garbage::Gc,
    parcel::{Export, Import},
    pull::Pull,
};
use crate::{
    app::App,
    output::{Output, Table, size, styles, when},
    packages::{pack_descriptor, pack_package},
    plane::{Place, Plane},
};
use clap::{Args, Subcommand, ValueEnum, ValueHint};
use deploy_core::{
    backend::ArtifactKind,
    digest::Digest,
    id::{ChannelName, PinName, RepositoryName, Version},
};
use deploy_host::duration;
use deploy_operations::{ArtifactSearch, DigestPrefix, RepositoryPattern, parse::field};
use deploy_wire::{Exit, Holders, Problem, ProblemCode};
use std::{collections::BTreeSet, path::PathBuf, time::Duration};

/// Artifacts: packages and descriptors in the store
#[derive(Debug, Subcommand)]
pub(crate) enum ArtifactCommand {
    Push(Push),
    Pull(Pull),
    List(List),
    Verify(Verify),
    Holders(HoldersOf),
    Pin(Pin),
    Unpin(Unpin),
    Gc(Gc),
    #[command(subcommand)]
    Channel(ChannelCommand),
    Export(Export),
    Import(Import),
}

/// Puts a package or a descriptor into the store
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  deploy artifact push srv.tar.gz --repository web --version 1.4.2\n  \
    deploy artifact push ./descriptor --kind descriptor --repository web --version 3"
)]
pub(crate) struct Push {
    /// An archive (`tar`, `tar.gz` or `tar.zst`), or a folder to pack
    #[arg(value_name = "PATH", value_hint = ValueHint::AnyPath)]
    path: PathBuf,
    /// Where it is listed
    #[arg(long, value_name = "REPOSITORY")]
    repository: RepositoryName,
    /// Which version it is
    #[arg(long = "version", value_name = "VERSION")]
    artifact_version: Version,
    /// What it is: what runs, or how that is put on hosts
    #[arg(long, value_enum, default_value_t = Kind::Package, value_name = "KIND")]
    kind: Kind,
}

/// Shows what is in the store
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  deploy artifact list --repository web --kind package\n  \
    deploy artifact list --repository 'web-*' --version 1.4. --since 30d\n  deploy artifact list --channel stable")]
pub(crate) struct List {
    /// Only of this repository, or (`web-*`) of those that begin like that
    #[arg(long, value_name = "REPOSITORY")]
    repository: Option<RepositoryPattern>,
    /// Only of this kind
    #[arg(long, value_enum, value_name = "KIND")]
    kind: Option<ListedKind>,
    /// Only versions that begin with this
    #[arg(long = "version", value_name = "VERSION")]
    version_prefix: Option<String>,
    /// Only digests that begin with this, such as `sha256:4f2a91`
    #[arg(long, value_name = "DIGEST")]
    digest: Option<DigestPrefix>,
    /// Only what a channel of this name leads to
    #[arg(long, value_name = "CHANNEL")]
    channel: Option<ChannelName>,
    /// Only what was put within this time, such as `30d`
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    since: Option<Duration>,
}

/// Reads artifacts whole, and says whether they are still what was put
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  deploy artifact verify\n  deploy artifact verify sha256:…")]
pub(crate) struct Verify {
    /// Which; all of them if none is named
    #[arg(value_name = "DIGEST")]
    digests: Vec<DigestPrefix>,
}

/// Shows who keeps an artifact from being removed: releases, and the pins that people have put on it
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  deploy artifact holders sha256:…")]
pub(crate) struct HoldersOf {
    /// Which; as much of it as no other has
    #[arg(value_name = "DIGEST")]
    digest: DigestPrefix,
}

/// Keeps an artifact, whether anything runs it or not
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  deploy artifact pin sha256:… --name audit-2026")]
pub(crate) struct Pin {
    /// Which; as much of it as no other has
    #[arg(value_name = "DIGEST")]
    digest: DigestPrefix,
    /// What the pin is called: why it is kept
    #[arg(long, value_name = "NAME")]
    name: PinName,
}

/// Takes a pin off an artifact
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  deploy artifact unpin sha256:… --name audit-2026")]
pub(crate) struct Unpin {
    /// Which; as much of it as no other has
    #[arg(value_name = "DIGEST")]
    digest: DigestPrefix,
    /// What the pin is called
    #[arg(long, value_name = "NAME")]
    name: PinName,
}

/// What an artifact is for.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Kind {
    Package,
    Descriptor,
}

/// What a listed artifact is for.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum ListedKind {
    Package,
    Descriptor,
    Provenance,
}

impl From<ListedKind> for ArtifactKind {
    fn from(kind: ListedKind) -> Self {
        match kind {
            ListedKind::Package => Self::Package,
            ListedKind::Descriptor => Self::Descriptor,
            ListedKind::Provenance => Self::Provenance,
        }
    }
}

impl From<Kind> for ArtifactKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Package => Self::Package,
            Kind::Descriptor => Self::Descriptor,
        }
    }
}

impl ArtifactCommand {
    pub(crate) async fn run(self, app: &App) -> Result<Exit, Problem> {
        match self {
            Self::Push(command) => command.run(app).await,
            Self::Pull(command) => command.run(app).await,
            Self::List(command) => command.run(app).await,
            Self::Verify(command) => command.run(app).await,
            Self::Holders(command) => command.run(app).await,
            Self::Pin(command) => command.run(app).await,
            Self::Unpin(command) => command.run(app).await,
            Self::Gc(command) => command.run(app).await,
            Self::Channel(command) => command.run(app).await,
            Self::Export(command) => command.run(app).await,
            Self::Import(command) => command.run(app).await,
        }
    }
}

impl Push {
    async fn run(self, app: &App) -> Result<Exit, Problem> {
        let path = self.path;
        let packed = match self.kind {
            Kind::Package => blocking(move || pack_package(&path)).await?,
            Kind::Descriptor => blocking(move || pack_descriptor(&path)).await?.1,
        };
        let plane = app.plane().await?;
        let (repository, version) = (self.repository, self.artifact_version);
        let place = Place { repository, kind: self.kind.into(), version };
        let document = plane.put_artifact(packed, &place).await?;
        app.output.result(&document, |output| {
            output.line(format_args!(
                "{} {} {} is {} ({})",
                document.kind,
                document.repository,
                document.version,
                document.digest,
                size(document.size)
            ));
        });
        Ok(Exit::Succeeded)
    }
}

/// Runs what blocks beside everything else.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(err) => {
            Err(Problem::new(ProblemCode::Internal, format!("a task came to nothing: {err}")))
        }
    }
}

impl List {
    async fn run(self, app: &App) -> Result<Exit, Problem> {
        let search = ArtifactSearch {
            repository: self.repository,
            kind: self.kind.map(Into::into),
            version: self.version_prefix,
            digest: self.digest,
            channel: self.channel,
            since: self.since,
        };
        let documents = app.plane().await?.artifacts(&search).await?;
        app.output.result(&documents, |output| {
            if documents.is_empty() && search != ArtifactSearch::default() {
                output.note("no artifact is like that");
                return;
            }
            if documents.is_empty() {
                output.note("no artifacts: `deploy artifact push` adds one");
                return;
            }
            let mut table =
                Table::new(["REPOSITORY", "KIND", "VERSION", "SIZE", "PUT AT", "DIGEST"]);
            for it in &documents {
                let bytes = size(it.size);
                let put_at = when(&it.put_at);
                table.row([&it.repository, &it.kind, &it.version, &bytes, &put_at, &it.digest]);
            }
            output.table(&table);
        });
        Ok(Exit::Succeeded)
    }
}

impl Verify {
    async fn run(self, app: &App) -> Result<Exit, Problem> {
        let plane = app.plane().await?;
        let digests: BTreeSet<Digest> = if self.digests.is_empty() {
            let listed = plane.artifacts(&ArtifactSearch::default()).await?.into_iter();
            listed.map(|it| field("digest", &it.digest)).collect::<Result<_, _>>()?
        } else {
            let mut digests = BTreeSet::new();
            for named in &self.digests {
                digests.insert(digest_of(&*plane, named).await?);
            }
            digests
        };
        let mut found = Vec::new();
        for digest in digests {
            found.push(plane.verify_artifact(&digest).await?);
        }
        app.output.result(&found, |output| {
            for it in &found {
                let said = if it.intact {
                    output.paint(styles::GOOD, "intact")
                } else {
                    output.paint(styles::FAILURE, "damaged")
                };
                output.line(format_args!(
                    "{said} {} {}",
                    it.digest,
                    it.reason.as_deref().unwrap_or("")
                ));
            }
        });
        let damaged = found.iter().filter(|it| !it.intact).count();
        if damaged == 0 {
            return Ok(Exit::Succeeded);
        }
        let message = format!("{damaged} of {} artifacts are damaged", found.len());
        Err(Problem::new(ProblemCode::Corrupt, message)
            .with_hint("push them again: their digests say exactly what they have to be"))
    }
}

/// The digest of which people have written as much as they had to.
async fn digest_of(plane: &dyn Plane, named: &DigestPrefix) -> Result<Digest, Problem> {
    if let Some(digest) = named.whole() {
        return Ok(digest);
    }
    let found = plane.resolve(named.as_str(), ArtifactKind::Package, None).await?;
    field("digest", &found.digest)
}

impl HoldersOf {
    async fn run(self, app: &App) -> Result<Exit, Problem> {
        let plane = app.plane().await?;
        let holders = plane.holders(&digest_of(&*plane, &self.digest).await?).await?;
        app.output.result(&holders, |output| name_holders(output, &holders));
        Ok(Exit::Succeeded)
    }
}

impl Pin {
    async fn run(self, app: &App) -> Result<Exit, Problem> {
        let plane = app.plane().await?;
        let holders = plane.pin(&digest_of(&*plane, &self.digest).await?, &self.name).await?;
        app.output.result(&holders, |output| name_holders(output, &holders));
        Ok(Exit::Succeeded)
    }
}

impl Unpin {
    async fn run(self, app: &App) -> Result<Exit, Problem> {
        let plane = app.plane().await?;
        let digest = digest_of(&*plane, &self.digest).await?;
        plane.unpin(&digest, &self.name).await?;
        let holders = plane.holders(&digest).await?;
        app.output.result(&holders, |output| name_holders(output, &holders));
        Ok(Exit::Succeeded)
    }
}

fn name_holders(output: &Output, holders: &Holders) {
    let Holders { releases, channels, pins, .. } = holders;
    if releases.is_empty() && channels.is_empty() && pins.is_empty() {
        output.note("nobody needs it: `deploy artifact gc` may remove it");
        return;
    }
    let mut table = Table::new(["HOLDER", "NAME"]);
    for (what, names) in [("release", releases), ("channel", channels), ("pin", pins)] {
        for name in names {
            table.row([what, name]);
        }
    }
    output.table(&table);
}
