//! Where things lie in a store. Every name comes from a validated type, so that none can lead out of it.
use deploy_core::{
    backend::{ArtifactKind, Holder},
    digest::Digest,
    error::{BackendError, BackendResult, ErrorKind},
    id::{RepositoryName, Version},
};
use object_store::path::Path;
use std::fmt;

/// What a folder's `format` file says.
pub(crate) const FORMAT: &str = "deploy-artifacts 1\n";

/// Refuses a store whose `format` says that another program made it.
pub(crate) fn known(
    operation: &'static str,
    path: impl fmt::Display,
    format: &[u8],
) -> BackendResult<()> {
    if format == FORMAT.as_bytes() {
        return Ok(());
    }
    let (format, known) = (String::from_utf8_lossy(format), FORMAT.trim_end());
    Err(BackendError::new(ErrorKind::Unsupported, operation)
        .with("path", path)
        .with("hint", "use the program that wrote it, or restore a backup from before the upgrade")
        .because(format!(
            "its format is `{}`, and this program knows `{known}` only",
            format.trim_end().escape_debug()
        )))
}

pub(crate) fn blobs() -> Path {
    Path::from("blobs/sha256")
}

pub(crate) fn blob(digest: &Digest) -> Path {
    let hex = digest.hex();
    let shard = hex.get(..2).unwrap_or_default();
    blobs().join(shard).join(hex.as_str())
}

/// The digest that a path under [`blobs`] is of; `None` for what is not ours.
pub(crate) fn blob_digest(path: &Path) -> Option<Digest> {
    let digest = hex_digest(path.filename()?)?;
    (blob(&digest) == *path).then_some(digest)
}

pub(crate) fn entries() -> Path {
    Path::from("entries")
}

pub(crate) fn entries_of(repository: &RepositoryName) -> Path {
    entries().join(repository.as_str())
}

pub(crate) fn entry(repository: &RepositoryName, kind: ArtifactKind, version: &Version) -> Path {
    entries_of(repository).join(kind.as_str()).join(format!("{version}.json"))
}

pub(crate) fn holds() -> Path {
    Path::from("holds")
}

pub(crate) fn holds_of(digest: &Digest) -> Path {
    holds().join(digest.hex())
}

pub(crate) fn hold(digest: &Digest, holder: &Holder) -> Path {
    holder.to_string().split('/').fold(holds_of(digest), |path, part| path.join(part))
}

/// The digest and the holder that a path under [`holds`] is of; `None` for what is not ours.
pub(crate) fn hold_of(path: &Path) -> Option<(Digest, String)> {
    let (hex, holder) = path.as_ref().strip_prefix("holds/")?.split_once('/')?;
    Some((hex_digest(hex)?, holder.to_owned()))
}

pub(crate) fn partial(name: &str) -> Path {
    Path::from("partial").join(name)
}

fn hex_digest(hex: &str) -> Option<Digest> {
    format!("sha256:{hex}").parse().ok()
}
