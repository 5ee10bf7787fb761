//! Of which chunks the files of a version are, and where these lie.
use super::{ALGORITHM, Chunk, Packer, pack::Frame};
use crate::{
    Fault, Manifest, PackageError,
    archive::Limits,
    codec,
    manifest::ContentHash,
    part::{Blocks, Part, PartUse},
    wire::{Put, Take},
};
use deploy_core::digest::Digest;
use std::collections::{BTreeMap, HashMap, HashSet};

const MAGIC: &[u8; 4] = b"dpi1";
/// Half of an index is hashes, and the other half paths: this level gets nearly all there is.
const LEVEL: i32 = 9;
/// How large an index may be, in bytes, unpacked: the largest manifest, and the chunks of a package of 16 GiB.
const LARGEST: usize = Manifest::LONGEST + (64 << 20);
/// A pack of a gibibyte is none of ours.
const LARGEST_PACK: u64 = 1 << 30;
/// How many packs an index may name: more than a terabyte of them.
const MOST_PACKS: usize = 1 << 16;

/// The index of one version, with its manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Index {
    manifest: Manifest,
    packs: Vec<Part>,
    frames: Vec<Frame>,
    chunks: Vec<Placed>,
    /// The chunks of each file in turn, as places in `chunks`.
    files: Vec<Vec<usize>>,
}

/// A chunk, and where it lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Placed {
    pub(super) chunk: Chunk,
    pub(super) frame: usize,
    pub(super) offset: usize,
}

impl Index {
    /// The manifest of the version.
    #[must_use]
    pub const fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// All packs that it names, those of earlier versions among them.
    #[must_use]
    pub fn packs(&self) -> &[Part] {
        &self.packs
    }

    /// What of which packs has to be fetched where the chunks of `held` are there already. Whole blocks.
    #[must_use]
    pub fn missing(&self, held: Option<&Self>) -> Vec<PartUse> {
        let held: HashSet<_> =
            held.iter().flat_map(|it| &it.chunks).map(|it| it.chunk.id).collect();
        let absent = self.chunks.iter().filter(|it| !held.contains(&it.chunk.id));
        let frames: HashSet<_> = absent.map(|it| it.frame).collect();
        let mut ranges = BTreeMap::<_, Vec<_>>::new();
        for (_, frame) in self.frames.iter().enumerate().filter(|it| frames.contains(&it.0)) {
            let range = frame.offset..frame.offset + frame.packed as u64;
            ranges.entry(frame.pack).or_default().push(range);
        }
        let mut uses = Vec::new();
        for (pack, mut ranges) in ranges {
            let Some(part) = self.packs.get(pack) else { continue };
            let mut blocks = Blocks::default();
            ranges.sort_by_key(|it| it.start);
            ranges.into_iter().for_each(|range| blocks.cover(range, part.size));
            uses.push(PartUse { part: *part, blocks });
        }
        uses
    }

    /// The chunks of the file that is the `at`th of the manifest.
    pub(super) fn file(&self, at: usize) -> impl Iterator<Item = Placed> {
        let chunks = self.files.get(at).into_iter().flatten();
        chunks.filter_map(|chunk| self.chunks.get(*chunk).copied())
    }

    /// The ids of the chunks of the file that is the `at`th of the manifest.
    pub(crate) fn ids(&self, at: usize) -> impl Iterator<Item = ContentHash> {
        self.file(at).map(|it| it.chunk.id)
    }

    pub(super) fn frame(&self, at: usize) -> Option<(Part, Frame)> {
        let frame = *self.frames.get(at)?;
        Some((*self.packs.get(frame.pack)?, frame))
    }

    /// As a part.
    ///
    /// # Errors
    /// If the manifest is too long.
    pub fn to_bytes(&self) -> Result<Vec<u8>, PackageError> {
        let mut put = Put::default();
        put.number(ALGORITHM);
        put.block(&self.manifest.to_bytes()?);
        put.number(self.packs.len() as u64);
        for pack in &self.packs {
            put.raw(pack.digest.as_bytes());
            put.raw(pack.blake3.as_bytes());
            put.number(pack.size);
        }
        put.number(self.frames.len() as u64);
        for frame in &self.frames {
            let numbers = [frame.pack as u64, frame.offset, frame.packed as u64, frame.size as u64];
            numbers.into_iter().for_each(|it| put.number(it));
        }
        self.put_files(&mut put);
        let plain = put.finish();
        let mut put = Put::default();
        put.raw(MAGIC);
        put.number(plain.len() as u64);
        put.raw(&codec::compress(&plain, LEVEL)?);
        Ok(put.finish())
    }

    /// For each file how many chunks it has, and each of them: one that was there before by its number plus one, a new one by 0
    /// and where it lies. The id of one that is all of a file is that file's hash, and is not said again.
    fn put_files(&self, put: &mut Put) {
        let mut known = 0;
        for chunks in &self.files {
            put.number(chunks.len() as u64);
            for at in chunks {
                if *at < known {
                    put.number(*at as u64 + 1);
                } else if let Some(placed) = self.chunks.get(*at) {
                    put.number(0);
                    put.number(u64::from(placed.chunk.size));
                    put.number(placed.frame as u64);
                    put.number(placed.offset as u64);
                    if chunks.len() > 1 {
                        put.raw(placed.chunk.id.as_bytes());
                    }
                    known += 1;
                }
            }
        }
    }

    /// Reads an index, and the manifest in it.
    ///
    /// # Errors
    /// If it does not hold together.
    pub fn parse(bytes: &[u8], limits: Limits) -> Result<Self, PackageError> {
        let mut take = Take::new(bytes, Fault::Index);
        if take.array()? != *MAGIC {
            return Err(take.wrong("it does not begin as one"));
        }
        let size = take.at_most(LARGEST)?;
        let plain = codec::decompress(take.rest(), size, Fault::Index)?;
        let mut take = Take::new(&plain, Fault::Index);
        if take.number()? != ALGORITHM {
            return Err(take.wrong("its files are cut in a way that is not known"));
        }
        let manifest = Manifest::parse(take.block()?, limits)?;
        let packs = packs(&mut take)?;
        let most = manifest.files().map(|it| most_chunks(it.size)).sum();
        let frames = frames(&mut take, &packs, most)?;
        let mut reader = Self { manifest, packs, frames, chunks: Vec::new(), files: Vec::new() };
        reader.take_files(&mut take)?;
        take.end()?;
        Ok(reader)
    }

    fn take_files(&mut self, take: &mut Take<'_>) -> Result<(), PackageError> {
        let sizes: Vec<_> = self.manifest.files().map(|it| (it.size, it.hash)).collect();
        for (size, hash) in sizes {
            let count = take.at_most(most_chunks(size))?;
            let whole = (count == 1).then_some(hash);
            let mut chunks = Vec::new();
            let mut sum = 0;
            for _ in 0..count {
                let at = self.take_chunk(take, whole)?;
                sum += self.chunks.get(at).map_or(0, |it| u64::from(it.chunk.size));
                chunks.push(at);
            }
            if sum != size {
                return Err(take.wrong("the chunks of a file are not as long as it is"));
            }
            self.files.push(chunks);
        }
        Ok(())
    }

    fn take_chunk(
        &mut self,
        take: &mut Take<'_>,
        whole: Option<ContentHash>,
    ) -> Result<usize, PackageError> {
        if let Some(at) = take.at_most(self.chunks.len())?.checked_sub(1) {
            return Ok(at);
        }
        let size = take.at_most(super::cut::LONGEST)?;
        let frame = take.at_most(self.frames.len().saturating_sub(1))?;
        let offset = take.at_most(Frame::LARGEST)?;
        let fits = self.frames.get(frame).is_some_and(|it| offset + size <= it.size);
        if size == 0 || !fits {
            return Err(take.wrong("a chunk of it lies in no frame"));
        }
        let id = match whole {
            Some(hash) => hash,
            None => ContentHash::from_bytes(take.array()?),
        };
        let chunk = Chunk { id, size: u32::try_from(size).unwrap_or(u32::MAX) };
        self.chunks.push(Placed { chunk, frame, offset });
        Ok(self.chunks.len() - 1)
    }
}

/// How many chunks a file of `size` bytes has at most.
fn most_chunks(size: u64) -> usize {
    usize::try_from(size.div_ceil(super::cut::SHORTEST as u64)).unwrap_or(usize::MAX)
}

fn packs(take: &mut Take<'_>) -> Result<Vec<Part>, PackageError> {
    let mut packs = Vec::new();
    for _ in 0..take.at_most(MOST_PACKS)? {
        let digest = Digest::from_bytes(take.array()?);
        let blake3 = ContentHash::from_bytes(take.array()?);
        let size = take.number()?;
        if size > LARGEST_PACK {
            return Err(take.wrong("a pack of it is too large"));
        }
        packs.push(Part { digest, size, blake3 });
    }
    Ok(packs)
}

fn frames(take: &mut Take<'_>, packs: &[Part], most: usize) -> Result<Vec<Frame>, PackageError> {
    let mut frames = Vec::new();
    for _ in 0..take.at_most(most)? {
        let pack = take.at_most(packs.len().saturating_sub(1))?;
        let (offset, packed) = (take.number()?, take.at_most(2 * Frame::LARGEST)?);
        let size = take.at_most(Frame::LARGEST)?;
        let end = offset.checked_add(packed as u64);
        let fits = packs.get(pack).zip(end).is_some_and(|(pack, end)| end <= pack.size);
        if !fits {
            return Err(take.wrong("a frame of it lies in no pack"));
        }
        frames.push(Frame { pack, offset, packed, size });
    }
    Ok(frames)
}

/// Puts an index together: chunks of earlier versions stay where they are, and others are packed.
pub(crate) struct Builder {
    packer: Packer,
    chunks: Vec<Placed>,
    known: HashMap<ContentHash, usize>,
    files: Vec<Vec<usize>>,
    earlier: Earlier,
}

/// What lies in the packs of earlier versions.
#[derive(Default)]
struct Earlier {
    places: HashMap<ContentHash, (Part, Frame, usize)>,
    /// The frames that are used, numbered from `OLD` on until it is known how many new ones there are.
    frames: Vec<(Part, Frame)>,
    numbers: HashMap<(Digest, u64), usize>,
}

/// Frames of earlier versions are told from new ones by this bit, until all are known.
const OLD: usize = 1 << (usize::BITS - 1);

impl Builder {
    pub(crate) fn new<'a>(packer: Packer, earlier: impl IntoIterator<Item = &'a Index>) -> Self {
        let mut places = HashMap::new();
        for index in earlier {
            for placed in &index.chunks {
                if let Some((part, frame)) = index.frame(placed.frame) {
                    places.insert(placed.chunk.id, (part, frame, placed.offset));
                }
            }
        }
        let earlier = Earlier { places, ..Earlier::default() };
        Self { packer, chunks: Vec::new(), known: HashMap::new(), files: Vec::new(), earlier }
    }

    pub(crate) fn begin_file(&mut self) {
        self.files.push(Vec::new());
    }

    pub(crate) fn add(&mut self, chunk: Chunk, bytes: &[u8]) -> Result<(), PackageError> {
        let at = match self.known.get(&chunk.id) {
            Some(at) => *at,
            None => {
                let (frame, offset) = match self.earlier.place(chunk.id) {
                    Some(place) => place,
                    None => self.packer.add(bytes)?,
                };
                self.chunks.push(Placed { chunk, frame, offset });
                self.known.insert(chunk.id, self.chunks.len() - 1);
                self.chunks.len() - 1
            }
        };
        self.files.last_mut().into_iter().for_each(|it| it.push(at));
        Ok(())
    }

    pub(crate) fn finish(self, manifest: Manifest) -> Result<Index, PackageError> {
        let (mut packs, mut frames) = self.packer.finish()?;
        let fresh = frames.len();
        let mut numbers: HashMap<Digest, usize> = HashMap::new();
        for (part, frame) in self.earlier.frames {
            let pack = *numbers.entry(part.digest).or_insert_with(|| {
                packs.push(part);
                packs.len() - 1
            });
            frames.push(Frame { pack, ..frame });
        }
        let mut chunks = self.chunks;
        for placed in chunks.iter_mut().filter(|it| it.frame & OLD != 0) {
            placed.frame = fresh + (placed.frame & !OLD);
        }
        Ok(Index { manifest, packs, frames, chunks, files: self.files })
    }
}

impl Earlier {
    fn place(&mut self, id: ContentHash) -> Option<(usize, usize)> {
        let (part, frame, offset) = *self.places.get(&id)?;
        let number = *self.numbers.entry((part.digest, frame.offset)).or_insert_with(|| {
            self.frames.push((part, frame));
            self.frames.len() - 1
        });
        Some((OLD | number, offset))
    }
}
