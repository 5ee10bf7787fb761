//! Sets of blocks.

/// Which blocks of a blob somebody has: one bit each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bits {
    words: Box<[u64]>,
    length: u32,
    set: u32,
}

impl Bits {
    /// None of `length` blocks.
    #[must_use]
    pub fn none(length: u32) -> Self {
        let words = vec![0; index(length.div_ceil(u64::BITS))].into();
        Self { words, length, set: 0 }
    }

    /// All of `length` blocks.
    #[must_use]
    pub fn all(length: u32) -> Self {
        let mut bits = Self::none(length);
        (0..length).for_each(|number| {
            bits.insert(number);
        });
        bits
    }

    /// As [`to_bytes`](Self::to_bytes) wrote it; `None` if that is no set of `length` blocks.
    #[must_use]
    pub fn from_bytes(length: u32, bytes: &[u8]) -> Option<Self> {
        if bytes.len() != index(length.div_ceil(8)) {
            return None;
        }
        let mut bits = Self::none(length);
        for (word, bytes) in bits.words.iter_mut().zip(bytes.chunks(8)) {
            let mut whole = [0; 8];
            whole.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
            *word = u64::from_le_bytes(whole);
        }
        bits.set = bits.words.iter().map(|it| it.count_ones()).sum();
        let beyond = (length..length.next_multiple_of(u64::BITS)).any(|it| bits.contains(it));
        (!beyond).then_some(bits)
    }

    /// Eight blocks a byte, the lowest bit first.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes: Vec<u8> = self.words.iter().flat_map(|it| it.to_le_bytes()).collect();
        bytes.truncate(index(self.length.div_ceil(8)));
        bytes
    }

    /// How many blocks the blob has.
    #[must_use]
    pub const fn length(&self) -> u32 {
        self.length
    }

    /// How many of them are in the set.
    #[must_use]
    pub const fn count(&self) -> u32 {
        self.set
    }

    /// Whether all are.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        self.set == self.length
    }

    /// Whether a block is in the set.
    #[must_use]
    pub fn contains(&self, number: u32) -> bool {
        let word = self.words.get(index(number / u64::BITS));
        word.is_some_and(|it| it & mask(number) != 0)
    }

    /// Adds a block; whether it is new.
    pub fn insert(&mut self, number: u32) -> bool {
        if number >= self.length || self.contains(number) {
            return false;
        }
        if let Some(word) = self.words.get_mut(index(number / u64::BITS)) {
            *word |= mask(number);
            self.set += 1;
        }
        true
    }

    /// Takes a block out; whether it was in.
    pub fn remove(&mut self, number: u32) -> bool {
        if !self.contains(number) {
            return false;
        }
        if let Some(word) = self.words.get_mut(index(number / u64::BITS)) {
            *word &= !mask(number);
            self.set -= 1;
        }
        true
    }

    /// The blocks of the set, in their order.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        (0..).zip(self.words.iter()).flat_map(|(at, word)| ones(at, *word))
    }

    /// The blocks that are not in the set, in their order.
    pub fn missing(&self) -> impl Iterator<Item = u32> + '_ {
        let all = (0..).zip(self.words.iter()).flat_map(|(at, word)| ones(at, !*word));
        all.take_while(|it| *it < self.length)
    }

    /// The blocks that are in this set and in neither of the others, from the word `from` on and around.
    pub(crate) fn without<'a>(
        &'a self,
        one: &'a Self,
        other: &'a Self,
        from: u32,
    ) -> impl Iterator<Item = u32> + 'a {
        let words = u32::try_from(self.words.len()).unwrap_or(u32::MAX);
        (0..words).flat_map(move |step| {
            let at = (from % words.max(1) + step) % words.max(1);
            let word = |bits: &Self| bits.words.get(index(at)).copied().unwrap_or(0);
            ones(at, word(self) & !word(one) & !word(other))
        })
    }
}

fn ones(at: u32, mut word: u64) -> impl Iterator<Item = u32> {
    std::iter::from_fn(move || {
        let bit = (word != 0).then(|| word.trailing_zeros())?;
        word &= word - 1;
        Some(at * u64::BITS + bit)
    })
}

const fn mask(number: u32) -> u64 {
    1 << (number % u64::BITS)
}

/// A `usize` holds 32 bits wherever this runs.
const fn index(number: u32) -> usize {
    number as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::{collection::btree_set, prelude::*};
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn a_set_of_bits_is_a_set(
            length in 0_u32..200,
            insert in btree_set(0_u32..220, 0..100),
            remove in btree_set(0_u32..220, 0..50),
        ) {
            let mut bits = Bits::none(length);
            let mut model = BTreeSet::new();
            for it in insert {
                prop_assert_eq!(bits.insert(it), it < length && model.insert(it));
            }
            for it in remove {
                prop_assert_eq!(bits.remove(it), model.remove(&it));
            }
            prop_assert_eq!(bits.count() as usize, model.len());
            prop_assert_eq!(bits.iter().collect::<BTreeSet<_>>(), model.clone());
            let missing: BTreeSet<_> = (0..length).filter(|it| !model.contains(it)).collect();
            prop_assert_eq!(bits.missing().collect::<BTreeSet<_>>(), missing.clone());
            prop_assert_eq!(Bits::from_bytes(length, &bits.to_bytes()), Some(bits.clone()));
            let (all, none) = (Bits::all(length), Bits::none(length));
            prop_assert!(all.is_full());
            prop_assert_eq!(all.without(&bits, &none, 7).collect::<BTreeSet<_>>(), missing);
        }

        #[test]
        fn bytes_of_another_length_are_no_set(length in 0_u32..200, bytes: Vec<u8>) {
            if let Some(bits) = Bits::from_bytes(length, &bytes) {
                prop_assert_eq!(bits.to_bytes(), bytes);
                prop_assert!(bits.count() <= length);
            }
        }
    }

    #[test]
    fn a_bit_beyond_the_end_is_refused() {
        assert!(Bits::from_bytes(9, &[255, 1]).is_some());
        assert!(Bits::from_bytes(9, &[255, 2]).is_none());
        assert!(Bits::from_bytes(9, &[255]).is_none());
    }
}
