use async_trait::async_trait;
use deploy_core::{
    access::{Action, Permit, Resource},
    backend::{
        ArtifactEntry, ArtifactMeta, ArtifactReader, ArtifactStore, ArtifactStoreCapabilities,
        BackendError, BackendResult, ErrorKind, Holder, ListArtifacts, PutArtifact,
    },
    conformance::{Harness, artifact_store::ArtifactStoreHarness, permit},
    digest::Digest,
    memory::MemoryArtifactStore,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    io::Cursor,
    sync::{Arc, Mutex},
};
use tokio::io::AsyncRead;

sabotages! {
    AcceptsAnyBody,
    AcceptsAnyOffset,
    CallsTheMissingEmpty,
    DeletesNothing,
    DeletesWhatIsHeld,
    DeniesThatItDeletes,
    ForgetsInterruptedPuts,
    HidesTheHolder,
    IgnoresPermits,
    IgnoresTheOffset,
    KeepsEntriesOfTheDeleted,
    ListsBackwards,
    ListsByPutting,
    MovesVersions,
    ReadsPastTheEnd,
    ServesRot,
    ShowsWhatIsOnItsWay,
    VerifiesNothing,
}

pub(crate) fn is_caught(sabotage: Sabotage) -> bool {
    deploy_core::artifact_store_conformance!(@core [any_case_fails] Bad(sabotage))
}

struct Bad(Sabotage);

impl Harness<dyn ArtifactStore> for Bad {
    type Guard = Arc<MemoryArtifactStore>;

    async fn fresh(&self) -> (Arc<dyn ArtifactStore>, Arc<MemoryArtifactStore>) {
        let plain = Arc::new(MemoryArtifactStore::new());
        let (coming, entries) = (Mutex::default(), Mutex::default());
        let sabotage = self.0;
        (Arc::new(Saboteur { plain: plain.clone(), coming, entries, sabotage }), plain)
    }
}

impl ArtifactStoreHarness for Bad {
    async fn rot(&self, plain: &Arc<MemoryArtifactStore>, digest: &Digest) {
        plain.rot(digest);
    }
}

#[derive(Debug)]
struct Saboteur {
    plain: Arc<MemoryArtifactStore>,
    /// What was announced.
    coming: Mutex<BTreeMap<Digest, ArtifactMeta>>,
    /// What was ever listed, in the order in which it was put.
    entries: Mutex<Vec<ArtifactEntry>>,
    sabotage: Sabotage,
}

#[async_trait]
impl ArtifactStore for Saboteur {
    fn capabilities(&self) -> ArtifactStoreCapabilities {
        let deletes = self.sabotage != Sabotage::DeniesThatItDeletes;
        self.plain.capabilities().with_delete(deletes)
    }

    async fn put(
        &self,
        permit_: &Permit,
        request: PutArtifact,
        body: &mut (dyn AsyncRead + Send + Unpin),
    ) -> BackendResult<ArtifactMeta> {
        let all = permit(Action::ArtifactWrite, Resource::System).await;
        let permit = if self.sabotage == Sabotage::IgnoresPermits { &all } else { permit_ };
        let meta = ArtifactMeta::new(request.digest, request.size);
        self.coming.lock().unwrap().insert(request.digest, meta);
        let PutArtifact { repository, kind, version, at, .. } = request.clone();
        let done = self.plain.put(permit, request, body).await;
        if done.is_ok() {
            let entry = ArtifactEntry::new(repository, kind, version, meta, at);
            self.entries.lock().unwrap().push(entry);
        }
        match (self.sabotage, done.as_ref().map_err(BackendError::kind)) {
            (Sabotage::AcceptsAnyBody, Err(ErrorKind::InvalidInput))
            | (Sabotage::AcceptsAnyOffset, Err(ErrorKind::Conflict))
            | (Sabotage::MovesVersions, Err(ErrorKind::AlreadyExists)) => Ok(meta),
            _ => done,
        }
    }

    async fn partial(&self, digest: &Digest) -> BackendResult<u64> {
        match self.sabotage {
            Sabotage::ForgetsInterruptedPuts => Ok(0),
            _ => self.plain.partial(digest).await,
        }
    }

    async fn head(&self, digest: &Digest) -> BackendResult<ArtifactMeta> {
        let coming = self.coming.lock().unwrap().get(digest).copied();
        match (self.sabotage, coming) {
            (Sabotage::ShowsWhatIsOnItsWay, Some(meta)) => Ok(meta),
            _ => self.plain.head(digest).await,
        }
    }

    async fn open(&self, digest: &Digest, offset: u64) -> BackendResult<ArtifactReader> {
        let offset = if self.sabotage == Sabotage::IgnoresTheOffset { 0 } else { offset };
        let opened = self.plain.open(digest, offset).await;
        match (self.sabotage, opened.as_ref().map(|_| ()).map_err(BackendError::kind)) {
            (Sabotage::CallsTheMissingEmpty, Err(ErrorKind::NotFound))
            | (Sabotage::ReadsPastTheEnd, Err(ErrorKind::InvalidInput))
            | (Sabotage::ServesRot, Err(ErrorKind::Corrupt)) => {
                Ok(Box::pin(Cursor::new(Vec::new())))
            }
            _ => opened,
        }
    }

    async fn list(&self, request: &ListArtifacts) -> BackendResult<Vec<ArtifactEntry>> {
        let mut entries = self.plain.list(request).await?;
        match self.sabotage {
            Sabotage::KeepsEntriesOfTheDeleted if request.repository.is_none() => {
                let put = self.entries.lock().unwrap().clone();
                for entry in put {
                    if self.plain.head(&entry.meta.digest).await.is_err() {
                        entries.push(entry);
                    }
                }
            }
            Sabotage::ListsBackwards => entries.reverse(),
            Sabotage::ListsByPutting => {
                let put = self.entries.lock().unwrap().clone();
                entries.sort_by_key(|it| put.iter().position(|put| put == it));
            }
            _ => {}
        }
        Ok(entries)
    }

    async fn hold(&self, permit: &Permit, digest: &Digest, holder: &Holder) -> BackendResult<()> {
        self.plain.hold(permit, digest, holder).await
    }

    async fn let_go(&self, permit: &Permit, digest: &Digest, holder: &Holder) -> BackendResult<()> {
        self.plain.let_go(permit, digest, holder).await
    }

    async fn holders(&self, digest: &Digest) -> BackendResult<BTreeSet<Holder>> {
        self.plain.holders(digest).await
    }

    async fn delete(&self, permit: &Permit, digest: &Digest) -> BackendResult<()> {
        match self.sabotage {
            Sabotage::DeletesNothing => self.plain.head(digest).await.map(|_| ()),
            Sabotage::DeletesWhatIsHeld => {
                for holder in self.plain.holders(digest).await? {
                    self.plain.let_go(permit, digest, &holder).await?;
                }
                self.plain.delete(permit, digest).await
            }
            Sabotage::HidesTheHolder => self.plain.delete(permit, digest).await.map_err(|err| {
                BackendError::new(err.kind(), "artifact.delete").with("digest", digest)
            }),
            _ => self.plain.delete(permit, digest).await,
        }
    }

    async fn verify(&self, digest: &Digest) -> BackendResult<()> {
        match self.sabotage {
            Sabotage::VerifiesNothing => self.plain.head(digest).await.map(|_| ()),
            _ => self.plain.verify(digest).await,
        }
    }
}
