//! Applies deltas.
use super::{MAGIC, WHOLE, pieces, source};
use crate::{
    Fault, Manifest, PackageError,
    archive::Limits,
    codec,
    error::Doing as _,
    install::{Contents, NewTree, Previous, assemble},
    manifest::File,
    wire::Take,
};
use deploy_core::digest::Digest;
use std::{
    collections::{HashMap, HashSet},
    fs,
    io::Write,
    ops::Range,
    os::unix::fs::FileExt as _,
    path::Path,
};

/// How large the head of a delta may be, in bytes: the largest manifest, should nothing of it be in the old one.
const LARGEST_HEAD: u64 = (Manifest::LONGEST + (16 << 20)) as u64;
/// How large the list of pieces may be.
const LARGEST_LIST: usize = 16 << 20;

/// A delta that was fetched, and the version it leads to.
#[derive(Debug)]
pub struct Delta {
    file: fs::File,
    from: Digest,
    manifest: Manifest,
    /// By the number of the new file.
    changes: HashMap<usize, Change>,
}

#[derive(Debug)]
struct Change {
    /// The number of the old file.
    from: Option<usize>,
    /// Where the patches of its pieces lie.
    patches: Vec<Range<u64>>,
}

impl Delta {
    /// Opens the delta in the file `path`, which was made against the version of `old`.
    ///
    /// # Errors
    /// If it does not hold together, or was made against another version.
    pub fn open(
        path: impl AsRef<Path>,
        old: &Manifest,
        limits: Limits,
    ) -> Result<Self, PackageError> {
        let doing = || format!("reading `{}`", path.as_ref().display());
        let file = fs::File::open(path.as_ref()).doing(doing)?;
        let size = file.metadata().doing(doing)?.len();
        let mut begin = [0; 12];
        let (magic, length) = match file.read_exact_at(&mut begin, 0) {
            Ok(()) => begin.split_at(MAGIC.len()),
            Err(_) => return Err(malformed("it ends early")),
        };
        let length = u64::from_le_bytes(length.try_into().unwrap_or_default());
        let start = begin.len() as u64;
        if magic != MAGIC || length > LARGEST_HEAD || length > size - start {
            return Err(malformed("it does not begin as one"));
        }
        let mut head = vec![0; usize::try_from(length).unwrap_or_default()];
        file.read_exact_at(&mut head, start).doing(doing)?;
        let head = Head::take(&head, old, limits)?;
        let changes = head.changes(old, start + length, size)?;
        Ok(Self { file, from: head.from, manifest: head.manifest, changes })
    }

    /// The version it leads to, as it says.
    #[must_use]
    pub const fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Makes the tree of the version whose manifest has the digest `expected` in `tree`, of the `previous` tree. This blocks.
    ///
    /// Up to twice 192 MiB are in memory at once, and the patch between.
    ///
    /// # Errors
    /// If the delta leads to another version, a file of the previous tree was changed, which is named, or what was put together is not what the manifest says.
    pub fn install(
        &self,
        expected: Digest,
        previous: &Previous,
        tree: NewTree,
    ) -> Result<(), PackageError> {
        self.manifest.must_be(expected)?;
        if previous.manifest().digest()? != self.from {
            return Err(malformed("it was made against another version than the previous tree"));
        }
        let old = previous.manifest().files().collect();
        let mut patches = Patches { delta: self, previous, old };
        assemble(&self.manifest, Some(previous), &mut patches, tree)
    }
}

struct Head {
    from: Digest,
    manifest: Manifest,
    list: Vec<u8>,
}

impl Head {
    fn take(bytes: &[u8], old: &Manifest, limits: Limits) -> Result<Self, PackageError> {
        let mut take = Take::new(bytes, Fault::Delta);
        let from = Digest::from_bytes(take.array()?);
        let to = Digest::from_bytes(take.array()?);
        let source = old.to_bytes()?;
        if Digest::of(&source) != from {
            return Err(malformed("it was made against another version than the previous tree"));
        }
        let length = take.at_most(Manifest::LONGEST)?;
        let manifest = codec::apply(&source, take.block()?, length, Fault::Delta)?;
        let found = Digest::of(&manifest);
        if found != to {
            return Err(PackageError::ManifestMismatch { expected: to, found });
        }
        let manifest = Manifest::parse(&manifest, limits)?;
        let length = take.at_most(LARGEST_LIST)?;
        let list = codec::decompress(take.block()?, length, Fault::Delta)?;
        take.end()?;
        Ok(Self { from, manifest, list })
    }

    /// Where the patches of each file lie that no old one is like, in a delta of `size` bytes from `at` on.
    fn changes(
        &self,
        old: &Manifest,
        mut at: u64,
        size: u64,
    ) -> Result<HashMap<usize, Change>, PackageError> {
        let mut take = Take::new(&self.list, Fault::Delta);
        let held: HashSet<_> = old.files().map(|it| it.hash).collect();
        let count = old.files().count();
        let mut changes = HashMap::new();
        for (number, file) in self.manifest.files().enumerate() {
            if file.size == 0 || held.contains(&file.hash) {
                continue;
            }
            let from = take.at_most(count)?.checked_sub(1);
            let mut patches = Vec::new();
            for _ in pieces(file.size) {
                let end = take.number()?.checked_add(at).filter(|end| *end <= size);
                let end = end.ok_or_else(|| malformed("it ends early"))?;
                patches.push(at..end);
                at = end;
            }
            changes.insert(number, Change { from, patches });
        }
        take.end()?;
        if at == size { Ok(changes) } else { Err(malformed("something follows its end")) }
    }
}

fn malformed(detail: &str) -> PackageError {
    PackageError::malformed(Fault::Delta, detail)
}

struct Patches<'a> {
    delta: &'a Delta,
    previous: &'a Previous,
    old: Vec<File<'a>>,
}

impl Contents for Patches<'_> {
    fn write(
        &mut self,
        at: usize,
        file: File<'_>,
        out: &mut dyn Write,
    ) -> Result<(), PackageError> {
        if file.size == 0 {
            return Ok(());
        }
        let change = self.delta.changes.get(&at).ok_or_else(|| malformed("a file is not in it"))?;
        let from = change.from.and_then(|it| self.old.get(it).copied());
        let source = Source::open(from, self.previous)?;
        for (piece, patch) in pieces(file.size).zip(&change.patches) {
            let patch = self.patch(patch)?;
            let size = usize::try_from(piece.end - piece.start).unwrap_or(usize::MAX);
            let bytes = source
                .read(&piece, file.size, |old| codec::apply(old, &patch, size, Fault::Delta))?;
            out.write_all(&bytes).doing(|| format!("writing `{}`", file.path))?;
        }
        Ok(())
    }
}

impl Patches<'_> {
    fn patch(&self, range: &Range<u64>) -> Result<Vec<u8>, PackageError> {
        // A patch is never much longer than what it is of: frames of zstd do not grow.
        if range.end - range.start > WHOLE + WHOLE / 64 {
            return Err(malformed("a patch of it is too large"));
        }
        let mut bytes = vec![0; usize::try_from(range.end - range.start).unwrap_or_default()];
        let read = self.delta.file.read_exact_at(&mut bytes, range.start);
        read.doing(|| "reading a delta".to_owned())?;
        Ok(bytes)
    }
}

/// The old file that a new one is made of.
enum Source<'a> {
    None,
    Whole(Vec<u8>),
    Windows(fs::File, File<'a>),
}

impl<'a> Source<'a> {
    /// It is compared with what was installed before anything of it is used.
    fn open(file: Option<File<'a>>, previous: &Previous) -> Result<Self, PackageError> {
        match file {
            None => Ok(Self::None),
            Some(file) if file.size <= WHOLE => previous.read(file).map(Self::Whole),
            Some(file) => Ok(Self::Windows(previous.verified(file)?.into_std(), file)),
        }
    }

    fn read<T>(
        &self,
        piece: &Range<u64>,
        size: u64,
        then: impl FnOnce(&[u8]) -> Result<T, PackageError>,
    ) -> Result<T, PackageError> {
        match self {
            Self::None => then(&[]),
            Self::Whole(bytes) => then(bytes),
            Self::Windows(opened, file) => {
                let range = source(piece, size, file.size);
                let length = usize::try_from(range.end - range.start).unwrap_or_default();
                let mut bytes = vec![0; length];
                let read = opened.read_exact_at(&mut bytes, range.start);
                read.doing(|| format!("reading `{}`", file.path))?;
                then(&bytes)
            }
        }
    }
}
