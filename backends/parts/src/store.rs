//! The store of parts.
use crate::{
    PartsError,
    blobs::Blobs,
    making::{Base, Making, copy},
};
use deploy_core::{
    backend::{ArtifactReader, ArtifactStore},
    digest::Digest,
    spec::ArtifactRef,
};
use deploy_package::{Publication, archive::Limits};
use std::{
    fs,
    io::{self, SeekFrom, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
};
use tokio::{io::AsyncSeekExt as _, sync::Mutex};

/// What can be chosen of a store of parts.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct PartStoreOptions {
    /// How many bytes of parts are kept, beside those that somebody has used within the last hour. 16 GiB by default.
    pub budget: u64,
    /// What packages have to keep to.
    pub limits: Limits,
}

impl Default for PartStoreOptions {
    fn default() -> Self {
        Self { budget: 16 << 30, limits: Limits::PACKAGE }
    }
}

impl PartStoreOptions {
    /// With another budget, in bytes.
    #[must_use]
    pub const fn with_budget(mut self, budget: u64) -> Self {
        self.budget = budget;
        self
    }
}

/// A package whose parts are there.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Published {
    /// The list of its parts.
    pub publication: Arc<Publication>,
    /// That list, as bytes that can be fetched as a part is.
    pub list: ArtifactRef,
}

/// The parts of the packages of an artifact store. Clones are the same store.
#[derive(Clone, Debug)]
pub struct PartStore(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    packages: Arc<dyn ArtifactStore>,
    folder: PathBuf,
    blobs: Blobs,
    options: PartStoreOptions,
    /// One package at a time: that takes as much memory and as many cores as there should be for it.
    making: Arc<Mutex<()>>,
    /// One package at a time is copied out of the store, too.
    copying: Mutex<()>,
}

impl PartStore {
    /// In `folder`, which is made if it is not there, of what is in `packages`. For one process at a time. This blocks.
    ///
    /// # Errors
    /// If the folder cannot be made or written to.
    pub fn open(
        folder: impl Into<PathBuf>,
        packages: Arc<dyn ArtifactStore>,
        options: PartStoreOptions,
    ) -> io::Result<Self> {
        let folder = folder.into();
        let blobs = Blobs::open(folder.join("blobs"))?;
        let publications = folder.join("publications");
        fs::create_dir_all(&publications)?;
        forget_gone(&publications, &blobs)?;
        // What a process that was killed was making.
        let work = folder.join("work");
        match fs::remove_dir_all(&work) {
            Err(err) if err.kind() != io::ErrorKind::NotFound => return Err(err),
            _ => fs::create_dir(&work)?,
        }
        let (making, copying) = (Arc::default(), Mutex::new(()));
        Ok(Self(Arc::new(Inner { packages, folder, blobs, options, making, copying })))
    }

    /// The parts of `package`, with a delta for hosts that have `earlier`. They are made if they are not there: that reads both
    /// packages, and takes some seconds for each hundred megabytes of them.
    ///
    /// # Errors
    /// If a package cannot be read, is none, or there is no room.
    pub async fn publish(
        &self,
        package: ArtifactRef,
        earlier: Option<ArtifactRef>,
    ) -> Result<Published, PartsError> {
        if let Some(published) = self.published(package, earlier).await? {
            return Ok(published);
        }
        // A task of its own: whoever waits for it no longer has it made all the same, once.
        let store = self.clone();
        let made = tokio::spawn(async move { store.publish_alone(package, earlier).await });
        made.await.unwrap_or_else(|err| Err(self.0.failed(io::Error::other(err))))
    }

    /// The parts of `package`, if they are there: with a delta for hosts that have `earlier`, or with none.
    ///
    /// # Errors
    /// If that cannot be read.
    pub async fn look(
        &self,
        package: ArtifactRef,
        earlier: Option<ArtifactRef>,
    ) -> Result<Option<Published>, PartsError> {
        match self.published(package, earlier).await? {
            None if earlier.is_some() => self.published(package, None).await,
            found => Ok(found),
        }
    }

    async fn publish_alone(
        &self,
        package: ArtifactRef,
        earlier: Option<ArtifactRef>,
    ) -> Result<Published, PartsError> {
        let _alone = Arc::clone(&self.0.making).lock_owned().await;
        if let Some(published) = self.published(package, earlier).await? {
            return Ok(published);
        }
        let base = match earlier {
            Some(package) => Some(Base { package, publication: self.base(package).await? }),
            None => None,
        };
        self.make(package, base).await
    }

    /// A part, or the list of parts, from byte `offset` on; `None` if it is not there.
    ///
    /// # Errors
    /// If it cannot be read.
    pub async fn open_part(
        &self,
        digest: &Digest,
        offset: u64,
    ) -> io::Result<Option<ArtifactReader>> {
        let mut file = match tokio::fs::File::open(self.0.blobs.path(*digest)).await {
            Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened?,
        };
        if offset > file.metadata().await?.len() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the part is shorter"));
        }
        file.seek(SeekFrom::Start(offset)).await?;
        Ok(Some(Box::pin(file)))
    }

    /// The file of a part, of a list of parts, or of a package itself, whose bytes are copied out of the store at first. It is taken for used.
    ///
    /// # Errors
    /// If a package cannot be read, or there is no room.
    pub async fn file(&self, digest: Digest) -> Result<PathBuf, PartsError> {
        let path = self.0.blobs.path(digest);
        if self.0.blobs.is_there(digest) {
            return Ok(path);
        }
        let _alone = self.0.copying.lock().await;
        if self.0.blobs.is_there(digest) {
            return Ok(path);
        }
        let work = self.0.folder.join("work");
        copy(&self.0.packages, digest, &work, &path).await?;
        let inner = Arc::clone(&self.0);
        let kept = tokio::task::spawn_blocking(move || {
            inner.blobs.sync().and_then(|()| inner.blobs.evict(inner.options.budget))
        });
        kept.await.map_err(io::Error::other).flatten().map_err(|err| self.0.failed(err))?;
        Ok(path)
    }

    /// The list of parts of the version that another one is to have a delta against.
    async fn base(&self, package: ArtifactRef) -> Result<Arc<Publication>, PartsError> {
        if let Some(published) = self.published(package, None).await? {
            return Ok(published.publication);
        }
        Ok(self.make(package, None).await?.publication)
    }

    async fn make(
        &self,
        package: ArtifactRef,
        base: Option<Base>,
    ) -> Result<Published, PartsError> {
        let inner = &*self.0;
        let named = inner.named(package, base.as_ref().map(|it| it.package));
        let (work, limits) = (inner.folder.join("work"), inner.options.limits);
        let making = Making { packages: &inner.packages, blobs: &inner.blobs, work: &work, limits };
        let publication = making.publish(package, base).await?;
        tracing::info!(
            package = %package.digest, bytes = publication.archive().size, "a package was published"
        );
        let inner = Arc::clone(&self.0);
        let listed = tokio::task::spawn_blocking(move || inner.list(publication, &named)).await;
        listed.unwrap_or_else(|err| Err(self.0.failed(io::Error::other(err))))
    }

    async fn published(
        &self,
        package: ArtifactRef,
        earlier: Option<ArtifactRef>,
    ) -> Result<Option<Published>, PartsError> {
        let inner = Arc::clone(&self.0);
        let found =
            tokio::task::spawn_blocking(move || inner.find(&inner.named(package, earlier))).await;
        found.unwrap_or_else(|err| Err(self.0.failed(io::Error::other(err))))
    }
}

/// Removes the lists of packages whose parts had to make room.
fn forget_gone(publications: &Path, blobs: &Blobs) -> io::Result<()> {
    for entry in fs::read_dir(publications)? {
        let path = entry?.path();
        // A list is a part as well, used whenever the others are.
        if !blobs.path(Digest::of(&fs::read(&path)?)).exists() {
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}

impl Inner {
    /// Where the list of parts of a package lies, with a delta against an earlier one.
    fn named(&self, package: ArtifactRef, earlier: Option<ArtifactRef>) -> PathBuf {
        let earlier = earlier.map_or_else(|| "new".to_owned(), |it| it.digest.hex());
        self.folder.join(format!("publications/{}.{earlier}", package.digest.hex()))
    }

    /// The list, if all that it names is there.
    fn find(&self, named: &Path) -> Result<Option<Published>, PartsError> {
        let bytes = match fs::read(named) {
            Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(None),
            read => read.map_err(|err| self.failed(err))?,
        };
        // One that a newer or an older program has made is made again.
        let Ok(publication) = Publication::parse(&bytes) else { return Ok(None) };
        let list = ArtifactRef::new(Digest::of(&bytes), bytes.len() as u64);
        let is_listed = self.blobs.has(list.digest, list.size);
        let whole = is_listed && publication.parts().all(|it| self.blobs.has(it.digest, it.size));
        let publication = Arc::new(publication);
        Ok(whole.then_some(Published { publication, list }))
    }

    fn list(&self, publication: Publication, named: &Path) -> Result<Published, PartsError> {
        let package = publication.archive().digest;
        let unpublishable = |source| PartsError::Unpublishable { package, source };
        let bytes = publication.to_bytes().map_err(unpublishable)?;
        let list = ArtifactRef::new(Digest::of(&bytes), bytes.len() as u64);
        let written = self
            .write(&bytes, &self.blobs.path(list.digest))
            .and_then(|()| self.write(&bytes, named))
            .and_then(|()| self.blobs.evict(self.options.budget));
        written.map_err(|err| self.failed(err))?;
        Ok(Published { publication: Arc::new(publication), list })
    }

    fn write(&self, bytes: &[u8], to: &Path) -> io::Result<()> {
        let mut draft = tempfile::NamedTempFile::new_in(self.folder.join("work"))?;
        draft.write_all(bytes)?;
        draft.as_file().sync_all()?;
        draft.persist(to).map(drop).map_err(|err| err.error)
    }

    fn failed(&self, source: io::Error) -> PartsError {
        PartsError::Keep { path: self.folder.clone(), source }
    }
}
