//! A tree that comes into being.
use crate::{PackageError, error::Doing as _, manifest::Mode};
use cap_std::{
    ambient_authority,
    fs::{
        Dir, DirBuilder, DirBuilderExt as _, File, OpenOptions, OpenOptionsExt as _, Permissions,
        PermissionsExt as _,
    },
};
use rustix::{fd::OwnedFd, fs::OFlags};
use std::{io, path::Path};

/// Whether a tree has to outlast a loss of power once it is finished.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "a tree is durable or it is not")]
pub enum Durability {
    /// All of it is on disk when it is finished.
    ///
    /// One `syncfs` for the whole tree, and not one `fsync` for each of its files and folders: that writes the same data in the
    /// order the disk likes, with one commit of the file system's journal in place of thousands. It comes before the rename that makes
    /// the tree the release, so a tree under its final name is whole. Failures to write any of it since the tree was begun are
    /// told (Linux 5.8 and later).
    #[default]
    Synced,
    /// Whenever the system gets to it: for tests, and trees that can be made again.
    Unsynced,
}

/// A tree that is made in a new folder, and taken away again if it is not finished.
///
/// Every path is opened through handles of the folder, one name at a time, so nothing outside it is touched whatever lies in it.
/// Files are only ever made anew, and symbolic links last, so nothing is written through a link.
#[derive(Debug)]
pub struct NewTree {
    parent: Dir,
    name: String,
    top: Dir,
    /// The folders that were used last, each inside the one before it.
    open: Vec<(String, Dir)>,
    links: Vec<(String, String)>,
    /// Of the top folder, which is private until the tree is finished.
    mode: Mode,
    durability: Durability,
    /// The file system, held open from the beginning on: it tells of writes that failed since.
    file_system: OwnedFd,
    finished: bool,
}

impl NewTree {
    /// Begins a tree in the folder `name` of `parent`. What an earlier, unfinished one has left under that name is taken away first:
    /// the name has to be one for unfinished trees alone. Renaming it is the caller's.
    ///
    /// # Errors
    /// If `name` is not a plain name, or the folder cannot be made.
    pub fn begin(parent: impl AsRef<Path>, name: &str) -> Result<Self, PackageError> {
        let parent = parent.as_ref();
        let doing = || format!("making the folder `{name}` in `{}`", parent.display());
        if name.is_empty() || name.contains(['/', '\0']) || matches!(name, "." | "..") {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a plain name"))
                .doing(doing);
        }
        let parent = Dir::open_ambient_dir(parent, ambient_authority()).doing(doing)?;
        remove(&parent, name).doing(doing)?;
        let mut private = DirBuilder::new();
        private.mode(0o700);
        parent.create_dir_with(name, &private).doing(doing)?;
        let top = parent.open_dir(name).doing(doing)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let file_system = rustix::fs::openat(&top, ".", flags, rustix::fs::Mode::empty());
        Ok(Self {
            parent,
            name: name.to_owned(),
            top,
            open: Vec::new(),
            links: Vec::new(),
            mode: Mode::FOLDER,
            durability: Durability::default(),
            file_system: file_system.map_err(io::Error::from).doing(doing)?,
            finished: false,
        })
    }

    /// As durable as `durability` says once it is finished.
    #[must_use]
    pub const fn with_durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    pub(super) fn folder(&mut self, path: &str, mode: Mode) -> Result<(), PackageError> {
        let doing = || format!("making the folder `{path}`");
        if matches!(path, "" | ".") {
            self.mode = mode;
            return Ok(());
        }
        self.descend(path).and_then(|dir| set_folder_mode(dir, mode)).doing(doing)
    }

    /// Makes a file that was not there. Its permissions are set at once: whoever writes it holds it open.
    pub(super) fn file(&mut self, path: &str, mode: Mode) -> Result<File, PackageError> {
        let doing = || format!("making `{path}`");
        let (folder, name) = split(path);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true).mode(0o600);
        let file =
            self.descend(folder).and_then(|dir| dir.open_with(name, &options)).doing(doing)?;
        file.set_permissions(Permissions::from_mode(mode.bits())).doing(doing)?;
        Ok(file)
    }

    /// Gives an earlier file another name.
    pub(super) fn hard_link(&mut self, path: &str, target: &str) -> Result<(), PackageError> {
        let doing = || format!("linking `{path}` to `{target}`");
        let (from, target) = split(target);
        let from = self.descend(from).and_then(Dir::try_clone).doing(doing)?;
        self.link_from(&from, target, path).doing(doing)
    }

    /// Gives the file `name` of another tree's folder a name in this one too.
    pub(super) fn link_from(&mut self, from: &Dir, name: &str, path: &str) -> io::Result<()> {
        let (folder, new) = split(path);
        from.hard_link(name, self.descend(folder)?, new)
    }

    /// Opens a file of it.
    pub(super) fn open_file(&mut self, path: &str) -> io::Result<File> {
        let (folder, name) = split(path);
        self.descend(folder)?.open(name)
    }

    /// Symbolic links are made last.
    pub(super) fn symbolic_link(&mut self, path: &str, target: &str) {
        self.links.push((path.to_owned(), target.to_owned()));
    }

    /// All of it is there, and durable if it has to be.
    pub(super) fn finish(mut self) -> Result<(), PackageError> {
        for (path, target) in std::mem::take(&mut self.links) {
            let (folder, name) = split(&path);
            let made = self.descend(folder).and_then(|dir| dir.symlink(&target, name));
            made.doing(|| format!("making the link `{path}`"))?;
        }
        set_folder_mode(&self.top, self.mode).doing(|| format!("finishing `{}`", self.name))?;
        if self.durability == Durability::Synced {
            let synced = rustix::fs::syncfs(&self.file_system).map_err(io::Error::from);
            synced.doing(|| format!("syncing `{}`", self.name))?;
        }
        self.finished = true;
        Ok(())
    }

    /// The folder `path`, made where it is not there yet.
    fn descend(&mut self, path: &str) -> io::Result<&Dir> {
        let mut depth = 0;
        let names = || path.split('/').filter(|it| !matches!(*it, "" | "."));
        for name in names() {
            match self.open.get(depth) {
                Some((open, _)) if open == name => {}
                _ => {
                    self.open.truncate(depth);
                    let dir = enter(self.deepest(), name)?;
                    self.open.push((name.to_owned(), dir));
                }
            }
            depth += 1;
        }
        self.open.truncate(depth);
        Ok(self.deepest())
    }

    fn deepest(&self) -> &Dir {
        self.open.last().map_or(&self.top, |(_, dir)| dir)
    }
}

impl Drop for NewTree {
    fn drop(&mut self) {
        if !self.finished {
            // Nobody is left to be told: what stays is taken away when the name is used again.
            drop(remove(&self.parent, &self.name));
        }
    }
}

/// Opens a folder, and makes it if it is not there.
fn enter(dir: &Dir, name: &str) -> io::Result<Dir> {
    match dir.open_dir(name) {
        Err(err) if err.kind() == io::ErrorKind::NotFound => {}
        opened => return opened,
    }
    dir.create_dir(name)?;
    let made = dir.open_dir(name)?;
    set_folder_mode(&made, Mode::FOLDER)?;
    Ok(made)
}

fn set_folder_mode(dir: &Dir, mode: Mode) -> io::Result<()> {
    dir.set_permissions(".", Permissions::from_mode(mode.bits()))
}

fn remove(parent: &Dir, name: &str) -> io::Result<()> {
    match parent.symlink_metadata(name) {
        Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(()),
        Ok(meta) if meta.is_dir() => parent.remove_dir_all(name),
        Ok(_) => parent.remove_file(name),
        Err(err) => Err(err),
    }
}

/// The folder of a path, and its last name.
pub(super) fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}
