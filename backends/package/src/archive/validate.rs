//! Reads the archives of packages and descriptors as a whole.
use super::{
    ArchiveError, Encoding, Limits, Refusal, Rule,
    decoded::{Decoded, Seal},
    tree::Kind,
    walk::{Entry, Visitor, Walk},
};
use deploy_core::digest::Digest;
use std::{collections::BTreeMap, io::Read};

/// What an archive that was accepted holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ArchiveSummary {
    /// How many files, folders and links.
    pub entries: u64,
    /// How many bytes its files have.
    pub unpacked_bytes: u64,
    /// How many bytes the archive itself has.
    pub packed_bytes: u64,
    /// The SHA-256 of the archive itself.
    pub digest: Digest,
    /// What it is wrapped in.
    pub encoding: Encoding,
}

impl ArchiveSummary {
    pub(super) const fn new(seal: Seal, entries: u64, unpacked_bytes: u64) -> Self {
        let Seal { encoding, bytes: packed_bytes, digest } = seal;
        Self { entries, unpacked_bytes, packed_bytes, digest, encoding }
    }
}

/// A file of an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ArchiveFile {
    /// Whether its account may execute it.
    pub executable: bool,
    /// What is in it.
    pub bytes: Vec<u8>,
}

/// Reads all of an archive and says whether it may be unpacked on a host. This blocks.
///
/// # Errors
/// The first [`Rule`] that it breaks and the entry, or that it cannot be read.
pub fn validate(archive: impl Read, limits: Limits) -> Result<ArchiveSummary, ArchiveError> {
    Walk::new(Decoded::new(archive, limits)?, limits).run(&mut Judge)
}

/// Reads the files of a small archive into memory, by path. It may hold files and folders, and no links. This blocks.
///
/// # Errors
/// As [`validate`].
pub fn read_files(
    archive: impl Read,
    limits: Limits,
) -> Result<BTreeMap<String, ArchiveFile>, ArchiveError> {
    let mut files = Files::default();
    Walk::new(Decoded::new(archive, limits)?, limits).run(&mut files)?;
    Ok(files.files)
}

/// Wants nothing but that every rule is kept.
struct Judge;

impl Visitor for Judge {
    type Error = ArchiveError;

    fn entry(&mut self, _: &Entry) -> Result<(), ArchiveError> {
        Ok(())
    }

    fn content(&mut self, _: &[u8]) -> Result<(), ArchiveError> {
        Ok(())
    }
}

/// Keeps files in memory.
#[derive(Default)]
struct Files {
    files: BTreeMap<String, ArchiveFile>,
    current: Option<(String, ArchiveFile)>,
}

impl Visitor for Files {
    type Error = ArchiveError;

    fn entry(&mut self, entry: &Entry) -> Result<(), ArchiveError> {
        match entry.kind {
            Kind::Folder => Ok(()),
            Kind::HardLink | Kind::SymbolicLink => {
                let detail = "a link in a descriptor";
                Err(Refusal::new(Rule::Type, detail).at(entry.path.as_bytes()).into())
            }
            Kind::File => {
                let file = ArchiveFile { executable: entry.mode & 0o100 != 0, bytes: Vec::new() };
                self.current = Some((entry.path.clone(), file));
                Ok(())
            }
        }
    }

    fn content(&mut self, bytes: &[u8]) -> Result<(), ArchiveError> {
        if let Some((_, file)) = &mut self.current {
            file.bytes.extend_from_slice(bytes);
        }
        Ok(())
    }

    fn done(&mut self) -> Result<(), ArchiveError> {
        self.files.extend(self.current.take());
        Ok(())
    }
}
