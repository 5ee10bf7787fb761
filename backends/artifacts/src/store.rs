//! The store itself.
use crate::{
    catalogue::{self, Catalogue},
    draft::Draft,
    fault,
    folder::Folder,
    gate::Gate,
    holds::Holds,
    layout,
    put::fill,
    read::{self, Reader},
};
use async_trait::async_trait;
use bytes::Bytes;
use deploy_core::{
    access::{Action, Permit, Resource},
    backend::{
        ArtifactEntry, ArtifactMeta, ArtifactReader, ArtifactStore, ArtifactStoreCapabilities,
        Holder, ListArtifacts, PutArtifact,
    },
    digest::Digest,
    error::{BackendError, BackendResult, ErrorKind},
};
use futures_util::{TryStreamExt as _, stream::BoxStream};
use object_store::{
    GetResult, ObjectMeta, ObjectStore, ObjectStoreExt as _, local::LocalFileSystem,
    path::Path as ObjectPath,
};
use std::{collections::BTreeSet, path::Path, sync::Arc};
use tokio::{io::AsyncRead, task};

/// Artifacts in a folder or an object store.
///
/// In a folder, any number of handles and processes on one machine may work at the same time, and interrupted puts can be
/// resumed. In an object store, the program that collects garbage and deletes must be the only one that writes: what an
/// object store offers is too little to keep a put on one machine from a deletion on another.
#[derive(Debug)]
pub struct ObjectArtifactStore {
    pub(crate) store: Arc<dyn ObjectStore>,
    pub(crate) catalogue: Catalogue,
    pub(crate) holds: Holds,
    pub(crate) gate: Gate,
    pub(crate) folder: Option<Folder>,
}

impl ObjectArtifactStore {
    /// Opens the store in the folder `root`, which is made if it is not there.
    ///
    /// What is put is on the disk when `put` returns.
    ///
    /// # Errors
    /// `PermissionDenied` or `NoSpace` if the folder cannot be written to, `Unsupported` if a newer version of this program
    /// made it.
    pub fn open_local(root: impl AsRef<Path>) -> BackendResult<Self> {
        let folder = Folder::open(root.as_ref())?;
        let files = LocalFileSystem::new_with_prefix(folder.root());
        let failed = |err| fault::reading("artifact.open_store", folder.root().display(), err);
        let files = files.map_err(failed)?.with_fsync(true).with_automatic_cleanup(true);
        Ok(Self::assemble(Arc::new(files), Some(folder)))
    }

    /// Uses `store`, all of it; an [`object_store::prefix::PrefixStore`] gives it a part of one.
    ///
    /// It must offer [`object_store::PutMode::Create`].
    #[must_use]
    pub fn new(store: Arc<dyn ObjectStore>) -> Self {
        Self::assemble(store, None)
    }

    fn assemble(store: Arc<dyn ObjectStore>, folder: Option<Folder>) -> Self {
        Self {
            catalogue: Catalogue::new(Arc::clone(&store)),
            holds: Holds::new(Arc::clone(&store)),
            gate: Gate::new(folder.as_ref().map(Folder::lock_path)),
            store,
            folder,
        }
    }

    /// What the object store knows of an artifact; `None` if it is not there.
    async fn find(
        &self,
        operation: &'static str,
        digest: &Digest,
    ) -> BackendResult<Option<ObjectMeta>> {
        match self.store.head(&layout::blob(digest)).await {
            Ok(meta) => Ok(Some(meta)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(err) => Err(fault::reading(operation, digest, err)),
        }
    }

    async fn must_exist(&self, operation: &'static str, digest: &Digest) -> BackendResult<u64> {
        let meta = self.find(operation, digest).await?;
        meta.map(|it| it.size).ok_or_else(|| missing(operation, digest))
    }

    /// Opens the bytes of an artifact.
    async fn fetch(&self, operation: &'static str, digest: &Digest) -> BackendResult<GetResult> {
        match self.store.get(&layout::blob(digest)).await {
            Ok(found) => Ok(found),
            Err(object_store::Error::NotFound { .. }) => self.fetch_again(operation, digest).await,
            Err(err) => Err(fault::reading(operation, digest, err)),
        }
    }

    /// Bytes that are gone while something lists them are damage. Looks again while nobody can put or delete them.
    async fn fetch_again(
        &self,
        operation: &'static str,
        digest: &Digest,
    ) -> BackendResult<GetResult> {
        let _entered = self.gate.enter(operation).await?;
        match self.store.get(&layout::blob(digest)).await {
            Ok(found) => Ok(found),
            Err(object_store::Error::NotFound { .. }) => {
                if self.catalogue.naming(operation, digest).await?.is_empty() {
                    return Err(missing(operation, digest));
                }
                Err(read::corrupt(operation, digest, "nothing", &self.catalogue).await)
            }
            Err(err) => Err(fault::reading(operation, digest, err)),
        }
    }

    fn checked(
        &self,
        operation: &'static str,
        found: GetResult,
        digest: &Digest,
        skip: u64,
    ) -> BoxStream<'static, BackendResult<Bytes>> {
        read::checked(operation, found, *digest, skip, self.catalogue.clone())
    }

    async fn read_through(&self, operation: &'static str, digest: &Digest) -> BackendResult<u64> {
        let found = self.fetch(operation, digest).await?;
        let size = found.meta.size;
        self.checked(operation, found, digest, 0).try_for_each(async |_| Ok(())).await?;
        Ok(size)
    }

    async fn begin(&self, request: &PutArtifact) -> BackendResult<Draft> {
        match &self.folder {
            Some(folder) => Draft::in_folder(folder.clone(), request.digest, request.offset).await,
            None => {
                let path = layout::blob(&request.digest);
                Draft::in_store(Arc::clone(&self.store), path, request.offset)
            }
        }
    }

    /// The entry that `request` asks for; `AlreadyExists` if its version is another artifact, `None` if it is listed.
    async fn unlisted(&self, request: &PutArtifact) -> BackendResult<Option<ArtifactEntry>> {
        let PutArtifact { repository, kind, version, .. } = request;
        let listed = self.catalogue.find("artifact.put", repository, *kind, version).await?;
        match listed {
            Some(entry) if entry.meta.digest == request.digest => Ok(None),
            Some(entry) => Err(BackendError::new(ErrorKind::AlreadyExists, "artifact.put")
                .with("repository", repository)
                .with("kind", kind.as_str())
                .with("version", version)
                .with("listed", entry.meta.digest)
                .with("hint", "a version never changes: put this as another version")),
            None => {
                let meta = ArtifactMeta::new(request.digest, request.size);
                let (repository, version) = (repository.clone(), version.clone());
                Ok(Some(ArtifactEntry::new(repository, *kind, version, meta, request.at)))
            }
        }
    }

    /// Lists `entry`. Somebody else may have done so meanwhile: with an object store the gate is no other program's.
    async fn enlist(&self, entry: &ArtifactEntry) -> BackendResult<()> {
        let err = match self.catalogue.add("artifact.put", entry).await {
            Err(err) if err.kind() == ErrorKind::AlreadyExists => err,
            added => return added,
        };
        let ArtifactEntry { repository, kind, version, .. } = entry;
        match self.catalogue.find("artifact.put", repository, *kind, version).await? {
            Some(listed) if listed.meta == entry.meta => Ok(()),
            _ => Err(err),
        }
    }

    /// Makes `draft` an artifact and lists it. Bytes that are here already make room for it: they may have rotted.
    async fn publish(&self, request: &PutArtifact, draft: Draft) -> BackendResult<()> {
        let _entered = self.gate.enter("artifact.put").await?;
        let entry = match self.unlisted(request).await {
            Ok(entry) => entry,
            Err(err) => {
                draft.discard().await?;
                return Err(err);
            }
        };
        draft.publish(&self.store, &layout::blob(&request.digest)).await?;
        match entry {
            Some(entry) => self.enlist(&entry).await,
            None => Ok(()),
        }
    }

    /// Removes an artifact and what lists it, in an order that leaves nothing listed that is not there, also when the
    /// power fails in between. Only for who has entered the gate.
    async fn remove(&self, digest: &Digest, entries: &[ArtifactEntry]) -> BackendResult<()> {
        let operation = "artifact.delete";
        for entry in entries {
            self.catalogue.remove(operation, entry).await?;
        }
        let gone = entries.iter().map(catalogue::path_of).collect();
        self.sync_removal(operation, gone).await?;
        let blob = self.remove_bytes(operation, digest).await?;
        self.sync_removal(operation, vec![blob]).await
    }

    /// Removes the bytes of an artifact, and says where they were. Only for who has entered the gate.
    pub(crate) async fn remove_bytes(
        &self,
        operation: &'static str,
        digest: &Digest,
    ) -> BackendResult<ObjectPath> {
        let blob = layout::blob(digest);
        match self.store.delete(&blob).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(blob),
            Err(err) => Err(fault::writing(operation, blob, err)),
        }
    }

    /// Makes it durable that these are gone.
    pub(crate) async fn sync_removal(
        &self,
        operation: &'static str,
        gone: Vec<ObjectPath>,
    ) -> BackendResult<()> {
        self.in_folder(operation, (), move |folder| folder.sync_removal(&gone)).await
    }

    /// What `work` on the folder gives; `otherwise` if there is none.
    pub(crate) async fn in_folder<T: Send + 'static>(
        &self,
        operation: &'static str,
        otherwise: T,
        work: impl FnOnce(&Folder) -> std::io::Result<T> + Send + 'static,
    ) -> BackendResult<T> {
        let Some(folder) = self.folder.clone() else {
            return Ok(otherwise);
        };
        let root = folder.root().display().to_string();
        let done = task::spawn_blocking(move || work(&folder)).await;
        let done = done.map_err(|err| fault::lost(operation, err))?;
        done.map_err(|err| fault::writing(operation, root, err))
    }
}

#[async_trait]
impl ArtifactStore for ObjectArtifactStore {
    fn capabilities(&self) -> ArtifactStoreCapabilities {
        let resume = self.folder.is_some();
        ArtifactStoreCapabilities::default().with_delete(true).with_resume(resume)
    }

    async fn put(
        &self,
        permit: &Permit,
        request: PutArtifact,
        body: &mut (dyn AsyncRead + Send + Unpin),
    ) -> BackendResult<ArtifactMeta> {
        let repository = Resource::Repository(request.repository.clone());
        permit.demand(Action::ArtifactWrite, &repository, "artifact.put")?;
        let meta = ArtifactMeta::new(request.digest, request.size);
        self.unlisted(&request).await?;
        let draft = fill(self.begin(&request).await?, &request, body).await?;
        self.publish(&request, draft).await?;
        self.in_folder("artifact.put", (), move |it| it.discard_kept(&meta.digest)).await?;
        Ok(meta)
    }

    async fn partial(&self, digest: &Digest) -> BackendResult<u64> {
        let digest = *digest;
        self.in_folder("artifact.partial", 0, move |folder| folder.kept(&digest)).await
    }

    async fn head(&self, digest: &Digest) -> BackendResult<ArtifactMeta> {
        let size = self.must_exist("artifact.head", digest).await?;
        Ok(ArtifactMeta::new(*digest, size))
    }

    async fn open(&self, digest: &Digest, offset: u64) -> BackendResult<ArtifactReader> {
        let operation = "artifact.open";
        let found = self.fetch(operation, digest).await?;
        if offset > found.meta.size {
            return Err(BackendError::new(ErrorKind::InvalidInput, operation)
                .with("digest", digest)
                .with("offset", offset)
                .with("size", found.meta.size));
        }
        let chunks = self.checked(operation, found, digest, offset);
        Ok(Box::pin(Reader { chunks, current: Bytes::new() }))
    }

    async fn list(&self, request: &ListArtifacts) -> BackendResult<Vec<ArtifactEntry>> {
        self.catalogue.list("artifact.list", request).await
    }

    async fn hold(&self, permit: &Permit, digest: &Digest, holder: &Holder) -> BackendResult<()> {
        permit.demand_some_repository("artifact.hold")?;
        let _entered = self.gate.enter("artifact.hold").await?;
        self.must_exist("artifact.hold", digest).await?;
        self.holds.add(digest, holder).await
    }

    async fn let_go(&self, permit: &Permit, digest: &Digest, holder: &Holder) -> BackendResult<()> {
        permit.demand(Action::ArtifactWrite, &Resource::System, "artifact.let_go")?;
        let _entered = self.gate.enter("artifact.let_go").await?;
        self.holds.remove(digest, holder).await?;
        self.sync_removal("artifact.let_go", vec![layout::hold(digest, holder)]).await
    }

    async fn holders(&self, digest: &Digest) -> BackendResult<BTreeSet<Holder>> {
        self.holds.of(digest).await
    }

    async fn delete(&self, permit: &Permit, digest: &Digest) -> BackendResult<()> {
        let operation = "artifact.delete";
        permit.demand(Action::ArtifactWrite, &Resource::System, operation)?;
        let _entered = self.gate.enter(operation).await?;
        if let Some(holder) = self.holds.any(operation, digest).await? {
            return Err(BackendError::new(ErrorKind::Conflict, operation)
                .with("digest", digest)
                .with("holder", holder));
        }
        let entries = self.catalogue.naming(operation, digest).await?;
        if entries.is_empty() {
            self.must_exist(operation, digest).await?;
        }
        self.remove(digest, &entries).await
    }

    async fn verify(&self, digest: &Digest) -> BackendResult<()> {
        self.read_through("artifact.verify", digest).await.map(drop)
    }
}

fn missing(operation: &'static str, digest: &Digest) -> BackendError {
    BackendError::new(ErrorKind::NotFound, operation).with("digest", digest)
}
