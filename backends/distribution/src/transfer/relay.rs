//! What stands in a data centre between its hosts and the store.
use super::{
    Client, Endpoint, Limits, LinkError,
    client::BlockAsk,
    fetch::blocking,
    source::{BlockSource, SourceError, readable},
};
use crate::block::{Blob, BlobFile, BlobFileError, BlobId, BlockRange, Outboard};
use async_trait::async_trait;
use bytes::Bytes;
use deploy_core::{backend::Clock, id::HostName, time::Timestamp};
use std::{
    collections::BTreeMap,
    fmt, fs,
    fs::File,
    io,
    ops::Range,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};
use tokio::{
    sync::{OwnedMutexGuard, watch},
    task::spawn_blocking,
};

/// How long nothing may come from whoever a relay gets blocks from.
const STALL: Duration = Duration::from_secs(10);
/// And how long a block may take, however slowly something comes: 4 MiB at half a megabit a second.
const WITHIN: Duration = Duration::from_secs(60);

/// A block of a blob, or (`None`) its outboard.
type Wanted = (Blob, Option<u32>);

/// Whoever holds it gets something, and others wait for that.
type Turn = tokio::sync::Mutex<()>;
type OwnedTurn = OwnedMutexGuard<()>;

/// A cache that gets what it is asked for, block by block, each once however many ask, and checks it before anybody has it.
///
/// It holds no power: what it gives out, others check as well.
pub struct Relay {
    folder: PathBuf,
    budget: u64,
    upstream: Vec<Endpoint>,
    token: watch::Receiver<String>,
    client: Arc<Client>,
    limits: Arc<Limits>,
    clock: Arc<dyn Clock>,
    blobs: Mutex<BTreeMap<Blob, Entry>>,
    /// One of those that want the same thing gets it.
    locks: Mutex<BTreeMap<Wanted, Weak<Turn>>>,
}

#[derive(Debug)]
struct Entry {
    /// `None` while nobody has asked for it since this program began, or it is about to be opened.
    file: Option<Arc<BlobFile>>,
    used_at: Timestamp,
}

impl fmt::Debug for Relay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Relay").field("folder", &self.folder).finish_non_exhaustive()
    }
}

impl Relay {
    /// Keeps at most `budget` bytes in `folder`, those that lie there from before among them, and gets what it does not have from
    /// `upstream`, the first one that has it. The newest token is shown there. This blocks.
    ///
    /// # Errors
    /// If the folder cannot be read.
    pub fn open(
        folder: PathBuf,
        budget: u64,
        upstream: Vec<Endpoint>,
        token: watch::Receiver<String>,
        client: Arc<Client>,
        limits: Arc<Limits>,
        clock: Arc<dyn Clock>,
    ) -> io::Result<Self> {
        let mut blobs = BTreeMap::new();
        for entry in fs::read_dir(&folder)? {
            let name = entry?.file_name();
            if let Some(blob) = name.to_str().and_then(named_in) {
                // Whatever is asked for is newer than all of these.
                blobs.insert(blob, Entry { file: None, used_at: Timestamp::from_millis(0) });
            }
        }
        let (blobs, locks) = (Mutex::new(blobs), Mutex::default());
        Ok(Self { folder, budget, upstream, token, client, limits, clock, blobs, locks })
    }

    /// How many bytes the blobs take that it keeps.
    #[must_use]
    pub fn kept(&self) -> u64 {
        self.blobs().keys().map(Blob::size).sum()
    }

    async fn file(&self, blob: Blob) -> Result<Arc<BlobFile>, SourceError> {
        if let Some(file) = self.known(blob) {
            return Ok(file);
        }
        let turn = self.lock(blob, None).lock_owned().await;
        if let Some(file) = self.known(blob) {
            return Ok(file);
        }
        let file = Arc::new(self.open_file(blob, turn).await?);
        let entry = Entry { file: Some(Arc::clone(&file)), used_at: self.clock.now() };
        self.blobs().insert(blob, entry);
        Ok(file)
    }

    /// Whoever asked may be gone before it is open: the turn is over once it is, so that nobody else opens or removes it meanwhile.
    async fn open_file(&self, blob: Blob, turn: OwnedTurn) -> Result<BlobFile, SourceError> {
        let failed = |err: BlobFileError| SourceError::Failed(err.to_string());
        if self.blobs().contains_key(&blob) {
            self.make_room(blob)?;
        }
        let folder = self.folder.clone();
        let resumed = blocking(move || Ok((BlobFile::resume(&folder, blob)?, turn))).await;
        let (resumed, turn) = resumed.map_err(failed)?;
        if let Some(file) = resumed {
            return Ok(file);
        }
        let (outboard, folder) = (self.pull_outboard(blob).await?, self.folder.clone());
        self.make_room(blob)?;
        let opened = blocking(move || Ok((BlobFile::open(&folder, outboard)?, turn))).await;
        opened.map(|(file, _turn)| file).map_err(failed)
    }

    fn known(&self, blob: Blob) -> Option<Arc<BlobFile>> {
        let mut blobs = self.blobs();
        let entry = blobs.get_mut(&blob)?;
        let file = Arc::clone(entry.file.as_ref()?);
        entry.used_at = self.clock.now();
        Some(file)
    }

    /// Removes what was not used for the longest time, and nobody uses now, until there is room for a blob. The room is the blob's from
    /// then on, so that no two that come at once have the same.
    fn make_room(&self, blob: Blob) -> Result<(), SourceError> {
        let mut blobs = self.blobs();
        loop {
            let others = blobs.keys().filter(|it| **it != blob).map(Blob::size);
            if others.sum::<u64>().saturating_add(blob.size()) <= self.budget {
                let used_at = self.clock.now();
                blobs.entry(blob).or_insert(Entry { file: None, used_at }).used_at = used_at;
                return Ok(());
            }
            let unused = blobs.iter().filter(|it| *it.0 != blob && self.is_unused(it.0, it.1));
            let Some(oldest) = unused.min_by_key(|it| it.1.used_at).map(|it| *it.0) else {
                let (size, budget) = (blob.size(), self.budget);
                let why = format!("{size} bytes do not fit into the {budget} of this relay");
                return Err(SourceError::Failed(why));
            };
            // What cannot be removed takes its room all the same.
            let removed = BlobFile::remove_from(&self.folder, &oldest);
            removed.map_err(|err| SourceError::Failed(err.to_string()))?;
            blobs.remove(&oldest);
        }
    }

    fn is_unused(&self, blob: &Blob, entry: &Entry) -> bool {
        let locks = self.locks.lock().unwrap_or_else(PoisonError::into_inner);
        let being_opened = locks.get(&(*blob, None)).is_some_and(|it| it.strong_count() > 0);
        !being_opened && entry.file.as_ref().is_none_or(|it| Arc::strong_count(it) == 1)
    }

    async fn pull_outboard(&self, blob: Blob) -> Result<Outboard, SourceError> {
        let mut last = None;
        for from in &self.upstream {
            let token = self.token.borrow().clone();
            match self.client.outboard(from, blob, &token).await {
                Ok(outboard) => return Ok(outboard),
                Err(err) => last = Some(err),
            }
        }
        Err(nobody(last))
    }

    async fn pull(&self, file: &Arc<BlobFile>, block: BlockRange) -> Result<(), SourceError> {
        let mut last = None;
        for from in &self.upstream {
            match self.pull_from(from, file, block).await {
                Ok(()) => return Ok(()),
                Err(err) => last = Some(err),
            }
        }
        Err(nobody(last))
    }

    async fn pull_from(
        &self,
        from: &Endpoint,
        file: &Arc<BlobFile>,
        block: BlockRange,
    ) -> Result<(), LinkError> {
        let (blob, token) = (file.blob(), self.token.borrow().clone());
        let gauge = self.limits.gauge(blob, &from.name);
        let ask = BlockAsk {
            blob,
            block,
            token: &token,
            assigned: false,
            stall: STALL,
            within: WITHIN,
            gauge,
        };
        let bytes = self.client.block(from, &ask).await?;
        let (file, now) = (Arc::clone(file), self.clock.now());
        match spawn_blocking(move || file.put(block.number, &bytes, now)).await {
            Ok(Ok(_new)) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(LinkError::Wrong { to: from.clone() }),
        }
    }

    fn lock(&self, blob: Blob, block: Option<u32>) -> Arc<Turn> {
        let mut locks = self.locks.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lock) = locks.get(&(blob, block)).and_then(Weak::upgrade) {
            return lock;
        }
        locks.retain(|_, it| it.strong_count() > 0);
        let lock = Arc::default();
        locks.insert((blob, block), Arc::downgrade(&lock));
        lock
    }

    fn blobs(&self) -> MutexGuard<'_, BTreeMap<Blob, Entry>> {
        self.blobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl BlockSource for Relay {
    async fn outboard(&self, blob: Blob) -> Result<Bytes, SourceError> {
        Ok(self.file(blob).await?.outboard().bytes().clone())
    }

    async fn readable(&self, blob: Blob, bytes: Range<u64>) -> Result<Arc<File>, SourceError> {
        let file = self.file(blob).await?;
        let block = blob.block_at(&bytes).ok_or(SourceError::Missing)?;
        let lock = self.lock(blob, Some(block.number));
        let _alone = lock.lock().await;
        if let Some(readable) = readable(Arc::clone(&file), bytes.clone()).await {
            return Ok(readable);
        }
        self.pull(&file, block).await?;
        if file.is_full() {
            let whole = Arc::clone(&file);
            let finished = blocking(move || whole.finish()).await;
            finished.map_err(|err| SourceError::Failed(err.to_string()))?;
        }
        readable(file, bytes).await.ok_or(SourceError::Missing)
    }
}

/// The blob that a file of its folder is of.
fn named_in(name: &str) -> Option<Blob> {
    let (root, rest) = name.split_once('.')?;
    let size = rest.split('.').next()?;
    format!("{root}.{size}").parse().ok()
}

fn nobody(last: Option<LinkError>) -> SourceError {
    let why = last.map_or_else(|| "there is nobody to get it from".to_owned(), |it| it.to_string());
    SourceError::Failed(why)
}

/// The relays of a site for a blob, the first one first: each has its share of the blobs, and where one is gone its share alone moves.
#[must_use]
pub fn ranked(blob: BlobId, mut relays: Vec<Endpoint>) -> Vec<Endpoint> {
    let weight = |name: &HostName| {
        let text = [blob.as_bytes(), name.as_str().as_bytes()].concat();
        BlobId::of(&text)
    };
    relays.sort_by_cached_key(|it| weight(&it.name));
    relays
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_relay_has_its_share_and_keeps_it() {
        let relays: Vec<_> = (0..3)
            .map(|it| Endpoint::new(format!("r{it}").parse().unwrap(), String::new()))
            .collect();
        let mut shares = BTreeMap::<_, u32>::new();
        for blob in (0..600_u32).map(|it| BlobId::of(&it.to_le_bytes())) {
            let all = ranked(blob, relays.clone());
            let without: Vec<_> = all.iter().filter(|it| *it != &relays[1]).cloned().collect();
            assert_eq!(ranked(blob, without.clone()), without);
            *shares.entry(all[0].name.clone()).or_default() += 1;
        }
        assert!(shares.len() == 3 && shares.values().all(|it| *it > 150), "{shares:?}");
    }
}
