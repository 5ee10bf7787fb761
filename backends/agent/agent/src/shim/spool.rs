//! The log of an attempt on the disk: a cap says how much of it is kept, the first half and the newest.
//!
//! Up to half of the cap bytes go to `log`, where they can be followed. What comes then goes to pieces `log.N`, the oldest of which give way to newer
//! ones. At the end `log` gets a line that says how much was left out, and the pieces: no byte of it ever changes its place.
use crate::folder::Folder;
use deploy_core::digest::{Digest, Hasher};
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::PathBuf,
    time::Duration,
};

/// How many pieces hold the second half.
const PIECES: u64 = 4;
/// What is printed is on the disk after so many bytes, or after that time.
const SYNC_BYTES: u64 = 1 << 20;
const SYNC_EVERY: Duration = Duration::from_secs(1);

/// Keeps a log.
#[derive(Debug)]
pub(crate) struct Spool {
    folder: Folder,
    log: File,
    hasher: Hasher,
    length: u64,
    half: u64,
    piece: Option<Piece>,
    /// Not kept because the disk took no more.
    lost: u64,
    unsynced: u64,
    synced_at: Duration,
}

#[derive(Debug)]
struct Piece {
    number: u64,
    file: File,
    length: u64,
}

impl Spool {
    /// An empty log, of which at most about `cap` bytes are kept.
    pub(crate) fn create(folder: &Folder, cap: u64, now: Duration) -> io::Result<Self> {
        Ok(Self {
            log: create(folder.log())?,
            folder: folder.clone(),
            hasher: Hasher::new(),
            length: 0,
            half: (cap / 2).max(PIECES),
            piece: None,
            lost: 0,
            unsynced: 0,
            synced_at: now,
        })
    }

    /// The log of an attempt whose shim was lost, to be gone on with.
    pub(crate) fn reopen(folder: &Folder, cap: u64, now: Duration) -> io::Result<Self> {
        let mut hasher = Hasher::new();
        let kept = fs::read(folder.log())?;
        hasher.update(&kept);
        let names = fs::read_dir(folder.path())?.flatten().map(|it| it.file_name());
        let numbers = names.filter_map(|it| it.to_str()?.strip_prefix("log.")?.parse::<u64>().ok());
        let piece = numbers.max().map(|number| {
            let file = append(path(folder, number))?;
            Ok::<_, io::Error>(Piece { number, length: file.metadata()?.len(), file })
        });
        Ok(Self {
            log: append(folder.log())?,
            folder: folder.clone(),
            hasher,
            length: kept.len() as u64,
            half: (cap / 2).max(PIECES),
            piece: piece.transpose()?,
            lost: 0,
            unsynced: 0,
            synced_at: now,
        })
    }

    /// Adds bytes. A disk that takes no more does not end the step: what is lost is counted.
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        let room = usize::try_from(self.half - self.length.min(self.half)).unwrap_or(usize::MAX);
        let (head, rest) = bytes.split_at(room.min(bytes.len()));
        if self.lost > 0 || self.append(head).is_err() {
            self.lost += bytes.len() as u64;
        } else if self.write_pieces(rest).is_err() {
            self.lost += rest.len() as u64;
        }
    }

    /// Adds bytes to `log`; after a failure only the whole of what was added before counts.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Err(err) = self.log.write_all(bytes) {
            self.log.set_len(self.length)?;
            return Err(err);
        }
        self.hasher.update(bytes);
        self.length += bytes.len() as u64;
        self.unsynced += bytes.len() as u64;
        Ok(())
    }

    fn write_pieces(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        let size = self.half / PIECES;
        while !bytes.is_empty() {
            let piece = match &mut self.piece {
                Some(piece) if piece.length < size => piece,
                other => {
                    let number = other.as_ref().map_or(0, |it| it.number + 1);
                    if let Some(old) = number.checked_sub(PIECES) {
                        fs::remove_file(path(&self.folder, old))?;
                    }
                    let file = create(path(&self.folder, number))?;
                    other.insert(Piece { number, file, length: 0 })
                }
            };
            let room = usize::try_from(size - piece.length).unwrap_or(usize::MAX);
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            piece.file.write_all(now)?;
            piece.length += now.len() as u64;
            bytes = later;
        }
        Ok(())
    }

    /// When what was written is to be synced, if something was.
    pub(crate) fn sync_due(&self) -> Option<Duration> {
        (self.unsynced > 0).then_some(self.synced_at + SYNC_EVERY)
    }

    /// Syncs if it is time.
    pub(crate) fn sync_if_due(&mut self, now: Duration) {
        if self.unsynced >= SYNC_BYTES || self.sync_due().is_some_and(|it| it <= now) {
            // The log of a disk that fails is less than the step's result, which is judged where that is written.
            drop(self.log.sync_data());
            self.unsynced = 0;
            self.synced_at = now;
        } else if self.unsynced == 0 {
            self.synced_at = now;
        }
    }

    /// Puts the log together. It is on the disk when this returns.
    pub(crate) fn finish(mut self) -> io::Result<(u64, Digest)> {
        if let Some(piece) = self.piece.take() {
            drop(self.put_together(&piece));
        }
        if self.lost > 0 {
            let lost =
                format!("\n[{} bytes are missing: the host's disk took no more]\n", self.lost);
            drop(self.append(lost.as_bytes()));
        }
        if self.length > 0 {
            self.log.sync_data()?;
        }
        Ok((self.length, self.hasher.finish()))
    }

    fn put_together(&mut self, last: &Piece) -> io::Result<()> {
        let first = (last.number + 1).saturating_sub(PIECES);
        let left_out = first * (self.half / PIECES);
        if left_out > 0 {
            self.append(left_out_line(left_out).as_bytes())?;
        }
        for number in first..=last.number {
            let piece = path(&self.folder, number);
            self.append(&fs::read(&piece)?)?;
            fs::remove_file(piece)?;
        }
        Ok(())
    }
}

/// What stands in a log where something was left out.
fn left_out_line(bytes: u64) -> String {
    format!("\n[{bytes} bytes are left out here: the log is longer than this host keeps]\n")
}

fn path(folder: &Folder, number: u64) -> PathBuf {
    folder.path().join(format!("log.{number}"))
}

fn create(path: PathBuf) -> io::Result<File> {
    OpenOptions::new().create_new(true).append(true).mode(0o600).open(path)
}

fn append(path: PathBuf) -> io::Result<File> {
    OpenOptions::new().append(true).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spool(cap: u64, pieces: &[&[u8]]) -> (Vec<u8>, u64, Digest) {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::at(dir.path().to_owned());
        let mut spool = Spool::create(&folder, cap, Duration::ZERO).unwrap();
        for piece in pieces {
            spool.write(piece);
        }
        let (length, digest) = spool.finish().unwrap();
        let files = fs::read_dir(dir.path()).unwrap().count();
        assert_eq!(files, 1, "pieces are left");
        (fs::read(folder.log()).unwrap(), length, digest)
    }

    #[test]
    fn what_fits_is_kept_whole() {
        for cap in [30, 40, 1_000] {
            let (log, length, digest) = spool(cap, &[b"0123456789", b"", b"abcdefghij", b"!"]);
            assert_eq!(log, b"0123456789abcdefghij!");
            assert_eq!((length, digest), (21, Digest::of(&log)));
        }
    }

    #[test]
    fn a_log_is_gone_on_with() {
        for (cap, pieces) in [(1_000, 1), (800, 3), (16, 9)] {
            let texts: Vec<Vec<u8>> = (0..pieces).map(|it| vec![b'a' + it; 300]).collect();
            let texts: Vec<&[u8]> = texts.iter().map(Vec::as_slice).collect();
            let whole = spool(cap, &texts);
            let dir = tempfile::tempdir().unwrap();
            let folder = Folder::at(dir.path().to_owned());
            let mut again = Spool::create(&folder, cap, Duration::ZERO).unwrap();
            for text in texts {
                again.write(text);
                drop(again);
                again = Spool::reopen(&folder, cap, Duration::ZERO).unwrap();
            }
            let (length, digest) = again.finish().unwrap();
            assert_eq!((fs::read(folder.log()).unwrap(), length, digest), whole);
        }
    }

    #[test]
    fn of_a_long_log_both_ends_are_kept() {
        let text: Vec<u8> = (0..1_000_u32).flat_map(|it| format!("{it:04}").into_bytes()).collect();
        for step in [1, 7, 100, 4_000] {
            let pieces: Vec<_> = text.chunks(step).collect();
            let (log, length, digest) = spool(800, &pieces);
            let (head, rest) = log.split_at(400);
            assert_eq!(head, &text[..400]);
            let line = left_out_line(3_200);
            let tail = rest.strip_prefix(line.as_bytes()).unwrap();
            assert_eq!(tail, &text[3_600..]);
            assert_eq!((length, digest), (log.len() as u64, Digest::of(&log)));
        }
    }
}
