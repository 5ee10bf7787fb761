//! How much room a build may take, looked at while it runs.
use crate::ended::{Ended, internal};
use deploy_core::{
    backend::{BuildFailure, BuildFault, Clock},
    time::Timestamp,
};
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat, openat, statat};
use std::{
    ffi::CString,
    fs::File,
    io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

/// Between two looks, at the least; and so many times as long as a look takes, so that looking is never most of what is done.
const PAUSE: Duration = Duration::from_secs(1);
const REST: u32 = 10;
/// What a file or folder counts at the least, in bytes: many empty ones fill a disk as well.
const SMALLEST: u64 = 1_024;

/// What a build may write below some folders.
#[derive(Clone, Debug)]
pub(crate) struct Quota {
    folders: Vec<PathBuf>,
    /// In bytes, beside what was there before.
    limit: u64,
    before: u64,
}

impl Quota {
    /// That below `folders` no more than `limit` bytes come to what is there now.
    pub(crate) async fn begin(folders: Vec<PathBuf>, limit: u64) -> Result<Self, Ended> {
        let mut quota = Self { folders, limit, before: 0 };
        quota.before = quota.measure().await?;
        Ok(quota)
    }

    pub(crate) const fn limit(&self) -> u64 {
        self.limit
    }

    /// Waits until there is more than there may be.
    pub(crate) async fn exceeded(&self, clock: &dyn Clock) -> Ended {
        let mut next = clock.now().after(PAUSE);
        loop {
            clock.sleep_until(next).await;
            let began = clock.now();
            if let Err(ended) = self.check().await {
                return ended;
            }
            next = after(began, clock.now());
        }
    }

    /// Fails if there is more than there may be.
    pub(crate) async fn check(&self) -> Result<(), Ended> {
        let written = self.measure().await?.saturating_sub(self.before);
        // One file of the whole limit is as large as the kernel lets it become.
        if written < self.limit {
            return Ok(());
        }
        let message = format!(
            "the build has written more than the {} MiB that it may; `disk_limit_mib` under `[build]` says how much that is",
            self.limit >> 20
        );
        Err(BuildFailure::new(BuildFault::DiskLimit, message).into())
    }

    async fn measure(&self) -> Result<u64, Ended> {
        let folders = self.folders.clone();
        let measure = move || folders.iter().try_fold(0_u64, |sum, it| Ok(sum + usage(it)?));
        let measured: io::Result<u64> =
            tokio::task::spawn_blocking(measure).await.map_err(internal)?;
        measured.map_err(|err| {
            let message = format!(
                "how much the build has written cannot be found out ({err}): it has nested folders too deep, or closed them to everybody"
            );
            BuildFailure::new(BuildFault::DiskLimit, message).into()
        })
    }
}

/// When to look again after a look that took so long.
fn after(began: Timestamp, ended: Timestamp) -> Timestamp {
    let took = ended.since(began);
    ended.after(PAUSE.max(took.saturating_mul(REST)))
}

/// How many bytes a folder takes with all that is in it; none, if it is not there. What goes away meanwhile does not count. This blocks.
///
/// It goes from open folder to open folder, so that no path is too long; what is nested deeper than files can be open is an error.
pub(crate) fn usage(folder: &Path) -> io::Result<u64> {
    let top = match File::open(folder) {
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(0),
        top => Arc::new(OwnedFd::from(top?)),
    };
    let mut sum = 0_u64;
    let mut left = vec![(top, CString::from(c"."))];
    while let Some((above, name)) = left.pop() {
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let Some(here) = unless_gone(openat(&above, name.as_c_str(), flags, Mode::empty()))? else {
            continue;
        };
        // Who has no more folders to look into need not stay open.
        drop(above);
        let here = Arc::new(here);
        for entry in Dir::read_from(&*here)? {
            let entry = entry?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            let Some(stat) = unless_gone(statat(&*here, name, AtFlags::SYMLINK_NOFOLLOW))? else {
                continue;
            };
            sum = sum.saturating_add(share(&stat));
            if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                left.push((Arc::clone(&here), name.to_owned()));
            }
        }
    }
    Ok(sum)
}

/// What one entry of a folder takes. What has several names is shared by them.
fn share(stat: &Stat) -> u64 {
    let is_folder = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
    let names = if is_folder { 1 } else { stat.st_nlink.max(1) };
    let bytes = u64::try_from(stat.st_blocks).unwrap_or(0).saturating_mul(512);
    (bytes / names).max(SMALLEST)
}

fn unless_gone<T>(done: rustix::io::Result<T>) -> io::Result<Option<T>> {
    use rustix::io::Errno;
    match done {
        Ok(done) => Ok(Some(done)),
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
        Err(err) => Err(err.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn all_that_takes_room_is_counted_once() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(usage(&dir.path().join("nothing")).unwrap(), 0);
        let deep = dir.path().join("a/b/c");
        fs::create_dir_all(&deep).unwrap();
        fs::write(deep.join("file"), vec![7; 1 << 20]).unwrap();
        fs::hard_link(deep.join("file"), dir.path().join("again")).unwrap();
        std::os::unix::fs::symlink("/", dir.path().join("link")).unwrap();
        let sum = usage(dir.path()).unwrap();
        assert!((1 << 20..(1 << 20) + (64 << 10)).contains(&sum), "{sum}");
        for at in 0..100 {
            fs::write(dir.path().join(format!("empty-{at}")), "").unwrap();
        }
        assert!(usage(dir.path()).unwrap() >= sum + 100 * SMALLEST);
    }
}
