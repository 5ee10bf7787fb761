//! The way by the whole archive.
use super::{NewTree, pipe::Piped};
use crate::{
    Manifest, PackageError,
    archive::{
        Limits,
        tree::Kind,
        walk::{Entry, Visitor},
    },
    error::Doing as _,
    manifest::{Mode, describe},
};
use cap_std::fs::File;
use deploy_core::digest::Digest;
use std::{
    io::{Read, Write as _},
    thread,
};

/// Unpacks `archive`, which is that of `manifest`, into `tree`. This blocks, and takes two threads.
///
/// No more is written than the manifest says that there is, whatever comes.
///
/// # Errors
/// The rule that the archive breaks, that it is larger than the manifest says or has another one, or that the disk fails. Then the folder
/// is taken away.
pub fn unpack(
    archive: impl Read + Send,
    limits: Limits,
    manifest: &Manifest,
    tree: NewTree,
) -> Result<(), PackageError> {
    unpack_by_digest(archive, within(limits, manifest), manifest.digest()?, tree).map(drop)
}

/// As [`unpack`], for those who know no more of the manifest than its digest, and gives it. What is written is bounded by `limits` alone: set them to
/// the totals of the publication.
///
/// # Errors
/// As [`unpack`].
pub fn unpack_by_digest(
    archive: impl Read + Send,
    limits: Limits,
    expected: Digest,
    tree: NewTree,
) -> Result<Manifest, PackageError> {
    thread::scope(|scope| {
        let source = Piped::begin(scope, archive, limits);
        let unpacker = Unpacker { tree, current: None };
        let (manifest, unpacker) = describe(source, limits, unpacker)?;
        let found = manifest.digest()?;
        if found != expected {
            return Err(PackageError::ManifestMismatch { expected, found });
        }
        unpacker.tree.finish()?;
        Ok(manifest)
    })
}

/// Folders count as entries also where no entry names them.
fn within(limits: Limits, manifest: &Manifest) -> Limits {
    let totals = manifest.totals();
    let entries = (manifest.entries().len() as u64).saturating_add(totals.inodes);
    limits
        .with_entries(limits.entries.min(entries))
        .with_unpacked_bytes(limits.unpacked_bytes.min(totals.unpacked))
}

/// Writes what it is told.
struct Unpacker {
    tree: NewTree,
    current: Option<(String, File)>,
}

impl Visitor for Unpacker {
    type Error = PackageError;

    fn entry(&mut self, entry: &Entry) -> Result<(), PackageError> {
        let (path, mode) = (entry.path.as_str(), Mode::new(entry.mode));
        match entry.kind {
            Kind::File => {
                let file = self.tree.file(path, mode)?;
                self.current = Some((path.to_owned(), file));
            }
            Kind::Folder => self.tree.folder(path, mode)?,
            Kind::HardLink => self.tree.hard_link(path, &entry.target)?,
            Kind::SymbolicLink => self.tree.symbolic_link(path, &entry.target),
        }
        Ok(())
    }

    fn content(&mut self, bytes: &[u8]) -> Result<(), PackageError> {
        let Some((path, file)) = &mut self.current else { return Ok(()) };
        file.write_all(bytes).doing(|| format!("writing `{path}`"))
    }

    fn done(&mut self) -> Result<(), PackageError> {
        self.current = None;
        Ok(())
    }
}
