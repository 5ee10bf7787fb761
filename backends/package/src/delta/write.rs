//! Writes deltas.
use super::{MAGIC, Sources, pieces, source};
use crate::{
    PackageError,
    chunks::{Chunk, Index},
    codec,
    error::Doing as _,
    manifest::File,
    part::{Part, PartWriter, unnamed},
    publish::Scratch,
    wire::Put,
};
use deploy_core::digest::Digest;
use std::{
    collections::HashSet,
    fs,
    io::{Read as _, Seek as _, Write as _},
    path::Path,
};

/// How well patches are compressed. Higher levels are slower by multiples, and not always smaller.
const LEVEL: i32 = 3;
/// The manifest and the list of pieces are small.
const HEAD_LEVEL: i32 = 19;
/// Where a patch is no smaller than this part of its file, the file by itself may be smaller still.
const POOR: usize = 2;

/// Two versions, of which the new one is written as a delta against the old one.
pub(crate) struct Pair<'a> {
    pub(crate) old: &'a Scratch,
    pub(crate) old_index: &'a Index,
    pub(crate) new: &'a Scratch,
    /// The chunks of each new file.
    pub(crate) cuts: &'a [Vec<Chunk>],
}

/// A new file, and the old one it came from.
struct Change<'a> {
    at: usize,
    file: File<'a>,
    from: Option<(usize, File<'a>)>,
}

impl Pair<'_> {
    /// Writes the delta into `folder`; `draft` is what it is called meanwhile.
    pub(crate) fn write(&self, folder: &Path, draft: &str) -> Result<Part, PackageError> {
        let held: HashSet<_> = self.old.manifest().files().map(|it| it.hash).collect();
        let sources = Sources::new(self.old_index);
        let mut list = Put::default();
        let mut patches = unnamed(folder, draft)?;
        for (at, file) in self.new.manifest().files().enumerate() {
            if file.size > 0 && !held.contains(&file.hash) {
                let chunks = self.cuts.get(at).map(Vec::as_slice).unwrap_or_default();
                let from = sources.of(file, chunks);
                self.write_change(&Change { at, file, from }, &mut list, &mut patches)?;
            }
        }
        let head = self.head(&list.finish())?;
        let mut part = PartWriter::begin(folder, draft)?;
        part.write(MAGIC)?;
        part.write(&(head.len() as u64).to_le_bytes())?;
        part.write(&head)?;
        patches.rewind().doing(writing)?;
        copy(&mut patches, &mut part)?;
        part.finish()
    }

    fn write_change(
        &self,
        change: &Change<'_>,
        list: &mut Put,
        patches: &mut fs::File,
    ) -> Result<(), PackageError> {
        let Change { at, file, from } = *change;
        let mut from_number = from.map(|it| it.0);
        let mut lengths = Vec::new();
        for piece in pieces(file.size) {
            let source = match from {
                Some((old, it)) => self.old.read(old, source(&piece, file.size, it.size))?,
                None => Vec::new(),
            };
            let is_whole = piece == (0..file.size);
            let target = self.new.read(at, piece)?;
            let mut patch = codec::patch(&source, &target, LEVEL)?;
            if is_whole && from.is_some() && patch.len() > target.len() / POOR {
                let plain = codec::compress(&target, LEVEL)?;
                if plain.len() < patch.len() {
                    (patch, from_number) = (plain, None);
                }
            }
            patches.write_all(&patch).doing(writing)?;
            lengths.push(patch.len() as u64);
        }
        list.number(from_number.map_or(0, |it| it as u64 + 1));
        lengths.into_iter().for_each(|it| list.number(it));
        Ok(())
    }

    /// Both manifests by name, the new one as a patch against the old one's bytes, and the list of pieces.
    fn head(&self, list: &[u8]) -> Result<Vec<u8>, PackageError> {
        let old = self.old.manifest().to_bytes()?;
        let new = self.new.manifest().to_bytes()?;
        let mut put = Put::default();
        put.raw(Digest::of(&old).as_bytes());
        put.raw(Digest::of(&new).as_bytes());
        put.number(new.len() as u64);
        put.block(&codec::patch(&old, &new, HEAD_LEVEL)?);
        put.number(list.len() as u64);
        put.block(&codec::compress(list, HEAD_LEVEL)?);
        Ok(put.finish())
    }
}

fn copy(from: &mut fs::File, to: &mut PartWriter) -> Result<(), PackageError> {
    let mut piece = vec![0; 256 << 10];
    loop {
        let read = from.read(&mut piece).doing(writing)?;
        if read == 0 {
            return Ok(());
        }
        to.write(piece.get(..read).unwrap_or_default())?;
    }
}

fn writing() -> String {
    "writing a delta".to_owned()
}
