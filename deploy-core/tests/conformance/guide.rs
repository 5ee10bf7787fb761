//! What `docs/backend-guide.md` builds: leases in files, and the kit on them.
use async_trait::async_trait;
use deploy_core::{
    backend::{AcquireLease, BackendError, BackendResult, Clock, ErrorKind, Lease, LeaseStore},
    conformance::{
        ConcurrentHarness, DurableHarness, Harness, lease_store::LeaseStoreHarness, sample,
    },
    digest::Digest,
    memory::ManualClock,
    time::Timestamp,
};
use serde::{Deserialize, Serialize};
use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};
use tempfile::TempDir;

/// Keeps leases in a folder, a file each.
#[derive(Clone, Debug)]
struct FileLeaseStore {
    folder: PathBuf,
    clock: Arc<dyn Clock>,
}

/// What the file of a lease says. The epoch outlives the lease.
#[derive(Default, Serialize, Deserialize)]
struct Slot {
    epoch: u64,
    owner: Option<Owner>,
}

#[derive(Serialize, Deserialize)]
struct Owner {
    holder: String,
    expires_at: Timestamp,
}

impl FileLeaseStore {
    fn open(folder: impl Into<PathBuf>, clock: Arc<dyn Clock>) -> Self {
        Self { folder: folder.into(), clock }
    }

    /// Lets `decide` change a slot, while no other process can. What it refuses is not written.
    fn change<T>(
        &self,
        name: &str,
        decide: impl FnOnce(&mut Slot) -> BackendResult<T>,
    ) -> BackendResult<T> {
        let lock = File::create(self.folder.join("lock")).map_err(unavailable)?;
        lock.lock().map_err(unavailable)?;
        let mut slot = self.read(name)?;
        let decided = decide(&mut slot)?;
        self.write(name, &slot)?;
        Ok(decided)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(Digest::of(name.as_bytes()).hex())
    }

    fn read(&self, name: &str) -> BackendResult<Slot> {
        let bytes = match fs::read(self.path(name)) {
            Ok(bytes) => bytes,
            Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(Slot::default()),
            Err(err) => return Err(unavailable(err)),
        };
        let parsed = serde_json::from_slice(&bytes);
        parsed.map_err(|err| error(ErrorKind::Corrupt).with("lease", name).because(err))
    }

    /// A reader sees the old slot or the new one, also after a crash: the new one is whole before it gets its name.
    fn write(&self, name: &str, slot: &Slot) -> BackendResult<()> {
        let bytes =
            serde_json::to_vec(slot).map_err(|err| error(ErrorKind::Internal).because(err))?;
        let new = self.folder.join("new");
        let mut file = File::create(&new).map_err(unavailable)?;
        file.write_all(&bytes).and_then(|()| file.sync_all()).map_err(unavailable)?;
        fs::rename(&new, self.path(name)).map_err(unavailable)?;
        let folder = File::open(&self.folder).and_then(|folder| folder.sync_all());
        folder.map_err(|err| error(ErrorKind::OutcomeUnknown).with("lease", name).because(err))
    }

    fn take(&self, request: &AcquireLease) -> BackendResult<Lease> {
        let now = self.clock.now();
        self.change(&request.name, |slot| {
            let mut end = now.after(request.ttl);
            match slot.owner.as_ref().filter(|it| it.expires_at > now) {
                Some(mine) if mine.holder == request.holder => end = end.max(mine.expires_at),
                Some(theirs) if request.dead.as_ref() != Some(&theirs.holder) => {
                    let refused = error(ErrorKind::Conflict).with("lease", &request.name);
                    return Err(refused.with("holder", &theirs.holder));
                }
                Some(_) | None => slot.epoch += 1,
            }
            slot.owner = Some(Owner { holder: request.holder.clone(), expires_at: end });
            Ok(Lease::new(&request.name, &request.holder, slot.epoch, end))
        })
    }

    fn give_up(&self, lease: &Lease) -> BackendResult<()> {
        self.change(&lease.name, |slot| {
            let epoch = slot.epoch;
            slot.owner.take_if(|it| it.holder == lease.holder && epoch == lease.epoch);
            Ok(())
        })
    }
}

fn error(kind: ErrorKind) -> BackendError {
    BackendError::new(kind, "lease.file")
}

/// Nothing has taken effect, so the caller may try again.
fn unavailable(err: io::Error) -> BackendError {
    let kind = match err.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorKind::NoSpace,
        _ => ErrorKind::Unavailable,
    };
    error(kind).because(err)
}

/// Files block, and a task must not.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> BackendResult<T> + Send + 'static,
) -> BackendResult<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|err| error(ErrorKind::OutcomeUnknown).because(err))?
}

#[async_trait]
impl LeaseStore for FileLeaseStore {
    async fn acquire(&self, request: &AcquireLease) -> BackendResult<Lease> {
        let (store, request) = (self.clone(), request.clone());
        blocking(move || store.take(&request)).await
    }

    async fn release(&self, lease: &Lease) -> BackendResult<()> {
        let (store, lease) = (self.clone(), lease.clone());
        blocking(move || store.give_up(&lease)).await
    }

    async fn current(&self, name: &str) -> BackendResult<Option<Lease>> {
        let (store, name) = (self.clone(), name.to_owned());
        blocking(move || {
            let Slot { epoch, owner } = store.read(&name)?;
            Ok(owner.map(|it| Lease::new(name, it.holder, epoch, it.expires_at)))
        })
        .await
    }
}

struct Files;

impl Harness<dyn LeaseStore> for Files {
    type Guard = (TempDir, Arc<ManualClock>);

    async fn fresh(&self) -> (Arc<dyn LeaseStore>, Self::Guard) {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::at(sample::at(1_000)));
        (Arc::new(FileLeaseStore::open(folder.path(), clock.clone())), (folder, clock))
    }
}

impl DurableHarness<dyn LeaseStore> for Files {
    async fn reopen(
        &self,
        leases: Arc<dyn LeaseStore>,
        guard: &Self::Guard,
    ) -> Arc<dyn LeaseStore> {
        drop(leases);
        self.another(guard).await
    }
}

impl ConcurrentHarness<dyn LeaseStore> for Files {
    async fn another(&self, (folder, clock): &Self::Guard) -> Arc<dyn LeaseStore> {
        Arc::new(FileLeaseStore::open(folder.path(), clock.clone()))
    }
}

impl LeaseStoreHarness for Files {
    async fn pass(&self, (_, clock): &Self::Guard, by: Duration) {
        clock.advance(by);
    }
}

deploy_core::lease_store_conformance!(Files, core, durable, concurrent);

/// The guide shows this file, piece by piece, and nothing else.
#[test]
fn the_guide_shows_what_is_tested() {
    let code = include_str!("guide.rs");
    let guide = include_str!("../../../docs/backend-guide.md");
    let shown: Vec<_> = guide.split("```rust\n").skip(1).collect();
    assert!(shown.len() > 5, "the guide shows {} pieces", shown.len());
    for piece in shown {
        let piece = piece.split("```").next().unwrap();
        assert!(code.contains(piece), "the guide shows what is not tested:\n{piece}");
    }
}
