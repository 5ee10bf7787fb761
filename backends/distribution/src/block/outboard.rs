//! Chaining values: by them each block is known to be right without the others.
use super::{Blob, BlobId};
use blake3::{
    Hasher,
    hazmat::{self, ChainingValue, HasherExt as _, Mode},
};
use bytes::Bytes;
use std::io::{self, Read};

const VALUE: usize = 32;

/// The chaining values of a blob's blocks, checked against its root.
///
/// They travel by themselves, 32 bytes a block, from whoever has them: what does not belong to the root is no outboard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outboard {
    blob: Blob,
    values: Bytes,
}

/// Why bytes are not the outboard of a blob.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OutboardError {
    /// There are 32 bytes for each block.
    #[error("the outboard of {blob} has {found} bytes, and {expected} are right")]
    Length {
        /// Whose it should be.
        blob: Blob,
        /// How many bytes it has.
        found: usize,
        /// How many it should have.
        expected: u64,
    },
    /// The values do not hash up to the root.
    #[error("the outboard of {0} does not belong to its root")]
    Root(Blob),
}

impl Outboard {
    /// Reads one that came from anywhere.
    ///
    /// # Errors
    /// If it is not the one of `blob`.
    pub fn parse(blob: Blob, values: Bytes) -> Result<Self, OutboardError> {
        let expected = Self::length(&blob);
        if values.len() as u64 != expected {
            return Err(OutboardError::Length { blob, found: values.len(), expected });
        }
        let outboard = Self { blob, values };
        if outboard.root() == blob.root() { Ok(outboard) } else { Err(OutboardError::Root(blob)) }
    }

    /// Reads `source` to its end and says what blob it is.
    ///
    /// # Errors
    /// If it cannot be read, or is not `size` bytes long; `size` is what the size of blocks follows from.
    pub fn compute(size: u64, mut source: impl Read) -> io::Result<Self> {
        let unknown = Blob::new(BlobId::from_bytes([0; VALUE]), size).map_err(io::Error::other)?;
        let mut values = Vec::with_capacity(unknown.blocks() as usize * VALUE);
        let mut buffer = Vec::new();
        for block in (0..unknown.blocks()).filter_map(|it| unknown.block(it)) {
            buffer.clear();
            (&mut source).take(block.length.get()).read_to_end(&mut buffer)?;
            if buffer.len() as u64 != block.length.get() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            values.extend(value_of(&unknown, block.start, &buffer));
        }
        if source.read(&mut [0])? > 0 {
            let longer = format!("there are more than {size} bytes");
            return Err(io::Error::new(io::ErrorKind::InvalidData, longer));
        }
        let mut outboard = Self { blob: unknown, values: values.into() };
        outboard.blob = Blob::new(outboard.root(), size).map_err(io::Error::other)?;
        Ok(outboard)
    }

    /// How many bytes the outboard of a blob has.
    #[must_use]
    pub fn length(blob: &Blob) -> u64 {
        u64::from(blob.blocks()) * VALUE as u64
    }

    /// Whose it is.
    #[must_use]
    pub const fn blob(&self) -> Blob {
        self.blob
    }

    /// As it travels.
    #[must_use]
    pub const fn bytes(&self) -> &Bytes {
        &self.values
    }

    /// Whether `bytes` are the block of that number.
    #[must_use]
    pub fn verifies(&self, number: u32, bytes: &[u8]) -> bool {
        let Some(block) = self.blob.block(number) else { return false };
        let expected = self.values.chunks(VALUE).nth(number as usize);
        bytes.len() as u64 == block.length.get()
            && expected.is_some_and(|it| it == value_of(&self.blob, block.start, bytes))
    }

    fn root(&self) -> BlobId {
        let values: Vec<ChainingValue> =
            self.values.chunks(VALUE).map(|it| it.try_into().unwrap_or([0; VALUE])).collect();
        let root = match values.as_slice() {
            [] => *blake3::hash(b"").as_bytes(),
            [only] => *only,
            values => {
                let (left, right) = halves(values);
                *hazmat::merge_subtrees_root(&merged(left), &merged(right), Mode::Hash).as_bytes()
            }
        };
        BlobId::from_bytes(root)
    }
}

#[cfg(test)]
impl Outboard {
    /// One of so many bytes that nobody has.
    pub(super) fn of_nothing(size: u64) -> Self {
        let blob = Blob::new(BlobId::of(b""), size).unwrap();
        let values = vec![0; usize::try_from(Self::length(&blob)).unwrap()].into();
        Self { blob, values }
    }
}

/// What a block is known by: its chaining value, or the root itself where there is no other block.
fn value_of(blob: &Blob, start: u64, bytes: &[u8]) -> [u8; VALUE] {
    if blob.blocks() <= 1 {
        return blake3::hash(bytes).into();
    }
    // Blocks are aligned powers of two, and shorter at the right edge alone: each is a whole subtree.
    Hasher::new().set_input_offset(start).update(bytes).finalize_non_root()
}

fn merged(values: &[ChainingValue]) -> ChainingValue {
    match values {
        [] => [0; VALUE],
        [only] => *only,
        values => {
            let (left, right) = halves(values);
            hazmat::merge_subtrees_non_root(&merged(left), &merged(right), Mode::Hash)
        }
    }
}

/// As BLAKE3 has it: the left half is the largest power of two that leaves something for the right one.
fn halves(values: &[ChainingValue]) -> (&[ChainingValue], &[ChainingValue]) {
    let left = values.len().div_ceil(2).next_power_of_two();
    values.split_at_checked(left).unwrap_or((values, &[]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BLOCK: usize = 256 << 10;

    fn bytes(length: usize, seed: u8) -> Vec<u8> {
        let mut bytes = vec![0; length];
        Hasher::new().update(&[seed]).finalize_xof().fill(&mut bytes);
        bytes
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]

        #[test]
        fn the_root_is_that_of_blake3(blocks in 0_usize..9, more in 0..BLOCK, seed: u8) {
            let bytes = bytes(blocks * BLOCK + more, seed);
            let outboard = Outboard::compute(bytes.len() as u64, &*bytes).unwrap();
            prop_assert_eq!(outboard.blob().root(), BlobId::of(&bytes));
            let again = Outboard::parse(outboard.blob(), outboard.bytes().clone());
            prop_assert_eq!(again, Ok(outboard));
        }

        #[test]
        fn a_changed_bit_is_found(more in 0..BLOCK, at: prop::sample::Index, bit in 0..8_u32) {
            let mut bytes = bytes(2 * BLOCK + more, 1);
            let outboard = Outboard::compute(bytes.len() as u64, &*bytes).unwrap();
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            for number in 0..outboard.blob().blocks() {
                let range = outboard.blob().block(number).unwrap().bytes();
                let block = &bytes[range.start as usize..range.end as usize];
                prop_assert_eq!(outboard.verifies(number, block), !range.contains(&(at as u64)));
            }
        }

        #[test]
        fn a_changed_outboard_is_none(at: prop::sample::Index, bit in 0..8_u32, blocks in 1..5_usize) {
            let bytes = bytes(blocks * BLOCK, 2);
            let outboard = Outboard::compute(bytes.len() as u64, &*bytes).unwrap();
            let mut values = outboard.bytes().to_vec();
            let at = at.index(values.len());
            values[at] ^= 1 << bit;
            let wrong = Outboard::parse(outboard.blob(), values.into());
            prop_assert_eq!(wrong, Err(OutboardError::Root(outboard.blob())));
        }
    }

    #[test]
    fn a_block_is_right_in_its_place_alone() {
        let bytes = [bytes(BLOCK, 3), bytes(BLOCK, 3), bytes(9, 4)].concat();
        let outboard = Outboard::compute(bytes.len() as u64, &*bytes).unwrap();
        assert!(outboard.verifies(0, &bytes[..BLOCK]) && outboard.verifies(1, &bytes[..BLOCK]));
        assert!(!outboard.verifies(2, &bytes[..BLOCK]) && !outboard.verifies(0, &bytes[..9]));
        assert!(outboard.verifies(2, &bytes[2 * BLOCK..]));
        assert!(!outboard.verifies(3, &[]) && !outboard.verifies(u32::MAX, &bytes[..BLOCK]));
    }

    #[test]
    fn a_source_has_the_length_that_was_said() {
        assert!(Outboard::compute(4, &b"12345"[..]).is_err());
        assert!(Outboard::compute(6, &b"12345"[..]).is_err());
        let (short, long) = (Bytes::from_static(&[0; 31]), Bytes::from_static(&[0; 64]));
        let blob = Blob::new(BlobId::of(b"x"), 1).unwrap();
        assert!(matches!(Outboard::parse(blob, short), Err(OutboardError::Length { .. })));
        assert!(matches!(Outboard::parse(blob, long), Err(OutboardError::Length { .. })));
    }
}
