//! An attempt's folder, before it has its name: all that the shim and the steps will read.
use super::Host;
use crate::{
    Policy,
    account::Account,
    attempt::AttemptKey,
    folder::{Folder, make, sync_all_below, sync_folder},
    package::PackageTree,
    spec::Spec,
};
use deploy_core::spec::AbsolutePath;
use deploy_host::{
    archive::{self, ArchiveError, Limits},
    shell,
};
use deploy_package::publish::Needs;
use rustix::{
    fs::{
        CWD, Gid, Mode, OFlags, RenameFlags, Uid, fchmod, fchown, mkdirat, openat, renameat_with,
    },
    io::Errno,
};
use std::{
    ffi::OsStr,
    fs::{self, OpenOptions},
    io::{self, Write as _},
    os::{
        fd::OwnedFd,
        unix::fs::{OpenOptionsExt as _, chown},
    },
    path::{Path, PathBuf},
    sync::atomic::Ordering,
};

/// How folders are opened.
const FOLDER: OFlags = OFlags::DIRECTORY.union(OFlags::CLOEXEC).union(OFlags::RDONLY);

/// A folder that is ready. It is removed unless it gets its place.
#[derive(Debug)]
pub(super) struct Prepared {
    folder: Folder,
    placed: bool,
}

/// What an attempt needs, as it lies in the cache.
#[derive(Debug)]
pub(super) struct Fetched {
    pub(super) descriptor: PathBuf,
    pub(super) package: Option<FetchedPackage>,
}

/// A package, or what a tree is put together of.
#[derive(Debug)]
pub(super) enum FetchedPackage {
    Archive(PathBuf),
    Tree { tree: PackageTree, needs: Needs, parts: Vec<PathBuf> },
}

impl Host {
    /// A folder for what is being prepared.
    pub(super) fn unfinished(&self, key: &AttemptKey) -> Folder {
        let number = self.prepared.fetch_add(1, Ordering::Relaxed);
        let name = format!("{}.{}.{number}", key.service, key.generation);
        Folder::at(self.options.state.join("incoming").join(name))
    }
}

impl Prepared {
    /// Writes it. This blocks.
    pub(super) fn new(
        folder: Folder,
        spec: &Spec,
        account: &Account,
        fetched: &Fetched,
        back: Option<&Fetched>,
        policy: &Policy,
    ) -> io::Result<Self> {
        let prepared = Self { folder, placed: false };
        prepared.folder.prepare(&spec.order)?;
        fs::hard_link(&fetched.descriptor, prepared.folder.descriptor())?;
        write_work(&prepared.folder, spec, account, fetched)?;
        if let (Some(revert), Some(fetched)) = (&spec.revert, back) {
            let folder = prepared.folder.back();
            make(folder.path(), 0o711)?;
            write_work(&folder, &revert.back, account, fetched)?;
            // A host whose power goes while it waits has to go back, too: what that takes is on the disk before anything runs.
            prepared.folder.sync_order()?;
            sync_all_below(folder.path())?;
        }
        make_deploy_path(&spec.place.deploy_path, policy, account)?;
        Ok(prepared)
    }

    /// Gives it its place. That is durable once the shim says that something begins. This blocks.
    pub(super) fn place(mut self, at: &Folder) -> io::Result<()> {
        let parent = at.path().parent().ok_or(io::ErrorKind::InvalidInput)?;
        let is_new = !parent.exists();
        // Also one that is there: an agent that was killed may have made it, and not opened it to the service's account.
        make(parent, 0o711)?;
        if is_new {
            parent.parent().map_or(Ok(()), sync_folder)?;
        }
        if at.path().exists() {
            // An agent that was killed has left it, before anything ran.
            fs::remove_dir_all(at.path())?;
        }
        fs::rename(self.folder.path(), at.path())?;
        self.placed = true;
        Ok(())
    }
}

impl Drop for Prepared {
    fn drop(&mut self) {
        if !self.placed {
            // What is left is removed when the agent begins anew.
            drop(fs::remove_dir_all(self.folder.path()));
        }
    }
}

/// What the steps read. Only the service's account can look into it, and change nothing but `tmp`.
fn write_work(
    folder: &Folder,
    spec: &Spec,
    account: &Account,
    fetched: &Fetched,
) -> io::Result<()> {
    let work = folder.work();
    for folder in ["", "descriptor", "lib", "steps"] {
        make(&work.join(folder), 0o755)?;
    }
    write(&work.join("lib/deployutils.sh"), shell::LIBRARY.as_bytes(), false)?;
    for step in spec.steps.iter().filter(|it| it.script.is_none()) {
        let text = shell::default_step(step.name).unwrap_or_default();
        write(&work.join(step.path()), text.as_bytes(), false)?;
    }
    unpack(&fs::read(&fetched.descriptor)?, &work.join("descriptor"))?;
    let scripts = spec.steps.iter().flat_map(|it| it.script.iter().chain(&it.check));
    for script in scripts {
        if !work.join("descriptor").join(script).is_file() {
            let message = format!("the descriptor has no file `{script}`");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
    }
    match &fetched.package {
        Some(FetchedPackage::Archive(package)) => {
            let path = work.join("package.tar.gz");
            fs::hard_link(package, &path)?;
            fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o644))?;
        }
        Some(FetchedPackage::Tree { tree, needs, parts }) => tree.write(&work, parts, *needs)?,
        None => {}
    }
    make(&work.join("tmp"), 0o700)?;
    make(&work.join("output"), 0o700)?;
    make(&work, 0o750)?;
    if !account.is_own() {
        chown(work.join("tmp"), Some(account.uid), Some(account.gid))?;
        chown(work.join("output"), Some(account.uid), Some(account.gid))?;
        chown(&work, None, Some(account.gid))?;
    }
    Ok(())
}

/// The descriptor's files.
fn unpack(descriptor: &[u8], folder: &Path) -> io::Result<()> {
    let files = archive::read_files(descriptor, Limits::DESCRIPTOR).map_err(|err| match err {
        ArchiveError::Io(err) => err,
        refused @ ArchiveError::Refused(_) => {
            io::Error::new(io::ErrorKind::InvalidData, format!("the descriptor: {refused}"))
        }
    })?;
    for (path, file) in files {
        let path = folder.join(path);
        if let Some(parent) = path.parent().filter(|it| *it != folder) {
            let below = parent.strip_prefix(folder).unwrap_or(parent);
            let mut made = folder.to_owned();
            for part in below {
                made.push(part);
                make(&made, 0o755)?;
            }
        }
        write(&path, &file.bytes, file.executable)?;
    }
    Ok(())
}

fn write(path: &Path, bytes: &[u8], executable: bool) -> io::Result<()> {
    let mode = if executable { 0o755 } else { 0o644 };
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(mode))
}

/// The service's own folder. What is missing on the way to it is made, the last of it for the account. Nobody may lead astray by a symbolic link
/// below the folder that the host's policy names.
fn make_deploy_path(path: &AbsolutePath, policy: &Policy, account: &Account) -> io::Result<()> {
    let allowed = policy.folder_of(path).map_or("/", AbsolutePath::as_str);
    let below = Path::new(path.as_str()).strip_prefix(allowed).unwrap_or_else(|_| Path::new(""));
    let mut at =
        openat(CWD, allowed, FOLDER, Mode::empty()).map_err(|err| astray(path, &err.into()))?;
    let mut parts = below.iter().peekable();
    while let Some(part) = parts.next() {
        at = match openat(&at, part, FOLDER | OFlags::NOFOLLOW, Mode::empty()) {
            Err(Errno::NOENT) => {
                let owner = Some(account).filter(|it| parts.peek().is_none() && !it.is_own());
                match make_folder(&at, part, owner) {
                    // Somebody else has made it at the same time.
                    Err(Errno::EXIST | Errno::NOENT) => {
                        openat(&at, part, FOLDER | OFlags::NOFOLLOW, Mode::empty())?
                    }
                    made => made?,
                }
            }
            found => found.map_err(|err| astray(path, &err.into()))?,
        };
    }
    Ok(())
}

/// Makes a folder that everybody can look into. It has its name only once it is whose it is to be: whoever is killed before leaves none that
/// the account cannot write to.
fn make_folder(at: &OwnedFd, name: &OsStr, owner: Option<&Account>) -> Result<OwnedFd, Errno> {
    let mode = Mode::from_bits_truncate(0o755);
    let mut new = OsStr::new(".new.").to_owned();
    new.push(name);
    match mkdirat(at, &new, mode) {
        // Left by one that was killed.
        Ok(()) | Err(Errno::EXIST) => {}
        Err(err) => return Err(err),
    }
    let made = openat(at, &new, FOLDER | OFlags::NOFOLLOW, Mode::empty())?;
    // Whatever masks the modes of what this process makes.
    fchmod(&made, mode)?;
    if let Some(owner) = owner {
        fchown(&made, Some(Uid::from_raw(owner.uid)), Some(Gid::from_raw(owner.gid)))?;
    }
    renameat_with(at, &new, at, name, RenameFlags::NOREPLACE)?;
    Ok(made)
}

fn astray(path: &AbsolutePath, err: &io::Error) -> io::Error {
    let message = format!("{path} cannot be used, because a part of it is no folder: {err}");
    io::Error::new(io::ErrorKind::PermissionDenied, message)
}
