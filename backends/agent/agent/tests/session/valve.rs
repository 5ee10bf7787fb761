//! A store that can be shut, and that can give the beginning of an artifact and then nothing more.
use async_trait::async_trait;
use deploy_core::{
    access::Permit,
    backend::{
        ArtifactEntry, ArtifactMeta, ArtifactReader, ArtifactStore, ArtifactStoreCapabilities,
        BackendError, BackendResult, ErrorKind, Holder, ListArtifacts, PutArtifact,
    },
    digest::Digest,
    memory::MemoryArtifactStore,
};
use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
};
use tokio::io::{AsyncRead, AsyncReadExt as _, DuplexStream, duplex};

#[derive(Clone, Copy, Debug)]
enum Position {
    Narrow(u64),
    Open,
    Shut,
}

#[derive(Debug)]
pub(crate) struct Valve {
    store: Arc<MemoryArtifactStore>,
    position: Mutex<Position>,
    opened: Mutex<Vec<(Digest, u64)>>,
    /// The other ends of what gives nothing more.
    stuck: Mutex<Vec<DuplexStream>>,
}

impl Valve {
    pub(crate) fn new(store: Arc<MemoryArtifactStore>) -> Self {
        let position = Mutex::new(Position::Open);
        Self { store, position, opened: Mutex::default(), stuck: Mutex::default() }
    }

    pub(crate) fn shut(&self) {
        *self.position.lock().unwrap() = Position::Shut;
    }

    pub(crate) fn open(&self) {
        *self.position.lock().unwrap() = Position::Open;
    }

    /// Gives the first `bytes` of each artifact.
    pub(crate) fn narrow(&self, bytes: u64) {
        *self.position.lock().unwrap() = Position::Narrow(bytes);
    }

    /// From where on an artifact was read, each time.
    pub(crate) fn opened(&self, digest: &Digest) -> Vec<u64> {
        let opened = self.opened.lock().unwrap();
        opened.iter().filter(|it| it.0 == *digest).map(|it| it.1).collect()
    }
}

#[async_trait]
impl ArtifactStore for Valve {
    fn capabilities(&self) -> ArtifactStoreCapabilities {
        self.store.capabilities()
    }

    async fn put(
        &self,
        permit: &Permit,
        request: PutArtifact,
        body: &mut (dyn AsyncRead + Send + Unpin),
    ) -> BackendResult<ArtifactMeta> {
        self.store.put(permit, request, body).await
    }

    async fn partial(&self, digest: &Digest) -> BackendResult<u64> {
        self.store.partial(digest).await
    }

    async fn head(&self, digest: &Digest) -> BackendResult<ArtifactMeta> {
        self.store.head(digest).await
    }

    async fn open(&self, digest: &Digest, offset: u64) -> BackendResult<ArtifactReader> {
        let position = *self.position.lock().unwrap();
        let reader = match position {
            Position::Shut => {
                return Err(BackendError::new(ErrorKind::Unavailable, "artifact.open"));
            }
            Position::Narrow(bytes) => {
                let (stuck, other) = duplex(1);
                self.stuck.lock().unwrap().push(other);
                Box::pin(self.store.open(digest, offset).await?.take(bytes).chain(stuck))
            }
            Position::Open => self.store.open(digest, offset).await?,
        };
        self.opened.lock().unwrap().push((*digest, offset));
        Ok(reader)
    }

    async fn list(&self, request: &ListArtifacts) -> BackendResult<Vec<ArtifactEntry>> {
        self.store.list(request).await
    }

    async fn hold(&self, permit: &Permit, digest: &Digest, holder: &Holder) -> BackendResult<()> {
        self.store.hold(permit, digest, holder).await
    }

    async fn let_go(&self, permit: &Permit, digest: &Digest, holder: &Holder) -> BackendResult<()> {
        self.store.let_go(permit, digest, holder).await
    }

    async fn holders(&self, digest: &Digest) -> BackendResult<BTreeSet<Holder>> {
        self.store.holders(digest).await
    }

    async fn delete(&self, permit: &Permit, digest: &Digest) -> BackendResult<()> {
        self.store.delete(permit, digest).await
    }

    async fn verify(&self, digest: &Digest) -> BackendResult<()> {
        self.store.verify(digest).await
    }
}
