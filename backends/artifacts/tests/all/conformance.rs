//! The conformance kit, on a folder and on an object store in memory.
use deploy_artifacts::ObjectArtifactStore;
use deploy_core::{
    backend::ArtifactStore,
    conformance::{
        ConcurrentHarness, DurableHarness, Harness, artifact_store::ArtifactStoreHarness,
    },
    digest::Digest,
};
use object_store::{ObjectStoreExt as _, memory::InMemory, path::Path};
use std::{fs, sync::Arc};
use tempfile::TempDir;

struct Folder;

fn open(folder: &TempDir) -> Arc<dyn ArtifactStore> {
    Arc::new(ObjectArtifactStore::open_local(folder.path()).unwrap())
}

fn place(digest: &Digest) -> String {
    let hex = digest.hex();
    format!("blobs/sha256/{}/{hex}", &hex[..2])
}

impl Harness<dyn ArtifactStore> for Folder {
    type Guard = TempDir;

    async fn fresh(&self) -> (Arc<dyn ArtifactStore>, TempDir) {
        let folder = tempfile::tempdir().unwrap();
        (open(&folder), folder)
    }
}

impl DurableHarness<dyn ArtifactStore> for Folder {
    async fn reopen(
        &self,
        backend: Arc<dyn ArtifactStore>,
        guard: &TempDir,
    ) -> Arc<dyn ArtifactStore> {
        drop(backend);
        open(guard)
    }
}

impl ConcurrentHarness<dyn ArtifactStore> for Folder {
    async fn another(&self, guard: &TempDir) -> Arc<dyn ArtifactStore> {
        open(guard)
    }
}

impl ArtifactStoreHarness for Folder {
    async fn rot(&self, guard: &TempDir, digest: &Digest) {
        let path = guard.path().join(place(digest));
        let mut bytes = fs::read(&path).unwrap();
        bytes[0] ^= 1;
        fs::write(path, bytes).unwrap();
    }
}

struct Remote;

impl Harness<dyn ArtifactStore> for Remote {
    type Guard = Arc<InMemory>;

    async fn fresh(&self) -> (Arc<dyn ArtifactStore>, Arc<InMemory>) {
        let objects = Arc::new(InMemory::new());
        (Arc::new(ObjectArtifactStore::new(Arc::clone(&objects) as _)), objects)
    }
}

impl DurableHarness<dyn ArtifactStore> for Remote {
    async fn reopen(
        &self,
        backend: Arc<dyn ArtifactStore>,
        guard: &Arc<InMemory>,
    ) -> Arc<dyn ArtifactStore> {
        drop(backend);
        Arc::new(ObjectArtifactStore::new(Arc::clone(guard) as _))
    }
}

impl ConcurrentHarness<dyn ArtifactStore> for Remote {
    async fn another(&self, guard: &Arc<InMemory>) -> Arc<dyn ArtifactStore> {
        Arc::new(ObjectArtifactStore::new(Arc::clone(guard) as _))
    }
}

impl ArtifactStoreHarness for Remote {
    async fn rot(&self, guard: &Arc<InMemory>, digest: &Digest) {
        let path = Path::from(place(digest));
        let mut bytes = guard.get(&path).await.unwrap().bytes().await.unwrap().to_vec();
        bytes[0] ^= 1;
        guard.put(&path, bytes.into()).await.unwrap();
    }
}

mod folder {
    deploy_core::artifact_store_conformance!(super::Folder, core, durable, concurrent);
}

mod remote {
    deploy_core::artifact_store_conformance!(super::Remote, core, durable, concurrent);
}
