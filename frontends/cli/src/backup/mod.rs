//! Copies of a whole data folder, and data folders from such copies.
//!
//! **Invariant:** a folder with a manifest is a whole backup: the manifest is written last, over what is on disk already.
mod manifest;
mod tree;

pub(crate) use manifest::Manifest;

use crate::{
    embedded::DataDir,
    problem::{OrProblem as _, io_problem},
};
use deploy_sql::Database;
use deploy_wire::{Problem, ProblemCode};
use manifest::Entry;
use std::{
    collections::BTreeMap,
    fs::{self, File, Permissions},
    io,
    os::unix::fs::PermissionsExt as _,
    path::Path,
};
use tempfile::TempDir;
use tree::{copy_file, files_below, sync_folders};

/// What is not copied as files: databases, which others may be writing to, and what means nothing elsewhere or can be had again.
const NOT_FILES: [&str; 12] = [
    "artifacts/partial",
    "background",
    "builds/cache",
    "builds/mirrors",
    "builds/records",
    "builds/work",
    "deploy.db",
    "deploy.db-shm",
    "deploy.db-wal",
    "deploy.logs.db",
    "deploy.logs.db-shm",
    "deploy.logs.db-wal",
];

/// Copies `data_dir` to `target`, which must not be there, while others may go on using it.
///
/// Artifacts come first, then the database, then the artifacts that have come in between: so whatever the database names is
/// among them.
pub(crate) async fn create(
    data_dir: &DataDir,
    database: Option<&Database>,
    target: &Path,
) -> Result<Manifest, Problem> {
    if target.symlink_metadata().is_ok() {
        return Err(in_the_way(target));
    }
    let unfinished = unfinished_beside(target)?;
    let mut entries = BTreeMap::new();
    copy_new(data_dir.path(), unfinished.path(), &mut entries)?;
    if let Some(database) = database {
        database.copy_into(unfinished.path()).await.or_problem()?;
        for name in ["deploy.db", "deploy.logs.db"] {
            let entry = Entry::of(unfinished.path(), Path::new(name));
            entries.extend([entry.map_err(|err| io_problem(name, &err))?]);
        }
    }
    copy_new(data_dir.path(), unfinished.path(), &mut entries)?;
    let manifest = Manifest::new(entries);
    let written = sync_folders(unfinished.path()).and_then(|()| manifest.write(unfinished.path()));
    written.map_err(|err| io_problem(unfinished.path().display(), &err))?;
    put_in_place(unfinished, target)?;
    Ok(manifest)
}

/// Compares every file of the backup at `source` with its manifest.
pub(crate) fn verify(source: &Path) -> Result<Manifest, Problem> {
    let manifest = Manifest::read(source)?;
    for (path, entry) in manifest.files() {
        let found = Entry::of(source, path).map_err(|err| missing(source, path, &err))?.1;
        if found != *entry {
            return Err(damaged(source, path));
        }
    }
    Ok(manifest)
}

/// What a data folder was when it was backed up, beside the place that it is for. Dropped, it leaves nothing behind.
#[derive(Debug)]
pub(crate) struct Unpacked<'a> {
    pub(crate) manifest: Manifest,
    folder: TempDir,
    target: &'a Path,
}

/// Unpacks the backup at `source` for `target`, which must be empty or missing.
pub(crate) fn unpack<'a>(source: &Path, target: &'a DataDir) -> Result<Unpacked<'a>, Problem> {
    let manifest = Manifest::read(source)?;
    let target = target.path();
    let occupied = fs::read_dir(target).is_ok_and(|mut it| it.next().is_some());
    if occupied || target.is_file() {
        return Err(in_the_way(target).with_hint(
            "restore into a new folder (`--data-dir DIR`), or move what is there away: nothing is overwritten",
        ));
    }
    let folder = unfinished_beside(target)?;
    for (path, entry) in manifest.files() {
        let copied = copy_file(&source.join(path), &folder.path().join(path));
        let copied = copied.map_err(|err| match err.kind() {
            io::ErrorKind::NotFound => missing(source, path, &err),
            _ => io_problem(target.display(), &err),
        })?;
        if copied != *entry {
            return Err(damaged(source, path));
        }
    }
    Ok(Unpacked { manifest, folder, target })
}

impl Unpacked<'_> {
    /// It, as a data folder that nobody else knows.
    pub(crate) fn data_dir(&self) -> Result<DataDir, Problem> {
        DataDir::locate(Some(self.folder.path()))
    }

    pub(crate) fn put_in_place(self) -> Result<Manifest, Problem> {
        let synced = sync_folders(self.folder.path());
        synced.map_err(|err| io_problem(self.target.display(), &err))?;
        put_in_place(self.folder, self.target)?;
        Ok(self.manifest)
    }
}

/// Copies what is not in the backup yet.
fn copy_new(from: &Path, to: &Path, entries: &mut BTreeMap<String, Entry>) -> Result<(), Problem> {
    let files = files_below(from, &NOT_FILES).map_err(|err| io_problem(from.display(), &err))?;
    for path in files {
        if entries.contains_key(&path) {
            continue;
        }
        match copy_file(&from.join(&path), &to.join(&path)) {
            Ok(entry) => drop(entries.insert(path, entry)),
            // Somebody has removed it since it was seen, so that nothing needs it.
            Err(err) if err.kind() == io::ErrorKind::NotFound => {}
            Err(err) => return Err(io_problem(from.join(&path).display(), &err)),
        }
    }
    Ok(())
}

/// A folder beside `target`, which goes away unless it is put in its place.
fn unfinished_beside(target: &Path) -> Result<TempDir, Problem> {
    let absolute = std::path::absolute(target).map_err(|err| io_problem(target.display(), &err))?;
    let parent = absolute.parent().unwrap_or(&absolute);
    let private = Permissions::from_mode(0o700);
    tempfile::Builder::new()
        .prefix(".deploy-backup-")
        .permissions(private)
        .tempdir_in(parent)
        .map_err(|err| io_problem(parent.display(), &err))
}

fn put_in_place(unfinished: TempDir, target: &Path) -> Result<(), Problem> {
    let parent = unfinished.path().parent().map(Path::to_owned);
    fs::rename(unfinished.path(), target).map_err(|err| io_problem(target.display(), &err))?;
    // It is elsewhere now: there is nothing left to remove.
    drop(unfinished.keep());
    match parent {
        Some(parent) => File::open(&parent)
            .and_then(|it| it.sync_all())
            .map_err(|err| io_problem(parent.display(), &err)),
        None => Ok(()),
    }
}

fn in_the_way(path: &Path) -> Problem {
    let path = path.display();
    Problem::new(ProblemCode::AlreadyExists, format!("{path} is there already"))
        .with_context("path", path)
}

fn missing(source: &Path, path: &Path, err: &io::Error) -> Problem {
    let message = format!("the backup {} lacks {}: {err}", source.display(), path.display());
    Problem::new(ProblemCode::Corrupt, message).with_hint("use another backup")
}

fn damaged(source: &Path, path: &Path) -> Problem {
    let (source, path) = (source.display(), path.display());
    let message = format!("{path} in the backup {source} is not what was backed up");
    Problem::new(ProblemCode::Corrupt, message).with_hint("use another backup")
}
