//! How the tar of an archive is compressed.
use serde::{Deserialize, Serialize};
use std::fmt;

/// How an archive travels: what its tar is wrapped in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Encoding {
    /// A tar as it is.
    #[serde(rename = "tar")]
    Tar,
    /// One gzip stream.
    #[serde(rename = "tar.gz")]
    TarGz,
    /// One zstd frame.
    #[serde(rename = "tar.zst")]
    TarZst,
}

impl Encoding {
    /// All there are.
    pub const ALL: &'static [Self] = &[Self::Tar, Self::TarGz, Self::TarZst];

    /// Its name, which is also how such files are called.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tar => "tar",
            Self::TarGz => "tar.gz",
            Self::TarZst => "tar.zst",
        }
    }

    /// What an archive that begins so is.
    pub(super) fn of(beginning: &[u8]) -> Option<Self> {
        const USTAR: std::ops::Range<usize> = 257..262;
        match beginning {
            [0x1f, 0x8b, ..] => Some(Self::TarGz),
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Some(Self::TarZst),
            _ if beginning.get(USTAR) == Some(b"ustar") => Some(Self::Tar),
            // The two empty blocks that end a tar, and no entry before them.
            _ if beginning.len() >= 512 && beginning.iter().all(|b| *b == 0) => Some(Self::Tar),
            _ => None,
        }
    }
}

impl fmt::Display for Encoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
