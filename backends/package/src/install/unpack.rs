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

/// Unpacks `archive` into `tree`, and says what it was: its manifest has the digest `expected`. This blocks, and takes two threads.
///
/// # Errors
/// The rule that the archive breaks, that it is not what was expected, or that the disk fails. Then the folder is taken away.
pub fn unpack(
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
