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
    ForgetsAtACrash,
    ForgetsInterruptedPuts,
    HidesTheHolder,
    IgnoresPermits,
    IgnoresTheOffset,
    IsAlone,
    /// Takes nothing but the rest of an artifact of which a part is kept.
    InsistsOnTheRest,
    InventsAPartial,
    KeepsEntriesOfTheDeleted,
    KnowsOnlyItsOwnHolders,
    ListsBackwards,
    ListsByPutting,
    /// Keeps a second process from writing.
    LocksOthersOut,
    MovesVersions,
    ReadsPastTheEnd,
    RefusesARepeat,
    ServesRot,
    ShowsWhatIsOnItsWay,
    /// Lists what it knows already, whatever the body is.
    TakesTheDigestForTheBytes,
    VerifiesNothing,
}

saboteurs!(ArtifactStore, Arc<MemoryArtifactStore>);

fn state(_: Sabotage) -> Arc<MemoryArtifactStore> {
    Arc::new(MemoryArtifactStore::new())
}

fn open(sabotage: Sabotage, plain: &Arc<MemoryArtifactStore>) -> Arc<dyn ArtifactStore> {
    let (coming, entries, held) = (Mutex::default(), Mutex::default(), Mutex::default());
    let second = Arc::strong_count(plain) > 1;
    Arc::new(Saboteur { plain: plain.clone(), second, coming, entries, held, sabotage })
}

impl ArtifactStoreHarness for Bad {
    async fn rot(&self, plain: &Arc<MemoryArtifactStore>, digest: &Digest) {
        plain.rot(digest);
    }
}

#[derive(Debug)]
struct Saboteur {
    plain: Arc<MemoryArtifactStore>,
    /// Whether another process had the store open already.
    second: bool,
    /// What was announced.
    coming: Mutex<BTreeMap<Digest, ArtifactMeta>>,
    /// What was ever listed, in the order in which it was put.
    entries: Mutex<Vec<ArtifactEntry>>,
    /// What was ever held.
    held: Mutex<BTreeSet<Digest>>,
    sabotage: Sabotage,
}

impl Saboteur {
    /// What stands against a put that nothing should stand against.
    async fn objection(&self, request: &PutArtifact) -> BackendResult<Option<ErrorKind>> {
        Ok(match self.sabotage {
            Sabotage::InsistsOnTheRest => {
                let kept = self.plain.partial(&request.digest).await?;
                (request.offset == 0 && kept > 0).then_some(ErrorKind::Conflict)
            }
            Sabotage::LocksOthersOut => self.second.then_some(ErrorKind::Unavailable),
            Sabotage::RefusesARepeat => {
                self.plain.head(&request.digest).await.ok().map(|_| ErrorKind::AlreadyExists)
            }
            _ => None,
        })
    }

    async fn delete_anyway(&self, permit: &Permit, digest: &Digest) -> BackendResult<()> {
        for holder in self.plain.holders(digest).await? {
            self.plain.let_go(permit, digest, &holder).await?;
        }
        self.plain.delete(permit, digest).await
    }
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
        if let Some(kind) = self.objection(&request).await? {
            return Err(BackendError::new(kind, "artifact.put"));
        }
        let all = permit(Action::ArtifactWrite, Resource::System).await;
        let permit = if self.sabotage == Sabotage::IgnoresPermits { &all } else { permit_ };
        let meta = ArtifactMeta::new(request.digest, request.size);
        self.coming.lock().unwrap().insert(request.digest, meta);
        let PutArtifact { repository, kind, version, at, .. } = request.clone();
        let known = match self.sabotage {
            Sabotage::TakesTheDigestForTheBytes => self.plain.open(&meta.digest, 0).await.ok(),
            _ => None,
        };
        let done = match known {
            Some(mut known) => self.plain.put(permit, request, &mut known).await,
            None => self.plain.put(permit, request, body).await,
        };
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
            Sabotage::InventsAPartial if self.plain.head(digest).await.is_err() => {
                Ok(self.plain.partial(digest).await?.max(1))
            }
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
        self.held.lock().unwrap().insert(*digest);
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
            Sabotage::DeletesWhatIsHeld => self.delete_anyway(permit, digest).await,
            Sabotage::HidesTheHolder => self.plain.delete(permit, digest).await.map_err(|err| {
                BackendError::new(err.kind(), "artifact.delete").with("digest", digest)
            }),
            Sabotage::KnowsOnlyItsOwnHolders if !self.held.lock().unwrap().contains(digest) => {
                self.delete_anyway(permit, digest).await
            }
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
