//! `deploy artifact pull`: what is in the store, as a file.
use super::{artifact::ListedKind, release::demand_named};
use crate::{
    app::App,
    fetch::fetch,
    output::size,
    problem::{io_problem, usage},
};
use clap::{Args, ValueHint};
use deploy_core::{
    backend::ArtifactKind,
    digest::Digest,
    id::{RepositoryName, Version},
};
use deploy_operations::parse::field;
use deploy_wire::{Artifact, Exit, Problem, ProblemCode, Pulled};
use std::{
    fs::Permissions,
    io::{self, Read as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

/// Takes a version out of the store, into a file
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  deploy artifact pull web 1.4.2\n  deploy artifact pull web @stable --into web.tar.gz\n  \
    deploy artifact pull web 1.4.2 --kind provenance --into statement.json\n\n\
    The file gets its name once its bytes have the digest that they are listed by. One that is there is not replaced."
)]
pub(crate) struct Pull {
    /// Where it is listed
    #[arg(value_name = "REPOSITORY")]
    repository: RepositoryName,
    /// Which version: `1.4.2`, a digest or its beginning, or (`@stable`) where a channel leads
    #[arg(value_name = "VERSION")]
    named: String,
    /// What it is
    #[arg(long, value_enum, default_value_t = ListedKind::Package, value_name = "KIND")]
    kind: ListedKind,
    /// The file to write, or a folder for it [default: REPOSITORY-VERSION with the ending of its kind, in this folder]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::AnyPath)]
    into: Option<PathBuf>,
}

impl Pull {
    pub(super) async fn run(self, app: &App) -> Result<Exit, Problem> {
        let target = Target::of(self.into.as_deref())?;
        let (plane, kind) = (app.plane().await?, self.kind.into());
        let found = plane.resolve(&self.named, kind, Some(&self.repository)).await?;
        demand_named(&self.named, &found)?;
        let stem = self.stem(&found)?;
        let failed = |err: &io::Error| io_problem(target.folder.display(), err);
        // Others may read it as far as the umask lets them: it is no secret.
        let draft = tempfile::Builder::new()
            .permissions(Permissions::from_mode(0o666))
            .tempfile_in(&target.folder)
            .map_err(|err| failed(&err))?;
        let copy = draft.reopen().map_err(|err| failed(&err))?;
        let place = target.folder.display().to_string();
        fetch(&*plane, &app.output, &found, copy, &place).await?;
        draft.as_file().sync_all().map_err(|err| failed(&err))?;
        let begins = beginning(draft.path()).map_err(|err| failed(&err))?;
        let file = target.file(&stem, kind, &begins);
        draft.persist_noclobber(&file).map_err(|err| match err.error.kind() {
            io::ErrorKind::AlreadyExists => there(&file),
            _ => failed(&err.error),
        })?;
        let Artifact { repository, kind, version, digest, size: bytes, .. } = found;
        let file = file.display().to_string();
        let document = Pulled { file, repository, kind, version, digest, size: bytes };
        app.output.result(&document, |output| {
            let Pulled { file, repository, kind, version, digest, size: bytes } = &document;
            let what = format_args!("{kind} {repository} {version}, {digest} ({})", size(*bytes));
            output.line(format_args!("{file} is {what}"));
        });
        Ok(Exit::Succeeded)
    }
}

impl Pull {
    /// What a file of it is called, without its ending. What a server says is no path before it was read as what it is to be; and what is
    /// in no list has a digest alone.
    fn stem(&self, found: &Artifact) -> Result<String, Problem> {
        if found.version.is_empty() {
            let digest: Digest = field("digest", &found.digest)?;
            let short: String = digest.hex().chars().take(12).collect();
            return Ok(format!("{}-{short}", self.repository));
        }
        let repository: RepositoryName = field("repository", &found.repository)?;
        let version: Version = field("version", &found.version)?;
        Ok(format!("{repository}-{version}"))
    }
}

/// Where a file is to be.
struct Target {
    folder: PathBuf,
    /// The file itself; `None` leaves its name to what it is.
    file: Option<PathBuf>,
}

impl Target {
    fn of(into: Option<&Path>) -> Result<Self, Problem> {
        let Some(into) = into else { return Ok(Self { folder: PathBuf::from("."), file: None }) };
        if into.is_dir() {
            return Ok(Self { folder: into.to_owned(), file: None });
        }
        if into.symlink_metadata().is_ok() {
            return Err(there(into));
        }
        if into.file_name().is_none() {
            let message = format!("`--into {}` is neither a file nor a folder", into.display());
            return Err(usage(message));
        }
        let folder = into.parent().filter(|it| !it.as_os_str().is_empty());
        let folder = folder.unwrap_or_else(|| Path::new(".")).to_owned();
        Ok(Self { folder, file: Some(into.to_owned()) })
    }

    /// The file that an artifact which begins so becomes.
    fn file(&self, stem: &str, kind: ArtifactKind, beginning: &[u8]) -> PathBuf {
        if let Some(file) = &self.file {
            return file.clone();
        }
        let archive = match beginning {
            [0x1f, 0x8b, ..] => "tar.gz",
            [0x28, 0xb5, 0x2f, 0xfd] => "tar.zst",
            _ => "tar",
        };
        let ending = match kind {
            ArtifactKind::Descriptor => format!("descriptor.{archive}"),
            ArtifactKind::Provenance => "provenance.json".to_owned(),
            _ => archive.to_owned(),
        };
        let name = format!("{stem}.{ending}");
        if self.folder == Path::new(".") { name.into() } else { self.folder.join(name) }
    }
}

/// The first bytes of a file.
fn beginning(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(4).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn there(file: &Path) -> Problem {
    let message = format!("{} is there already, and is not replaced", file.display());
    Problem::new(ProblemCode::AlreadyExists, message)
        .with_hint("`--into FILE` names another file")
        .with_context("file", file.display())
}
