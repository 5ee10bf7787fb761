//! How many have each block, everywhere and zone by zone.

/// So many counts are kept for zones; a blob that is too large, or has too many zones, goes without.
const MOST: usize = 4 << 20;

/// For each block how many hosts have it, and to how many it is on its way.
#[derive(Debug)]
pub(super) struct Tally {
    blocks: usize,
    copies: Vec<u32>,
    coming: Vec<u32>,
    /// Both together, for each zone; empty for one that nobody has a block in.
    zones: Vec<Vec<u32>>,
    kept: usize,
}

impl Tally {
    pub(super) fn new(blocks: u32) -> Self {
        let blocks = blocks as usize;
        Self {
            blocks,
            copies: vec![0; blocks],
            coming: vec![0; blocks],
            zones: Vec::new(),
            kept: 0,
        }
    }

    pub(super) fn copies(&mut self, zone: u32, block: u32, by: i32) {
        add(&mut self.copies, block, by);
        self.zone(zone, block, by);
    }

    pub(super) fn coming(&mut self, zone: u32, block: u32, by: i32) {
        add(&mut self.coming, block, by);
        self.zone(zone, block, by);
    }

    /// Whether any host has a block.
    pub(super) fn is_had(&self, block: u32) -> bool {
        of(&self.copies, block) > 0
    }

    /// How many have a block, or will.
    pub(super) fn expected(&self, block: u32) -> u32 {
        of(&self.copies, block).saturating_add(of(&self.coming, block))
    }

    /// Whether nobody in a zone has a block, or will.
    pub(super) fn is_new_to(&self, zone: u32, block: u32) -> bool {
        self.zones.get(zone as usize).is_none_or(|it| of(it, block) == 0)
    }

    fn zone(&mut self, zone: u32, block: u32, by: i32) {
        let zone = zone as usize;
        if self.zones.len() <= zone {
            self.zones.resize_with(zone + 1, Vec::new);
        }
        let Some(counts) = self.zones.get_mut(zone) else { return };
        if counts.is_empty() && self.kept.saturating_add(self.blocks) <= MOST {
            counts.resize(self.blocks, 0);
            self.kept += self.blocks;
        }
        add(counts, block, by);
    }
}

fn of(counts: &[u32], block: u32) -> u32 {
    counts.get(block as usize).copied().unwrap_or(0)
}

fn add(counts: &mut [u32], block: u32, by: i32) {
    if let Some(count) = counts.get_mut(block as usize) {
        *count = count.saturating_add_signed(by);
    }
}
