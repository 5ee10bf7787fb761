//! Which artifact a version is.
use crate::{fault, layout};
use deploy_core::{
    backend::{
        ArtifactEntry, ArtifactKind, ArtifactMeta, BackendError, BackendResult, ErrorKind,
        ListArtifacts,
    },
    digest::Digest,
    id::{RepositoryName, Version},
    time::Timestamp,
};
use futures_util::TryStreamExt as _;
use object_store::{ObjectStore, ObjectStoreExt as _, PutMode, path::Path};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// How many entries are read at the same time.
const READ_AHEAD: usize = 16;

/// What the layout of an entry is called.
const FORMAT: u32 = 1;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    format: u32,
    repository: RepositoryName,
    kind: ArtifactKind,
    version: Version,
    digest: Digest,
    size: u64,
    put_at: Timestamp,
}

#[derive(Clone, Debug)]
pub(crate) struct Catalogue {
    store: Arc<dyn ObjectStore>,
}

impl Catalogue {
    pub(crate) const fn new(store: Arc<dyn ObjectStore>) -> Self {
        Self { store }
    }

    /// What is listed, ordered as the contract says.
    pub(crate) async fn list(
        &self,
        operation: &'static str,
        request: &ListArtifacts,
    ) -> BackendResult<Vec<ArtifactEntry>> {
        let prefix = match &request.repository {
            Some(repository) => layout::entries_of(repository),
            None => layout::entries(),
        };
        let found = self.store.list(Some(&prefix));
        let mut entries: Vec<_> = found
            .map_err(|err| fault::reading(operation, &prefix, err))
            .map_ok(|it| self.read(operation, it.location))
            .try_buffer_unordered(READ_AHEAD)
            .try_filter_map(async |entry| Ok(entry))
            .try_filter(|entry| {
                let asked = request.kind.is_none_or(|kind| kind == entry.kind);
                async move { asked }
            })
            .try_collect()
            .await?;
        entries.sort_by(|a, b| order(a).cmp(&order(b)));
        Ok(entries)
    }

    /// The entries that name `digest`.
    pub(crate) async fn naming(
        &self,
        operation: &'static str,
        digest: &Digest,
    ) -> BackendResult<Vec<ArtifactEntry>> {
        let mut entries = self.list(operation, &ListArtifacts::new()).await?;
        entries.retain(|entry| entry.meta.digest == *digest);
        Ok(entries)
    }

    /// The entry of one version.
    pub(crate) async fn find(
        &self,
        operation: &'static str,
        repository: &RepositoryName,
        kind: ArtifactKind,
        version: &Version,
    ) -> BackendResult<Option<ArtifactEntry>> {
        self.read(operation, layout::entry(repository, kind, version)).await
    }

    /// Lists `entry`, durably, unless something is listed there.
    pub(crate) async fn add(
        &self,
        operation: &'static str,
        entry: &ArtifactEntry,
    ) -> BackendResult<()> {
        let path = path_of(entry);
        let bytes = serde_json::to_vec(&Record::from(entry));
        let bytes = bytes.map_err(|err| fault::writing(operation, &path, err))?;
        let put = self.store.put_opts(&path, bytes.into(), PutMode::Create.into()).await;
        put.map(drop).map_err(|err| fault::writing(operation, path, err))
    }

    /// Takes `entry` off the list; that it is not there is no error.
    pub(crate) async fn remove(
        &self,
        operation: &'static str,
        entry: &ArtifactEntry,
    ) -> BackendResult<()> {
        let path = path_of(entry);
        match self.store.delete(&path).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(err) => Err(fault::writing(operation, path, err)),
        }
    }

    /// `None` if it is not there: a list may outlive what it lists.
    async fn read(
        &self,
        operation: &'static str,
        path: Path,
    ) -> BackendResult<Option<ArtifactEntry>> {
        let bytes = match self.store.get(&path).await {
            Ok(found) => found.bytes().await,
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            Err(err) => Err(err),
        };
        let bytes = bytes.map_err(|err| fault::reading(operation, &path, err))?;
        let unreadable = || BackendError::new(ErrorKind::Corrupt, operation).with("path", &path);
        let record: Record =
            serde_json::from_slice(&bytes).map_err(|err| unreadable().because(err))?;
        let entry = ArtifactEntry::from(&record);
        if record.format == FORMAT && path_of(&entry) == path {
            Ok(Some(entry))
        } else {
            Err(unreadable().with("format", record.format))
        }
    }
}

pub(crate) fn path_of(entry: &ArtifactEntry) -> Path {
    layout::entry(&entry.repository, entry.kind, &entry.version)
}

/// By repository and kind, then the newest first, ties by version.
fn order(
    entry: &ArtifactEntry,
) -> (&RepositoryName, ArtifactKind, std::cmp::Reverse<Timestamp>, &Version) {
    (&entry.repository, entry.kind, std::cmp::Reverse(entry.put_at), &entry.version)
}

impl From<&ArtifactEntry> for Record {
    fn from(entry: &ArtifactEntry) -> Self {
        Self {
            format: FORMAT,
            repository: entry.repository.clone(),
            kind: entry.kind,
            version: entry.version.clone(),
            digest: entry.meta.digest,
            size: entry.meta.size,
            put_at: entry.put_at,
        }
    }
}

impl From<&Record> for ArtifactEntry {
    fn from(record: &Record) -> Self {
        let meta = ArtifactMeta::new(record.digest, record.size);
        let (repository, version) = (record.repository.clone(), record.version.clone());
        Self::new(repository, record.kind, version, meta, record.put_at)
    }
}
