//! Makes the parts of a version.
mod publication;
mod scratch;
mod ways;

pub use publication::{Publication, Upgrade};
pub(crate) use scratch::Scratch;
pub use ways::{Free, Holdings, Needs, Shortfall, Way, WayKind, ways};

use crate::{
    Fault, PackageError,
    archive::Limits,
    chunks::{self, Builder, Chunk, Index, Packer},
    delta::Pair,
    error::Doing as _,
    framing::Recipe,
    part::{Part, PartWriter},
};
use std::{
    collections::HashSet,
    fs::File,
    io::Read as _,
    path::{Path, PathBuf},
    thread,
};

/// A version that was published before.
#[derive(Clone, Debug)]
pub struct Earlier {
    archive: PathBuf,
    index: Index,
}

impl Earlier {
    /// The version whose archive is in the file `archive`, and whose index is `index`.
    #[must_use]
    pub fn new(archive: impl Into<PathBuf>, index: Index) -> Self {
        Self { archive: archive.into(), index }
    }
}

/// Makes all parts of the version whose archive is in the file `archive`, in the folder `out`, each under the hexadecimal digits of its
/// digest: manifest, framing, index, packs with what no version of `earlier` has, and a delta against each of these.
///
/// `out` is for one call at a time, and what a call that failed has left there is overwritten or may be taken away. This blocks, takes up
/// to three threads, and in `out` for a while as many bytes as all these versions have unpacked.
///
/// # Errors
/// The rule that an archive breaks, that an index is of another archive, or that something cannot be read or written.
pub fn publish(
    archive: &Path,
    earlier: &[Earlier],
    out: &Path,
    limits: Limits,
) -> Result<Publication, PackageError> {
    let new = Scratch::unpack(archive, out, limits)?;
    let cuts = cut(&new)?;
    let (framing, index, deltas) = thread::scope(|scope| {
        let framing = scope.spawn(|| write_framing(&new, archive, out));
        let index = scope.spawn(|| build_index(&new, &cuts, earlier, out));
        let deltas = write_deltas(&new, &cuts, earlier, out, limits);
        (joined(framing), joined(index), deltas)
    });
    let (index, deltas) = (index?, deltas?);
    let part = |draft: &str, bytes: &[u8]| PartWriter::write_all(out, draft, bytes);
    let mut upgrades = Vec::new();
    for (earlier, delta) in earlier.iter().zip(deltas) {
        upgrades.push(upgrade(&index, &earlier.index, delta)?);
    }
    Ok(Publication::new(publication::Parts {
        totals: new.manifest().totals(),
        archive: describe(archive, &new)?,
        manifest: part("manifest.draft", &new.manifest().to_bytes()?)?,
        framing: framing?,
        index: part("index.draft", &index.to_bytes()?)?,
        fresh: index.missing(None),
        upgrades,
    }))
}

fn joined<T>(
    thread: thread::ScopedJoinHandle<'_, Result<T, PackageError>>,
) -> Result<T, PackageError> {
    let ended = thread.join();
    ended.unwrap_or_else(|_| {
        Err(PackageError::io("publishing", std::io::Error::other("a thread ended")))
    })
}

/// The chunks of each file.
fn cut(new: &Scratch) -> Result<Vec<Vec<Chunk>>, PackageError> {
    let files = new.manifest().files().enumerate();
    files
        .map(|(at, file)| {
            let mut chunks = Vec::new();
            let cut = chunks::cut(new.reader(at, file.size), |chunk, _| {
                chunks.push(chunk);
                Ok::<_, std::io::Error>(())
            });
            cut.doing(|| format!("cutting `{}`", file.path)).map(|()| chunks)
        })
        .collect()
}

fn build_index(
    new: &Scratch,
    cuts: &[Vec<Chunk>],
    earlier: &[Earlier],
    out: &Path,
) -> Result<Index, PackageError> {
    let mut builder = Builder::new(Packer::new(out), earlier.iter().map(|it| &it.index));
    for ((at, file), chunks) in new.manifest().files().enumerate().zip(cuts) {
        builder.begin_file();
        let mut reader = new.reader(at, file.size);
        for chunk in chunks {
            let mut bytes = vec![0; chunk.size as usize];
            reader.read_exact(&mut bytes).doing(|| format!("packing `{}`", file.path))?;
            builder.add(*chunk, &bytes)?;
        }
    }
    builder.finish(new.manifest().clone())
}

fn write_deltas(
    new: &Scratch,
    cuts: &[Vec<Chunk>],
    earlier: &[Earlier],
    out: &Path,
    limits: Limits,
) -> Result<Vec<Part>, PackageError> {
    let write = |earlier: &Earlier| {
        let old = Scratch::unpack(&earlier.archive, out, limits)?;
        if old.manifest() != earlier.index.manifest() {
            let detail = format!("it is not that of `{}`", earlier.archive.display());
            return Err(PackageError::malformed(Fault::Index, detail));
        }
        Pair { old: &old, old_index: &earlier.index, new, cuts }.write(out, "delta.draft")
    };
    earlier.iter().map(write).collect()
}

/// `None` where the archive cannot be made again.
fn write_framing(new: &Scratch, archive: &Path, out: &Path) -> Result<Option<Part>, PackageError> {
    let Some(framing) = new.framing() else { return Ok(None) };
    let encoding = new.manifest().archive().encoding;
    let recipe = Recipe::find(encoding, new.size(), || File::open(archive), || Ok(new.tar()))?;
    let Some(recipe) = recipe else { return Ok(None) };
    PartWriter::write_all(out, "framing.draft", &framing.to_bytes(&recipe)?).map(Some)
}

fn describe(archive: &Path, new: &Scratch) -> Result<Part, PackageError> {
    let mut hasher = blake3::Hasher::new();
    let doing = || format!("reading `{}`", archive.display());
    File::open(archive).and_then(|it| hasher.update_reader(it).map(drop)).doing(doing)?;
    let archived = new.manifest().archive();
    let (digest, size) = (archived.digest, archived.size);
    Ok(Part { digest, size, blake3: hasher.finalize().into() })
}

fn upgrade(new: &Index, old: &Index, delta: Part) -> Result<Upgrade, PackageError> {
    let held: HashSet<_> = old.manifest().files().map(|it| it.hash).collect();
    let kept = new.manifest().files().filter(|it| held.contains(&it.hash));
    let unchanged = kept.map(|it| it.size).sum();
    let from = old.manifest().digest()?;
    Ok(Upgrade { from, unchanged, chunks: new.missing(Some(old)), delta })
}
