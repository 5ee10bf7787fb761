use deploy_agent_identity::CredentialsError;
use std::{io, net::SocketAddr, path::PathBuf};
use thiserror::Error;

/// Why a relay cannot run.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RelayError {
    /// The kernel does not say which boot this is.
    #[error("the boot id cannot be read: {0}")]
    Boot(io::Error),
    /// Another relay works in the folder.
    #[error("another relay works in {}", .0.display())]
    Busy(PathBuf),
    /// It is not known by anything.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// Its folder cannot be used.
    #[error("{}: {source}", .path.display())]
    Folder {
        /// The folder, or the file in it.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What it is known by is no good.
    #[error("the credentials cannot be used: {0}; enrol the relay again")]
    Identity(io::Error),
    /// A port cannot be had.
    #[error("{address} cannot be listened on, which `{setting}` says: {source}")]
    Listen {
        /// What says so.
        setting: &'static str,
        /// Where.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
}

impl RelayError {
    /// A stable, lower-case name.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Boot(_) => "relay_boot",
            Self::Busy(_) => "relay_busy",
            Self::Credentials(_) => "relay_credentials",
            Self::Folder { .. } => "relay_folder",
            Self::Identity(_) => "relay_identity",
            Self::Listen { .. } => "relay_listen",
        }
    }
}
