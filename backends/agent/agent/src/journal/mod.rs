//! The host's write-ahead journal: what an agent has promised, on the disk before it is said.
//!
//! Decisions are made on the state in memory and written by one thread, all that wait at one go: one `fdatasync` serves many attempts. A write or a sync that
//! fails poisons the journal for good, since nobody can tell what is on the disk then; nothing is tried again.
pub(crate) mod record;
mod segment;
mod writer;

use crate::attempt::Attempts;
use record::Record;
pub(crate) use segment::Damaged;
use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::JoinHandle,
};
use thiserror::Error;
use tokio::sync::watch;
use writer::Writer;

/// Why a journal cannot be opened.
#[derive(Debug, Error)]
pub(crate) enum OpenError {
    #[error(
        "{}: {source}; move it away for somebody to look at only when no attempt on this host is under way", .path.display()
    )]
    Damaged { path: PathBuf, source: Damaged },
    #[error("{}: {source}", .path.display())]
    Io { path: PathBuf, source: io::Error },
}

/// A decision that cannot be made durable: the journal is poisoned.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "the journal of this host cannot be written any more: {reason}; the agent has to be started anew once its disk works"
)]
pub(crate) struct Poisoned {
    reason: String,
}

/// A decision that was made; it may be told once [`Journal::durable`] has returned.
#[derive(Clone, Copy, Debug)]
#[must_use = "what was decided counts only once it is durable"]
pub(crate) struct Decided(u64);

/// How a journal syncs a file: tests put something in its place.
pub(crate) type Sync = fn(&std::fs::File) -> io::Result<()>;

/// The journal, and what it says.
#[derive(Debug)]
pub(crate) struct Journal {
    shared: Arc<Shared>,
    synced: watch::Receiver<Synced>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// How far the disk has come.
#[derive(Clone, Debug, Default)]
struct Synced {
    /// All records before this one are on the disk.
    next: u64,
    failure: Option<Poisoned>,
}

/// What deciding and writing share.
#[derive(Debug)]
struct Shared {
    ledger: Mutex<Ledger>,
    changed: Condvar,
}

#[derive(Debug)]
struct Ledger {
    attempts: Attempts,
    /// What is decided and not written.
    pending: Vec<Record>,
    /// The sequence number of the record to come.
    next: u64,
    closing: bool,
}

impl Shared {
    /// A decision is one call of pure code and some moves, which leave nothing half done.
    fn lock(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Journal {
    /// Opens the journal in `folder`, or begins one. This blocks.
    pub(crate) fn open(folder: &Path) -> Result<Self, OpenError> {
        Self::open_with(folder, std::fs::File::sync_data)
    }

    pub(crate) fn open_with(folder: &Path, sync: Sync) -> Result<Self, OpenError> {
        let (writer, attempts, next) = Writer::open(folder, sync)?;
        let ledger = Ledger { attempts, pending: Vec::new(), next, closing: false };
        let shared = Arc::new(Shared { ledger: Mutex::new(ledger), changed: Condvar::new() });
        let (sender, synced) = watch::channel(Synced { next, failure: None });
        let of_thread = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("journal".to_owned())
            .spawn(move || write(writer, &of_thread, &sender))
            .map_err(|source| OpenError::Io { path: folder.to_owned(), source })?;
        Ok(Self { shared, synced, thread: Mutex::new(Some(thread)) })
    }

    /// Looks at what is known, which may not be durable yet: what is told of it is told after [`durable`](Self::durable).
    pub(crate) fn look<T>(&self, look: impl FnOnce(&Attempts) -> T) -> (T, Decided) {
        let ledger = self.shared.lock();
        (look(&ledger.attempts), Decided(ledger.next))
    }

    /// Decides: what `decide` writes is in force at once, and durable as soon as [`durable`](Self::durable) says so. Nothing else is decided meanwhile.
    pub(crate) fn decide<T>(
        &self,
        decide: impl FnOnce(&mut Attempts) -> (Vec<Record>, T),
    ) -> Result<(T, Decided), Poisoned> {
        if let Some(failure) = &self.synced.borrow().failure {
            return Err(failure.clone());
        }
        let mut ledger = self.shared.lock();
        let (records, told) = decide(&mut ledger.attempts);
        for record in records {
            // What is decided on this very state follows on it. If not, writing it would damage the journal.
            if let Err(illegal) = ledger.attempts.apply(&record) {
                return Err(Poisoned { reason: illegal.to_string() });
            }
            ledger.pending.push(record);
            ledger.next += 1;
        }
        let decided = Decided(ledger.next);
        self.shared.changed.notify_one();
        Ok((told, decided))
    }

    /// Writes `records`, whatever is known.
    pub(crate) async fn write(&self, records: Vec<Record>) -> Result<(), Poisoned> {
        let ((), decided) = self.decide(|_| (records, ()))?;
        self.durable(decided).await
    }

    /// Waits until a decision, and all before it, are on the disk.
    pub(crate) async fn durable(&self, decided: Decided) -> Result<(), Poisoned> {
        let mut synced = self.synced.clone();
        let there = synced.wait_for(|it| it.next >= decided.0 || it.failure.is_some()).await;
        let there = there.map_err(|_ended| Poisoned { reason: "it was closed".to_owned() })?;
        if there.next >= decided.0 {
            return Ok(());
        }
        Err(there
            .failure
            .clone()
            .unwrap_or_else(|| Poisoned { reason: "it was closed".to_owned() }))
    }

    /// Waits until nothing can be made durable any more, and says why.
    pub(crate) async fn failed(&self) -> String {
        let mut synced = self.synced.clone();
        let failed = synced.wait_for(|it| it.failure.is_some()).await;
        let failure = failed.ok().and_then(|it| it.failure.clone());
        match failure {
            Some(failure) => failure.to_string(),
            // It was closed, and so cannot fail any more.
            None => std::future::pending().await,
        }
    }

    /// Forgets attempts that nobody waits for, but for the newest.
    pub(crate) fn forget(&self) {
        self.shared.lock().attempts.forget();
    }

    /// Writes what is decided, and closes the journal. This blocks.
    pub(crate) fn close(&self) {
        self.shared.lock().closing = true;
        self.shared.changed.notify_one();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // It ends by itself; a panic in it has been shown, and left the disk as a crash does.
            drop(thread.join());
        }
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.close();
    }
}

/// The writing thread: takes all that is pending, writes it at one go, and says how far it has come.
fn write(mut writer: Writer, shared: &Shared, synced: &watch::Sender<Synced>) {
    loop {
        let mut ledger = shared.lock();
        while ledger.pending.is_empty() && !ledger.closing {
            ledger = shared.changed.wait(ledger).unwrap_or_else(PoisonError::into_inner);
        }
        if ledger.pending.is_empty() {
            return;
        }
        let batch = std::mem::take(&mut ledger.pending);
        let first = ledger.next - batch.len() as u64;
        let written = if writer.is_full() {
            // What is pending is in force already, so that the new segment begins with it.
            ledger.attempts.forget();
            let next = ledger.next;
            // The numbers of its own records follow on; what is decided meanwhile comes after them.
            let (bytes, after) = segment::begin(&ledger.attempts, next);
            ledger.next = after;
            drop(ledger);
            writer.rotate(next, &bytes).map(|()| after)
        } else {
            let next = ledger.next;
            drop(ledger);
            writer.append(&batch, first).map(|()| next)
        };
        match written {
            Ok(next) => _ = synced.send_replace(Synced { next, failure: None }),
            Err(err) => {
                let reason = err.to_string();
                let next = synced.borrow().next;
                synced.send_replace(Synced { next, failure: Some(Poisoned { reason }) });
                return;
            }
        }
    }
}

/// Reads a segment, for a fuzzer.
#[cfg(fuzzing)]
pub(crate) fn replay(bytes: &[u8], synced: usize) {
    drop(segment::replay(bytes, synced));
}

#[cfg(test)]
mod tests;
