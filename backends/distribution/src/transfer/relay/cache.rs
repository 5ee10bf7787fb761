//! What a relay keeps, and what makes room for what.
use crate::{
    block::{Blob, BlobFile, BlobFileError},
    transfer::SourceError,
};
use deploy_core::{backend::Clock, telemetry::TARGET_BACKEND, time::Timestamp};
use rustix::fs::statvfs;
use std::{
    collections::BTreeMap,
    fs, io,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};
use tokio::sync::OwnedMutexGuard;

/// How many blobs are open at a time: each takes a file or two. Those that nobody reads are closed first.
const MOST_OPEN: usize = 1_024;

/// How much a relay keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Space {
    /// How many bytes its blobs take at most.
    pub budget: u64,
    /// How many bytes stay free on its file system: where there are fewer, no new blob is begun until others were removed.
    pub floor: u64,
}

impl Space {
    /// So many bytes, whatever else is on the file system.
    #[must_use]
    pub const fn new(budget: u64) -> Self {
        Self { budget, floor: 0 }
    }

    /// And so many stay free.
    #[must_use]
    pub const fn with_floor(mut self, floor: u64) -> Self {
        self.floor = floor;
        self
    }
}

/// A block of a blob, or (`None`) its outboard.
type Wanted = (Blob, Option<u32>);

/// Whoever holds it gets something, and others wait for that.
pub(super) type Turn = tokio::sync::Mutex<()>;
pub(super) type OwnedTurn = OwnedMutexGuard<()>;

#[derive(Debug)]
pub(super) struct Cache {
    folder: PathBuf,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
    /// One of those that want the same thing gets it.
    turns: Mutex<BTreeMap<Wanted, Weak<Turn>>>,
}

#[derive(Debug)]
struct State {
    space: Space,
    blobs: BTreeMap<Blob, Entry>,
}

#[derive(Debug)]
struct Entry {
    /// `None` while nobody has asked for it since this program began, or it is about to be opened.
    file: Option<Arc<BlobFile>>,
    /// Whether something of it may lie on the disk.
    begun: bool,
    used_at: Timestamp,
}

impl Cache {
    pub(super) fn open(folder: PathBuf, space: Space, clock: Arc<dyn Clock>) -> io::Result<Self> {
        let mut blobs = BTreeMap::new();
        for entry in fs::read_dir(&folder)? {
            let name = entry?.file_name();
            if let Some(blob) = name.to_str().and_then(named_in) {
                // Whatever is asked for is newer than all of these.
                let used_at = Timestamp::from_millis(0);
                blobs.insert(blob, Entry { file: None, begun: true, used_at });
            }
        }
        let state = Mutex::new(State { space, blobs });
        let cache = Self { folder, clock, state, turns: Mutex::default() };
        cache.set_space(space);
        Ok(cache)
    }

    pub(super) const fn folder(&self) -> &PathBuf {
        &self.folder
    }

    pub(super) fn kept(&self) -> u64 {
        self.state().blobs.keys().map(Blob::size).sum()
    }

    pub(super) fn set_space(&self, space: Space) {
        let mut state = self.state();
        state.space = space;
        self.remove_oldest(&mut state, None);
    }

    /// The open file of a blob, which is used by that.
    pub(super) fn known(&self, blob: Blob) -> Option<Arc<BlobFile>> {
        let mut state = self.state();
        let entry = state.blobs.get_mut(&blob)?;
        let file = Arc::clone(entry.file.as_ref()?);
        entry.used_at = self.clock.now();
        Some(file)
    }

    pub(super) fn opened(&self, file: &Arc<BlobFile>) {
        let mut state = self.state();
        let used_at = self.clock.now();
        let entry = Entry { file: Some(Arc::clone(file)), begun: true, used_at };
        state.blobs.insert(file.blob(), entry);
        let open = state.blobs.values().filter(|it| it.file.is_some()).count();
        if open > MOST_OPEN {
            let others = state.blobs.iter_mut().filter(|it| *it.0 != file.blob());
            let idle = others.filter(|it| it.1.file.as_ref().is_some_and(is_idle));
            if let Some((_, oldest)) = idle.min_by_key(|it| it.1.used_at) {
                oldest.file = None;
            }
        }
    }

    /// What was never begun takes no room any more.
    pub(super) fn not_opened(&self, blob: Blob) {
        let mut state = self.state();
        if state.blobs.get(&blob).is_some_and(|it| it.file.is_none() && !it.begun) {
            state.blobs.remove(&blob);
        }
    }

    /// The same as [`make_room`](Self::make_room) for what may lie there already.
    pub(super) fn make_room_again(&self, blob: Blob) -> Result<(), SourceError> {
        let lies_there = self.state().blobs.get(&blob).is_some_and(|it| it.begun);
        if lies_there { self.make_room(blob) } else { Ok(()) }
    }

    /// Removes what was not used for the longest time, and nobody uses now, until there is room for a blob. The room is the blob's from
    /// then on, so that no two that come at once have the same. Nothing is removed for what does not fit even so.
    pub(super) fn make_room(&self, blob: Blob) -> Result<(), SourceError> {
        let mut state = self.state();
        let idle = self.idle(&state, Some(blob)).map(|it| it.0.size()).sum::<u64>();
        let never_fits = self.lacking(&state, Some(blob)) > idle;
        // What cannot be removed takes its room all the same.
        if never_fits || self.remove_oldest(&mut state, Some(blob)) > 0 {
            let (size, Space { budget, floor }) = (blob.size(), state.space);
            let why = format!(
                "{size} bytes do not fit: this relay keeps {budget} at most, and leaves {floor} free on its disk"
            );
            return Err(SourceError::Failed(why));
        }
        let used_at = self.clock.now();
        let entry = state.blobs.entry(blob);
        entry.or_insert(Entry { file: None, begun: false, used_at }).used_at = used_at;
        Ok(())
    }

    /// What came of opening a blob's files. Where that failed nothing of it stays that nobody counts.
    pub(super) fn or_removed<T>(
        &self,
        blob: Blob,
        opened: Result<T, BlobFileError>,
    ) -> Result<T, SourceError> {
        opened.map_err(|err| {
            match BlobFile::remove_from(&self.folder, &blob) {
                Ok(()) => {
                    self.state().blobs.remove(&blob);
                }
                Err(left) => {
                    tracing::warn!(target: TARGET_BACKEND, { %blob, reason = %left }, "what was begun of a blob cannot be removed");
                }
            }
            SourceError::Failed(err.to_string())
        })
    }

    /// How many bytes there are too few for what is kept, and `blob`.
    fn lacking(&self, state: &State, blob: Option<Blob>) -> u64 {
        let is_new = blob.is_some_and(|it| state.blobs.get(&it).is_none_or(|it| !it.begun));
        let new = blob.filter(|_| is_new).map_or(0, |it| it.size());
        let others = state.blobs.iter().filter(|it| !is_new || Some(*it.0) != blob);
        let kept: u64 = others.map(|it| it.0.size()).sum();
        // Those that were given room and have not taken it yet.
        let promised = state.blobs.iter().filter(|it| Some(*it.0) != blob);
        let promised = promised.filter(|it| !it.1.begun && it.1.file.is_none());
        let promised: u64 = promised.map(|it| it.0.size()).sum();
        // A file system that does not say what is free has room until it says that it has none.
        let free = statvfs(&self.folder)
            .map_or(u64::MAX, |it| it.f_bavail.saturating_mul(it.f_frsize))
            .saturating_sub(new.saturating_add(promised));
        let Space { budget, floor } = state.space;
        kept.saturating_add(new).saturating_sub(budget).max(floor.saturating_sub(free))
    }

    /// Removes as much as is lacking, of what was not used for the longest time; how much is lacking then. What is removed counts at once,
    /// whenever the file system has it back.
    fn remove_oldest(&self, state: &mut State, but: Option<Blob>) -> u64 {
        let mut lacking = self.lacking(state, but);
        let idle = self.idle(state, but).map(|it| (it.1.used_at, *it.0));
        let mut oldest: Vec<(Timestamp, Blob)> = idle.collect();
        oldest.sort_unstable();
        for (_, blob) in oldest {
            if lacking == 0 {
                break;
            }
            match BlobFile::remove_from(&self.folder, &blob) {
                Ok(()) => {
                    state.blobs.remove(&blob);
                    lacking = lacking.saturating_sub(blob.size());
                }
                Err(err) => {
                    tracing::warn!(target: TARGET_BACKEND, { %blob, reason = %err }, "a blob cannot be removed");
                }
            }
        }
        lacking
    }

    /// Those that may be removed.
    fn idle<'a>(
        &self,
        state: &'a State,
        but: Option<Blob>,
    ) -> impl Iterator<Item = (&'a Blob, &'a Entry)> {
        let others = state.blobs.iter().filter(move |it| Some(*it.0) != but);
        others.filter(|it| self.is_unused(it.0, it.1))
    }

    fn is_unused(&self, blob: &Blob, entry: &Entry) -> bool {
        let turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        let being_opened = turns.get(&(*blob, None)).is_some_and(|it| it.strong_count() > 0);
        !being_opened && entry.file.as_ref().is_none_or(is_idle)
    }

    /// What has to be held to get something.
    pub(super) fn turn(&self, blob: Blob, block: Option<u32>) -> Arc<Turn> {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(turn) = turns.get(&(blob, block)).and_then(Weak::upgrade) {
            return turn;
        }
        turns.retain(|_, it| it.strong_count() > 0);
        let turn = Arc::default();
        turns.insert((blob, block), Arc::downgrade(&turn));
        turn
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_idle(file: &Arc<BlobFile>) -> bool {
    Arc::strong_count(file) == 1
}

/// The blob that a file of its folder is of.
fn named_in(name: &str) -> Option<Blob> {
    let (root, rest) = name.split_once('.')?;
    let size = rest.split('.').next()?;
    format!("{root}.{size}").parse().ok()
}
