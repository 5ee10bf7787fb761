//! Packs: chunks side by side, compressed a few at a time.
use crate::{
    PackageError, codec,
    part::{Part, PartWriter},
};
use std::path::{Path, PathBuf};

/// How well packs are compressed: the usual level of zstd, at some 200 MB/s a core.
const LEVEL: i32 = 3;
/// So many bytes of chunks are compressed together at least: as much as a block, which is what is fetched anyway.
const FRAME: usize = 256 << 10;
/// A pack ends once it has so many bytes, so all but the last of a version have that many and little more.
const PACK: u64 = 32 << 20;

/// A frame in a pack, compressed by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    /// Which pack it lies in.
    pub(super) pack: usize,
    /// Where it begins there.
    pub(super) offset: u64,
    /// How many bytes it has there.
    pub(super) packed: usize,
    /// How many bytes its chunks have.
    pub(super) size: usize,
}

impl Frame {
    /// The largest a frame gets: one chunk more than it has to have.
    pub(super) const LARGEST: usize = FRAME + super::cut::LONGEST;
}

/// Writes packs.
pub(crate) struct Packer {
    folder: PathBuf,
    pending: Vec<u8>,
    writer: Option<PartWriter>,
    packs: Vec<Part>,
    frames: Vec<Frame>,
}

impl Packer {
    pub(crate) fn new(folder: &Path) -> Self {
        let folder = folder.to_owned();
        Self { folder, pending: Vec::new(), writer: None, packs: Vec::new(), frames: Vec::new() }
    }

    /// Takes in a chunk; gives the number of its frame, and where in that it begins.
    pub(crate) fn add(&mut self, chunk: &[u8]) -> Result<(usize, usize), PackageError> {
        let place = (self.frames.len(), self.pending.len());
        self.pending.extend_from_slice(chunk);
        if self.pending.len() >= FRAME {
            self.end_frame()?;
        }
        Ok(place)
    }

    fn end_frame(&mut self) -> Result<(), PackageError> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let frame = codec::compress(&self.pending, LEVEL)?;
        let mut writer = match self.writer.take() {
            Some(writer) => writer,
            None => PartWriter::begin(&self.folder, "pack.draft")?,
        };
        self.frames.push(Frame {
            pack: self.packs.len(),
            offset: writer.size(),
            packed: frame.len(),
            size: self.pending.len(),
        });
        writer.write(&frame)?;
        self.pending.clear();
        if writer.size() >= PACK {
            self.packs.push(writer.finish()?);
        } else {
            self.writer = Some(writer);
        }
        Ok(())
    }

    /// Ends the last pack; gives all of them, and their frames.
    pub(super) fn finish(mut self) -> Result<(Vec<Part>, Vec<Frame>), PackageError> {
        self.end_frame()?;
        if let Some(writer) = self.writer.take() {
            self.packs.push(writer.finish()?);
        }
        Ok((self.packs, self.frames))
    }
}
