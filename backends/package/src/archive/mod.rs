//! Package and descriptor archives: judged whole before anything of them reaches a host.
//!
//! An archive is unpacked on hosts by whatever `tar` they have. What is accepted here is therefore only what every `tar`
//! understands in the same way: see [`Rule`] for what is refused, each with a stable code.
pub(crate) mod decoded;
mod encoding;
mod error;
mod header;
mod input;
mod pack;
mod plain;
pub(crate) mod tree;
mod validate;
pub(crate) mod walk;

pub use encoding::Encoding;
pub use error::{ArchiveError, Refusal, Rule};
pub use pack::{PackedFile, pack_dir, pack_files, pack_tar};
pub use plain::{digest_tar, validate_tar};
pub use validate::{ArchiveFile, ArchiveSummary, read_files, validate};

/// What an archive may be at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// How many entries.
    pub entries: u64,
    /// How many bytes, unpacked.
    pub unpacked_bytes: u64,
    /// How many times larger it is unpacked.
    pub ratio: u64,
    /// Up to so many unpacked bytes the ratio does not matter.
    pub ratio_floor: u64,
    /// How long a path, in bytes.
    pub path_bytes: usize,
    /// How deep a path.
    pub depth: usize,
    /// What it may be wrapped in.
    pub encodings: &'static [Encoding],
}

impl Limits {
    /// For packages: 200,000 entries, 16 GiB, 200:1 beyond the first 16 MiB, in any encoding.
    pub const PACKAGE: Self = Self {
        entries: 200_000,
        unpacked_bytes: 16 << 30,
        ratio: 200,
        ratio_floor: 16 << 20,
        path_bytes: 1_024,
        depth: 32,
        encodings: Encoding::ALL,
    };

    /// For descriptors: 1,000 entries, 16 MiB. Only gzip: all hosts can unpack it.
    pub const DESCRIPTOR: Self = Self {
        entries: 1_000,
        unpacked_bytes: 16 << 20,
        path_bytes: 200,
        encodings: &[Encoding::TarGz],
        ..Self::PACKAGE
    };

    /// With at most `entries`.
    #[must_use]
    pub const fn with_entries(mut self, entries: u64) -> Self {
        self.entries = entries;
        self
    }

    /// With at most `bytes`, unpacked.
    #[must_use]
    pub const fn with_unpacked_bytes(mut self, bytes: u64) -> Self {
        self.unpacked_bytes = bytes;
        self
    }

    /// In one of `encodings`.
    #[must_use]
    pub const fn with_encodings(mut self, encodings: &'static [Encoding]) -> Self {
        self.encodings = encodings;
        self
    }

    /// At most `ratio` times larger unpacked, beyond the first `floor` bytes.
    #[must_use]
    pub const fn with_ratio(mut self, ratio: u64, floor: u64) -> Self {
        self.ratio = ratio;
        self.ratio_floor = floor;
        self
    }
}
