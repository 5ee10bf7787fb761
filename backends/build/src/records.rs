//! Builds in a folder: one folder a build, shared by all processes that work on it.
use deploy_core::{
    backend::{
        BackendError, BackendResult, Build, BuildFailure, BuildFault, BuildState, ErrorKind,
    },
    id::BuildId,
    time::Timestamp,
};
use serde::{Deserialize, Serialize};
use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

/// The format of a record.
const FORMAT: u32 = 1;

/// The folder of all builds.
#[derive(Clone, Debug)]
pub(crate) struct Records {
    root: PathBuf,
    custody: Custody,
}

/// Who goes on with a build whose process is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Custody {
    /// The host that works on it, and whoever takes the build over.
    Host,
    /// Nobody: it is lost.
    Process,
}

impl Custody {
    /// What the ids of such builds begin with.
    pub(crate) const fn prefix(self) -> &'static str {
        match self {
            Self::Host => "r",
            Self::Process => "b",
        }
    }
}

/// That a build is this process's. Held for as long as it works on it; a process that dies holds nothing.
#[derive(Debug)]
pub(crate) struct Owner(#[expect(dead_code, reason = "it is held, and that is all")] File);

#[derive(Serialize, Deserialize)]
struct Record {
    format: u32,
    build: Build,
}

impl Records {
    /// Opens the folder, which is made if it is missing, and kept from others.
    pub(crate) fn open(root: PathBuf, custody: Custody) -> io::Result<Self> {
        let folders: &[&str] = match custody {
            Custody::Host => &["records"],
            Custody::Process => &["cache", "mirrors", "records", "work"],
        };
        for folder in folders {
            make_private(&root.join(folder))?;
        }
        Ok(Self { root, custody })
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Where what belongs to a build is kept.
    pub(crate) fn folder(&self, id: &BuildId) -> PathBuf {
        self.root.join("records").join(id.as_str())
    }

    /// The file whose being there means that somebody has cancelled the build.
    pub(crate) fn cancel_file(&self, id: &BuildId) -> PathBuf {
        self.folder(id).join("cancel")
    }

    /// Where it is written down in which control groups a build is.
    pub(crate) fn groups_file(&self, id: &BuildId) -> PathBuf {
        self.folder(id).join("groups.json")
    }

    /// The number of the process that works on a build.
    pub(crate) fn owner(&self, id: &BuildId) -> Option<u32> {
        fs::read_to_string(self.lock_file(id)).ok()?.trim().parse().ok()
    }

    /// Takes a new build in, as this process's. `furnish` puts into its folder what has to be there from the beginning.
    pub(crate) fn create(
        &self,
        make: impl FnOnce(BuildId) -> Build,
        furnish: impl FnOnce(&Path) -> io::Result<()>,
    ) -> BackendResult<(Build, Owner)> {
        let _queue = self.lock_queue()?;
        let number = self.count()?;
        let id = format!("{}{number}", self.custody.prefix())
            .parse()
            .map_err(|err| failed("build.create", io::Error::other(err)))?;
        let build = make(id);
        let make = || {
            let folder = self.folder(&build.id);
            make_private(&folder)?;
            furnish(&folder)?;
            let lock = open_lock(&self.lock_file(&build.id))?;
            lock.try_lock().map_err(io::Error::from)?;
            own(lock)
        };
        let owner = make().map_err(|err| failed("build.create", err))?;
        self.write(&build)?;
        Ok((build, owner))
    }

    /// Makes a build this process's that nobody works on; `None` if somebody does.
    pub(crate) fn take_over(&self, id: &BuildId) -> BackendResult<Option<Owner>> {
        let take = || -> io::Result<Option<Owner>> {
            let lock = open_lock(&self.lock_file(id))?;
            match lock.try_lock() {
                Ok(()) => lock.set_len(0).and_then(|()| own(lock)).map(Some),
                Err(TryLockError::WouldBlock) => Ok(None),
                Err(TryLockError::Error(err)) => Err(err),
            }
        };
        take().map_err(|err| failed("build.take_over", err))
    }

    /// The number of the next build. None is used twice.
    fn count(&self) -> BackendResult<u64> {
        let path = self.root.join("next");
        let next = match fs::read_to_string(&path) {
            Ok(text) => text.trim().parse().map_err(|_| corrupt(&path))?,
            Err(err) if err.kind() == io::ErrorKind::NotFound => 1,
            Err(err) => return Err(failed("build.create", err)),
        };
        write_whole(&path, (next + 1).to_string().as_bytes())
            .map_err(|err| failed("build.create", err))?;
        Ok(next)
    }

    /// Keeps all other processes from taking builds in and beginning them, until it is dropped.
    pub(crate) fn lock_queue(&self) -> BackendResult<File> {
        let lock = open_lock(&self.root.join("queue.lock"));
        let lock = lock.and_then(|it| it.lock().map(|()| it));
        lock.map_err(|err| failed("build.queue", err))
    }

    /// Keeps what is known of a build.
    pub(crate) fn write(&self, build: &Build) -> BackendResult<()> {
        let record = Record { format: FORMAT, build: build.clone() };
        let text = serde_json::to_vec(&record).map_err(|err| failed("build.write", err.into()))?;
        write_whole(&self.folder(&build.id).join("build.json"), &text)
            .map_err(|err| failed("build.write", err))
    }

    /// What is known of a build. One that nobody works on any more is lost, `now` at the latest.
    pub(crate) fn read(&self, id: &BuildId, now: Timestamp) -> BackendResult<Build> {
        let build = self.read_as_is(id)?;
        if build.state.is_over() || self.custody == Custody::Host {
            return Ok(build);
        }
        let lock = open_lock(&self.lock_file(id)).map_err(|err| failed("build.read", err))?;
        match lock.try_lock() {
            Err(TryLockError::WouldBlock) => Ok(build),
            Err(TryLockError::Error(err)) => Err(failed("build.read", err)),
            // It may have come to its end between the two looks.
            Ok(()) => self.lose(self.read_as_is(id)?, now),
        }
    }

    /// Whether nobody works on a build.
    fn is_over(&self, id: &BuildId) -> bool {
        open_lock(&self.lock_file(id)).is_ok_and(|it| it.try_lock().is_ok())
    }

    fn read_as_is(&self, id: &BuildId) -> BackendResult<Build> {
        let path = self.folder(id).join("build.json");
        let text = fs::read(&path).map_err(|err| match err.kind() {
            io::ErrorKind::NotFound => {
                BackendError::new(ErrorKind::NotFound, "build.read").with("build", id)
            }
            _ => failed("build.read", err),
        })?;
        let record: Record =
            serde_json::from_slice(&text).map_err(|err| corrupt(&path).because(err))?;
        if record.format != FORMAT {
            return Err(corrupt(&path).with("format", record.format).with("known", FORMAT));
        }
        Ok(record.build)
    }

    fn lose(&self, mut build: Build, now: Timestamp) -> BackendResult<Build> {
        if build.state.is_over() {
            return Ok(build);
        }
        build.state = BuildState::Lost;
        build.ended_at = Some(now);
        let message =
            "the process that ran it is gone; build again: what is the same is not fetched twice";
        build.failure = Some(BuildFailure::new(BuildFault::Internal, message));
        self.write(&build)?;
        Ok(build)
    }

    /// All builds, newest first.
    pub(crate) fn all(&self, now: Timestamp) -> BackendResult<Vec<Build>> {
        let mut builds = Vec::new();
        for id in self.ids()? {
            match self.read(&id, now) {
                Ok(build) => builds.push(build),
                // It is being made, or was removed meanwhile.
                Err(err) if err.kind() == ErrorKind::NotFound => {}
                // One that cannot be read must not hide the others, unless somebody works on it.
                Err(err) if err.kind() == ErrorKind::Corrupt && self.is_over(&id) => {}
                Err(err) => return Err(err),
            }
        }
        Ok(builds)
    }

    /// The ids of all builds, newest first.
    fn ids(&self) -> BackendResult<Vec<BuildId>> {
        let mut numbers = Vec::new();
        let entries =
            fs::read_dir(self.root.join("records")).map_err(|err| failed("build.list", err))?;
        for entry in entries {
            let name = entry.map_err(|err| failed("build.list", err))?.file_name();
            let number = name
                .to_str()
                .and_then(|it| it.strip_prefix(self.custody.prefix()))
                .and_then(|it| it.parse::<u64>().ok());
            numbers.extend(number);
        }
        numbers.sort_unstable_by(|a, b| b.cmp(a));
        Ok(numbers
            .iter()
            .filter_map(|it| format!("{}{it}", self.custody.prefix()).parse().ok())
            .collect())
    }

    /// Removes a build that is over.
    pub(crate) fn remove(&self, id: &BuildId) -> BackendResult<()> {
        fs::remove_dir_all(self.folder(id)).map_err(|err| failed("build.remove", err))
    }

    fn lock_file(&self, id: &BuildId) -> PathBuf {
        self.folder(id).join("lock")
    }
}

fn own(lock: File) -> io::Result<Owner> {
    // For people who look for it.
    writeln!(&lock, "{}", std::process::id())?;
    Ok(Owner(lock))
}

/// Makes a folder that only its owner can enter, and what is missing above it.
pub(crate) fn make_private(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

fn open_lock(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).mode(0o600).open(path)
}

/// Writes a file whole or not at all, also when the machine stops.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let new = path.with_extension("new");
    let mut file = File::create(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    match path.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

fn corrupt(path: &Path) -> BackendError {
    BackendError::new(ErrorKind::Corrupt, "build.read").with("path", path.display())
}

pub(crate) fn failed(operation: &'static str, err: io::Error) -> BackendError {
    let kind = match err.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorKind::NoSpace,
        _ => ErrorKind::Unavailable,
    };
    BackendError::new(kind, operation).because(err)
}
