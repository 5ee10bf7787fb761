//! What travels.
use crate::{PackageError, error::Doing as _, manifest::ContentHash};
use deploy_core::digest::Digest;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::{
    fs::{self, File},
    io::{self, Write as _},
    ops::Range,
    path::{Path, PathBuf},
};

/// An immutable blob: an archive, an index, a pack, a delta, a framing or a manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Part {
    /// The SHA-256 of its bytes: its name in stores and caches.
    pub digest: Digest,
    /// How many bytes it has.
    pub size: u64,
    /// The root of its BLAKE3 tree, by which single blocks of it are verified.
    pub blake3: ContentHash,
}

/// How large the blocks of a blob of `size` bytes are: about 512 a blob, from 256 KiB to 4 MiB, and a power of two, so that each is
/// a whole subtree of the BLAKE3 tree. 512 is what many hosts need to fetch from each other at nearly the speed of their links.
#[must_use]
pub const fn block_size(size: u64) -> u64 {
    const SMALLEST: u64 = 256 << 10;
    const LARGEST: u64 = 4 << 20;
    let wanted = size.div_ceil(512);
    if wanted <= SMALLEST {
        SMALLEST
    } else if wanted >= LARGEST {
        LARGEST
    } else {
        wanted.next_power_of_two()
    }
}

/// Some blocks of a part: ranges of block numbers, sorted, apart from each other.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Blocks(Vec<(u64, u64)>);

impl Blocks {
    /// All blocks of a part of `size` bytes.
    #[must_use]
    pub fn all(size: u64) -> Self {
        let mut blocks = Self::default();
        blocks.cover(0..size, size);
        blocks
    }

    /// Takes in the blocks that hold the bytes `range` of a part of `size` bytes; ranges come sorted.
    pub(crate) fn cover(&mut self, range: Range<u64>, size: u64) {
        if range.is_empty() {
            return;
        }
        let block = block_size(size);
        let (first, end) = (range.start / block, range.end.div_ceil(block));
        match self.0.last_mut() {
            Some(last) if first <= last.1 => last.1 = last.1.max(end),
            _ => self.0.push((first, end)),
        }
    }

    /// The ranges of block numbers.
    pub fn ranges(&self) -> impl Iterator<Item = Range<u64>> {
        self.0.iter().map(|(first, end)| *first..*end)
    }

    /// How many bytes of a part of `size` bytes these are.
    #[must_use]
    pub fn bytes(&self, size: u64) -> u64 {
        let at = |block: u64| block.saturating_mul(block_size(size)).min(size);
        self.0.iter().map(|(first, end)| at(*end).saturating_sub(at(*first))).sum()
    }

    /// Whether the bytes `range` of a part of `size` bytes are all in them.
    #[must_use]
    pub fn hold(&self, range: &Range<u64>, size: u64) -> bool {
        let block = block_size(size);
        let (first, end) = (range.start / block, range.end.div_ceil(block));
        self.0.iter().any(|it| it.0 <= first && end <= it.1)
    }

    /// Whether they are sorted, apart, and all of a part of `size` bytes.
    pub(crate) fn are_of(&self, size: u64) -> bool {
        let blocks = size.div_ceil(block_size(size));
        let apart = self.0.is_sorted_by(|one, next| one.1 < next.0);
        apart && self.0.iter().all(|it| it.0 < it.1 && it.1 <= blocks)
    }
}

/// A part of which some blocks are needed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct PartUse {
    /// The part.
    pub part: Part,
    /// What of it is needed.
    pub blocks: Blocks,
}

impl PartUse {
    /// All of `part`.
    #[must_use]
    pub fn all(part: Part) -> Self {
        Self { part, blocks: Blocks::all(part.size) }
    }

    /// How many bytes have to be fetched.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.blocks.bytes(self.part.size)
    }
}

/// Writes a part into a folder, where it ends up under the hexadecimal digits of its digest.
pub(crate) struct PartWriter {
    folder: PathBuf,
    draft: PathBuf,
    out: io::BufWriter<File>,
    sha256: Sha256,
    blake3: blake3::Hasher,
    size: u64,
}

impl PartWriter {
    /// `draft` is its name until it is known.
    pub(crate) fn begin(folder: &Path, draft: &str) -> Result<Self, PackageError> {
        let path = folder.join(draft);
        let file = File::create(&path).doing(|| format!("making `{}`", path.display()))?;
        Ok(Self {
            folder: folder.to_owned(),
            draft: path,
            out: io::BufWriter::with_capacity(256 << 10, file),
            sha256: Sha256::new(),
            blake3: blake3::Hasher::new(),
            size: 0,
        })
    }

    pub(crate) const fn size(&self) -> u64 {
        self.size
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), PackageError> {
        self.sha256.update(bytes);
        self.blake3.update(bytes);
        self.size += bytes.len() as u64;
        self.out.write_all(bytes).doing(|| format!("writing `{}`", self.draft.display()))
    }

    /// All of it is on disk afterwards, and so is its name.
    pub(crate) fn finish(self) -> Result<Part, PackageError> {
        let digest = Digest::from_bytes(self.sha256.finalize().into());
        let named = self.folder.join(digest.hex());
        let doing = || format!("writing `{}`", named.display());
        let file = self.out.into_inner().map_err(io::IntoInnerError::into_error).doing(doing)?;
        file.sync_all().doing(doing)?;
        fs::rename(&self.draft, &named).doing(doing)?;
        Ok(Part { digest, size: self.size, blake3: self.blake3.finalize().into() })
    }

    /// Writes `bytes` as a part of their own.
    pub(crate) fn write_all(
        folder: &Path,
        draft: &str,
        bytes: &[u8],
    ) -> Result<Part, PackageError> {
        let mut writer = Self::begin(folder, draft)?;
        writer.write(bytes)?;
        writer.finish()
    }
}

/// A file in `folder` that has no name any more, and goes with whoever holds it. It is called `draft` for a moment.
pub(crate) fn unnamed(folder: &Path, draft: &str) -> Result<File, PackageError> {
    let path = folder.join(draft);
    let file = File::options().read(true).write(true).create(true).truncate(true).open(&path);
    let doing = || format!("making `{}`", path.display());
    let file = file.doing(doing)?;
    fs::remove_file(&path).doing(doing)?;
    Ok(file)
}
