//! Puts a tree together of packs and of the tree before it.
use super::{Index, cut::cut, index::Placed, pack::Frame};
use crate::{
    Fault, PackageError, codec,
    error::Doing as _,
    install::{Contents, NewTree, Previous, assemble},
    manifest::{ContentHash, File},
    part::{Part, PartUse},
};
use deploy_core::digest::Digest;
use std::{
    collections::{HashMap, HashSet},
    fs,
    io::{self, Read as _, Write},
    os::unix::fs::FileExt as _,
    path::PathBuf,
};

/// The packs that were fetched, or what of them is needed.
#[derive(Clone, Debug, Default)]
pub struct Packs {
    files: HashMap<Digest, (PathBuf, PartUse)>,
}

impl Packs {
    /// None yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// With the one in the file `path`, of which the blocks that `fetched` names are there.
    #[must_use]
    pub fn with(mut self, path: impl Into<PathBuf>, fetched: PartUse) -> Self {
        self.files.insert(fetched.part.digest, (path.into(), fetched));
        self
    }

    fn hold(&self, part: Part, frame: Frame) -> bool {
        let range = frame.offset..frame.offset + frame.packed as u64;
        let fetched = self.files.get(&part.digest);
        fetched.is_some_and(|(_, it)| it.blocks.hold(&range, part.size))
    }
}

impl Index {
    /// Makes the tree of the version whose manifest has the digest `expected` in `tree`, of `packs` and of what the `previous` tree has.
    /// This blocks.
    ///
    /// # Errors
    /// If the index is of another version, a chunk is in neither, what was put together is not what the manifest says, or a file of the previous tree was changed.
    pub fn install(
        &self,
        expected: Digest,
        packs: &Packs,
        previous: Option<&Previous>,
        tree: NewTree,
    ) -> Result<(), PackageError> {
        self.manifest().must_be(expected)?;
        let held = previous.map_or_else(|| Ok(HashMap::new()), |it| self.find(packs, it))?;
        let mut contents = Chunks { index: self, packs, previous, held, frame: None };
        assemble(self.manifest(), previous, &mut contents, tree)
    }

    /// Where in the previous tree the chunks lie that no pack has. Its files are cut as they were at publishing, those first that
    /// are not in the new tree as a whole, until all were found.
    fn find<'a>(
        &self,
        packs: &Packs,
        previous: &'a Previous,
    ) -> Result<HashMap<ContentHash, Held<'a>>, PackageError> {
        let mut wanted = self.wanted(packs, previous);
        let mut held = HashMap::new();
        let kept: HashSet<_> = self.manifest().files().map(|it| it.hash).collect();
        let (later, first): (Vec<_>, Vec<_>) =
            previous.manifest().files().partition(|it| kept.contains(&it.hash));
        for file in first.into_iter().chain(later) {
            if wanted.is_empty() {
                break;
            }
            let mut offset = 0;
            let cut = cut(previous.open_file(file)?.take(file.size), |chunk, _| {
                if wanted.remove(&chunk.id) {
                    held.insert(chunk.id, Held { file, offset });
                }
                offset += u64::from(chunk.size);
                Ok::<_, io::Error>(())
            });
            cut.doing(|| format!("reading `{}`", file.path))?;
        }
        Ok(held)
    }

    fn wanted(&self, packs: &Packs, previous: &Previous) -> HashSet<ContentHash> {
        let files = self.manifest().files().enumerate();
        let changed = files.filter(|(_, it)| previous.holding(it.hash).is_none());
        let chunks = changed.flat_map(|(at, _)| self.file(at));
        let packed = |it: &Placed| self.frame(it.frame).is_some_and(|it| packs.hold(it.0, it.1));
        chunks.filter(|it| !packed(it)).map(|it| it.chunk.id).collect()
    }
}

/// Where a chunk lies in the previous tree.
struct Held<'a> {
    file: File<'a>,
    offset: u64,
}

struct Chunks<'a> {
    index: &'a Index,
    packs: &'a Packs,
    previous: Option<&'a Previous>,
    held: HashMap<ContentHash, Held<'a>>,
    /// The frame that was unpacked last: chunks of a file mostly lie in one frame after another.
    frame: Option<(usize, Vec<u8>)>,
}

impl Contents for Chunks<'_> {
    fn write(
        &mut self,
        at: usize,
        file: File<'_>,
        out: &mut dyn Write,
    ) -> Result<(), PackageError> {
        let index = self.index;
        for placed in index.file(at) {
            let kept;
            let bytes = match self.held.get(&placed.chunk.id) {
                Some(held) => {
                    kept = self.read(held, placed)?;
                    &*kept
                }
                None => self.unpack(placed)?,
            };
            out.write_all(bytes).doing(|| format!("writing `{}`", file.path))?;
        }
        Ok(())
    }
}

impl Chunks<'_> {
    fn read(&self, held: &Held<'_>, placed: Placed) -> Result<Vec<u8>, PackageError> {
        let (previous, old) = (self.previous.ok_or_else(absent)?, held.file);
        let mut bytes = vec![0; placed.chunk.size as usize];
        let file = previous.open_file(old)?.into_std();
        file.read_exact_at(&mut bytes, held.offset).doing(|| format!("reading `{}`", old.path))?;
        if ContentHash::of(&bytes) == placed.chunk.id {
            return Ok(bytes);
        }
        Err(PackageError::OldFileChanged { path: old.path.to_owned() })
    }

    fn unpack(&mut self, placed: Placed) -> Result<&[u8], PackageError> {
        if self.frame.as_ref().is_none_or(|it| it.0 != placed.frame) {
            self.frame = Some((placed.frame, self.read_frame(placed.frame)?));
        }
        let range = placed.offset..placed.offset + placed.chunk.size as usize;
        let frame = self.frame.as_ref().and_then(|it| it.1.get(range));
        frame.ok_or_else(absent)
    }

    fn read_frame(&self, number: usize) -> Result<Vec<u8>, PackageError> {
        let (part, frame) = self.index.frame(number).ok_or_else(absent)?;
        if !self.packs.hold(part, frame) {
            return Err(absent());
        }
        let (path, _) = self.packs.files.get(&part.digest).ok_or_else(absent)?;
        let mut packed = vec![0; frame.packed];
        let read = fs::File::open(path).and_then(|it| it.read_exact_at(&mut packed, frame.offset));
        read.doing(|| format!("reading `{}`", path.display()))?;
        codec::decompress(&packed, frame.size, Fault::Pack)
    }
}

fn absent() -> PackageError {
    let detail = "a chunk is neither in what was fetched nor in the previous tree";
    PackageError::malformed(Fault::Pack, detail)
}
