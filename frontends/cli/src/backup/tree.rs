//! Folders, file by file.
use super::manifest::Entry;
use deploy_core::digest::Hasher;
use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::Path,
};

/// How much is read at a time, in bytes.
const PIECE: usize = 1 << 20;

/// The paths of all files below `root`, but for what is at or below one of `without`. What vanishes meanwhile may be missing.
pub(super) fn files_below(root: &Path, without: &[&str]) -> io::Result<Vec<String>> {
    let (mut found, mut folders) = (Vec::new(), vec![String::new()]);
    while let Some(folder) = folders.pop() {
        let listed = match fs::read_dir(root.join(&folder)) {
            Err(err) if err.kind() == io::ErrorKind::NotFound && !folder.is_empty() => continue,
            listed => listed?,
        };
        for entry in listed {
            let entry = entry?;
            let name = entry.file_name();
            let path = format!("{folder}{}", name.to_string_lossy());
            if without.contains(&path.as_str()) {
                continue;
            }
            let kind = entry.file_type()?;
            if kind.is_dir() {
                folders.push(format!("{path}/"));
            } else if kind.is_file() {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Copies a file, with its permissions, and the folders that are missing above it. The copy is on disk when this returns.
pub(super) fn copy_file(from: &Path, to: &Path) -> io::Result<Entry> {
    let mut source = File::open(from)?;
    let mode = source.metadata()?.permissions().mode();
    if let Some(folder) = to.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    let mut target = OpenOptions::new().write(true).create_new(true).mode(mode).open(to)?;
    let entry = hash(&mut source, |piece| target.write_all(piece))?;
    target.sync_all()?;
    Ok(entry)
}

/// The size and digest of a file.
pub(super) fn hash_file(path: &Path) -> io::Result<Entry> {
    hash(&mut File::open(path)?, |_| Ok(()))
}

fn hash(file: &mut File, mut each: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<Entry> {
    let (mut hasher, mut size, mut piece) = (Hasher::new(), 0, vec![0; PIECE]);
    loop {
        let read = file.read(&mut piece)?;
        let Some(bytes) = piece.get(..read).filter(|it| !it.is_empty()) else {
            return Ok(Entry { size, digest: hasher.finish() });
        };
        hasher.update(bytes);
        each(bytes)?;
        size += u64::try_from(read).unwrap_or(u64::MAX);
    }
}

/// Makes the names of all files durable.
pub(super) fn sync_folders(root: &Path) -> io::Result<()> {
    for entry in fs::read_dir(root)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sync_folders(&entry.path())?;
        }
    }
    File::open(root)?.sync_all()
}
