//! The way to a package for hosts that have a shell and `zstd`, and nothing that knows packages: one patch from the tar in one archive
//! to the tar in another, as `zstd --patch-from` makes and applies it.
use crate::{
    PackageError,
    archive::{ArchiveError, ArchiveSummary, Limits, validate_tar},
    codec,
};
use deploy_core::digest::Digest;
use std::io::{self, Read};

/// How well patches are compressed. Higher levels are slower by multiples, and hardly smaller where versions are alike.
const LEVEL: i32 = 3;

/// How many bytes two tars may have together that there is a patch between, since whoever makes or applies it holds both of them in
/// memory. The window of a patch is no larger either (`zstd --long=29`).
pub const LARGEST_PAIR: u64 = 512 << 20;

/// The tar in an archive, in memory.
#[derive(Debug)]
pub struct Tar {
    bytes: Vec<u8>,
    archive: ArchiveSummary,
}

impl Tar {
    /// Reads an archive whose tar has at most `most` bytes; `None` if it has more. This blocks.
    ///
    /// # Errors
    /// The rule that the archive breaks, or that it cannot be read.
    pub fn read(
        archive: impl Read,
        limits: Limits,
        most: u64,
    ) -> Result<Option<Self>, PackageError> {
        let (mut bytes, mut is_too_large) = (Vec::new(), false);
        let read = validate_tar(archive, limits, |piece| {
            is_too_large |= bytes.len() as u64 + piece.len() as u64 > most;
            if is_too_large {
                return Err(io::ErrorKind::FileTooLarge.into());
            }
            bytes.extend_from_slice(piece);
            Ok(())
        });
        match read {
            Ok(archive) => Ok(Some(Self { bytes, archive })),
            Err(ArchiveError::Io(_)) if is_too_large => Ok(None),
            Err(err) => Err(err.into()),
        }
    }

    /// Its bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The SHA-256 of its bytes.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::of(&self.bytes)
    }

    /// The archive that it was in.
    #[must_use]
    pub const fn archive(&self) -> &ArchiveSummary {
        &self.archive
    }

    /// What `zstd -d --long=29 --patch-from=OLD` makes this tar of, given the tar `old`.
    ///
    /// # Errors
    /// If memory is short.
    pub fn patch_from(&self, old: &Self) -> Result<Vec<u8>, PackageError> {
        codec::patch(&old.bytes, &self.bytes, LEVEL)
    }
}
