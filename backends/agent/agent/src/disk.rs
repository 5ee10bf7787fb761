//! Room on file systems: what is there, and what is lacking.
use deploy_package::publish::{Free, Needs};
use rustix::fs::{CWD, Mode, OFlags, ioctl_ficlone, openat, statvfs};
use std::{
    fs::{self, File},
    io::{self, Write as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

/// Between these is what stays free where nobody has said how much, in bytes: enough for what an attempt writes about itself, and no more
/// than it takes for a person to have the time to look.
const KEPT: (u64, u64) = (64 << 20, 1 << 30);
/// And there it is one of so many parts of the file system.
const PARTS: u64 = 20;
/// Nothing has to stay free.
pub(crate) const NOTHING: Free = Free { bytes: 0, inodes: 0 };

/// How much of each file system stays free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reserve {
    /// `None`: a share of it.
    pub(crate) bytes: Option<u64>,
    pub(crate) inodes: u64,
}

impl Reserve {
    /// Of a file system of `size` bytes.
    fn of(self, size: u64) -> Free {
        let (least, most) = KEPT;
        let share = || (size / PARTS).clamp(least, most);
        Free { bytes: self.bytes.unwrap_or_else(share), inodes: self.inodes }
    }
}

/// The file system that a folder is on, as it is now.
#[derive(Debug)]
pub(crate) struct Disk {
    folder: PathBuf,
    id: u64,
    size: u64,
    free: Free,
}

impl Disk {
    /// That of `folder`, or of the one that it will be made in.
    pub(crate) fn of(folder: &Path) -> io::Result<Self> {
        let there = folder.ancestors().find(|it| it.exists()).unwrap_or_else(|| Path::new("/"));
        let folder = there.canonicalize().unwrap_or_else(|_| there.to_owned());
        let now = statvfs(there)?;
        let bytes = now.f_bavail.saturating_mul(now.f_frsize);
        // Some file systems do not count files.
        let inodes = if now.f_files == 0 { u64::MAX } else { now.f_favail };
        let size = now.f_blocks.saturating_mul(now.f_frsize);
        Ok(Self { folder, id: now.f_fsid, size, free: Free { bytes, inodes } })
    }

    pub(crate) const fn is_same(&self, other: &Self) -> bool {
        self.id == other.id
    }

    pub(crate) const fn free(&self) -> Free {
        self.free
    }

    /// The same with so many more bytes free.
    pub(crate) fn with(mut self, bytes: u64) -> Self {
        self.free.bytes = self.free.bytes.saturating_add(bytes);
        self
    }

    /// What `reserve` is of this one. What takes nothing, such as a way back to what is there, needs room for no more than what it writes about itself.
    pub(crate) fn kept(&self, reserve: Reserve, needs: Needs) -> Free {
        let mut kept = reserve.of(self.size);
        if needs.bytes() == 0 && needs.inodes == 0 {
            kept.bytes = kept.bytes.min(KEPT.0);
        }
        kept
    }

    /// Whether there is room for this, with `reserve` left; if not, what is lacking.
    pub(crate) fn check(&self, needs: Needs, reserve: Free) -> Result<(), String> {
        needs.check(self.free, reserve).map_err(|short| {
            let kept = match reserve {
                Free { bytes: 0, inodes: 0 } => String::new(),
                Free { bytes, inodes } => {
                    format!(", of which {bytes} bytes and {inodes} inodes have to stay so")
                }
            };
            format!("{}: {short} ({}{kept})", self.folder.display(), self.says())
        })
    }

    /// How it is now, in words.
    pub(crate) fn says(&self) -> String {
        let (mount, Free { bytes, inodes }) = (self.mount(), self.free);
        let files = match inodes {
            u64::MAX => "and inodes that nobody counts".to_owned(),
            inodes => format!("and {inodes} inodes"),
        };
        format!("{} has {bytes} bytes {files} free", mount.display())
    }

    /// Where it is mounted.
    fn mount(&self) -> &Path {
        let device = |it: &Path| fs::metadata(it).map(|it| it.dev()).ok();
        let here = device(&self.folder);
        let same = self.folder.ancestors().take_while(|it| device(it) == here);
        same.last().unwrap_or(&self.folder)
    }
}

/// Whether files in `folder` and in those folders of it share their blocks where their bytes are the same. It is tried, with files that have
/// no name; where it cannot be tried, it is not so.
pub(crate) fn shares_blocks(folder: &Path, below: impl Iterator<Item = PathBuf>) -> bool {
    let device = |it: &Path| fs::symlink_metadata(it).map(|it| it.dev()).ok();
    let mut below = below;
    let here = device(folder);
    let tried = || {
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        let file = || openat(CWD, folder, flags, Mode::RUSR | Mode::WUSR).map(File::from);
        let (mut from, to) = (file()?, file()?);
        from.write_all(&[1; 4_096])?;
        Ok::<_, io::Error>(ioctl_ficlone(&to, &from)?)
    };
    here.is_some() && below.all(|it| device(&it) == here) && tried().is_ok()
}

/// Whether an error says that a disk is full, or that nobody may put more on it.
pub(crate) fn is_full(err: &io::Error) -> bool {
    [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded].contains(&err.kind())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lacking_is_named_with_where_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let disk = Disk::of(&dir.path().join("not/there")).unwrap();
        let mut needs = Needs::default();
        disk.check(needs, NOTHING).unwrap();
        needs.unpacked = 1 << 60;
        let lacking = (1 << 60) + 5 - disk.free.bytes;
        let short = disk.check(needs, Free { bytes: 5, inodes: 0 }).unwrap_err();
        assert!(short.starts_with(&format!("{}: ", dir.path().display())), "{short}");
        assert!(short.contains(&format!("is short of {lacking} bytes and 0 inodes")), "{short}");
        assert!(
            short.contains(&disk.says()) && short.contains("5 bytes and 0 inodes have to stay")
        );
    }

    #[test]
    fn what_stays_free_is_a_share_unless_it_is_said() {
        let share = Reserve { bytes: None, inodes: 7 };
        for (mib, kept) in [(80, 64), (10 << 10, 512), (100 << 10, 1_024), (1 << 20, 1_024)] {
            assert_eq!(share.of(mib << 20), Free { bytes: kept << 20, inodes: 7 });
        }
        let said = Reserve { bytes: Some(3), inodes: 0 };
        assert_eq!(said.of(1 << 40), Free { bytes: 3, inodes: 0 });
    }

    #[test]
    fn what_takes_nothing_needs_no_more_than_before() {
        let disk = Disk { folder: "/".into(), id: 0, size: 1 << 40, free: NOTHING };
        let reserve = Reserve { bytes: None, inodes: 7 };
        let mut needs = Needs::default();
        assert_eq!(disk.kept(reserve, needs), Free { bytes: KEPT.0, inodes: 7 });
        needs.download = 1;
        assert_eq!(disk.kept(reserve, needs), Free { bytes: KEPT.1, inodes: 7 });
        assert_eq!(disk.with(5).free().bytes, 5);
    }

    #[test]
    fn a_mount_is_where_the_device_begins() {
        assert_eq!(Disk::of(Path::new("/proc/self/fd")).unwrap().mount(), Path::new("/proc"));
        let nowhere = Disk::of(Path::new("/nothing/of/it")).unwrap();
        assert_eq!(nowhere.mount(), Path::new("/"));
    }

    #[test]
    fn blocks_are_shared_where_clones_are() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        fs::write(path("old"), [7; 10_000]).unwrap();
        let (old, new) = (File::open(path("old")).unwrap(), File::create(path("new")).unwrap());
        let clones = ioctl_ficlone(&new, &old).is_ok();
        fs::create_dir(path("one")).unwrap();
        assert_eq!(shares_blocks(dir.path(), [path("one")].into_iter()), clones);
        // Nothing is cloned from one file system to another, nor in one that keeps nothing.
        assert!(!shares_blocks(dir.path(), [path("one"), "/proc".into()].into_iter()));
        assert!(!shares_blocks(Path::new("/proc"), [].into_iter()));
        let left = fs::read_dir(dir.path()).unwrap().count();
        assert_eq!(left, 3, "something is left of what was tried");
    }
}
