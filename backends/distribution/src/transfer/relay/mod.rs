//! What stands in a data centre between its hosts and the store.
mod cache;
mod pass;
mod rank;
mod upstream;

pub use cache::Space;
pub use pass::{Pass, Passes};
pub use rank::ranked;

use super::{
    Client, Limits,
    fetch::blocking,
    source::{BlockSource, SourceError, readable},
};
use crate::block::{Blob, BlobFile, BlockRange};
use async_trait::async_trait;
use bytes::Bytes;
use cache::{Cache, OwnedTurn};
use deploy_core::backend::Clock;
use std::{fmt, fs::File, io, ops::Range, path::PathBuf, sync::Arc};
use tokio::task::spawn_blocking;
use upstream::Upstream;

/// A cache that gets what it is asked for, block by block, each once however many ask, and checks it before anybody has it.
///
/// It holds no power: what it gives out, others check as well.
pub struct Relay(Arc<Inner>);

struct Inner {
    cache: Cache,
    upstream: Upstream,
    clock: Arc<dyn Clock>,
}

impl fmt::Debug for Relay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Relay").field("folder", &self.0.cache.folder()).finish_non_exhaustive()
    }
}

impl Relay {
    /// Keeps what fits into `space` in `folder`, what lies there from before included, and gets what it does not have as `passes` says, no faster
    /// than `limits` allow. This blocks.
    ///
    /// # Errors
    /// If the folder cannot be read.
    pub fn open(
        folder: PathBuf,
        space: Space,
        passes: Arc<dyn Passes>,
        client: Arc<Client>,
        limits: Arc<Limits>,
        clock: Arc<dyn Clock>,
    ) -> io::Result<Self> {
        let cache = Cache::open(folder, space, Arc::clone(&clock))?;
        let upstream = Upstream::new(passes, client, limits, Arc::clone(&clock));
        Ok(Self(Arc::new(Inner { cache, upstream, clock })))
    }

    /// How many bytes the blobs take that it keeps.
    #[must_use]
    pub fn kept(&self) -> u64 {
        self.0.cache.kept()
    }

    /// How many bytes of blocks it has got from elsewhere so far.
    #[must_use]
    pub fn pulled(&self) -> u64 {
        self.0.upstream.pulled()
    }

    /// Keeps what fits into that from now on: what does not and is not in use is removed at once. This blocks.
    pub fn set_space(&self, space: Space) {
        self.0.cache.set_space(space);
    }

    async fn file(&self, blob: Blob) -> Result<Arc<BlobFile>, SourceError> {
        let cache = &self.0.cache;
        if let Some(file) = cache.known(blob) {
            return Ok(file);
        }
        let turn = cache.turn(blob, None).lock_owned().await;
        if let Some(file) = cache.known(blob) {
            return Ok(file);
        }
        // Whoever asked may go meanwhile. The turn is over once the cache knows what came of it: between the two it would count as unused,
        // and be removed for another blob.
        let relay = Arc::clone(&self.0);
        let opening = tokio::spawn(async move {
            let opened = relay.open_file(blob).await;
            match &opened {
                Ok(file) => relay.cache.opened(file),
                Err(_) => relay.cache.not_opened(blob),
            }
            drop(turn);
            opened
        });
        opening.await.unwrap_or_else(|lost| Err(SourceError::Failed(lost.to_string())))
    }

    /// Has a block come, and whoever asked for it may go meanwhile: what was begun for one is there for the next.
    async fn pull(
        &self,
        file: &Arc<BlobFile>,
        block: BlockRange,
        turn: OwnedTurn,
    ) -> Result<(), SourceError> {
        let (relay, file) = (Arc::clone(&self.0), Arc::clone(file));
        let pulling = tokio::spawn(async move {
            relay.upstream.pull(&file, block, relay.clock.now()).await?;
            drop(turn);
            if !file.is_full() {
                return Ok(());
            }
            let finished = blocking(move || file.finish()).await;
            finished.map(drop).map_err(|err| SourceError::Failed(err.to_string()))
        });
        pulling.await.unwrap_or_else(|lost| Err(SourceError::Failed(lost.to_string())))
    }
}

impl Inner {
    /// For whoever has the turn, so that nobody else opens or removes it meanwhile.
    async fn open_file(self: &Arc<Self>, blob: Blob) -> Result<Arc<BlobFile>, SourceError> {
        let relay = Arc::clone(self);
        let resumed = away(move || {
            relay.cache.make_room_again(blob)?;
            // What cannot be gone on with is removed, and comes again.
            let resumed = BlobFile::resume(relay.cache.folder(), blob);
            Ok(relay.cache.or_removed(blob, resumed).unwrap_or_default())
        });
        if let Some(file) = resumed.await? {
            return Ok(Arc::new(file));
        }
        let (relay, outboard) = (Arc::clone(self), self.upstream.outboard(blob).await?);
        let opened = away(move || {
            relay.cache.make_room(blob)?;
            relay.cache.or_removed(blob, BlobFile::open(relay.cache.folder(), outboard))
        });
        opened.await.map(Arc::new)
    }
}

#[async_trait]
impl BlockSource for Relay {
    async fn outboard(&self, blob: Blob) -> Result<Bytes, SourceError> {
        Ok(self.file(blob).await?.outboard().bytes().clone())
    }

    async fn get(&self, blob: Blob, bytes: Range<u64>) -> Result<(), SourceError> {
        let file = self.file(blob).await?;
        let block = blob.block_at(&bytes).ok_or(SourceError::Missing)?;
        let turn = self.0.cache.turn(blob, Some(block.number)).lock_owned().await;
        if readable(Arc::clone(&file), bytes).await.is_some() {
            return Ok(());
        }
        self.pull(&file, block, turn).await
    }

    async fn readable(&self, blob: Blob, bytes: Range<u64>) -> Result<Arc<File>, SourceError> {
        let file = self.file(blob).await?;
        if let Some(readable) = readable(Arc::clone(&file), bytes.clone()).await {
            return Ok(readable);
        }
        // It was not asked for before, or turned out to be damaged since.
        self.get(blob, bytes.clone()).await?;
        readable(file, bytes).await.ok_or(SourceError::Missing)
    }
}

/// Does what blocks where nothing else waits for it.
async fn away<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, SourceError> + Send + 'static,
) -> Result<T, SourceError> {
    let done = spawn_blocking(work).await;
    done.unwrap_or_else(|lost| Err(SourceError::Failed(lost.to_string())))
}
