//! Why parts cannot be had.
use deploy_core::{digest::Digest, error::BackendError};
use deploy_package::PackageError;
use std::{io, path::PathBuf};

/// Why the parts of a package cannot be had. The package itself still can.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PartsError {
    /// The store does not give the package.
    #[error("the package cannot be read")]
    Package(#[source] BackendError),
    /// The store gave other bytes than were asked for.
    #[error("the store gave the package {found} where {asked} was asked for")]
    OtherPackage {
        /// What was asked for.
        asked: Digest,
        /// What came.
        found: Digest,
    },
    /// No parts can be made of it.
    #[error("no parts can be made of the package {package}")]
    Unpublishable {
        /// Which.
        package: Digest,
        /// Why not.
        #[source]
        source: PackageError,
    },
    /// The disk has too little room for it.
    #[error(
        "making parts takes {needed} bytes with what has to stay free, and the disk has {free}"
    )]
    NoRoom {
        /// How many bytes it takes.
        needed: u64,
        /// How many there are.
        free: u64,
    },
    /// There is too little memory for it.
    #[error("making a patch takes more memory than the {free} bytes that are left for it")]
    NoMemory {
        /// How many bytes there are.
        free: u64,
    },
    /// The folder of the parts fails.
    #[error("the parts in `{}` cannot be kept", .path.display())]
    Keep {
        /// Which file or folder.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

impl PartsError {
    /// A stable name.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Package(_) => "package_unreadable",
            Self::OtherPackage { .. } => "other_package",
            Self::Unpublishable { .. } => "unpublishable",
            Self::NoRoom { .. } => "no_room_for_parts",
            Self::NoMemory { .. } => "no_memory_for_parts",
            Self::Keep { .. } => "parts_not_kept",
        }
    }
}
