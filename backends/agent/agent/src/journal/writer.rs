//! The journal's folder: segments, and a mark of how far the newest was synced.
use super::{OpenError, Sync, record::Record, segment};
use crate::attempt::Attempts;
use crc::{CRC_32_ISCSI, Crc};
use rustix::fs::{FallocateFlags, fallocate};
use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

/// A segment that is longer gives way to a new one.
const FULL: u64 = 1 << 20;
/// How much room is taken for a segment beyond what it begins with, so that a full disk does not keep an end from being written.
const ROOM: u64 = 2 << 20;
const MARK: &str = "synced";
const CRC: Crc<u32> = Crc::<u32>::new(&CRC_32_ISCSI);

/// Writes the newest segment.
#[derive(Debug)]
pub(super) struct Writer {
    folder: PathBuf,
    file: File,
    first: u64,
    /// Where the next record goes.
    end: u64,
    /// Not synced itself: it says at least how far the segment was, and so what cannot be a torn tail.
    mark: File,
    sync: Sync,
}

impl Writer {
    /// Opens the newest segment in `folder`, or begins the first.
    pub(super) fn open(folder: &Path, sync: Sync) -> Result<(Self, Attempts, u64), OpenError> {
        let failed = |source| OpenError::Io { path: folder.to_owned(), source };
        let newest = newest(folder).map_err(failed)?;
        let mark = private().create(true).read(true).open(folder.join(MARK)).map_err(failed)?;
        let Some((first, path)) = newest else {
            let (bytes, next) = segment::begin(&Attempts::default(), 0);
            let file = create(folder, 0, &bytes, sync).map_err(failed)?;
            let end = bytes.len() as u64;
            let writer = Self { folder: folder.to_owned(), file, first: 0, end, mark, sync };
            return Ok((writer, Attempts::default(), next));
        };
        let bytes = fs::read(&path).map_err(failed)?;
        let synced = read_mark(&mark, first).map_err(failed)?;
        let replayed = segment::replay(&bytes, synced)
            .map_err(|source| OpenError::Damaged { path: path.clone(), source })?;
        let file = private().open(&path).map_err(failed)?;
        let end = replayed.end as u64;
        // Whatever else stands there was never told to anybody.
        file.set_len(end).and_then(|()| sync(&file)).map_err(failed)?;
        reserve(&file, end).map_err(failed)?;
        remove_others(folder, first).map_err(failed)?;
        let writer = Self { folder: folder.to_owned(), file, first, end, mark, sync };
        Ok((writer, replayed.attempts, replayed.next))
    }

    pub(super) const fn is_full(&self) -> bool {
        self.end >= FULL
    }

    /// Adds a batch; it is on the disk when this returns.
    pub(super) fn append(&mut self, batch: &[Record], first: u64) -> io::Result<()> {
        let mut bytes = Vec::new();
        for (record, sequence) in batch.iter().zip(first..) {
            record.write(sequence, sequence == first, &mut bytes);
        }
        self.file.write_all_at(&bytes, self.end)?;
        (self.sync)(&self.file)?;
        self.end += bytes.len() as u64;
        self.write_mark();
        Ok(())
    }

    /// Goes on in a new segment, which begins with `bytes`.
    pub(super) fn rotate(&mut self, first: u64, bytes: &[u8]) -> io::Result<()> {
        self.file = create(&self.folder, first, bytes, self.sync)?;
        self.first = first;
        self.end = bytes.len() as u64;
        self.write_mark();
        remove_others(&self.folder, first)
    }

    /// A mark that is lost, or old, only makes less certain what is damage.
    fn write_mark(&self) {
        let fields = [self.first.to_le_bytes(), self.end.to_le_bytes()].concat();
        let sum = CRC.checksum(&fields).to_le_bytes();
        _ = self.mark.write_all_at(&[&fields[..], &sum].concat(), 0);
    }
}

/// How far the segment `first` is known to have been synced.
fn read_mark(mark: &File, first: u64) -> io::Result<usize> {
    let mut bytes = [0; 20];
    let length = mark.read_at(&mut bytes, 0)?;
    let (fields, sum) = bytes.split_at(16);
    if length != bytes.len() || CRC.checksum(fields).to_le_bytes() != sum {
        return Ok(0);
    }
    let (of, end) = fields.split_at(8);
    let end = end.first_chunk().map_or(0, |it| u64::from_le_bytes(*it));
    Ok(if of == first.to_le_bytes() { usize::try_from(end).unwrap_or(usize::MAX) } else { 0 })
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).mode(0o600);
    options
}

/// A segment has its name only once it is on the disk.
fn create(folder: &Path, first: u64, bytes: &[u8], sync: Sync) -> io::Result<File> {
    let unfinished = folder.join("segment.new");
    let file = private().create(true).truncate(true).open(&unfinished)?;
    file.write_all_at(bytes, 0)?;
    reserve(&file, bytes.len() as u64)?;
    sync(&file)?;
    fs::rename(&unfinished, folder.join(name(first)))?;
    sync(&File::open(folder)?)?;
    Ok(file)
}

/// Takes room on the disk, where the file system can.
fn reserve(file: &File, end: u64) -> io::Result<()> {
    match fallocate(file, FallocateFlags::KEEP_SIZE, 0, end + ROOM) {
        Err(err) if err == rustix::io::Errno::OPNOTSUPP => Ok(()),
        done => done.map_err(io::Error::from),
    }
}

fn name(first: u64) -> String {
    format!("segment.{first:020}")
}

fn segments(folder: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut segments = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let number = path.file_name().and_then(|it| it.to_str()?.strip_prefix("segment."));
        if let Some(first) = number.and_then(|it| it.parse().ok()) {
            segments.push((first, path));
        }
    }
    Ok(segments)
}

fn newest(folder: &Path) -> io::Result<Option<(u64, PathBuf)>> {
    Ok(segments(folder)?.into_iter().max())
}

fn remove_others(folder: &Path, first: u64) -> io::Result<()> {
    for (_, path) in segments(folder)?.into_iter().filter(|it| it.0 != first) {
        fs::remove_file(path)?;
    }
    Ok(())
}
