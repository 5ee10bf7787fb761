//! Files named by their SHA-256, as many as there is room for.
use deploy_core::digest::Digest;
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, UTIME_NOW, utimensat};
use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

/// What was used within so long before the newest stays, whatever the room: somebody may be fetching it.
const RECENT: Duration = Duration::from_secs(3_600);

/// The folder of the blobs.
#[derive(Clone, Debug)]
pub(crate) struct Blobs {
    folder: PathBuf,
}

impl Blobs {
    /// In `folder`, which is made.
    pub(crate) fn open(folder: PathBuf) -> io::Result<Self> {
        fs::create_dir_all(&folder)?;
        Ok(Self { folder })
    }

    pub(crate) fn path(&self, digest: Digest) -> PathBuf {
        self.folder.join(digest.hex())
    }

    /// Whether all of a blob is there. It is used, then.
    pub(crate) fn has(&self, digest: Digest, size: u64) -> bool {
        let path = self.path(digest);
        fs::metadata(&path).is_ok_and(|it| it.len() == size) && touch(&path).is_ok()
    }

    /// Whether something of that name is there. It is used, then.
    pub(crate) fn is_there(&self, digest: Digest) -> bool {
        let path = self.path(digest);
        path.is_file() && touch(&path).is_ok()
    }

    /// Takes a finished file in, which is on the disk.
    pub(crate) fn take(&self, file: &Path, digest: &str) -> io::Result<()> {
        fs::rename(file, self.folder.join(digest))
    }

    /// All names are on the disk afterwards.
    pub(crate) fn sync(&self) -> io::Result<()> {
        File::open(&self.folder)?.sync_all()
    }

    /// Removes what was not used for the longest time until the rest has `budget` bytes at most.
    pub(crate) fn evict(&self, budget: u64) -> io::Result<()> {
        let mut files: Vec<(SystemTime, u64, PathBuf)> = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            match entry.metadata() {
                Err(err) if err.kind() == io::ErrorKind::NotFound => {}
                meta => {
                    let meta = meta?;
                    files.push((meta.modified()?, meta.len(), entry.path()));
                }
            }
        }
        files.sort();
        let newest = files.last().map(|it| it.0);
        let mut total: u64 = files.iter().map(|it| it.1).sum();
        for (used, size, path) in files {
            let age = newest.and_then(|it| it.duration_since(used).ok()).unwrap_or_default();
            if total <= budget || age < RECENT {
                break;
            }
            match fs::remove_file(path) {
                // Patches are kept by several processes, which may do the same at once.
                Err(err) if err.kind() != io::ErrorKind::NotFound => return Err(err),
                _ => total -= size,
            }
        }
        Ok(())
    }
}

/// It was used just now.
pub(crate) fn touch(path: &Path) -> io::Result<()> {
    let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
    let times = Timestamps { last_access: now, last_modification: now };
    Ok(utimensat(CWD, path, &times, AtFlags::empty())?)
}
