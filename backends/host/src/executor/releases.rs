//! What is worked out once for an artifact and then shared by all attempts.
use super::{attempt::ReleaseParts, failure::invalid};
use crate::{
    archive::{self, ArchiveError, Encoding, Limits},
    descriptor,
};
use deploy_core::{
    backend::{ArtifactReader, ArtifactStore, ArtifactStoreExt as _},
    digest::Digest,
    error::{BackendError, BackendResult, ErrorKind},
    spec::ArtifactRef,
};
use std::{
    collections::BTreeMap,
    io::{self, Read},
    sync::{Arc, Mutex, PoisonError},
};
use tokio::{io::AsyncReadExt as _, runtime::Handle, sync::OnceCell, task::spawn_blocking};

/// The largest descriptor archive.
const LARGEST_DESCRIPTOR: u64 = 8 << 20;
/// How many descriptors and packages are remembered.
const REMEMBERED: usize = 64;

/// What was found out about an artifact: a value, or that it is unusable, which it will stay.
type Found<V> = Result<Arc<V>, Unusable>;

#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
struct Unusable(String);

/// The newest findings, by digest. Each is worked out once, however many ask at a time.
#[derive(Debug)]
struct Cache<V> {
    cells: Mutex<(u64, BTreeMap<Digest, Slot<V>>)>,
}

#[derive(Debug)]
struct Slot<V> {
    used: u64,
    cell: Arc<OnceCell<Found<V>>>,
}

impl<V> Cache<V> {
    const fn new() -> Self {
        Self { cells: Mutex::new((0, BTreeMap::new())) }
    }

    fn cell(&self, digest: Digest) -> Arc<OnceCell<Found<V>>> {
        let mut guard = self.cells.lock().unwrap_or_else(PoisonError::into_inner);
        let (clock, slots) = &mut *guard;
        *clock += 1;
        if slots.len() >= REMEMBERED && !slots.contains_key(&digest) {
            let oldest = slots.iter().min_by_key(|(_, it)| it.used).map(|(digest, _)| *digest);
            oldest.map(|it| slots.remove(&it));
        }
        let slot = slots
            .entry(digest)
            .or_insert_with(|| Slot { used: 0, cell: Arc::new(OnceCell::new()) });
        slot.used = *clock;
        Arc::clone(&slot.cell)
    }
}

/// A package that may be unpacked on hosts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Checked {
    /// The SHA-256 of the tar in it.
    pub(super) tree: Digest,
    /// What that is wrapped in.
    pub(super) encoding: Encoding,
}

/// What executors know of releases: their artifacts, each read and judged once.
///
/// Of each kind the 64 that were asked for last are remembered.
#[derive(Debug)]
pub struct Releases {
    store: Arc<dyn ArtifactStore>,
    limits: Limits,
    descriptors: Cache<ReleaseParts>,
    packages: Cache<Checked>,
}

impl Releases {
    /// Over `store`, whose packages are to keep within `limits`.
    #[must_use]
    pub fn new(store: Arc<dyn ArtifactStore>, limits: Limits) -> Self {
        Self { store, limits, descriptors: Cache::new(), packages: Cache::new() }
    }

    pub(super) const fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// What the descriptor with that digest says.
    ///
    /// # Errors
    /// `InvalidInput` if it breaks a rule of `docs/descriptor.md`; whatever keeps the store from giving it.
    pub async fn descriptor(&self, digest: Digest) -> BackendResult<Arc<ReleaseParts>> {
        let cell = self.descriptors.cell(digest);
        let found = cell.get_or_try_init(|| self.read_descriptor(digest)).await?;
        usable(found, "descriptor", digest)
    }

    async fn read_descriptor(&self, digest: Digest) -> BackendResult<Found<ReleaseParts>> {
        let bytes = self.store.read_all(&digest, LARGEST_DESCRIPTOR).await?;
        blocking(move || {
            let bundle = descriptor::read(&bytes).map_err(|err| Unusable(err.to_string()))?;
            ReleaseParts::new(bundle).map(Arc::new).map_err(|err| Unusable(err.to_string()))
        })
        .await
    }

    /// Makes sure that a package may be unpacked on hosts.
    ///
    /// # Errors
    /// `InvalidInput` if it may not, `Corrupt` if it is not what its digest says; whatever keeps the store from giving it.
    pub async fn check_package(&self, package: ArtifactRef) -> BackendResult<()> {
        self.checked(package).await.map(drop)
    }

    /// As [`check_package`](Self::check_package), and what it found.
    pub(super) async fn checked(&self, package: ArtifactRef) -> BackendResult<Arc<Checked>> {
        let cell = self.packages.cell(package.digest);
        let found = cell.get_or_try_init(|| self.read_package(package)).await?;
        usable(found, "package", package.digest)
    }

    async fn read_package(&self, package: ArtifactRef) -> BackendResult<Found<Checked>> {
        let reader = self.store.open(&package.digest, 0).await?;
        let (limits, handle) = (self.limits, Handle::current());
        let judged =
            blocking(move || archive::digest_tar(Bridge { reader, handle }, limits)).await?;
        match judged {
            Ok((summary, tree))
                if summary.digest == package.digest && summary.packed_bytes == package.size =>
            {
                Ok(Ok(Arc::new(Checked { tree, encoding: summary.encoding })))
            }
            Ok(_) => Err(BackendError::new(ErrorKind::Corrupt, "executor.package")
                .with("digest", package.digest)
                .because("the store gave other bytes than the release names")),
            Err(ArchiveError::Refused(refusal)) => Ok(Err(Unusable(refusal.to_string()))),
            Err(ArchiveError::Io(err)) => Err(unreadable(package.digest, err)),
        }
    }

    /// Opens a package for an upload from byte `offset` on.
    pub(super) async fn open_package(
        &self,
        digest: Digest,
        offset: u64,
    ) -> BackendResult<ArtifactReader> {
        self.store.open(&digest, offset).await
    }
}

pub(super) fn unreadable(digest: Digest, err: io::Error) -> BackendError {
    BackendError::new(ErrorKind::Unavailable, "executor.package")
        .with("digest", digest)
        .because(err)
}

fn usable<V>(found: &Found<V>, what: &'static str, digest: Digest) -> BackendResult<Arc<V>> {
    found.clone().map_err(|why| invalid("executor.release").with(what, digest).because(why))
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> BackendResult<T> {
    let done = spawn_blocking(work).await;
    done.map_err(|err| BackendError::new(ErrorKind::Internal, "executor.blocking").because(err))
}

/// Reads, on a thread that may block, what only tasks can read.
struct Bridge {
    reader: ArtifactReader,
    handle: Handle,
}

impl Read for Bridge {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.handle.block_on(self.reader.read(buffer))
    }
}
