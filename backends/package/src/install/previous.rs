//! The tree that is built upon.
use super::{NewTree, tree::split};
use crate::{
    Manifest, PackageError,
    error::Doing as _,
    manifest::{ContentHash, File as Described},
};
use cap_std::{
    ambient_authority,
    fs::{Dir, File, MetadataExt as _, OpenOptions, OpenOptionsExt as _},
};
use rustix::fs::OFlags;
use std::{
    collections::HashMap,
    io::{self, Read, Write as _},
    path::Path,
};

/// How much is copied at a time, in bytes.
const PIECE: usize = 256 << 10;

/// How files that did not change come into the new tree.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reuse {
    /// They share their blocks with the old ones where the file system can, and are copied where it cannot. Either may be changed
    /// later without the other.
    #[default]
    Clone,
    /// Both trees have the same file: no bytes at all, but whoever changes the one changes the other.
    HardLink,
}

/// A tree that was installed before, and what is known to be in it.
#[derive(Debug)]
pub struct Previous {
    top: Dir,
    manifest: Manifest,
    by_hash: HashMap<ContentHash, usize>,
    reuse: Reuse,
}

impl Previous {
    /// The tree in the folder `path`, of which `manifest` was installed.
    ///
    /// # Errors
    /// If the folder cannot be opened.
    pub fn open(path: impl AsRef<Path>, manifest: Manifest) -> Result<Self, PackageError> {
        let path = path.as_ref();
        let top = Dir::open_ambient_dir(path, ambient_authority())
            .doing(|| format!("opening `{}`", path.display()))?;
        let entries = manifest.entries().iter().enumerate();
        let by_hash = entries.filter_map(|(at, it)| Some((it.as_file()?.hash, at))).collect();
        Ok(Self { top, manifest, by_hash, reuse: Reuse::default() })
    }

    /// Takes files that did not change as `reuse` says.
    #[must_use]
    pub const fn with_reuse(mut self, reuse: Reuse) -> Self {
        self.reuse = reuse;
        self
    }

    /// What was installed there.
    #[must_use]
    pub const fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Reads all of it, and sees that it is what was installed.
    ///
    /// # Errors
    /// The first file that is not.
    pub fn verify(&self) -> Result<(), PackageError> {
        self.manifest.files().try_for_each(|it| self.verified(it).map(drop))
    }

    /// A file of it with that content.
    pub(crate) fn holding(&self, hash: ContentHash) -> Option<Described<'_>> {
        self.manifest.entries().get(*self.by_hash.get(&hash)?)?.as_file()
    }

    /// Opens a file of it, if it is still a plain file of that size.
    pub(crate) fn open_file(&self, file: Described<'_>) -> Result<File, PackageError> {
        let mut options = OpenOptions::new();
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
        options.read(true).custom_flags(i32::try_from(flags.bits()).unwrap_or_default());
        let opened = self.top.open_with(file.path, &options).map_err(|err| unopened(err, file))?;
        let meta = opened.metadata().map_err(|err| unopened(err, file))?;
        if meta.is_file() && meta.size() == file.size {
            return Ok(opened);
        }
        Err(changed(file))
    }

    /// Reads all of a file, and sees that it is what was installed.
    pub(crate) fn read(&self, file: Described<'_>) -> Result<Vec<u8>, PackageError> {
        let mut bytes = Vec::with_capacity(usize::try_from(file.size).unwrap_or_default());
        let opened = self.open_file(file)?;
        let read = opened.take(file.size).read_to_end(&mut bytes);
        read.doing(|| format!("reading `{}`", file.path))?;
        if ContentHash::of(&bytes) == file.hash { Ok(bytes) } else { Err(changed(file)) }
    }

    /// Reads a file once, and sees that it is what was installed.
    pub(crate) fn verified(&self, file: Described<'_>) -> Result<File, PackageError> {
        let mut opened = self.open_file(file)?;
        let found =
            copy(&mut opened, file.size, None).doing(|| format!("reading `{}`", file.path))?;
        if found == (file.size, file.hash) { Ok(opened) } else { Err(changed(file)) }
    }

    /// Takes `old`, a file of it, into `tree` as `new`, which has the same content.
    pub(super) fn take(
        &self,
        old: Described<'_>,
        new: Described<'_>,
        tree: &mut NewTree,
    ) -> Result<(), PackageError> {
        // Two names of one file have one mode.
        if self.reuse == Reuse::HardLink && old.mode == new.mode {
            let linked = self.link(old, new, tree);
            match linked {
                Err(PackageError::Io { .. }) => {}
                linked => return linked,
            }
        }
        self.copy(old, new, tree)
    }

    fn link(
        &self,
        old: Described<'_>,
        new: Described<'_>,
        tree: &mut NewTree,
    ) -> Result<(), PackageError> {
        let doing = || format!("linking `{}`", new.path);
        let (folder, name) = split(old.path);
        let folder = if folder.is_empty() { "." } else { folder };
        self.open_file(old)?;
        let folder = self.top.open_dir(folder).map_err(|err| unopened(err, old))?;
        tree.link_from(&folder, name, new.path).doing(doing)?;
        let linked = tree.open_file(new.path).doing(doing)?;
        let found = copy(linked, old.size, None).doing(doing)?;
        if found == (old.size, old.hash) { Ok(()) } else { Err(changed(old)) }
    }

    fn copy(
        &self,
        old: Described<'_>,
        new: Described<'_>,
        tree: &mut NewTree,
    ) -> Result<(), PackageError> {
        let doing = || format!("copying `{}`", new.path);
        let mut source = self.open_file(old)?;
        let mut made = tree.file(new.path, new.mode)?;
        // What is hashed is what the new tree has: the clone itself, or the bytes that are written.
        let hash = if rustix::fs::ioctl_ficlone(&made, &source).is_ok() {
            copy(&mut made, old.size, None)
        } else {
            copy(&mut source, old.size, Some(&mut made))
        };
        let (size, hash) = hash.doing(doing)?;
        if (size, hash) == (old.size, old.hash) { Ok(()) } else { Err(changed(old)) }
    }
}

/// What cannot be opened is no longer what was installed, unless it is the system that is at its end.
fn unopened(err: io::Error, file: Described<'_>) -> PackageError {
    use rustix::io::Errno;
    match Errno::from_io_error(&err) {
        Some(Errno::IO | Errno::MFILE | Errno::NFILE | Errno::NOMEM) => {
            PackageError::io(format!("opening `{}`", file.path), err)
        }
        _ => changed(file),
    }
}

fn changed(file: Described<'_>) -> PackageError {
    PackageError::OldFileChanged { path: file.path.to_owned() }
}

/// Reads what should have `size` bytes, and writes it too where it is to go; gives its size and hash. Of what has become longer meanwhile, one
/// byte more is read.
fn copy(from: impl Read, size: u64, mut to: Option<&mut File>) -> io::Result<(u64, ContentHash)> {
    let mut from = from.take(size.saturating_add(1));
    let (mut piece, mut hasher, mut size) = (vec![0; PIECE], blake3::Hasher::new(), 0);
    loop {
        let read = from.read(&mut piece)?;
        if read == 0 {
            return Ok((size, hasher.finalize().into()));
        }
        let bytes = piece.get(..read).unwrap_or_default();
        hasher.update(bytes);
        size += read as u64;
        if let Some(to) = &mut to {
            to.write_all(bytes)?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_never_ends_is_read_to_its_size() {
        let (size, hash) = copy(io::repeat(7), 999_999, None).unwrap();
        assert_eq!((size, hash), (1_000_000, ContentHash::of(&[7; 1_000_000])));
        assert_eq!(copy(&b"ab"[..], 2, None).unwrap(), (2, ContentHash::of(b"ab")));
    }
}
