//! What is written down of a blob that is not there as a whole yet.
use super::{Bits, Blob};

const MAGIC: &[u8; 8] = b"have v1\n";
const CHECK: usize = 32;

/// The blocks that were had, and which of them were had when the file was synced last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Have {
    pub(super) had: Bits,
    pub(super) synced: Bits,
}

impl Have {
    pub(super) fn none(blob: &Blob) -> Self {
        let none = Bits::none(blob.blocks());
        Self { had: none.clone(), synced: none }
    }

    /// With a hash of it all at its end: what a crash has torn is not taken for anything else.
    pub(super) fn to_bytes(&self, blob: &Blob) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend(blob.root().as_bytes());
        bytes.extend(blob.size().to_le_bytes());
        bytes.extend(self.had.to_bytes());
        bytes.extend(self.synced.to_bytes());
        let check = blake3::hash(&bytes);
        bytes.extend(check.as_bytes());
        bytes
    }

    /// `None` if that is not what was written down of `blob`.
    pub(super) fn from_bytes(blob: &Blob, bytes: &[u8]) -> Option<Self> {
        let (body, check) = bytes.split_at_checked(bytes.len().checked_sub(CHECK)?)?;
        let rest = body.strip_prefix(MAGIC)?.strip_prefix(blob.root().as_bytes())?;
        let bits = rest.strip_prefix(&blob.size().to_le_bytes())?;
        let (had, synced) = bits.split_at_checked(bits.len() / 2)?;
        let read = |bytes| Bits::from_bytes(blob.blocks(), bytes);
        let have = Self { had: read(had)?, synced: read(synced)? };
        (blake3::hash(body).as_bytes() == check).then_some(have)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::BlobId;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_torn_is_nothing(blocks in 0_u64..100, cut: prop::sample::Index, flip: u8) {
            let blob = Blob::new(BlobId::of(b"x"), blocks << 18).unwrap();
            let mut have = Have::none(&blob);
            (0..blob.blocks()).step_by(3).for_each(|it| { have.had.insert(it); });
            have.synced.insert(0);
            let whole = have.to_bytes(&blob);
            prop_assert_eq!(Have::from_bytes(&blob, &whole), Some(have));
            let cut = cut.index(whole.len());
            prop_assert_eq!(Have::from_bytes(&blob, &whole[..cut]), None);
            let mut torn = whole.clone();
            torn[cut] ^= flip | 1;
            prop_assert_eq!(Have::from_bytes(&blob, &torn), None);
        }

        #[test]
        fn nothing_is_too_much(blocks in 0_u64..100, bytes: Vec<u8>) {
            let blob = Blob::new(BlobId::of(b"x"), blocks << 18).unwrap();
            prop_assert_eq!(Have::from_bytes(&blob, &bytes), None);
        }
    }
}
