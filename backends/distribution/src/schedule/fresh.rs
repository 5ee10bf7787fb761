//! Blocks that may have to come from a seed.
use super::dice::Dice;
use crate::block::Bits;

/// A set of blocks that one can be drawn from. It never holds more than there are, however often they are added.
#[derive(Debug)]
pub(super) struct Fresh {
    blocks: Vec<u32>,
    members: Bits,
}

impl Fresh {
    pub(super) fn all(blocks: u32) -> Self {
        Self { blocks: (0..blocks).collect(), members: Bits::all(blocks) }
    }

    pub(super) fn add(&mut self, block: u32) {
        if self.members.insert(block) {
            self.blocks.push(block);
        }
    }

    /// Takes out any of them.
    pub(super) fn draw(&mut self, dice: &mut Dice) -> Option<u32> {
        let at = dice.throw(self.blocks.len());
        let block = *self.blocks.get(at)?;
        self.blocks.swap_remove(at);
        self.members.remove(block);
        Some(block)
    }
}

#[cfg(test)]
impl Fresh {
    pub(super) const fn len(&self) -> usize {
        self.blocks.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_block_is_in_it_once() {
        let mut fresh = Fresh::all(3);
        let mut dice = Dice::new(1);
        for _ in 0..100 {
            (0..5).for_each(|it| fresh.add(it));
        }
        assert_eq!(fresh.len(), 3);
        let drawn = fresh.draw(&mut dice).unwrap();
        fresh.add(drawn);
        let mut all: Vec<_> = std::iter::from_fn(|| fresh.draw(&mut dice)).collect();
        all.sort_unstable();
        assert_eq!(all, [0, 1, 2]);
    }
}
