//! The tar in an archive, as it is.
use super::{
    ArchiveError, ArchiveSummary, Limits,
    decoded::Decoded,
    walk::{Entry, Visitor, Walk},
};
use deploy_core::digest::Digest;
use sha2::{Digest as _, Sha256};
use std::io::{self, Read};

/// As [`validate`](super::validate()), and gives `tar` every byte of the tar in it, in order. What was given counts once this has
/// ended well: before that, nothing is known to be in order. This blocks.
///
/// # Errors
/// As [`validate`](super::validate()), and whatever `tar` fails with.
pub fn validate_tar(
    archive: impl Read,
    limits: Limits,
    tar: impl FnMut(&[u8]) -> io::Result<()>,
) -> Result<ArchiveSummary, ArchiveError> {
    Walk::new(Decoded::new(archive, limits)?, limits).run(&mut Plain(tar))
}

/// As [`validate`](super::validate()), and gives the SHA-256 of the tar in it. This blocks.
///
/// # Errors
/// As [`validate`](super::validate()).
pub fn digest_tar(
    archive: impl Read,
    limits: Limits,
) -> Result<(ArchiveSummary, Digest), ArchiveError> {
    let mut hasher = Sha256::new();
    let summary = validate_tar(archive, limits, |bytes| {
        hasher.update(bytes);
        Ok(())
    })?;
    Ok((summary, Digest::from_bytes(hasher.finalize().into())))
}

/// Passes everything on.
struct Plain<F>(F);

impl<F: FnMut(&[u8]) -> io::Result<()>> Visitor for Plain<F> {
    type Error = ArchiveError;

    fn framing(&mut self, bytes: &[u8]) -> Result<(), ArchiveError> {
        Ok((self.0)(bytes)?)
    }

    fn entry(&mut self, _: &Entry) -> Result<(), ArchiveError> {
        Ok(())
    }

    fn content(&mut self, bytes: &[u8]) -> Result<(), ArchiveError> {
        Ok((self.0)(bytes)?)
    }
}
