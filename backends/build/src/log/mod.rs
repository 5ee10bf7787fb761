//! The log of a build: in one file, bounded, and without secrets.
mod mask;

use crate::secrets::Secret;
use mask::Masker;
use std::{
    fs::{File, OpenOptions},
    io::{self, Write as _},
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// How much of the end is remembered for messages, in bytes.
const TAIL: usize = 2_048;

/// Where everything goes that a build prints.
#[derive(Clone, Debug)]
pub(crate) struct Log {
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    file: File,
    /// How many bytes may be written yet.
    room: u64,
    limit: u64,
    /// How many bytes found no room.
    dropped: u64,
    secrets: Vec<Secret>,
}

impl Log {
    /// A log of at most `limit` bytes, beside what the builder itself says at its end.
    pub(crate) fn create(path: &Path, limit: u64) -> io::Result<Self> {
        let file = OpenOptions::new().create_new(true).append(true).open(path)?;
        let state = State { file, room: limit, limit, dropped: 0, secrets: Vec::new() };
        Ok(Self { state: Arc::new(Mutex::new(state)) })
    }

    /// A log of at most `limit` bytes that is there already, or begins now.
    pub(crate) fn resume(path: &Path, limit: u64) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        let room = limit.saturating_sub(file.metadata()?.len());
        let state = State { file, room, limit, dropped: 0, secrets: Vec::new() };
        Ok(Self { state: Arc::new(Mutex::new(state)) })
    }

    /// Writes bytes that somebody else has looked through for secrets.
    pub(crate) fn append(&self, bytes: &[u8]) {
        self.state().write(bytes);
    }

    /// Keeps `secret` out of all that comes from now on.
    pub(crate) fn mask(&self, secret: &Secret) {
        self.state().secrets.push(secret.clone());
    }

    /// Writes a line of the builder's own.
    pub(crate) fn say(&self, line: impl std::fmt::Display) {
        let line = format!("== {line}\n");
        self.state().write(line.as_bytes());
    }

    /// Writes what comes from `pipe` until its end, and gives the end of it.
    pub(crate) async fn take(&self, mut pipe: impl AsyncRead + Unpin) -> String {
        let mut masker = Masker::new(&self.state().secrets);
        let mut tail = Vec::new();
        let mut buffer = vec![0; 16 << 10];
        loop {
            let mut out = Vec::new();
            let read = match pipe.read(&mut buffer).await {
                Ok(read) => read,
                Err(err) if err.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => 0,
            };
            match buffer.get(..read) {
                Some(bytes) if read > 0 => masker.push(bytes, &mut out),
                _ => masker.flush(&mut out),
            }
            self.state().write(&out);
            tail.extend_from_slice(&out);
            tail.drain(..tail.len().saturating_sub(TAIL));
            if read == 0 {
                return String::from_utf8_lossy(&tail).into_owned();
            }
        }
    }

    /// Says what the build came to, and how much of the log is missing.
    pub(crate) fn close(&self, result: &str) {
        let mut state = self.state();
        let missing = match state.dropped {
            0 => String::new(),
            dropped => format!(
                "== {dropped} bytes more were printed: the log keeps {} at the most\n",
                state.limit
            ),
        };
        // What cannot be written to the log cannot be told there either.
        drop(state.file.write_all(format!("{missing}== {result}\n").as_bytes()));
        drop(state.file.sync_data());
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn write(&mut self, bytes: &[u8]) {
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        let kept = length.min(self.room);
        let (kept, rest) =
            bytes.split_at(usize::try_from(kept).unwrap_or(bytes.len()).min(bytes.len()));
        let kept = match self.file.write_all(kept) {
            Ok(()) => kept.len(),
            Err(_) => 0,
        };
        self.room -= u64::try_from(kept).unwrap_or(u64::MAX).min(self.room);
        let missing = bytes.len().saturating_sub(kept).max(rest.len());
        self.dropped = self.dropped.saturating_add(u64::try_from(missing).unwrap_or(u64::MAX));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_log_is_bounded_and_says_what_is_missing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let log = Log::create(&path, 100).unwrap();
        log.say("begins");
        let tail = log.take([b'x'; 10_000].as_slice()).await;
        assert_eq!(tail.len(), TAIL);
        log.close("failed");
        let text = std::fs::read_to_string(&path).unwrap();
        let rest = "\n".len()
            + "== 9910 bytes more were printed: the log keeps 100 at the most\n== failed".len();
        assert_eq!(text.len(), 100 + rest, "{text}");
        assert!(text.starts_with("== begins\nxxx"));
        assert!(
            text.ends_with(
                "== 9910 bytes more were printed: the log keeps 100 at the most\n== failed\n"
            ),
            "{text}"
        );
    }

    #[tokio::test]
    async fn secrets_are_masked_from_when_they_are_known() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let log = Log::create(&path, 1_000).unwrap();
        log.mask(&Secret::new(b"swordfish".to_vec()).unwrap());
        let tail = log.take(b"the word is swordfish, pass".as_slice()).await;
        assert_eq!(tail, "the word is ***, pass");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), tail);
    }
}
