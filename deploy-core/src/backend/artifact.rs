use super::{ChannelKey, Revision};
use crate::{
    access::Permit,
    digest::{Digest, Hasher},
    error::{BackendError, BackendResult, ErrorKind},
    id::{PinName, ReleaseId, RepositoryName, Version},
    time::Timestamp,
};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeSet, fmt, pin::Pin};
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// What an artifact is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ArtifactKind {
    /// How a release is put on a host.
    Descriptor,
    /// What runs.
    Package,
    /// How a package and a descriptor came about.
    Provenance,
}

impl ArtifactKind {
    /// All of them, in the order of their names.
    pub const ALL: [Self; 3] = [Self::Descriptor, Self::Package, Self::Provenance];

    /// The kind of this name.
    ///
    /// ```
    /// use deploy_core::backend::ArtifactKind;
    ///
    /// assert_eq!(ArtifactKind::from_name("package"), Some(ArtifactKind::Package));
    /// assert_eq!(ArtifactKind::from_name("packages"), None);
    /// ```
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.as_str() == name)
    }

    /// A stable, lower-case name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Descriptor => "descriptor",
            Self::Package => "package",
            Self::Provenance => "provenance",
        }
    }
}

/// What is known of an artifact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ArtifactMeta {
    /// Its name.
    pub digest: Digest,
    /// How many bytes it has.
    pub size: u64,
}

impl ArtifactMeta {
    /// The artifact `digest` of `size` bytes.
    #[must_use]
    pub const fn new(digest: Digest, size: u64) -> Self {
        Self { digest, size }
    }
}

/// A version of a repository, and the artifact it names.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ArtifactEntry {
    /// Where it is listed.
    pub repository: RepositoryName,
    /// What it is for.
    pub kind: ArtifactKind,
    /// Which version.
    pub version: Version,
    /// What it names.
    pub meta: ArtifactMeta,
    /// When it was put.
    pub put_at: Timestamp,
}

impl ArtifactEntry {
    /// An entry.
    #[must_use]
    pub const fn new(
        repository: RepositoryName,
        kind: ArtifactKind,
        version: Version,
        meta: ArtifactMeta,
        put_at: Timestamp,
    ) -> Self {
        Self { repository, kind, version, meta, put_at }
    }
}

/// What to put, and what to list it as.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PutArtifact {
    /// What the whole artifact must hash to.
    pub digest: Digest,
    /// How many bytes it must have.
    pub size: u64,
    /// Where it is to be listed.
    pub repository: RepositoryName,
    /// What it is for.
    pub kind: ArtifactKind,
    /// Which version it is.
    pub version: Version,
    /// Where in the artifact the body begins: what [`ArtifactStore::partial`] said, or 0.
    pub offset: u64,
    /// When.
    pub at: Timestamp,
}

impl PutArtifact {
    /// The whole of an artifact of `size` bytes that hashes to `digest`.
    #[must_use]
    pub const fn new(
        digest: Digest,
        size: u64,
        repository: RepositoryName,
        kind: ArtifactKind,
        version: Version,
        at: Timestamp,
    ) -> Self {
        Self { digest, size, repository, kind, version, offset: 0, at }
    }

    /// The rest of it, from `offset` on.
    #[must_use]
    pub const fn with_offset(mut self, offset: u64) -> Self {
        self.offset = offset;
        self
    }
}

/// Which entries to list; all of them by default.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ListArtifacts {
    /// Only of this repository.
    pub repository: Option<RepositoryName>,
    /// Only of this kind.
    pub kind: Option<ArtifactKind>,
}

impl ListArtifacts {
    /// All of them.
    #[must_use]
    pub const fn new() -> Self {
        Self { repository: None, kind: None }
    }

    /// Only those of `repository`.
    #[must_use]
    pub fn with_repository(mut self, repository: RepositoryName) -> Self {
        self.repository = Some(repository);
        self
    }

    /// Only those of `kind`.
    #[must_use]
    pub const fn with_kind(mut self, kind: ArtifactKind) -> Self {
        self.kind = Some(kind);
        self
    }
}

/// Something that needs an artifact, and keeps it from being deleted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Holder {
    /// A channel that leads to it, since the move of this revision.
    Channel(ChannelKey, Revision),
    /// A release that consists of it.
    Release(ReleaseId),
    /// Somebody who wants it kept, whether anything runs it or not.
    Pin(PinName),
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Channel(key, revision) => write!(f, "channel/{key}/{revision}"),
            Self::Release(id) => write!(f, "release/{id}"),
            Self::Pin(name) => write!(f, "pin/{name}"),
        }
    }
}

/// What a store offers beyond the required.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ArtifactStoreCapabilities {
    /// [`ArtifactStore::delete`] works.
    pub delete: bool,
    /// [`ArtifactStore::partial`] says more than 0 after an interrupted put, and `put` goes on from there.
    pub resume: bool,
}

impl ArtifactStoreCapabilities {
    /// With or without [`ArtifactStore::delete`].
    #[must_use]
    pub const fn with_delete(mut self, delete: bool) -> Self {
        self.delete = delete;
        self
    }

    /// With or without resumable puts.
    #[must_use]
    pub const fn with_resume(mut self, resume: bool) -> Self {
        self.resume = resume;
        self
    }
}

/// An open artifact.
pub type ArtifactReader = Pin<Box<dyn AsyncRead + Send>>;

/// Keeps immutable bytes under their digest, and lists them by repository and version.
///
/// # Contract
/// * `put` is atomic and durable: a reader sees all of the body or nothing, also after a crash.
/// * `put` of what is there already succeeds; it adds the entry if that is new, and changes nothing else.
/// * `put` of a body that does not match its digest or size is `InvalidInput`, stores nothing and lists nothing.
/// * To know a digest is not to have its bytes: `put` reads and compares its body also where the digest is there already.
/// * `put` of another digest under a version that is listed already is `AlreadyExists`, and stores nothing.
/// * An interrupted `put` (the body fails) is no artifact; where `resume` is offered, `partial` says how much is kept, and a
///   `put` with that offset completes it. A `put` with any other offset than 0 or what `partial` says is `Conflict`.
/// * A missing artifact is `NotFound`, from `head`, `open`, `verify`, `hold` and `delete` alike.
/// * `open` at an offset gives the bytes from there; past the end is `InvalidInput`. Reading a whole artifact that has
///   rotted ends in an error, never in wrong bytes taken for right ones.
/// * `list` is ordered by repository, kind, then newest put first (ties by version), and shows an entry once its `put` has returned.
/// * `delete` of what somebody holds is `Conflict` and names a holder; `hold` and `let_go` are idempotent.
/// * `delete` removes the artifact and all its entries.
/// * `verify` reads all bytes and is `Corrupt` if they are not what was put.
/// * What the capabilities leave out is `Unsupported`, never a silent success.
/// * A permit for another action is `PermissionDenied`: writes take `ArtifactWrite` on the repository; `hold` takes it on
///   any repository, `let_go` and `delete` on the system.
///
/// ```
/// use deploy_core::{
///     access::{Action, Resource},
///     backend::{ArtifactKind, ArtifactStore, ArtifactStoreExt, PutArtifact, authorize},
///     digest::Digest,
///     memory::{MemoryArtifactStore, MemoryAuthorizer, Rule},
///     time::Timestamp,
/// };
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let rules = vec![Rule::allow("ci".parse()?, [Action::ArtifactWrite])];
/// let rules = MemoryAuthorizer::new(rules);
/// let permit = authorize(&rules, "ci".parse()?, Action::ArtifactWrite, Resource::System).await?;
/// let (bytes, now) = (b"what runs", Timestamp::from_millis(0));
/// let (web, version) = ("web".parse()?, "1.4.2".parse()?);
/// let request = PutArtifact::new(Digest::of(bytes), 9, web, ArtifactKind::Package, version, now);
///
/// let store = MemoryArtifactStore::new();
/// let meta = store.put(&permit, request, &mut &bytes[..]).await?;
/// assert_eq!(store.read_all(&meta.digest, 1_000).await?, bytes);
/// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
/// ```
#[async_trait]
pub trait ArtifactStore: fmt::Debug + Send + Sync + 'static {
    /// What this store offers.
    fn capabilities(&self) -> ArtifactStoreCapabilities;

    /// Stores `body` and lists it.
    async fn put(
        &self,
        permit: &Permit,
        request: PutArtifact,
        body: &mut (dyn AsyncRead + Send + Unpin),
    ) -> BackendResult<ArtifactMeta>;

    /// How many bytes of an interrupted put are kept; 0 if none.
    async fn partial(&self, digest: &Digest) -> BackendResult<u64>;

    /// What is known of an artifact.
    async fn head(&self, digest: &Digest) -> BackendResult<ArtifactMeta>;

    /// Opens an artifact for reading, from byte `offset` on.
    async fn open(&self, digest: &Digest, offset: u64) -> BackendResult<ArtifactReader>;

    /// What is listed.
    async fn list(&self, request: &ListArtifacts) -> BackendResult<Vec<ArtifactEntry>>;

    /// Keeps an artifact from being deleted.
    async fn hold(&self, permit: &Permit, digest: &Digest, holder: &Holder) -> BackendResult<()>;

    /// Ends a hold.
    async fn let_go(&self, permit: &Permit, digest: &Digest, holder: &Holder) -> BackendResult<()>;

    /// Who holds an artifact.
    async fn holders(&self, digest: &Digest) -> BackendResult<BTreeSet<Holder>>;

    /// Removes an artifact that nobody holds.
    async fn delete(&self, permit: &Permit, digest: &Digest) -> BackendResult<()>;

    /// Reads an artifact whole and compares.
    async fn verify(&self, digest: &Digest) -> BackendResult<()>;
}

/// Conveniences for callers. Backends implement none of these.
///
/// ```
/// use deploy_core::{backend::ArtifactStoreExt, digest::Digest, memory::MemoryArtifactStore};
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let store = MemoryArtifactStore::new();
/// assert!(store.read_all(&Digest::of(b"nobody put this"), 1_000).await.is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
/// ```
pub trait ArtifactStoreExt: ArtifactStore {
    /// Reads a whole artifact of at most `limit` bytes into memory.
    fn read_all(
        &self,
        digest: &Digest,
        limit: u64,
    ) -> impl Future<Output = BackendResult<Vec<u8>>> + Send {
        async move {
            let meta = self.head(digest).await?;
            if meta.size > limit {
                return Err(BackendError::new(ErrorKind::InvalidInput, "artifact.read")
                    .with("size", meta.size)
                    .with("limit", limit));
            }
            let mut bytes = Vec::new();
            let mut reader = self.open(digest, 0).await?;
            let read = reader.read_to_end(&mut bytes).await;
            read.map_err(|err| {
                BackendError::new(ErrorKind::Corrupt, "artifact.read").because(err)
            })?;
            let mut hasher = Hasher::new();
            hasher.update(&bytes);
            if hasher.finish() == *digest {
                Ok(bytes)
            } else {
                Err(BackendError::new(ErrorKind::Corrupt, "artifact.read").with("digest", digest))
            }
        }
    }
}

impl<T: ArtifactStore + ?Sized> ArtifactStoreExt for T {}
