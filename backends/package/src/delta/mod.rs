//! The way by patches: what of each file is not in the one it came from.
mod apply;
mod plan;
mod write;

pub use apply::Delta;
pub(crate) use write::Pair;

use plan::Sources;
use std::ops::Range;

const MAGIC: &[u8; 4] = b"dpd1";
/// Up to so many bytes a file is patched as a whole, and old and new are in memory at once.
const WHOLE: u64 = 192 << 20;
/// Larger ones are patched in windows of so many bytes.
const WINDOW: u64 = 128 << 20;
/// How far before and behind a window its source reaches: by as much parts of a large file may have moved.
const REACH: u64 = 32 << 20;

/// The pieces in which a file of `size` bytes is patched.
fn pieces(size: u64) -> impl Iterator<Item = Range<u64>> {
    let length = if size > WHOLE { WINDOW } else { size.max(1) };
    (0..size.div_ceil(length)).map(move |at| at * length..((at + 1) * length).min(size))
}

/// What of an old file of `old` bytes `piece` of a new one of `new` bytes is patched against: all of it, or what lies where the piece does.
fn source(piece: &Range<u64>, new: u64, old: u64) -> Range<u64> {
    if old <= WHOLE {
        return 0..old;
    }
    let scaled = |at: u64| {
        let at = u128::from(at) * u128::from(old) / u128::from(new.max(1));
        u64::try_from(at).unwrap_or(old)
    };
    let start = scaled(piece.start).min(old).saturating_sub(REACH);
    start..(start + WINDOW + 2 * REACH).min(old)
}
