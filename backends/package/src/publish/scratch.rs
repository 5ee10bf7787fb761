//! The tar of an archive, on disk for as long as parts are made of it.
use crate::{
    Manifest, PackageError,
    archive::{
        Limits,
        decoded::Decoded,
        walk::{Entry, Visitor},
    },
    error::Doing as _,
    framing::{Framing, Recorder},
    manifest::describe,
    part::unnamed,
};
use std::{
    fs::File,
    io::{self, BufWriter, Read, Write as _},
    ops::Range,
    os::unix::fs::FileExt as _,
    path::Path,
};

/// A tar without a name, and where in it files are.
pub(crate) struct Scratch {
    tar: File,
    size: u64,
    manifest: Manifest,
    framing: Option<Framing>,
    /// Where the content of each file begins.
    offsets: Vec<u64>,
}

impl Scratch {
    pub(crate) fn unpack(
        archive: &Path,
        folder: &Path,
        limits: Limits,
    ) -> Result<Self, PackageError> {
        let packed = File::open(archive).doing(|| format!("opening `{}`", archive.display()))?;
        let tar = unnamed(folder, "scratch.draft")?;
        let spill = Spill {
            out: BufWriter::with_capacity(256 << 10, tar),
            size: 0,
            offsets: Vec::new(),
            recorder: Recorder::new()?,
        };
        let (manifest, spill) = describe(Decoded::new(packed, limits)?, limits, spill)?;
        let tar = spill.out.into_inner().map_err(io::IntoInnerError::into_error).doing(spilling)?;
        let framing = spill.recorder.finish()?;
        Ok(Self { tar, size: spill.size, manifest, framing, offsets: spill.offsets })
    }

    pub(crate) const fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    pub(crate) const fn framing(&self) -> Option<&Framing> {
        self.framing.as_ref()
    }

    /// Of the tar, in bytes.
    pub(crate) const fn size(&self) -> u64 {
        self.size
    }

    /// The tar from its beginning.
    pub(crate) const fn tar(&self) -> impl Read {
        Section { file: &self.tar, at: 0, end: self.size }
    }

    /// The content of the `at`th file, which has `size` bytes.
    pub(crate) fn reader(&self, at: usize, size: u64) -> impl Read {
        let start = self.offsets.get(at).copied().unwrap_or(self.size);
        Section { file: &self.tar, at: start, end: start + size }
    }

    /// A part of the content of the `at`th file.
    pub(crate) fn read(&self, at: usize, range: Range<u64>) -> Result<Vec<u8>, PackageError> {
        let start = self.offsets.get(at).copied().unwrap_or(self.size);
        let length = usize::try_from(range.end.saturating_sub(range.start)).unwrap_or(usize::MAX);
        let mut bytes = vec![0; length];
        self.tar.read_exact_at(&mut bytes, start + range.start).doing(spilling)?;
        Ok(bytes)
    }
}

fn spilling() -> String {
    "keeping the unpacked archive".to_owned()
}

/// A part of a file.
struct Section<'a> {
    file: &'a File,
    at: u64,
    end: u64,
}

impl Read for Section<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end - self.at).unwrap_or(usize::MAX);
        let room = left.min(buffer.len());
        let read = self.file.read_at(buffer.get_mut(..room).unwrap_or_default(), self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

struct Spill {
    out: BufWriter<File>,
    size: u64,
    offsets: Vec<u64>,
    recorder: Recorder,
}

impl Spill {
    fn write(&mut self, bytes: &[u8]) -> Result<(), PackageError> {
        self.size += bytes.len() as u64;
        self.out.write_all(bytes).doing(spilling)
    }
}

impl Visitor for Spill {
    type Error = PackageError;

    fn framing(&mut self, bytes: &[u8]) -> Result<(), PackageError> {
        self.recorder.framing(bytes)?;
        self.write(bytes)
    }

    fn entry(&mut self, entry: &Entry) -> Result<(), PackageError> {
        if entry.kind == crate::archive::tree::Kind::File {
            self.offsets.push(self.size);
        }
        self.recorder.entry(entry)
    }

    fn content(&mut self, bytes: &[u8]) -> Result<(), PackageError> {
        self.write(bytes)
    }
}
