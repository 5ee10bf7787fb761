//! What is in a package, independent of how it travels.
mod entry;
mod parse;
mod read;

pub use entry::{ContentHash, Entry, Mode, ParseContentHashError, ParseModeError};
pub use read::Scan;
pub(crate) use read::describe;

use crate::{Fault, PackageError, archive::Encoding};
use deploy_core::digest::Digest;
use serde::{Deserialize, Serialize};

/// The format of manifests that is written, and the newest that is read.
pub const FORMAT: u32 = 1;

/// Describes the tree in a package's archive: a function of the archive alone, and what a publisher signs.
///
/// It is a JSON document with one way to be written, so it is named by the SHA-256 of its bytes as every artifact is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Manifest {
    format: u32,
    archive: Archived,
    totals: Totals,
    entries: Vec<Entry>,
}

/// The archive that a manifest describes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Archived {
    /// The SHA-256 of its bytes: the package's name.
    pub digest: Digest,
    /// How many bytes it has.
    pub size: u64,
    /// What its tar is wrapped in.
    pub encoding: Encoding,
}

/// What a tree comes to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Totals {
    /// How many bytes its files have, each hard link counted as no byte more.
    pub unpacked: u64,
    /// How many inodes it takes: files, symbolic links, and folders with those that no entry names; not its top folder.
    pub inodes: u64,
}

impl Manifest {
    /// How long a manifest may be, in bytes.
    pub const LONGEST: usize = 64 << 20;

    /// The archive it describes.
    #[must_use]
    pub const fn archive(&self) -> &Archived {
        &self.archive
    }

    /// What the tree comes to.
    #[must_use]
    pub const fn totals(&self) -> Totals {
        self.totals
    }

    /// Files, folders and links, in the order of the archive.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The files among the entries, in the order of the archive.
    pub fn files(&self) -> impl Iterator<Item = File<'_>> {
        self.entries.iter().filter_map(Entry::as_file)
    }

    /// Its bytes: what is signed, and what [`digest`](Self::digest) names.
    ///
    /// # Errors
    /// If they are more than [`LONGEST`](Self::LONGEST).
    pub fn to_bytes(&self) -> Result<Vec<u8>, PackageError> {
        let bytes = serde_json::to_vec(self).map_err(PackageError::unwritable)?;
        if bytes.len() > Self::LONGEST {
            let detail = format!("it has more than {} bytes", Self::LONGEST);
            return Err(PackageError::malformed(Fault::Manifest, detail));
        }
        Ok(bytes)
    }

    /// Whether it is the one that was asked for.
    pub(crate) fn must_be(&self, expected: Digest) -> Result<(), PackageError> {
        let found = self.digest()?;
        if found == expected {
            return Ok(());
        }
        Err(PackageError::ManifestMismatch { expected, found })
    }

    /// The SHA-256 of its bytes.
    ///
    /// # Errors
    /// As [`to_bytes`](Self::to_bytes).
    pub fn digest(&self) -> Result<Digest, PackageError> {
        Ok(Digest::of(&self.to_bytes()?))
    }
}

/// A file of a manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct File<'a> {
    /// Where it lies, seen from the top of the tree.
    pub path: &'a str,
    /// Its permissions.
    pub mode: Mode,
    /// How many bytes it has.
    pub size: u64,
    /// What is in it.
    pub hash: ContentHash,
}
