use super::lock;
use crate::{
    access::{Action, Permit, Resource},
    backend::{
        ArtifactEntry, ArtifactMeta, ArtifactReader, ArtifactStore, ArtifactStoreCapabilities,
        Holder, ListArtifacts, PutArtifact,
    },
    digest::Digest,
    error::{BackendError, BackendResult, ErrorKind},
};
use async_trait::async_trait;
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    io::Cursor,
    sync::{Arc, Mutex},
};
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// Keeps artifacts in memory.
#[derive(Debug)]
pub struct MemoryArtifactStore {
    capabilities: ArtifactStoreCapabilities,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    artifacts: BTreeMap<Digest, Arc<[u8]>>,
    /// What interrupted puts have left.
    partials: BTreeMap<Digest, Vec<u8>>,
    entries: Vec<ArtifactEntry>,
    holders: BTreeMap<Digest, BTreeSet<Holder>>,
}

impl Default for MemoryArtifactStore {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryArtifactStore {
    /// A store without artifacts that offers everything.
    #[must_use]
    pub fn new() -> Self {
        let all = ArtifactStoreCapabilities::default().with_delete(true).with_resume(true);
        Self { capabilities: all, state: Mutex::default() }
    }

    /// That offers just this.
    #[must_use]
    pub const fn with_capabilities(mut self, capabilities: ArtifactStoreCapabilities) -> Self {
        self.capabilities = capabilities;
        self
    }

    /// Changes one byte of an artifact, as a bad disk would.
    pub fn rot(&self, digest: &Digest) {
        if let Some(bytes) = lock(&self.state).artifacts.get_mut(digest) {
            let mut rotten = bytes.to_vec();
            if let Some(byte) = rotten.first_mut() {
                *byte ^= 1;
            }
            *bytes = rotten.into();
        }
    }
}

#[async_trait]
impl ArtifactStore for MemoryArtifactStore {
    fn capabilities(&self) -> ArtifactStoreCapabilities {
        self.capabilities
    }

    async fn put(
        &self,
        permit: &Permit,
        request: PutArtifact,
        body: &mut (dyn AsyncRead + Send + Unpin),
    ) -> BackendResult<ArtifactMeta> {
        let resource = Resource::Repository(request.repository.clone());
        permit.demand(Action::ArtifactWrite, &resource, "artifact.put")?;
        let meta = ArtifactMeta::new(request.digest, request.size);
        let start = {
            let state = lock(&self.state);
            state.check_version(&request)?;
            state.start_of(&request)?
        };
        let (bytes, read) = read_body(start, request.size, body).await;
        let mut state = lock(&self.state);
        state.partials.remove(&request.digest);
        if let Err(err) = read {
            if self.capabilities.resume && !bytes.is_empty() {
                state.partials.insert(request.digest, bytes);
            }
            return Err(BackendError::new(ErrorKind::Unavailable, "artifact.put")
                .with("digest", request.digest)
                .because(err));
        }
        check_body(&request, &bytes)?;
        state.check_version(&request)?;
        state.artifacts.insert(request.digest, bytes.into());
        state.enlist(request, meta);
        Ok(meta)
    }

    async fn partial(&self, digest: &Digest) -> BackendResult<u64> {
        Ok(lock(&self.state).partials.get(digest).map_or(0, |it| size_of(it)))
    }

    async fn head(&self, digest: &Digest) -> BackendResult<ArtifactMeta> {
        let bytes = lock(&self.state).bytes(digest, "artifact.head")?;
        Ok(ArtifactMeta::new(*digest, size_of(&bytes)))
    }

    async fn open(&self, digest: &Digest, offset: u64) -> BackendResult<ArtifactReader> {
        let bytes = lock(&self.state).bytes(digest, "artifact.open")?;
        if offset > size_of(&bytes) {
            return Err(BackendError::new(ErrorKind::InvalidInput, "artifact.open")
                .with("offset", offset)
                .with("size", bytes.len()));
        }
        check_rot(digest, &bytes, "artifact.open")?;
        let mut reader = Cursor::new(bytes);
        reader.set_position(offset);
        Ok(Box::pin(reader))
    }

    async fn list(&self, request: &ListArtifacts) -> BackendResult<Vec<ArtifactEntry>> {
        let state = lock(&self.state);
        let wanted = |it: &&ArtifactEntry| {
            request.repository.as_ref().is_none_or(|repository| it.repository == *repository)
                && request.kind.is_none_or(|kind| it.kind == kind)
        };
        let mut entries: Vec<_> = state.entries.iter().filter(wanted).cloned().collect();
        entries.sort_by(|a, b| {
            let order = |it: &ArtifactEntry| (it.kind, Reverse(it.put_at));
            let place = a.repository.cmp(&b.repository).then_with(|| order(a).cmp(&order(b)));
            place.then_with(|| a.version.cmp(&b.version))
        });
        Ok(entries)
    }

    async fn hold(&self, permit: &Permit, digest: &Digest, holder: &Holder) -> BackendResult<()> {
        permit.demand_some_repository("artifact.hold")?;
        let mut state = lock(&self.state);
        state.bytes(digest, "artifact.hold")?;
        state.holders.entry(*digest).or_default().insert(holder.clone());
        Ok(())
    }

    async fn let_go(&self, permit: &Permit, digest: &Digest, holder: &Holder) -> BackendResult<()> {
        permit.demand(Action::ArtifactWrite, &Resource::System, "artifact.let_go")?;
        if let Some(holders) = lock(&self.state).holders.get_mut(digest) {
            holders.remove(holder);
        }
        Ok(())
    }

    async fn holders(&self, digest: &Digest) -> BackendResult<BTreeSet<Holder>> {
        Ok(lock(&self.state).holders.get(digest).cloned().unwrap_or_default())
    }

    async fn delete(&self, permit: &Permit, digest: &Digest) -> BackendResult<()> {
        permit.demand(Action::ArtifactWrite, &Resource::System, "artifact.delete")?;
        let error = |kind| BackendError::new(kind, "artifact.delete").with("digest", digest);
        if !self.capabilities.delete {
            return Err(error(ErrorKind::Unsupported));
        }
        let mut state = lock(&self.state);
        state.bytes(digest, "artifact.delete")?;
        if let Some(holder) = state.holders.get(digest).and_then(BTreeSet::first) {
            return Err(error(ErrorKind::Conflict).with("holder", holder));
        }
        state.artifacts.remove(digest);
        state.holders.remove(digest);
        state.entries.retain(|it| it.meta.digest != *digest);
        Ok(())
    }

    async fn verify(&self, digest: &Digest) -> BackendResult<()> {
        let bytes = lock(&self.state).bytes(digest, "artifact.verify")?;
        check_rot(digest, &bytes, "artifact.verify")
    }
}

impl State {
    fn bytes(&self, digest: &Digest, operation: &'static str) -> BackendResult<Arc<[u8]>> {
        let found = self.artifacts.get(digest).cloned();
        found
            .ok_or_else(|| BackendError::new(ErrorKind::NotFound, operation).with("digest", digest))
    }

    fn entry(&self, request: &PutArtifact) -> Option<&ArtifactEntry> {
        let same = |it: &&ArtifactEntry| {
            (&it.repository, it.kind, &it.version)
                == (&request.repository, request.kind, &request.version)
        };
        self.entries.iter().find(same)
    }

    /// A version names one artifact for good.
    fn check_version(&self, request: &PutArtifact) -> BackendResult<()> {
        match self.entry(request) {
            Some(there) if there.meta.digest != request.digest => {
                Err(BackendError::new(ErrorKind::AlreadyExists, "artifact.put")
                    .with("repository", &request.repository)
                    .with("version", &request.version)
                    .with("digest", there.meta.digest))
            }
            _ => Ok(()),
        }
    }

    /// What is there of the artifact before the body that is to come.
    fn start_of(&self, request: &PutArtifact) -> BackendResult<Vec<u8>> {
        if request.offset == 0 {
            return Ok(Vec::new());
        }
        let kept = self.partials.get(&request.digest).cloned().unwrap_or_default();
        if size_of(&kept) == request.offset {
            return Ok(kept);
        }
        Err(BackendError::new(ErrorKind::Conflict, "artifact.put")
            .with("offset", request.offset)
            .with("partial", kept.len()))
    }

    /// Lists an artifact that is there, unless it is listed like that already.
    fn enlist(&mut self, request: PutArtifact, meta: ArtifactMeta) {
        if self.entry(&request).is_none() {
            let PutArtifact { repository, kind, version, at, .. } = request;
            self.entries.push(ArtifactEntry::new(repository, kind, version, meta, at));
        }
    }
}

/// Reads what is left of `size` bytes after `bytes`, and one more to see whether there are too many.
async fn read_body(
    mut bytes: Vec<u8>,
    size: u64,
    body: &mut (dyn AsyncRead + Send + Unpin),
) -> (Vec<u8>, std::io::Result<usize>) {
    let left = size.saturating_sub(size_of(&bytes)).saturating_add(1);
    let read = body.take(left).read_to_end(&mut bytes).await;
    (bytes, read)
}

fn check_body(request: &PutArtifact, bytes: &[u8]) -> BackendResult<()> {
    if size_of(bytes) == request.size && Digest::of(bytes) == request.digest {
        return Ok(());
    }
    Err(BackendError::new(ErrorKind::InvalidInput, "artifact.put")
        .with("digest", request.digest)
        .with("announced", request.size)
        .with("size", bytes.len()))
}

fn check_rot(digest: &Digest, bytes: &[u8], operation: &'static str) -> BackendResult<()> {
    if Digest::of(bytes) == *digest {
        return Ok(());
    }
    Err(BackendError::new(ErrorKind::Corrupt, operation).with("digest", digest))
}

fn size_of(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}
