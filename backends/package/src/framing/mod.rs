//! All of a tar that is no file's content, so that the archive can be made again bit for bit.
mod rebuild;
mod recipe;

pub use rebuild::rebuild;
pub use recipe::Recipe;

use crate::{
    Fault, PackageError,
    archive::walk::{self, Visitor},
    codec,
    error::Doing as _,
    wire::{Put, Take},
};
use std::io::Write as _;

const MAGIC: &[u8; 4] = b"dpf1";
/// Headers of a tar are much alike: this level gets nearly all there is.
const LEVEL: i32 = 9;
/// How large a framing may be, in bytes, compressed: hosts that need it hold it in memory.
const LARGEST: usize = 64 << 20;
/// How large the list of gaps may be: two entries of ten bytes a file, for all files of the largest package.
const LARGEST_GAPS: usize = 4 << 20;

/// The framing of one tar: headers, padding and end, and where files go between.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Framing {
    /// How many bytes of framing come before the content of each file that has any.
    gaps: Vec<u64>,
    /// All of them, compressed.
    bytes: Vec<u8>,
}

impl Framing {
    /// As a part, with what the archive is made by.
    ///
    /// # Errors
    /// If memory is short.
    pub fn to_bytes(&self, recipe: &Recipe) -> Result<Vec<u8>, PackageError> {
        let mut gaps = Put::default();
        self.gaps.iter().for_each(|gap| gaps.number(*gap));
        let gaps = gaps.finish();
        let mut put = Put::default();
        put.raw(MAGIC);
        recipe.put(&mut put);
        put.number(gaps.len() as u64);
        put.block(&codec::compress(&gaps, LEVEL)?);
        put.raw(&self.bytes);
        Ok(put.finish())
    }

    /// Reads what [`to_bytes`](Self::to_bytes) wrote.
    ///
    /// # Errors
    /// If it is no framing.
    pub fn parse(bytes: &[u8]) -> Result<(Self, Recipe), PackageError> {
        let mut take = Take::new(bytes, Fault::Framing);
        if take.array()? != *MAGIC {
            return Err(take.wrong("it does not begin as one"));
        }
        let recipe = Recipe::take(&mut take)?;
        let size = take.at_most(LARGEST_GAPS)?;
        let packed = codec::decompress(take.block()?, size, Fault::Framing)?;
        let mut numbers = Take::new(&packed, Fault::Framing);
        let mut gaps = Vec::new();
        while !numbers.rest().is_empty() {
            gaps.push(numbers.number()?);
        }
        Ok((Self { gaps, bytes: take.rest().to_vec() }, recipe))
    }
}

/// Records the framing of an archive that is walked through.
pub(crate) struct Recorder {
    gaps: Vec<u64>,
    since: u64,
    /// Nothing once it has become too large.
    out: Option<zstd::Encoder<'static, Vec<u8>>>,
}

impl Recorder {
    pub(crate) fn new() -> Result<Self, PackageError> {
        let out = zstd::Encoder::new(Vec::new(), LEVEL).doing(doing)?;
        Ok(Self { gaps: Vec::new(), since: 0, out: Some(out) })
    }

    pub(crate) fn finish(self) -> Result<Option<Framing>, PackageError> {
        let Some(out) = self.out else { return Ok(None) };
        let bytes = out.finish().doing(doing)?;
        Ok(Some(Framing { gaps: self.gaps, bytes }))
    }
}

fn doing() -> String {
    "compressing the framing".to_owned()
}

impl Visitor for Recorder {
    type Error = PackageError;

    fn framing(&mut self, bytes: &[u8]) -> Result<(), PackageError> {
        self.since += bytes.len() as u64;
        let Some(out) = &mut self.out else { return Ok(()) };
        out.write_all(bytes).doing(doing)?;
        if out.get_ref().len() > LARGEST {
            self.out = None;
        }
        Ok(())
    }

    fn entry(&mut self, entry: &walk::Entry) -> Result<(), PackageError> {
        if entry.size > 0 {
            self.gaps.push(std::mem::take(&mut self.since));
        }
        Ok(())
    }

    fn content(&mut self, _: &[u8]) -> Result<(), PackageError> {
        Ok(())
    }
}
