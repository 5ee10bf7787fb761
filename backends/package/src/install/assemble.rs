//! A tree of many sources.
use super::{NewTree, Previous};
use crate::{
    Manifest, PackageError,
    manifest::{ContentHash, Entry, File},
};
use deploy_core::digest::Digest;
use std::io::{self, Write};

/// Where the content of files comes from that no old file has.
pub(crate) trait Contents {
    /// Writes what is in `file`, the `at`th of the manifest. It is compared with the manifest afterwards.
    fn write(&mut self, at: usize, file: File<'_>, out: &mut dyn Write)
    -> Result<(), PackageError>;
}

/// Makes the tree of `manifest`: files that did not change from the previous tree, and others of `contents`.
pub(crate) fn assemble(
    manifest: &Manifest,
    previous: Option<&Previous>,
    contents: &mut dyn Contents,
    mut tree: NewTree,
) -> Result<(), PackageError> {
    let mut at = 0;
    for entry in manifest.entries() {
        match entry {
            Entry::File { .. } => {
                if let Some(file) = entry.as_file() {
                    make(at, file, previous, contents, &mut tree)?;
                }
                at += 1;
            }
            Entry::Folder { path, mode } => tree.folder(path, *mode)?,
            Entry::HardLink { path, target } => tree.hard_link(path, target)?,
            Entry::SymbolicLink { path, target } => tree.symbolic_link(path, target),
        }
    }
    tree.finish()
}

/// Makes the tree of `previous` once more in `tree`, if its manifest has the digest `expected`. This blocks.
///
/// # Errors
/// If it is another one, a file of it was changed, which is named, or the disk fails.
pub fn again(expected: Digest, previous: &Previous, tree: NewTree) -> Result<(), PackageError> {
    previous.manifest().must_be(expected)?;
    assemble(previous.manifest(), Some(previous), &mut Nothing, tree)
}

/// All that is wanted is in the previous tree.
struct Nothing;

impl Contents for Nothing {
    fn write(&mut self, _: usize, file: File<'_>, _: &mut dyn Write) -> Result<(), PackageError> {
        Err(PackageError::FileMismatch { path: file.path.to_owned() })
    }
}

fn make(
    at: usize,
    file: File<'_>,
    previous: Option<&Previous>,
    contents: &mut dyn Contents,
    tree: &mut NewTree,
) -> Result<(), PackageError> {
    if let Some((previous, old)) = previous.and_then(|it| Some((it, it.holding(file.hash)?))) {
        return previous.take(old, file, tree);
    }
    let out = tree.file(file.path, file.mode)?;
    let mut checked =
        Checked { out, hasher: blake3::Hasher::new(), left: file.size, overflowed: false };
    let written = contents.write(at, file, &mut checked);
    if checked.overflowed {
        return Err(PackageError::FileMismatch { path: file.path.to_owned() });
    }
    written?;
    if checked.left == 0 && ContentHash::from(checked.hasher.finalize()) == file.hash {
        return Ok(());
    }
    Err(PackageError::FileMismatch { path: file.path.to_owned() })
}

/// Hashes what is written, of which there may be so much and no more.
struct Checked<W> {
    out: W,
    hasher: blake3::Hasher,
    left: u64,
    overflowed: bool,
}

impl<W: Write> Write for Checked<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(left) = self.left.checked_sub(bytes.len() as u64) else {
            self.overflowed = true;
            return Err(io::ErrorKind::FileTooLarge.into());
        };
        self.out.write_all(bytes)?;
        self.hasher.update(bytes);
        self.left = left;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
