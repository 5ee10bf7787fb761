//! A blob on a disk, whole or in part.
use super::{
    Bits, Blob, BlobFileError, Outboard,
    disk::{adopt, at, keep_outboard, open_rw, path, removed, reserve},
    have::Have,
};
use deploy_core::time::Timestamp;
use std::{
    fs::{self, File},
    io,
    ops::{Range, RangeInclusive},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// What is written is synced after so many bytes, or so much time: that much at most is hashed again after a crash.
const SYNC_BYTES: u64 = 64 << 20;
const SYNC_AFTER: Duration = Duration::from_secs(2);

/// A blob on a disk, whole or in part. Only blocks that were checked are had, and only those are given out.
///
/// In its folder it is called as it is written: `ROOT.SIZE` once it is whole, and before that `ROOT.SIZE.part`, with `ROOT.SIZE.have`
/// that says which blocks are had. `ROOT.SIZE.outboard` lies beside either. What has the same root and another size is another blob,
/// and shares no file with it. After a crash what was had at the last sync is had, and the rest is hashed
/// again; before any of it is given out it is hashed once in any case.
#[derive(Debug)]
pub struct BlobFile {
    outboard: Outboard,
    /// Where it lies; `None` for a file that somebody else keeps.
    folder: Option<PathBuf>,
    file: Arc<File>,
    state: Mutex<State>,
    /// Whoever gives the blob its name does so alone, and without the state: others ask meanwhile what is had, and syncing takes long.
    naming: Mutex<()>,
}

#[derive(Debug)]
struct State {
    have: Have,
    /// Those that were hashed since it was opened, and only those are given out: what lies on a disk may be damaged.
    checked: Bits,
    /// `None` once the blob is whole and has its name.
    record: Option<Arc<File>>,
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

    /// Goes on with what lies in `folder` of a blob; `None` if nothing does, or nothing with an outboard that is its own: then that has to
    /// be had again.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn resume(folder: &Path, blob: Blob) -> Result<Option<Self>, BlobFileError> {
        let path = path(folder, &blob, "outboard");
        let values = match fs::read(&path) {
            Ok(values) => values,
            Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(err) => return Err(at(&path)(err)),
        };
        let outboard = Outboard::parse(blob, values.into()).ok();
        outboard.map(|it| Self::open(folder, it)).transpose()
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
            let file = open_rw(&named)?;
            keep_outboard(folder, &outboard)?;
            return Ok(Self::new(outboard, Some(folder.to_owned()), file, None, true));
        }
        keep_outboard(folder, &outboard)?;
        let part = path(folder, &blob, "part");
        let file = open_rw(&part)?;
        let begun = file.metadata().map_err(at(&part))?.len() == blob.size() && blob.size() > 0;
        if !begun {
            reserve(&file, &blob, folder, 0)?;
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

    /// The same with the file `beginning`, if it is there and nothing lies in `folder` yet: what is right of it is had, and the file is gone
    /// from where it was.
    ///
    /// # Errors
    /// As those of [`open`](Self::open).
    pub fn open_with(
        folder: &Path,
        outboard: Outboard,
        beginning: &Path,
    ) -> Result<Self, BlobFileError> {
        adopt(folder, &outboard.blob(), beginning)?;
        Self::open(folder, outboard)
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
        let checked = Bits::none(outboard.blob().blocks());
        let record = record.map(Arc::new);
        let state = State { have, checked, record, unsynced: 0, synced_at: None, syncing: false };
        let (file, state) = (Arc::new(file), Mutex::new(state));
        Self { outboard, folder, file, state, naming: Mutex::default() }
    }

    /// Hashes what may not have reached the disk; all of it, if what was written down is lost.
    fn recover(&self, written: Option<Have>) -> io::Result<()> {
        let blob = self.blob();
        let all = || Have { had: Bits::all(blob.blocks()), synced: Bits::none(blob.blocks()) };
        let Have { had, synced } = written.unwrap_or_else(all);
        let mut have = Have { had: synced.clone(), synced: synced.clone() };
        let mut checked = Bits::none(blob.blocks());
        for number in had.iter().filter(|it| !synced.contains(*it)) {
            if self.is_right(number)? {
                have.had.insert(number);
                checked.insert(number);
            }
        }
        let mut state = self.lock();
        (state.have, state.checked) = (have, checked);
        Ok(())
    }

    /// Whether a block on the disk is what it should be.
    fn is_right(&self, number: u32) -> io::Result<bool> {
        let Some(block) = self.blob().block(number) else { return Ok(false) };
        let mut bytes = vec![0; usize::try_from(block.length.get()).unwrap_or(0)];
        self.file.read_exact_at(&mut bytes, block.start)?;
        Ok(self.outboard.verifies(number, &bytes))
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

    /// Hashes what is had and was not hashed since it was opened, and has no longer what is damaged. This blocks.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn check(&self) -> Result<(), BlobFileError> {
        self.check_blocks(0..self.blob().blocks()).map_err(|err| self.failed(err))
    }

    fn check_blocks(&self, numbers: impl Iterator<Item = u32>) -> io::Result<()> {
        for number in numbers {
            let is_due = {
                let state = self.lock();
                state.have.had.contains(number) && !state.checked.contains(number)
            };
            if is_due {
                let is_right = self.is_right(number);
                // What cannot be read is not had: it may come again.
                self.lock().found(number, matches!(is_right, Ok(true)));
                is_right?;
            }
        }
        Ok(())
    }

    /// Whether [`readable`](Self::readable) of these bytes has nothing left to hash.
    #[must_use]
    pub fn is_checked(&self, bytes: &Range<u64>) -> bool {
        let state = self.lock();
        self.blocks_of(bytes).is_some_and(|mut it| it.all(|number| state.checked.contains(number)))
    }

    /// A file that has these bytes at their place in the blob, if all blocks that they touch are had. Those that were not hashed since it
    /// was opened are now: then this blocks.
    #[must_use]
    pub fn readable(&self, bytes: &Range<u64>) -> Option<Arc<File>> {
        // What cannot be read is not given out either.
        self.check_blocks(self.blocks_of(bytes)?).ok()?;
        self.is_checked(bytes).then(|| Arc::clone(&self.file))
    }

    /// The blocks that these bytes touch; `None` if they are none, or not all in the blob.
    fn blocks_of(&self, bytes: &Range<u64>) -> Option<RangeInclusive<u32>> {
        let size = self.blob().block_size();
        let first = u32::try_from(bytes.start / size).ok()?;
        let last = u32::try_from(bytes.end.checked_sub(1)? / size).ok()?;
        let is_inside = bytes.start < bytes.end && bytes.end <= self.blob().size();
        is_inside.then_some(first..=last)
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
            state.checked.insert(number);
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
        let noted = self.file.sync_data().and_then(|()| {
            let mut state = self.lock();
            state.have.synced = had;
            state.note(&self.blob())?;
            Ok(state.record.clone())
        });
        let synced = noted.and_then(|record| record.map_or(Ok(()), |it| it.sync_data()));
        let mut state = self.lock();
        (state.syncing, state.synced_at) = (false, Some(now));
        drop(state);
        synced.map_err(|err| self.failed(err))
    }

    /// Gives the whole blob its name, durably, and says where it is.
    ///
    /// # Errors
    /// If blocks are missing, or it cannot be renamed.
    pub fn finish(&self) -> Result<PathBuf, BlobFileError> {
        let blob = self.blob();
        let missing = blob.blocks().saturating_sub(self.lock().have.had.count());
        if missing > 0 {
            return Err(BlobFileError::Incomplete { blob, missing });
        }
        let Some(folder) = &self.folder else { return Ok(PathBuf::new()) };
        let named = path(folder, &blob, "");
        let _alone = self.naming.lock().unwrap_or_else(PoisonError::into_inner);
        let is_named = self.lock().record.is_none();
        if !is_named {
            self.name(folder, &named).map_err(at(&named))?;
            self.lock().record = None;
        }
        Ok(named)
    }

    /// Goes on where an earlier try has failed.
    fn name(&self, folder: &Path, named: &Path) -> io::Result<()> {
        self.file.sync_data()?;
        let part = path(folder, &self.blob(), "part");
        if part.exists() {
            fs::rename(part, named)?;
        }
        removed(fs::remove_file(path(folder, &self.blob(), "have")))?;
        File::open(folder)?.sync_all()
    }

    /// Takes all of it away from its folder. Whoever reads it just now reads on.
    ///
    /// # Errors
    /// If a file cannot be removed.
    pub fn remove(&self) -> Result<(), BlobFileError> {
        self.folder.as_deref().map_or(Ok(()), |it| Self::remove_from(it, &self.blob()))
    }

    /// The same for one that is not open.
    pub(crate) fn remove_from(folder: &Path, blob: &Blob) -> Result<(), BlobFileError> {
        for extension in ["have", "part", "outboard.part", "outboard", ""] {
            let path = path(folder, blob, extension);
            removed(fs::remove_file(&path)).map_err(at(&path))?;
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
    fn found(&mut self, number: u32, is_right: bool) {
        if is_right {
            self.checked.insert(number);
        } else if !self.checked.contains(number) {
            // Otherwise it has come again since it was read.
            self.have.had.remove(number);
            self.have.synced.remove(number);
        }
    }

    /// Writes down what is had. It reaches the disk with the next sync.
    fn note(&self, blob: &Blob) -> io::Result<()> {
        let record = self.record.as_ref();
        record.map_or(Ok(()), |it| it.write_all_at(&self.have.to_bytes(blob), 0))
    }
}

#[cfg(test)]
#[path = "file_tests.rs"]
mod tests;
