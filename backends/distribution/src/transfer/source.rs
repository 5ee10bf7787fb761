//! What blocks are given from.
use crate::block::{Blob, BlobFile};
use async_trait::async_trait;
use bytes::Bytes;
use std::{
    collections::BTreeMap,
    fmt,
    fs::File,
    ops::Range,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::task::spawn_blocking;

/// Why there is nothing to give.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// It is not here.
    #[error("it is not here")]
    Missing,
    /// It should be here, or had to be got from elsewhere, and could not.
    #[error("it cannot be had: {0}")]
    Failed(String),
}

/// Somebody who has blobs, or gets them.
///
/// # Contract
/// * What is given out was checked against the root of its blob.
/// * A range is never longer than a block.
#[async_trait]
pub trait BlockSource: fmt::Debug + Send + Sync + 'static {
    /// The outboard of a blob.
    async fn outboard(&self, blob: Blob) -> Result<Bytes, SourceError>;

    /// Gets these bytes from elsewhere, if they are not here: that may take long, and nothing else waits for it.
    async fn get(&self, blob: Blob, bytes: Range<u64>) -> Result<(), SourceError> {
        let _all_is_here = (blob, bytes);
        Ok(())
    }

    /// A file that has these bytes of a blob where they are in the blob.
    async fn readable(&self, blob: Blob, bytes: Range<u64>) -> Result<Arc<File>, SourceError>;
}

/// The blobs that a host, or a store, has as files.
#[derive(Debug, Default)]
pub struct Shelf(Mutex<BTreeMap<Blob, Arc<BlobFile>>>);

impl Shelf {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives out what is had of a blob from now on, also while more of it comes.
    pub fn add(&self, file: Arc<BlobFile>) {
        let mut files = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        files.insert(file.blob(), file);
    }

    /// Gives out a blob no longer. Transfers under way go on.
    pub fn remove(&self, blob: Blob) {
        let mut files = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        files.remove(&blob);
    }

    /// The same for this very file: one that was added since in its place stays.
    pub fn remove_this(&self, file: &Arc<BlobFile>) {
        let mut files = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if files.get(&file.blob()).is_some_and(|it| Arc::ptr_eq(it, file)) {
            files.remove(&file.blob());
        }
    }

    fn find(&self, blob: Blob) -> Result<Arc<BlobFile>, SourceError> {
        let files = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        files.get(&blob).map(Arc::clone).ok_or(SourceError::Missing)
    }
}

#[async_trait]
impl BlockSource for Shelf {
    async fn outboard(&self, blob: Blob) -> Result<Bytes, SourceError> {
        Ok(self.find(blob)?.outboard().bytes().clone())
    }

    async fn readable(&self, blob: Blob, bytes: Range<u64>) -> Result<Arc<File>, SourceError> {
        readable(self.find(blob)?, bytes).await.ok_or(SourceError::Missing)
    }
}

/// The same as [`BlobFile::readable`], out of the way where it takes long.
pub(super) async fn readable(file: Arc<BlobFile>, bytes: Range<u64>) -> Option<Arc<File>> {
    if file.is_checked(&bytes) {
        return file.readable(&bytes);
    }
    spawn_blocking(move || file.readable(&bytes)).await.ok().flatten()
}
