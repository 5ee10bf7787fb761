//! One entry of a manifest.
use super::File;
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// A file, folder or link of a package.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Entry {
    /// A file with content.
    File {
        /// Seen from the top of the tree, without `.`, `..` and surplus `/`.
        path: String,
        /// Permission bits.
        mode: Mode,
        /// How many bytes it has.
        size: u64,
        /// What is in it.
        blake3: ContentHash,
    },
    /// A folder; the one with the path `.` is the top of the tree.
    Folder {
        /// As a file's, or `.`.
        path: String,
        /// Permission bits.
        mode: Mode,
    },
    /// Another name of an earlier file.
    HardLink {
        /// As a file's.
        path: String,
        /// The path of the earlier file.
        target: String,
    },
    /// A symbolic link that stays inside the tree.
    SymbolicLink {
        /// As a file's.
        path: String,
        /// What is written in it, seen from its own folder.
        target: String,
    },
}

impl Entry {
    /// Where it lies, seen from the top of the tree.
    #[must_use]
    pub fn path(&self) -> &str {
        match self {
            Self::File { path, .. }
            | Self::Folder { path, .. }
            | Self::HardLink { path, .. }
            | Self::SymbolicLink { path, .. } => path,
        }
    }

    /// The file that it is, if it is one.
    #[must_use]
    pub fn as_file(&self) -> Option<File<'_>> {
        match self {
            Self::File { path, mode, size, blake3 } => {
                Some(File { path, mode: *mode, size: *size, hash: *blake3 })
            }
            Self::Folder { .. } | Self::HardLink { .. } | Self::SymbolicLink { .. } => None,
        }
    }
}

/// The permission bits of a file or folder, written as three octal digits (`755`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Mode(u32);

impl Mode {
    /// What a folder has that no entry names: `755`.
    pub const FOLDER: Self = Self(0o755);

    /// The permission bits of `mode` alone.
    #[must_use]
    pub const fn new(mode: u32) -> Self {
        Self(mode & 0o777)
    }

    /// The bits.
    #[must_use]
    pub const fn bits(self) -> u32 {
        self.0
    }
}

/// Why a text is not a [`Mode`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("permissions have to be three octal digits")]
pub struct ParseModeError;

impl FromStr for Mode {
    type Err = ParseModeError;

    fn from_str(text: &str) -> Result<Self, ParseModeError> {
        let digits = text.len() == 3 && text.bytes().all(|it| (b'0'..=b'7').contains(&it));
        let bits = u32::from_str_radix(text, 8).ok().filter(|_| digits);
        bits.map(Self).ok_or(ParseModeError)
    }
}

impl TryFrom<String> for Mode {
    type Error = ParseModeError;

    fn try_from(text: String) -> Result<Self, ParseModeError> {
        text.parse()
    }
}

impl From<Mode> for String {
    fn from(mode: Mode) -> Self {
        mode.to_string()
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:03o}", self.0)
    }
}

/// The BLAKE3-256 of what is in a file, written as 64 hexadecimal digits, as `b3sum` does.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ContentHash([u8; 32]);

impl ContentHash {
    /// The hash of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }

    /// A hash that was computed elsewhere.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl From<blake3::Hash> for ContentHash {
    fn from(hash: blake3::Hash) -> Self {
        Self(*hash.as_bytes())
    }
}

/// Why a text is not a [`ContentHash`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a BLAKE3 hash has to be 64 hexadecimal digits in lower case")]
pub struct ParseContentHashError;

impl FromStr for ContentHash {
    type Err = ParseContentHashError;

    fn from_str(text: &str) -> Result<Self, ParseContentHashError> {
        if text.bytes().any(|it| it.is_ascii_uppercase()) {
            return Err(ParseContentHashError);
        }
        blake3::Hash::from_hex(text).map(Self::from).map_err(|_| ParseContentHashError)
    }
}

impl TryFrom<String> for ContentHash {
    type Error = ParseContentHashError;

    fn try_from(text: String) -> Result<Self, ParseContentHashError> {
        text.parse()
    }
}

impl From<ContentHash> for String {
    fn from(hash: ContentHash) -> Self {
        hash.to_string()
    }
}

impl fmt::Debug for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(blake3::Hash::from_bytes(self.0).to_hex().as_str())
    }
}
