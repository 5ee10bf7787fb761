//! An attempt's folder, before it has its name: all that the shim and the steps will read.
use super::Host;
use crate::{
    Policy,
    account::Account,
    attempt::AttemptKey,
    folder::{Folder, make, sync_folder},
    spec::Spec,
};
use deploy_core::spec::AbsolutePath;
use deploy_host::{
    archive::{self, ArchiveError, Limits},
    shell,
};
use rustix::fs::{CWD, Gid, Mode, OFlags, Uid, fchmod, fchown, mkdirat, openat};
use std::{
    fs::{self, OpenOptions},
    io::{self, Write as _},
    os::{
        fd::OwnedFd,
        unix::fs::{OpenOptionsExt as _, chown},
    },
    path::Path,
    sync::atomic::Ordering,
};

/// A folder that is ready. It is removed unless it gets its place.
#[derive(Debug)]
pub(super) struct Prepared {
    folder: Folder,
    placed: bool,
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
        descriptor: &Path,
        package: Option<&Path>,
        policy: &Policy,
    ) -> io::Result<Self> {
        let prepared = Self { folder, placed: false };
        prepared.folder.prepare(&spec.order)?;
        fs::hard_link(descriptor, prepared.folder.descriptor())?;
        prepared.write_work(spec, account, descriptor, package)?;
        make_deploy_path(&spec.place.deploy_path, policy, account)?;
        Ok(prepared)
    }

    /// What the steps read. Only the service's account can look into it, and change nothing but `tmp`.
    fn write_work(
        &self,
        spec: &Spec,
        account: &Account,
        descriptor: &Path,
        package: Option<&Path>,
    ) -> io::Result<()> {
        let work = self.folder.work();
        for folder in ["", "descriptor", "lib", "steps"] {
            make(&work.join(folder), 0o755)?;
        }
        write(&work.join("lib/deployutils.sh"), shell::LIBRARY.as_bytes(), false)?;
        for step in spec.steps.iter().filter(|it| it.script.is_none()) {
            let text = shell::default_step(step.name).unwrap_or_default();
            write(&work.join(step.path()), text.as_bytes(), false)?;
        }
        unpack(&fs::read(descriptor)?, &work.join("descriptor"))?;
        let scripts = spec.steps.iter().flat_map(|it| it.script.iter().chain(&it.check));
        for script in scripts {
            if !work.join("descriptor").join(script).is_file() {
                let message = format!("the descriptor has no file `{script}`");
                return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
            }
        }
        if let Some(package) = package {
            let path = work.join("package.tar.gz");
            fs::hard_link(package, &path)?;
            fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o644))?;
        }
        make(&work.join("tmp"), 0o700)?;
        make(&work, 0o750)?;
        if !account.is_own() {
            chown(work.join("tmp"), Some(account.uid), Some(account.gid))?;
            chown(&work, None, Some(account.gid))?;
        }
        Ok(())
    }

    /// Gives it its place. That is durable once the shim says that something begins. This blocks.
    pub(super) fn place(mut self, at: &Folder) -> io::Result<()> {
        let parent = at.path().parent().ok_or(io::ErrorKind::InvalidInput)?;
        if !parent.exists() {
            make(parent, 0o711)?;
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

/// The descriptor's files.
fn unpack(descriptor: &[u8], folder: &Path) -> io::Result<()> {
    let files = archive::read_files(descriptor, Limits::DESCRIPTOR).map_err(|err| match err {
        ArchiveError::Io(err) => err,
        refused => io::Error::new(io::ErrorKind::InvalidData, format!("the descriptor: {refused}")),
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
    let open = OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::RDONLY;
    let mut at: OwnedFd =
        openat(CWD, allowed, open, Mode::empty()).map_err(|err| astray(path, &err.into()))?;
    let mode = Mode::from_bits_truncate(0o755);
    let mut made = false;
    for part in below {
        made = match mkdirat(&at, part, mode) {
            Ok(()) => true,
            Err(rustix::io::Errno::EXIST) => false,
            Err(err) => return Err(err.into()),
        };
        at = openat(&at, part, open | OFlags::NOFOLLOW, Mode::empty())
            .map_err(|err| astray(path, &err.into()))?;
        if made {
            // Whatever masks the modes of what this process makes.
            fchmod(&at, mode)?;
        }
    }
    if made && !account.is_own() {
        fchown(&at, Some(Uid::from_raw(account.uid)), Some(Gid::from_raw(account.gid)))?;
    }
    Ok(())
}

fn astray(path: &AbsolutePath, err: &io::Error) -> io::Error {
    let message = format!("{path} cannot be used, because a part of it is no folder: {err}");
    io::Error::new(io::ErrorKind::PermissionDenied, message)
}
