//! Why blocks do not come.
use deploy_distribution::{BlobFileError, transfer::FetchError};
use std::io;
use thiserror::Error;
use tokio::task::spawn_blocking;

/// Why an artifact does not come in blocks. What came of it stays.
#[derive(Debug, Error)]
pub(crate) enum NotTaken {
    /// Whoever has it cannot be asked, or gives nothing.
    #[error("{0}")]
    Away(io::Error),
    /// It cannot be kept.
    #[error(transparent)]
    File(#[from] BlobFileError),
}

impl NotTaken {
    /// What has no room, as the error of the system that says so.
    pub(crate) fn no_room(&self) -> Option<io::Error> {
        let kind = match self {
            Self::File(BlobFileError::NoRoom { .. }) => io::ErrorKind::StorageFull,
            Self::File(BlobFileError::Io { source, .. }) => source.kind(),
            _ => return None,
        };
        let is_full = [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded].contains(&kind);
        is_full.then(|| io::Error::new(kind, self.to_string()))
    }
}

impl From<FetchError> for NotTaken {
    fn from(err: FetchError) -> Self {
        match err {
            FetchError::File(err) => Self::File(err),
            other => Self::Away(io::Error::other(other)),
        }
    }
}

/// Does what blocks elsewhere.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, BlobFileError> + Send + 'static,
) -> Result<T, NotTaken> {
    let done = spawn_blocking(work).await.map_err(|lost| NotTaken::Away(io::Error::other(lost)))?;
    Ok(done?)
}
