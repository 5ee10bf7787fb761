//! The files of a blob in its folder.
use super::{Blob, Outboard};
use rustix::{
    fs::{FallocateFlags, fallocate, fstatvfs},
    io::Errno,
};
use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

/// Why a blob cannot be kept in a file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BlobFileError {
    /// The disk has less room than the blob takes.
    #[error("there is no room for the {} bytes of {blob} in {}", .blob.size(), .folder.display())]
    NoRoom {
        /// What was to be kept.
        blob: Blob,
        /// Where.
        folder: PathBuf,
    },
    /// What came is not the block that it should be; nothing was written.
    #[error("block {number} of {blob} is not what its chaining value says")]
    WrongBlock {
        /// The blob.
        blob: Blob,
        /// Its block.
        number: u32,
    },
    /// Not all of its blocks are there.
    #[error("{missing} blocks of {blob} are missing")]
    Incomplete {
        /// The blob.
        blob: Blob,
        /// How many blocks.
        missing: u32,
    },
    /// Reading or writing failed.
    #[error("{}: {source}", .path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

pub(super) fn path(folder: &Path, blob: &Blob, extension: &str) -> PathBuf {
    let dot = if extension.is_empty() { "" } else { "." };
    folder.join(format!("{blob}{dot}{extension}"))
}

pub(super) fn at(path: &Path) -> impl Fn(io::Error) -> BlobFileError {
    move |source| BlobFileError::Io { path: path.to_owned(), source }
}

pub(super) fn open_rw(path: &Path) -> Result<File, BlobFileError> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    options.open(path).map_err(at(path))
}

/// Takes all the room at once, so that a disk that is too full says so before the first byte. It is asked beforehand: to fill it up
/// and fail would take the room from everybody else meanwhile. What lies there is gone, but for the first `kept` bytes.
pub(super) fn reserve(
    file: &File,
    blob: &Blob,
    folder: &Path,
    kept: u64,
) -> Result<(), BlobFileError> {
    let no_room = || BlobFileError::NoRoom { blob: *blob, folder: folder.to_owned() };
    file.set_len(kept).map_err(at(folder))?;
    let disk = fstatvfs(file).map_err(|err| at(folder)(err.into()))?;
    if disk.f_bavail.saturating_mul(disk.f_frsize) < blob.size().saturating_sub(kept) {
        return Err(no_room());
    }
    if blob.size() == 0 {
        return Ok(());
    }
    let reserved = match fallocate(file, FallocateFlags::empty(), 0, blob.size()) {
        Ok(()) => return Ok(()),
        // Not every file system can; then a full disk shows later.
        Err(Errno::OPNOTSUPP) => return file.set_len(blob.size()).map_err(at(folder)),
        Err(err) => err,
    };
    file.set_len(kept).map_err(at(folder))?;
    match reserved {
        Errno::NOSPC | Errno::DQUOT | Errno::FBIG => Err(no_room()),
        err => Err(at(folder)(err.into())),
    }
}

/// Makes what lies at `beginning` the file of the blob, if there is something, and none yet; nobody has looked what it is.
pub(super) fn adopt(folder: &Path, blob: &Blob, beginning: &Path) -> Result<(), BlobFileError> {
    let kept = match fs::metadata(beginning) {
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(()),
        metadata => metadata.map_err(at(beginning))?.len(),
    };
    let part = path(folder, blob, "part");
    if kept == 0 || kept > blob.size() || part.exists() || path(folder, blob, "").exists() {
        return Ok(());
    }
    reserve(&open_rw(beginning)?, blob, folder, kept)?;
    // What was written down is of another file.
    removed(fs::remove_file(path(folder, blob, "have"))).map_err(at(folder))?;
    fs::rename(beginning, &part).map_err(at(&part))
}

/// What is not there is removed already.
pub(super) fn removed(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// The outboard lies beside its blob, also where another one did that was damaged.
pub(super) fn keep_outboard(folder: &Path, outboard: &Outboard) -> Result<(), BlobFileError> {
    let beside = path(folder, &outboard.blob(), "outboard");
    if fs::read(&beside).is_ok_and(|it| it == *outboard.bytes()) {
        return Ok(());
    }
    write_whole(&beside, outboard.bytes()).map_err(at(&beside))
}

fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let draft = path.with_added_extension("part");
    fs::write(&draft, bytes)?;
    File::open(&draft)?.sync_all()?;
    fs::rename(draft, path)
}
