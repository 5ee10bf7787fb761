//! Makes the manifest of an archive.
use super::{Archived, Entry, Manifest, Mode};
use crate::{
    PackageError,
    archive::{
        ArchiveSummary, Limits,
        decoded::{Decoded, Source},
        tree::Kind,
        walk::{self, Visitor, Walk},
    },
    framing::{Framing, Recorder},
};
use std::io::Read;

impl Manifest {
    /// Reads an archive once, in bounded memory, and describes it. This blocks.
    ///
    /// # Errors
    /// The rule that the archive breaks, or that it cannot be read.
    pub fn read(archive: impl Read, limits: Limits) -> Result<Scan, PackageError> {
        let source = Decoded::new(archive, limits)?;
        let (manifest, recorder) = describe(source, limits, Recorder::new()?)?;
        Ok(Scan { manifest, framing: recorder.finish()? })
    }
}

/// What one reading of an archive gives.
#[derive(Debug)]
#[non_exhaustive]
pub struct Scan {
    /// What is in it.
    pub manifest: Manifest,
    /// All of its tar that is no file's content; `None` where that is too much to be of use.
    pub framing: Option<Framing>,
}

/// Goes through a tar and describes it, telling `visitor` everything.
pub(crate) fn describe<S: Source, V: Visitor<Error = PackageError>>(
    source: S,
    limits: Limits,
    visitor: V,
) -> Result<(Manifest, V), PackageError> {
    let mut both = Both { describer: Describer::default(), visitor };
    let summary = Walk::new(source, limits).run(&mut both)?;
    Ok((both.describer.finish(&summary, limits)?, both.visitor))
}

struct Both<V> {
    describer: Describer,
    visitor: V,
}

impl<V: Visitor<Error = PackageError>> Visitor for Both<V> {
    type Error = PackageError;

    fn framing(&mut self, bytes: &[u8]) -> Result<(), PackageError> {
        self.visitor.framing(bytes)
    }

    fn entry(&mut self, entry: &walk::Entry) -> Result<(), PackageError> {
        self.describer.entry(entry);
        self.visitor.entry(entry)
    }

    fn content(&mut self, bytes: &[u8]) -> Result<(), PackageError> {
        self.describer.content(bytes);
        self.visitor.content(bytes)
    }

    fn done(&mut self) -> Result<(), PackageError> {
        self.describer.done();
        self.visitor.done()
    }
}

/// Makes entries of what it is told.
#[derive(Default)]
struct Describer {
    entries: Vec<Entry>,
    hasher: blake3::Hasher,
}

impl Describer {
    fn entry(&mut self, entry: &walk::Entry) {
        let path = entry.path.clone();
        let mode = Mode::new(entry.mode);
        self.entries.push(match entry.kind {
            Kind::File => {
                self.hasher.reset();
                let blake3 = self.hasher.finalize().into();
                Entry::File { path, mode, size: entry.size, blake3 }
            }
            Kind::Folder if path.is_empty() => Entry::Folder { path: ".".to_owned(), mode },
            Kind::Folder => Entry::Folder { path, mode },
            Kind::HardLink => Entry::HardLink { path, target: entry.target.clone() },
            Kind::SymbolicLink => Entry::SymbolicLink { path, target: entry.target.clone() },
        });
    }

    fn content(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
    }

    fn done(&mut self) {
        if let Some(Entry::File { blake3, .. }) = self.entries.last_mut() {
            *blake3 = self.hasher.finalize().into();
        }
    }

    fn finish(self, summary: &ArchiveSummary, limits: Limits) -> Result<Manifest, PackageError> {
        let ArchiveSummary { digest, packed_bytes: size, encoding, .. } = *summary;
        Manifest::new(Archived { digest, size, encoding }, self.entries, limits)
    }
}
