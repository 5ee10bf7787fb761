//! Where files are cut.
use crate::manifest::ContentHash;
use fastcdc::v2020::FastCDC;
use std::io::{self, Read};

/// How files are cut, and part of the format of indexes: another way to cut is another number. This one is FastCDC of 2020 with
/// normalisation 1 and no seed, in chunks of 16 to 256 KiB and 64 KiB in the mean.
pub const ALGORITHM: u64 = 1;

/// The shortest chunk, in bytes; only the last of a file is shorter.
pub(super) const SHORTEST: usize = 16 << 10;
const MEAN: usize = 64 << 10;
/// The longest chunk, in bytes.
pub(super) const LONGEST: usize = 256 << 10;
/// How much of a file is held in memory, in bytes.
const HELD: usize = 4 << 20;

/// A piece of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Chunk {
    /// What is in it.
    pub id: ContentHash,
    /// How many bytes it has.
    pub size: u32,
}

/// Cuts what `file` gives, to its end, and tells `each` chunk and its bytes. Where the cuts are depends on the bytes alone.
///
/// # Errors
/// If it cannot be read, or `each` fails.
pub fn cut<E: From<io::Error>>(
    mut file: impl Read,
    mut each: impl FnMut(Chunk, &[u8]) -> Result<(), E>,
) -> Result<(), E> {
    let mut held = Vec::new();
    loop {
        let room = HELD - held.len();
        let read = (&mut file).take(room as u64).read_to_end(&mut held)?;
        let is_end = read < room;
        let mut at = 0;
        for piece in FastCDC::new(&held, SHORTEST, MEAN, LONGEST) {
            // One that begins too near to what is not read yet could end elsewhere.
            if !is_end && held.len() - piece.offset < LONGEST {
                break;
            }
            at = piece.offset + piece.length;
            let bytes = held.get(piece.offset..at).unwrap_or_default();
            let size = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
            each(Chunk { id: ContentHash::of(bytes), size }, bytes)?;
        }
        if is_end {
            return Ok(());
        }
        held.drain(..at);
    }
}
