use crate::support::{names, publish, sync_folder};
use async_trait::async_trait;
use deploy_core::{
    access::{Action, Permit, Resource},
    backend::{
        ArtifactEntry, ArtifactKind, ArtifactMeta, ArtifactReader, ArtifactStore,
        ArtifactStoreCapabilities, BackendError, BackendResult, ChannelKey, ErrorKind, Holder,
        ListArtifacts, PutArtifact, Revision,
    },
    digest::Digest,
    time::Timestamp,
};
use std::{cmp::Reverse, collections::BTreeSet, io, path::PathBuf};
use tokio::{
    fs,
    io::{AsyncRead, AsyncReadExt as _},
    sync::Mutex,
};

/// Keeps artifacts in a folder, for one process at a time, and each in memory while it comes or goes.
///
/// It offers neither `delete` nor resumable puts, and its capabilities say so. What is listed, and who holds what, is in the names
/// of files: `entries/web~package~1.0` and `holds/<digest>~release~web-1.0`; `~` is in no name.
#[derive(Debug)]
pub(crate) struct FolderArtifactStore {
    root: PathBuf,
    /// Two versions must not be put under one name at once.
    publishing: Mutex<()>,
}

impl FolderArtifactStore {
    pub(crate) async fn open(root: PathBuf) -> io::Result<Self> {
        for folder in ["bytes", "entries", "holds"] {
            fs::create_dir_all(root.join(folder)).await?;
        }
        Ok(Self { root, publishing: Mutex::default() })
    }

    pub(crate) fn path_of(&self, digest: &Digest) -> PathBuf {
        self.root.join("bytes").join(digest.hex())
    }

    fn entry_of(&self, request: &PutArtifact) -> PathBuf {
        let PutArtifact { repository, kind, version, .. } = request;
        self.root.join("entries").join(format!("{repository}~{}~{version}", kind.as_str()))
    }

    fn hold_of(&self, digest: &Digest, holder: &Holder) -> PathBuf {
        let holder = holder.to_string().replace('/', "~");
        self.root.join("holds").join(format!("{}~{holder}", digest.hex()))
    }

    /// Refuses a version that names another artifact.
    async fn check_version(&self, request: &PutArtifact) -> BackendResult<()> {
        match fs::read_to_string(self.entry_of(request)).await {
            Ok(entry) if entry.starts_with(&request.digest.hex()) => Ok(()),
            Ok(_other) => Err(BackendError::new(ErrorKind::AlreadyExists, "artifact.put")
                .with("repository", &request.repository)
                .with("version", &request.version)),
            Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(err) => Err(failed("artifact.put", err)),
        }
    }

    async fn read(&self, digest: &Digest, operation: &'static str) -> BackendResult<Vec<u8>> {
        let bytes = fs::read(self.path_of(digest)).await.map_err(|err| failed(operation, err))?;
        if Digest::of(&bytes) == *digest {
            Ok(bytes)
        } else {
            Err(BackendError::new(ErrorKind::Corrupt, operation).with("digest", digest))
        }
    }

    async fn entry(&self, name: &str) -> Option<ArtifactEntry> {
        let text = fs::read_to_string(self.root.join("entries").join(name)).await.ok()?;
        let (digest, put_at) = text.split_once(' ')?;
        let meta = self.head(&format!("sha256:{digest}").parse().ok()?).await.ok()?;
        let [repository, kind, version] = name.split('~').collect::<Vec<_>>().try_into().ok()?;
        let kind = match kind {
            "descriptor" => ArtifactKind::Descriptor,
            "package" => ArtifactKind::Package,
            "provenance" => ArtifactKind::Provenance,
            _ => return None,
        };
        let put_at = Timestamp::from_millis(put_at.parse().ok()?);
        let (repository, version) = (repository.parse().ok()?, version.parse().ok()?);
        Some(ArtifactEntry::new(repository, kind, version, meta, put_at))
    }
}

#[async_trait]
impl ArtifactStore for FolderArtifactStore {
    fn capabilities(&self) -> ArtifactStoreCapabilities {
        ArtifactStoreCapabilities::default()
    }

    async fn put(
        &self,
        permit: &Permit,
        request: PutArtifact,
        body: &mut (dyn AsyncRead + Send + Unpin),
    ) -> BackendResult<ArtifactMeta> {
        const PUT: &str = "artifact.put";
        let resource = Resource::Repository(request.repository.clone());
        permit.demand(Action::ArtifactWrite, &resource, PUT)?;
        self.check_version(&request).await?;
        if request.offset != 0 {
            return Err(BackendError::new(ErrorKind::Conflict, PUT).with("offset", request.offset));
        }
        let path = self.path_of(&request.digest);
        let mut bytes = Vec::new();
        let mut body = body.take(request.size.saturating_add(1));
        body.read_to_end(&mut bytes).await.map_err(|err| failed(PUT, err))?;
        if Digest::of(&bytes) != request.digest || size_of(&bytes) != request.size {
            return Err(BackendError::new(ErrorKind::InvalidInput, PUT)
                .with("digest", request.digest)
                .with("size", request.size)
                .with("reason", "the body is something else"));
        }
        let _publishing = self.publishing.lock().await;
        self.check_version(&request).await?;
        if !path.exists() {
            publish(&path, &bytes).await.map_err(|err| failed(PUT, err))?;
        }
        let entry = format!("{} {}", request.digest.hex(), request.at.as_millis());
        let listed = publish(&self.entry_of(&request), entry.as_bytes()).await;
        listed.map_err(|err| failed(PUT, err))?;
        Ok(ArtifactMeta::new(request.digest, request.size))
    }

    async fn partial(&self, _digest: &Digest) -> BackendResult<u64> {
        Ok(0)
    }

    async fn head(&self, digest: &Digest) -> BackendResult<ArtifactMeta> {
        let found = fs::metadata(self.path_of(digest)).await;
        let found = found.map_err(|err| failed("artifact.head", err).with("digest", digest))?;
        Ok(ArtifactMeta::new(*digest, found.len()))
    }

    async fn open(&self, digest: &Digest, offset: u64) -> BackendResult<ArtifactReader> {
        let bytes = self.read(digest, "artifact.open").await?;
        if offset > size_of(&bytes) {
            return Err(BackendError::new(ErrorKind::InvalidInput, "artifact.open")
                .with("offset", offset)
                .with("size", bytes.len()));
        }
        let mut reader = io::Cursor::new(bytes);
        reader.set_position(offset);
        Ok(Box::pin(reader))
    }

    async fn list(&self, request: &ListArtifacts) -> BackendResult<Vec<ArtifactEntry>> {
        let found = names(&self.root.join("entries")).await;
        let mut entries = Vec::new();
        for name in found.map_err(|err| failed("artifact.list", err))? {
            let entry = self.entry(&name).await.ok_or_else(|| {
                BackendError::new(ErrorKind::Corrupt, "artifact.list").with("entry", &name)
            })?;
            entries.push(entry);
        }
        entries.retain(|it| {
            request.repository.as_ref().is_none_or(|wanted| it.repository == *wanted)
                && request.kind.is_none_or(|wanted| it.kind == wanted)
        });
        entries.sort_by_key(|it| {
            (it.repository.clone(), it.kind, Reverse(it.put_at), it.version.clone())
        });
        Ok(entries)
    }

    async fn hold(&self, permit: &Permit, digest: &Digest, holder: &Holder) -> BackendResult<()> {
        permit.demand_some_repository("artifact.hold")?;
        self.head(digest).await?;
        let held = publish(&self.hold_of(digest, holder), &[]).await;
        held.map(|_new| ()).map_err(|err| failed("artifact.hold", err))
    }

    async fn let_go(&self, permit: &Permit, digest: &Digest, holder: &Holder) -> BackendResult<()> {
        permit.demand(Action::ArtifactWrite, &Resource::System, "artifact.let_go")?;
        let hold = self.hold_of(digest, holder);
        let gone = match fs::remove_file(&hold).await {
            Ok(()) => sync_folder(&hold).await,
            Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(err) => Err(err),
        };
        gone.map_err(|err| failed("artifact.let_go", err))
    }

    async fn holders(&self, digest: &Digest) -> BackendResult<BTreeSet<Holder>> {
        let found = names(&self.root.join("holds")).await;
        let found = found.map_err(|err| failed("artifact.holders", err))?;
        let mine = format!("{}~", digest.hex());
        let holders = found.iter().filter_map(|it| {
            let (kind, name) = it.strip_prefix(&mine)?.split_once('~')?;
            match kind {
                "channel" => channel(name),
                "release" => name.parse().ok().map(Holder::Release),
                "pin" => name.parse().ok().map(Holder::Pin),
                _ => None,
            }
        });
        Ok(holders.collect())
    }

    async fn delete(&self, _permit: &Permit, digest: &Digest) -> BackendResult<()> {
        Err(BackendError::new(ErrorKind::Unsupported, "artifact.delete").with("digest", digest))
    }

    async fn verify(&self, digest: &Digest) -> BackendResult<()> {
        self.read(digest, "artifact.verify").await.map(|_bytes| ())
    }
}

fn size_of(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

fn failed(operation: &'static str, err: io::Error) -> BackendError {
    let kind = match err.kind() {
        io::ErrorKind::NotFound => ErrorKind::NotFound,
        io::ErrorKind::PermissionDenied => ErrorKind::PermissionDenied,
        io::ErrorKind::StorageFull => ErrorKind::NoSpace,
        _ => ErrorKind::OutcomeUnknown,
    };
    BackendError::new(kind, operation).because(err)
}

/// The channel that `web~package~stable~3` says.
fn channel(text: &str) -> Option<Holder> {
    let [repository, kind, name, revision] = text.split('~').collect::<Vec<_>>().try_into().ok()?;
    let kind = ArtifactKind::from_name(kind)?;
    let key = ChannelKey::new(repository.parse().ok()?, kind, name.parse().ok()?);
    Some(Holder::Channel(key, Revision::new(revision.parse().ok()?)))
}
