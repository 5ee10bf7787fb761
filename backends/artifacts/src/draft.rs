//! An artifact that is not one yet: written and hashed, and nowhere to be seen before it is published.
use crate::{
    fault,
    folder::{Folder, Slot},
};
use bytes::Bytes;
use deploy_core::{
    digest::Digest,
    error::{BackendError, BackendResult, ErrorKind},
};
use object_store::{ObjectStore, ObjectStoreExt as _, buffered::BufWriter, path::Path};
use sha2::{Digest as _, Sha256};
use std::{
    fs,
    io::{self, Read as _, Write as _},
    sync::Arc,
};
use tokio::{
    io::AsyncWriteExt as _,
    task::{self, JoinHandle},
};

const OPERATION: &str = "artifact.put";

/// Up to this much goes to an object store in one request, more in parts of this size.
const PART: usize = 8 << 20;

/// How many parts are sent at the same time.
const PARTS_AT_ONCE: usize = 2;

/// An artifact on its way in.
#[derive(Debug)]
pub(crate) enum Draft {
    /// A file beside its final place.
    File(FileDraft),
    /// An upload that has not been completed.
    Upload(Box<UploadDraft>),
}

/// A draft whose body has ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) draft: Draft,
    pub(crate) digest: Digest,
    pub(crate) size: u64,
}

impl Draft {
    /// Begins a file, or goes on with the `offset` bytes that were kept.
    pub(crate) async fn in_folder(
        folder: Folder,
        digest: Digest,
        offset: u64,
    ) -> BackendResult<Self> {
        let claimed = blocking(move || match offset {
            0 => folder.claim(&digest).map(|slot| Some(Filling::new(slot))),
            _ => folder.claim_kept(&digest, offset)?.map(Filling::go_on).transpose(),
        });
        let claimed = claimed.await?.map_err(|err| fault::reading(OPERATION, "partial", err))?;
        let filling = claimed.ok_or_else(|| not_kept(offset))?;
        Ok(Self::File(FileDraft::Idle(Box::new(filling))))
    }

    /// Begins an upload to `path`.
    pub(crate) fn in_store(
        store: Arc<dyn ObjectStore>,
        path: Path,
        offset: u64,
    ) -> BackendResult<Self> {
        if offset > 0 {
            return Err(not_kept(offset));
        }
        let writer =
            BufWriter::with_capacity(store, path, PART).with_max_concurrency(PARTS_AT_ONCE);
        Ok(Self::Upload(Box::new(UploadDraft { writer, hasher: Sha256::new(), length: 0 })))
    }

    /// Takes in the next bytes. On an error nothing is left of the draft.
    pub(crate) async fn write(self, chunk: Bytes) -> BackendResult<Self> {
        match self {
            Self::File(draft) => draft.write(chunk).await.map(Self::File),
            Self::Upload(draft) => draft.write(chunk).await.map(Self::Upload),
        }
    }

    /// Says what it has become. A file is on the disk by then.
    pub(crate) async fn end(self) -> BackendResult<Ended> {
        match self {
            Self::File(draft) => draft.end().await,
            Self::Upload(draft) => {
                let (digest, size) = (digest(draft.hasher.clone()), draft.length);
                Ok(Ended { draft: Self::Upload(draft), digest, size })
            }
        }
    }

    /// Makes it an artifact, durably.
    pub(crate) async fn publish(self, store: &dyn ObjectStore, to: &Path) -> BackendResult<()> {
        match self {
            // The file stays locked until it has its new name.
            Self::File(draft) => {
                let filling = draft.idle().await?;
                let renamed = store.rename(&filling.slot.object, to).await;
                renamed.map_err(|err| fault::writing(OPERATION, to, err))
            }
            Self::Upload(mut draft) => {
                let completed = draft.writer.shutdown().await;
                completed.map_err(|err| fault::writing(OPERATION, to, err))
            }
        }
    }

    /// Keeps what there is, so that a later put can go on from there, as far as that is offered.
    pub(crate) async fn keep(self) -> BackendResult<()> {
        match self {
            Self::File(draft) => draft.keep().await,
            Self::Upload(draft) => draft.abort().await,
        }
    }

    /// Leaves nothing.
    pub(crate) async fn discard(self) -> BackendResult<()> {
        match self {
            Self::File(draft) => draft.idle().await?.discard().await,
            Self::Upload(draft) => draft.abort().await,
        }
    }
}

fn not_kept(offset: u64) -> BackendError {
    BackendError::new(ErrorKind::Conflict, OPERATION)
        .with("offset", offset)
        .with("hint", "that much is not kept: ask how much is, and put the rest, or put all of it")
}

/// A file that a thread writes to while the next bytes come in.
#[derive(Debug)]
pub(crate) enum FileDraft {
    Idle(Box<Filling>),
    Writing(JoinHandle<(Filling, io::Result<()>)>),
}

impl FileDraft {
    async fn write(self, chunk: Bytes) -> BackendResult<Self> {
        let filling = self.idle().await?;
        Ok(Self::Writing(task::spawn_blocking(move || filling.write(&chunk))))
    }

    async fn end(self) -> BackendResult<Ended> {
        let filling = self.idle().await?;
        let syncing = task::spawn_blocking(move || {
            let synced = filling.slot.file.sync_all();
            (filling, synced)
        });
        let filling = Self::Writing(syncing).idle().await?;
        let (digest, size) = (digest(filling.hasher.clone()), filling.slot.length);
        Ok(Ended { draft: Draft::File(Self::Idle(Box::new(filling))), digest, size })
    }

    async fn keep(self) -> BackendResult<()> {
        let filling = self.idle().await?;
        let kept = blocking(move || match filling.slot.length {
            0 => fs::remove_file(&filling.slot.path),
            _ => filling.slot.file.sync_data(),
        });
        kept.await?.map_err(|err| fault::writing(OPERATION, "partial", err))
    }

    /// Waits for the last write. A file that could not be written is removed: a full disk is no place to keep it.
    async fn idle(self) -> BackendResult<Filling> {
        let (filling, written) = match self {
            Self::Idle(filling) => return Ok(*filling),
            Self::Writing(task) => task.await.map_err(|err| fault::lost(OPERATION, err))?,
        };
        let Err(err) = written else {
            return Ok(filling);
        };
        let failed = fault::writing(OPERATION, filling.slot.path.display(), err);
        filling.discard().await?;
        Err(failed)
    }
}

/// A file, and the hash of what is in it.
#[derive(Debug)]
pub(crate) struct Filling {
    slot: Slot,
    hasher: Sha256,
}

impl Filling {
    fn new(slot: Slot) -> Self {
        Self { slot, hasher: Sha256::new() }
    }

    fn go_on(slot: Slot) -> io::Result<Self> {
        let mut filling = Self::new(slot);
        let mut file = &filling.slot.file;
        let mut chunk = vec![0; 1 << 18];
        loop {
            match file.read(&mut chunk)? {
                0 => return Ok(filling),
                read => filling.hasher.update(chunk.get(..read).unwrap_or_default()),
            }
        }
    }

    fn write(mut self, chunk: &[u8]) -> (Self, io::Result<()>) {
        let written = self.slot.file.write_all(chunk);
        self.hasher.update(chunk);
        self.slot.length = self.slot.length.saturating_add(chunk.len() as u64);
        (self, written)
    }

    async fn discard(self) -> BackendResult<()> {
        let path = self.slot.path.display().to_string();
        let removed = blocking(move || fs::remove_file(&self.slot.path)).await?;
        removed.map_err(|err| fault::writing(OPERATION, path, err))
    }
}

/// An upload in parts that only its completion makes an object.
#[derive(Debug)]
pub(crate) struct UploadDraft {
    writer: BufWriter,
    hasher: Sha256,
    length: u64,
}

impl UploadDraft {
    async fn write(mut self: Box<Self>, chunk: Bytes) -> BackendResult<Box<Self>> {
        self.hasher.update(&chunk);
        self.length = self.length.saturating_add(chunk.len() as u64);
        let Err(err) = self.writer.put(chunk).await else {
            return Ok(self);
        };
        self.abort().await?;
        Err(fault::writing(OPERATION, "upload", err))
    }

    async fn abort(mut self: Box<Self>) -> BackendResult<()> {
        let aborted = self.writer.abort().await;
        aborted.map_err(|err| fault::writing(OPERATION, "upload", err))
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> BackendResult<T> {
    task::spawn_blocking(work).await.map_err(|err| fault::lost(OPERATION, err))
}

fn digest(hasher: Sha256) -> Digest {
    Digest::from_bytes(hasher.finalize().into())
}
