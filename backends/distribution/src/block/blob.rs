//! The names of blobs, and where their blocks begin.
use serde::{Deserialize, Serialize};
use std::{fmt, num::NonZeroU64, ops::Range, str::FromStr};

/// The largest blob: 1 TiB. Its outboard has 8 MiB.
pub const LARGEST_BLOB: u64 = 1 << 40;

/// How many blocks a blob has where its size allows it: with fewer of them the last host is served later, with more each asks
/// for more.
const BLOCKS: u64 = 512;
/// The smallest and the largest block, in bytes.
const SMALLEST_BLOCK: u64 = 256 << 10;
const LARGEST_BLOCK: u64 = 4 << 20;

/// The root of a BLAKE3 tree, written as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BlobId([u8; 32]);

impl BlobId {
    /// The one of these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(blake3::hash(bytes).into())
    }

    /// One that was computed elsewhere.
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

impl fmt::Display for BlobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&blake3::Hash::from_bytes(self.0).to_hex())
    }
}

impl fmt::Debug for BlobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<BlobId> for String {
    fn from(id: BlobId) -> Self {
        id.to_string()
    }
}

impl TryFrom<String> for BlobId {
    type Error = BlobError;

    fn try_from(text: String) -> Result<Self, BlobError> {
        text.parse()
    }
}

impl FromStr for BlobId {
    type Err = BlobError;

    fn from_str(text: &str) -> Result<Self, BlobError> {
        let digits = |it: &u8| it.is_ascii_digit() || (b'a'..=b'f').contains(it);
        let hash = blake3::Hash::from_hex(text).ok();
        let hash = hash.filter(|_| text.as_bytes().iter().all(digits));
        hash.map(|it| Self(it.into()))
            .ok_or_else(|| BlobError::NotAnId(text.chars().take(80).collect()))
    }
}

/// Why something names no blob.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BlobError {
    /// It is more than any blob may have.
    #[error("a blob of {0} bytes is too large: {LARGEST_BLOB} is the most")]
    TooLarge(u64),
    /// A root is 64 hexadecimal digits in lower case.
    #[error("`{}` is no BLAKE3 root: it has to be 64 hexadecimal digits", .0.escape_debug())]
    NotAnId(String),
    /// A blob is written as its root, a dot, and its size.
    #[error("`{}` is no blob: it has to be ROOT.SIZE", .0.escape_debug())]
    NotABlob(String),
}

/// Immutable bytes to be brought to hosts: their BLAKE3 root and how many they are. Written `ROOT.SIZE`.
///
/// ```
/// use deploy_distribution::{Blob, BlobId};
///
/// let blob = Blob::new(BlobId::of(b"hello"), 5)?;
/// assert_eq!((blob.blocks(), blob.to_string().parse()), (1, Ok(blob)));
/// # Ok::<_, deploy_distribution::BlobError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Blob {
    root: BlobId,
    size: u64,
}

impl Blob {
    /// The blob with that root, of `size` bytes.
    ///
    /// # Errors
    /// If it is larger than [`LARGEST_BLOB`].
    pub const fn new(root: BlobId, size: u64) -> Result<Self, BlobError> {
        if size > LARGEST_BLOB {
            return Err(BlobError::TooLarge(size));
        }
        Ok(Self { root, size })
    }

    /// The root of its BLAKE3 tree.
    #[must_use]
    pub const fn root(&self) -> BlobId {
        self.root
    }

    /// How many bytes it has.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// How many bytes its blocks have, but the last one: its size cut into 512, between 256 KiB and 4 MiB, and a power of two.
    #[must_use]
    pub fn block_size(&self) -> u64 {
        let wanted = self.size.div_ceil(BLOCKS).clamp(SMALLEST_BLOCK, LARGEST_BLOCK);
        wanted.next_power_of_two()
    }

    /// How many blocks it has. An empty blob has none.
    #[must_use]
    pub fn blocks(&self) -> u32 {
        // At most 2^40 / 2^22, so it always fits.
        u32::try_from(self.size.div_ceil(self.block_size())).unwrap_or(u32::MAX)
    }

    /// Where a block lies; `None` if it has no block of that number.
    #[must_use]
    pub fn block(&self, number: u32) -> Option<BlockRange> {
        let start = u64::from(number).checked_mul(self.block_size())?;
        let length = NonZeroU64::new(self.size.checked_sub(start)?.min(self.block_size()))?;
        Some(BlockRange { number, start, length })
    }

    /// The block that a range of bytes is, if it is exactly one.
    #[must_use]
    pub fn block_at(&self, bytes: &Range<u64>) -> Option<BlockRange> {
        let number = u32::try_from(bytes.start.checked_div(self.block_size())?).ok()?;
        self.block(number).filter(|it| it.bytes() == *bytes)
    }
}

impl fmt::Display for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.root, self.size)
    }
}

impl From<Blob> for String {
    fn from(blob: Blob) -> Self {
        blob.to_string()
    }
}

impl TryFrom<String> for Blob {
    type Error = BlobError;

    fn try_from(text: String) -> Result<Self, BlobError> {
        text.parse()
    }
}

impl FromStr for Blob {
    type Err = BlobError;

    fn from_str(text: &str) -> Result<Self, BlobError> {
        let wrong = || BlobError::NotABlob(text.chars().take(100).collect());
        let (root, size) = text.split_once('.').ok_or_else(wrong)?;
        let plain = size.bytes().all(|it| it.is_ascii_digit());
        let written_once = plain && (size == "0" || !size.starts_with('0'));
        let size = size.parse().ok().filter(|_| written_once).ok_or_else(wrong)?;
        Self::new(root.parse()?, size)
    }
}

/// Where a block lies in its blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BlockRange {
    /// Its number, from 0.
    pub number: u32,
    /// Its first byte.
    pub start: u64,
    /// How many bytes it has.
    pub length: NonZeroU64,
}

impl BlockRange {
    /// Its bytes in the blob.
    #[must_use]
    pub const fn bytes(&self) -> Range<u64> {
        self.start..self.start.saturating_add(self.length.get())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn blob(size: u64) -> Blob {
        Blob::new(BlobId::of(b""), size).unwrap()
    }

    #[test]
    fn blocks_have_the_size_that_the_rule_says() {
        const MIB: u64 = 1 << 20;
        for (size, block, blocks) in [
            (0, MIB / 4, 0),
            (1, MIB / 4, 1),
            (128 * MIB, MIB / 4, 512),
            (128 * MIB + 1, MIB / 2, 257),
            (256 * MIB, MIB / 2, 512),
            (2_048 * MIB, 4 * MIB, 512),
            (LARGEST_BLOB, 4 * MIB, 1 << 18),
        ] {
            assert_eq!((blob(size).block_size(), blob(size).blocks()), (block, blocks), "{size}");
        }
        // What a publication says of blocks is of these.
        for size in [1, 128, 256, 512, 1_024, 2_048].map(|it| it * MIB) {
            for size in [size - 1, size, size + 1, size + 511, size + 512] {
                assert_eq!(blob(size).block_size(), deploy_package::block_size(size), "{size}");
            }
        }
        assert_eq!(
            Blob::new(BlobId::of(b""), LARGEST_BLOB + 1),
            Err(BlobError::TooLarge(LARGEST_BLOB + 1))
        );
    }

    #[test]
    fn what_is_not_a_blob_is_refused() {
        let root = BlobId::of(b"x").to_string();
        for wrong in [
            String::new(),
            root.clone(),
            format!("{root}."),
            format!("{root}.-1"),
            format!("{root}.+1"),
            format!("{root}.01"),
            format!("{}.1", root.to_uppercase()),
            format!("{}.1", &root[1..]),
            format!("{root}.{}", u64::MAX),
            format!("{root}.99999999999999999999999"),
        ] {
            assert!(wrong.parse::<Blob>().is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn blocks_cover_a_blob_without_gaps(size in 0..(1_u64 << 33)) {
            let blob = blob(size);
            let mut at = 0;
            for number in 0..blob.blocks() {
                let block = blob.block(number).unwrap();
                prop_assert_eq!(block.start, at);
                prop_assert_eq!(blob.block_at(&block.bytes()), Some(block));
                prop_assert_eq!(blob.block_at(&(at..block.bytes().end + 1)), None);
                at += block.length.get();
            }
            prop_assert_eq!(at, size);
            prop_assert_eq!(blob.block(blob.blocks()), None);
        }

        #[test]
        fn a_blob_is_read_as_it_is_written(bytes: [u8; 32], size in 0..=LARGEST_BLOB) {
            let blob = Blob::new(BlobId::from_bytes(bytes), size).unwrap();
            prop_assert_eq!(blob.to_string().parse(), Ok(blob));
        }

        #[test]
        fn no_text_is_too_much(text: String) {
            let _read = text.parse::<Blob>();
        }
    }
}
