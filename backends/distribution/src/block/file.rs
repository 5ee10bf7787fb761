//! A blob on a disk, whole or in part.
use super::{Bits, Blob, Outboard, OutboardError, have::Have};
use deploy_core::time::Timestamp;
use rustix::{
    fs::{FallocateFlags, fallocate, fstatvfs},
    io::Errno,
};
use std::{
    fs::{self, File, OpenOptions},
    io,
    ops::Range,
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// What is written is synced after so many bytes, or so much time: that much at most is hashed again after a crash.
const SYNC_BYTES: u64 = 64 << 20;
const SYNC_AFTER: Duration = Duration::from_secs(2);

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
    /// The outboard that lies beside it is none.
    #[error(transparent)]
    Outboard(#[from] OutboardError),
    /// Reading or writing failed.
    #[error("{}: {source}", .path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// A blob on a disk, whole or in part. Only blocks that were checked are had, and only those are given out.
///
/// In its folder it is called as it is written: `ROOT.SIZE` once it is whole, and before that `ROOT.SIZE.part`, with `ROOT.SIZE.have`
/// that says which blocks are had. `ROOT.SIZE.outboard` lies beside either. What has the same root and another size is another blob,
/// and shares no file with it. After a crash what was had at the last sync is trusted, and the rest hashed
/// again.
#[derive(Debug)]
pub struct BlobFile {
    outboard: Outboard,
    /// Where it lies; `None` for a file that somebody else keeps.
    folder: Option<PathBuf>,
    file: Arc<File>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    have: Have,
    /// `None` once the blob is whole and has its name.
    record: Option<File>,
    unsynced: u64,
    synced_at: Option<Timestamp>,
    syncing: bool,
}

impl BlobFile {
    /// A file that is the whole blob already, as `outboard` says: that of a store.
    ///
    /// # Errors
    /// If it cannot be opened, or has another size.
    pub fn whole(path: &Path, outboard: Outboard) -> Result<Self, BlobFileError> {
        let failed = at(path);
        let file = File::open(path).map_err(&failed)?;
        let length = file.metadata().map_err(&failed)?.len();
        if length != outboard.blob().size() {
            let size = outboard.blob().size();
            let why = format!("it has {length} bytes, and {size} are right");
            return Err(failed(io::Error::new(io::ErrorKind::InvalidData, why)));
        }
        Ok(Self::new(outboard, None, file, None, true))
    }

    /// Goes on with what lies in `folder` of a blob; `None` if nothing does.
    ///
    /// # Errors
    /// If it cannot be read, or what lies beside it is not its outboard.
    pub fn resume(folder: &Path, blob: Blob) -> Result<Option<Self>, BlobFileError> {
        let path = path(folder, &blob, "outboard");
        match fs::read(&path) {
            Ok(values) => Self::open(folder, Outboard::parse(blob, values.into())?).map(Some),
            Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(err) => Err(at(&path)(err)),
        }
    }

    /// Goes on with what lies in `folder`, or begins: all the room that it takes is taken at once.
    ///
    /// # Errors
    /// If there is no room, or the folder cannot be used.
    pub fn open(folder: &Path, outboard: Outboard) -> Result<Self, BlobFileError> {
        let blob = outboard.blob();
        let named = path(folder, &blob, "");
        if let Ok(metadata) = fs::metadata(&named)
            && metadata.len() == blob.size()
        {
            let file = File::open(&named).map_err(at(&named))?;
            return Ok(Self::new(outboard, Some(folder.to_owned()), file, None, true));
        }
        let beside = path(folder, &blob, "outboard");
        if !beside.exists() {
            write_whole(&beside, outboard.bytes()).map_err(at(&beside))?;
        }
        let part = path(folder, &blob, "part");
        let file = open_rw(&part)?;
        let begun = file.metadata().map_err(at(&part))?.len() == blob.size() && blob.size() > 0;
        if !begun {
            reserve(&file, &blob, folder)?;
        }
        let record_path = path(folder, &blob, "have");
        let record = open_rw(&record_path)?;
        let opened = Self::new(outboard, Some(folder.to_owned()), file, Some(record), false);
        if begun {
            let written = fs::read(&record_path).map_err(at(&record_path))?;
            opened.recover(Have::from_bytes(&blob, &written)).map_err(at(&part))?;
        }
        Ok(opened)
    }

    fn new(
        outboard: Outboard,
        folder: Option<PathBuf>,
        file: File,
        record: Option<File>,
        whole: bool,
    ) -> Self {
        let mut have = Have::none(&outboard.blob());
        if whole {
            have.had = Bits::all(outboard.blob().blocks());
        }
        let state = State { have, record, unsynced: 0, synced_at: None, syncing: false };
        Self { outboard, folder, file: Arc::new(file), state: Mutex::new(state) }
    }

    /// Hashes what may not have reached the disk; all of it, if what was written down is lost.
    fn recover(&self, written: Option<Have>) -> io::Result<()> {
        let blob = self.blob();
        let all = || Have { had: Bits::all(blob.blocks()), synced: Bits::none(blob.blocks()) };
        let Have { had, synced } = written.unwrap_or_else(all);
        let mut have = Have { had: synced.clone(), synced: synced.clone() };
        let mut buffer = Vec::new();
        for number in had.iter().filter(|it| !synced.contains(*it)) {
            let Some(block) = blob.block(number) else { continue };
            buffer.resize(usize::try_from(block.length.get()).unwrap_or(0), 0);
            self.file.read_exact_at(&mut buffer, block.start)?;
            if self.outboard.verifies(number, &buffer) {
                have.had.insert(number);
            }
        }
        self.lock().have = have;
        Ok(())
    }

    /// The blob.
    #[must_use]
    pub const fn blob(&self) -> Blob {
        self.outboard.blob()
    }

    /// Its outboard.
    #[must_use]
    pub const fn outboard(&self) -> &Outboard {
        &self.outboard
    }

    /// Which blocks are had.
    #[must_use]
    pub fn had(&self) -> Bits {
        self.lock().have.had.clone()
    }

    /// Whether a block is had.
    #[must_use]
    pub fn has(&self, number: u32) -> bool {
        self.lock().have.had.contains(number)
    }

    /// Whether all of its blocks are.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.lock().have.had.is_full()
    }

    /// A file that has these bytes at their place in the blob, if all blocks that they touch are had.
    #[must_use]
    pub fn readable(&self, bytes: &Range<u64>) -> Option<Arc<File>> {
        let size = self.blob().block_size();
        let first = u32::try_from(bytes.start / size).ok()?;
        let last = u32::try_from(bytes.end.checked_sub(1)? / size).ok()?;
        let state = self.lock();
        let had = |number| state.have.had.contains(number);
        let whole = bytes.end <= self.blob().size() && (first..=last).all(had);
        whole.then(|| Arc::clone(&self.file))
    }

    /// Takes a block in, if it is what it should be; whether it is new. From then on it is had, and may be given out.
    ///
    /// # Errors
    /// If it is not, or cannot be written.
    pub fn put(&self, number: u32, bytes: &[u8], now: Timestamp) -> Result<bool, BlobFileError> {
        let wrong = || BlobFileError::WrongBlock { blob: self.blob(), number };
        let block = self.blob().block(number).ok_or_else(wrong)?;
        if self.has(number) {
            return Ok(false);
        }
        if !self.outboard.verifies(number, bytes) {
            return Err(wrong());
        }
        self.file.write_all_at(bytes, block.start).map_err(|err| self.failed(err))?;
        let is_due = {
            let mut state = self.lock();
            if !state.have.had.insert(number) {
                return Ok(false);
            }
            state.unsynced = state.unsynced.saturating_add(block.length.get());
            state.note(&self.blob()).map_err(|err| self.failed(err))?;
            let since = *state.synced_at.get_or_insert(now);
            !state.syncing && (state.unsynced >= SYNC_BYTES || now.since(since) >= SYNC_AFTER)
        };
        if is_due {
            self.sync(now)?;
        }
        Ok(true)
    }

    /// Makes durable what is had. Others may put blocks meanwhile.
    ///
    /// # Errors
    /// If that fails.
    pub fn sync(&self, now: Timestamp) -> Result<(), BlobFileError> {
        let had = {
            let mut state = self.lock();
            state.syncing = true;
            state.unsynced = 0;
            state.have.had.clone()
        };
        let synced = self.file.sync_data();
        let mut state = self.lock();
        state.syncing = false;
        state.synced_at = Some(now);
        synced
            .and_then(|()| {
                state.have.synced = had;
                state.note(&self.blob())?;
                state.record.as_ref().map_or(Ok(()), File::sync_data)
            })
            .map_err(|err| self.failed(err))
    }

    /// Gives the whole blob its name, durably, and says where it is.
    ///
    /// # Errors
    /// If blocks are missing, or it cannot be renamed.
    pub fn finish(&self) -> Result<PathBuf, BlobFileError> {
        let blob = self.blob();
        let mut state = self.lock();
        let missing = blob.blocks().saturating_sub(state.have.had.count());
        if missing > 0 {
            return Err(BlobFileError::Incomplete { blob, missing });
        }
        let Some(folder) = &self.folder else { return Ok(PathBuf::new()) };
        let named = path(folder, &blob, "");
        if state.record.take().is_some() {
            let renamed = self.file.sync_data().and_then(|()| {
                fs::rename(path(folder, &blob, "part"), &named)?;
                fs::remove_file(path(folder, &blob, "have"))?;
                File::open(folder)?.sync_all()
            });
            renamed.map_err(at(&named))?;
        }
        Ok(named)
    }

    /// Takes all of it away from its folder. Whoever reads it just now reads on.
    ///
    /// # Errors
    /// If a file cannot be removed.
    pub fn remove(&self) -> Result<(), BlobFileError> {
        let Some(folder) = &self.folder else { return Ok(()) };
        for extension in ["have", "part", "outboard", ""] {
            let path = path(folder, &self.blob(), extension);
            match fs::remove_file(&path) {
                Ok(()) => {}
                Err(err) if err.kind() == io::ErrorKind::NotFound => {}
                Err(err) => return Err(at(&path)(err)),
            }
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failed(&self, source: io::Error) -> BlobFileError {
        let path = self.folder.as_ref().map(|it| path(it, &self.blob(), "part"));
        BlobFileError::Io { path: path.unwrap_or_default(), source }
    }
}

impl State {
    /// Writes down what is had. It reaches the disk with the next sync.
    fn note(&self, blob: &Blob) -> io::Result<()> {
        let record = self.record.as_ref();
        record.map_or(Ok(()), |it| it.write_all_at(&self.have.to_bytes(blob), 0))
    }
}

fn path(folder: &Path, blob: &Blob, extension: &str) -> PathBuf {
    let dot = if extension.is_empty() { "" } else { "." };
    folder.join(format!("{blob}{dot}{extension}"))
}

fn at(path: &Path) -> impl Fn(io::Error) -> BlobFileError {
    move |source| BlobFileError::Io { path: path.to_owned(), source }
}

fn open_rw(path: &Path) -> Result<File, BlobFileError> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    options.open(path).map_err(at(path))
}

/// Takes all the room at once, so that a disk that is too full says so before the first byte. It is asked beforehand: to fill it up
/// and fail would take the room from everybody else meanwhile.
fn reserve(file: &File, blob: &Blob, folder: &Path) -> Result<(), BlobFileError> {
    let no_room = || BlobFileError::NoRoom { blob: *blob, folder: folder.to_owned() };
    file.set_len(0).map_err(at(folder))?;
    let disk = fstatvfs(file).map_err(|err| at(folder)(err.into()))?;
    if disk.f_bavail.saturating_mul(disk.f_frsize) < blob.size() {
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
    file.set_len(0).map_err(at(folder))?;
    match reserved {
        Errno::NOSPC | Errno::DQUOT | Errno::FBIG => Err(no_room()),
        err => Err(at(folder)(err.into())),
    }
}

fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let draft = path.with_added_extension("part");
    fs::write(&draft, bytes)?;
    File::open(&draft)?.sync_all()?;
    fs::rename(draft, path)
}

#[cfg(test)]
#[path = "file_tests.rs"]
mod tests;
