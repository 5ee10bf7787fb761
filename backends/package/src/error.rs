//! What can go wrong with packages.
use crate::archive::ArchiveError;
use deploy_core::digest::Digest;
use std::{fmt, io};

/// A document or part that somebody else has written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Fault {
    /// A delta.
    Delta,
    /// The framing of a tar.
    Framing,
    /// An index of chunks.
    Index,
    /// A manifest.
    Manifest,
    /// A pack of chunks.
    Pack,
    /// A publication.
    Publication,
}

impl Fault {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Delta => "delta",
            Self::Framing => "framing",
            Self::Index => "index",
            Self::Manifest => "manifest",
            Self::Pack => "pack",
            Self::Publication => "publication",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why something could not be done with a package.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PackageError {
    /// The archive breaks a rule, or cannot be read.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// What was put together is another archive than the one that the manifest names.
    #[error("the archive that was rebuilt is {found} and not {expected}; fetch the whole archive")]
    ArchiveMismatch {
        /// What the manifest names.
        expected: Digest,
        /// What came out.
        found: Digest,
    },
    /// A file of the new tree is not what the manifest says.
    #[error(
        "`{path}` came out different from what the manifest says; fetch the parts again, or another way"
    )]
    FileMismatch {
        /// Where it was to lie.
        path: String,
    },
    /// The disk, or what is read from it, fails.
    #[error("{action} failed")]
    Io {
        /// What was being done, with the path.
        action: String,
        /// What the system says.
        source: io::Error,
    },
    /// Something that was fetched does not hold together.
    #[error("the {what} cannot be used: {detail}")]
    Malformed {
        /// What it is.
        what: Fault,
        /// What is wrong with it.
        detail: String,
    },
    /// The manifest is another than the one asked for.
    #[error("the manifest is {found} and not {expected}; nothing of it was installed")]
    ManifestMismatch {
        /// What was asked for.
        expected: Digest,
        /// What was found.
        found: Digest,
    },
    /// A file of the tree that is built upon was changed since it was installed.
    #[error("`{path}` of the release that is built upon was changed; install another way")]
    OldFileChanged {
        /// Where it lies, seen from the top of that tree.
        path: String,
    },
    /// The archive cannot be made again from its parts.
    #[error("the archive cannot be rebuilt from its parts; fetch the whole archive")]
    NotReproducible,
}

impl PackageError {
    /// A stable, lower-case code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Archive(ArchiveError::Refused(refusal)) => refusal.rule().code(),
            Self::Archive(ArchiveError::Io(_)) | Self::Io { .. } => "io",
            Self::ArchiveMismatch { .. } => "archive_mismatch",
            Self::FileMismatch { .. } => "file_mismatch",
            Self::Malformed { .. } => "malformed",
            Self::ManifestMismatch { .. } => "manifest_mismatch",
            Self::OldFileChanged { .. } => "old_file_changed",
            Self::NotReproducible => "not_reproducible",
        }
    }

    pub(crate) fn io(action: impl Into<String>, source: io::Error) -> Self {
        Self::Io { action: action.into(), source }
    }

    /// `detail` may quote what somebody else has written.
    pub(crate) fn malformed(what: Fault, detail: impl AsRef<str>) -> Self {
        const LONGEST: usize = 300;
        let mut shown = String::new();
        for letter in detail.as_ref().chars().take(LONGEST) {
            if letter.is_control() {
                shown.extend(letter.escape_default());
            } else {
                shown.push(letter);
            }
        }
        Self::Malformed { what, detail: shown }
    }

    /// Only reached where memory ends: documents are plain data.
    pub(crate) fn unwritable(err: serde_json::Error) -> Self {
        Self::io("writing a document", err.into())
    }
}

/// Says what was being done when something failed.
pub(crate) trait Doing<T> {
    fn doing(self, action: impl FnOnce() -> String) -> Result<T, PackageError>;
}

impl<T> Doing<T> for io::Result<T> {
    fn doing(self, action: impl FnOnce() -> String) -> Result<T, PackageError> {
        self.map_err(|err| PackageError::io(action(), err))
    }
}
