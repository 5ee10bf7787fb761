//! What a backup consists of.
use super::tree::hash_file;
use crate::problem::io_problem;
use deploy_core::digest::Digest;
use deploy_wire::{Problem, ProblemCode};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Write as _},
    path::{Component, Path},
};

const NAME: &str = "backup.json";
/// The only format there is.
const FORMAT: u32 = 1;

/// A file of a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Entry {
    /// In bytes.
    pub(super) size: u64,
    pub(super) digest: Digest,
}

impl Entry {
    /// The file at `path` below `folder`.
    pub(super) fn of(folder: &Path, path: &Path) -> io::Result<(String, Self)> {
        let entry = hash_file(&folder.join(path))?;
        Ok((path.to_string_lossy().into_owned(), entry))
    }
}

/// All files of a backup, by their paths in it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Manifest {
    format: u32,
    /// The program that made the backup.
    version: String,
    files: BTreeMap<String, Entry>,
}

impl Manifest {
    pub(super) fn new(files: BTreeMap<String, Entry>) -> Self {
        Self { format: FORMAT, version: env!("CARGO_PKG_VERSION").to_owned(), files }
    }

    pub(super) fn read(folder: &Path) -> Result<Self, Problem> {
        let path = folder.join(NAME);
        let text = fs::read(&path).map_err(|err| match err.kind() {
            io::ErrorKind::NotFound => none(folder),
            _ => io_problem(path.display(), &err),
        })?;
        let unusable = |why: String| {
            Problem::new(ProblemCode::Corrupt, format!("{} cannot be used: {why}", path.display()))
                .with_hint("use another backup")
        };
        let manifest: Self =
            serde_json::from_slice(&text).map_err(|err| unusable(err.to_string()))?;
        if manifest.format != FORMAT {
            let message = format!("{} is of format {}", path.display(), manifest.format);
            return Err(Problem::new(ProblemCode::DataTooNew, message)
                .with_hint("use the program that made the backup"));
        }
        match manifest.files.keys().find(|it| !stays_inside(it)) {
            Some(path) => Err(unusable(format!("`{path}` leads out of it"))),
            None => Ok(manifest),
        }
    }

    pub(super) fn write(&self, folder: &Path) -> io::Result<()> {
        let mut file = File::create_new(folder.join(NAME))?;
        file.write_all(&serde_json::to_vec_pretty(self)?)?;
        file.sync_all()?;
        File::open(folder)?.sync_all()
    }

    pub(super) fn files(&self) -> impl Iterator<Item = (&Path, &Entry)> {
        self.files.iter().map(|(path, entry)| (Path::new(path), entry))
    }

    /// How many files there are, and how many bytes.
    pub(crate) fn size(&self) -> (u64, u64) {
        let count = u64::try_from(self.files.len()).unwrap_or(u64::MAX);
        (count, self.files.values().map(|it| it.size).sum())
    }

    /// Whether the database is in it.
    pub(crate) fn has_database(&self) -> bool {
        self.files.contains_key("deploy.db")
    }
}

fn stays_inside(path: &str) -> bool {
    let mut parts = Path::new(path).components().peekable();
    parts.peek().is_some() && parts.all(|it| matches!(it, Component::Normal(_)))
}

fn none(folder: &Path) -> Problem {
    let folder = folder.display();
    Problem::new(ProblemCode::NotFound, format!("{folder} is no backup: it has no {NAME}"))
        .with_hint("`deploy backup create FOLDER` makes one")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn paths_that_lead_out_are_refused() {
        for path in ["", "/etc/passwd", "../x", "a/../../x", "."] {
            assert!(!stays_inside(path), "{path}");
        }
        assert!(stays_inside("artifacts/blobs/sha256/00/00ff"));
    }

    proptest! {
        #[test]
        fn no_manifest_makes_reading_panic(text in "\\PC{0,200}") {
            let folder = tempfile::tempdir().unwrap();
            fs::write(folder.path().join(NAME), text).unwrap();
            prop_assert!(Manifest::read(folder.path()).is_err());
        }
    }
}
