//! Packs folders so that the same content always gives the same bytes.
use super::{
    ArchiveError, Limits, Refusal, Rule,
    tree::{Kind, Tree},
};
use flate2::{Compression, GzBuilder, write::GzEncoder};
use std::{
    collections::BTreeSet,
    fs,
    io::{self, Read, Write},
    os::unix::{ffi::OsStrExt as _, fs::PermissionsExt as _},
    path::Path,
};
use tar::{Builder, EntryType, Header};

/// The modification time of everything that is packed: 1980-01-01.
const EPOCH: u64 = 315_532_800;

/// A file to be packed from memory.
#[derive(Clone, Copy, Debug)]
pub struct PackedFile<'a> {
    /// Its path in the archive.
    pub path: &'a str,
    /// Whether it can be executed.
    pub executable: bool,
    /// What is in it.
    pub bytes: &'a [u8],
}

/// Packs the folder `dir` into `out` as `tar.gz`: sorted, with fixed times and owners and plain permissions. This blocks.
///
/// # Errors
/// If something in it breaks a rule for archives, or cannot be read.
pub fn pack_dir<W: Write>(dir: &Path, limits: Limits, out: W) -> Result<W, ArchiveError> {
    let mut packer = Packer::new(limits, gzip(out));
    packer.folder(dir, Path::new(""))?;
    Ok(packer.finish()?.finish()?)
}

/// Packs files and folders into `out` as plain tar, in the same way as [`pack_dir`]: each of `entries` is the path in the archive (`.` is its top), and
/// what stands there. Whoever wants it compressed gives an encoder for `out`. This blocks.
///
/// # Errors
/// If something in it breaks a rule for archives, stands there twice, or cannot be read.
pub fn pack_tar<'a, W: Write>(
    entries: impl IntoIterator<Item = (&'a Path, &'a Path)>,
    limits: Limits,
    out: W,
) -> Result<W, ArchiveError> {
    let mut packer = Packer::new(limits, out);
    let mut parents = BTreeSet::new();
    for (path, source) in entries {
        if path == Path::new(".") {
            packer.folder(source, Path::new(""))?;
            continue;
        }
        let above: Vec<_> = path.ancestors().skip(1).collect();
        for parent in above.into_iter().rev().filter(|it| !it.as_os_str().is_empty()) {
            if parents.insert(parent) {
                packer.empty_folder(parent)?;
            }
        }
        packer.item(source, path)?;
    }
    packer.finish()
}

/// Packs files from memory, in the order given.
///
/// # Errors
/// If a path breaks a rule for archives.
pub fn pack_files<'a, W: Write>(
    files: impl IntoIterator<Item = PackedFile<'a>>,
    limits: Limits,
    out: W,
) -> Result<W, ArchiveError> {
    let mut packer = Packer::new(limits, gzip(out));
    for file in files {
        packer.tree.add(Kind::File, file.path.as_bytes(), b"")?;
        let mode = if file.executable { 0o755 } else { 0o644 };
        let size = file.bytes.len() as u64;
        packer.append(EntryType::Regular, Path::new(file.path), mode, size, file.bytes)?;
    }
    Ok(packer.finish()?.finish()?)
}

fn gzip<W: Write>(out: W) -> GzEncoder<W> {
    GzBuilder::new().mtime(0).write(out, Compression::default())
}

struct Packer<W: Write> {
    tar: Builder<W>,
    tree: Tree,
    limits: Limits,
    entries: u64,
    bytes: u64,
}

impl<W: Write> Packer<W> {
    fn new(limits: Limits, out: W) -> Self {
        Self { tar: Builder::new(out), tree: Tree::new(limits), limits, entries: 0, bytes: 0 }
    }

    /// Packs what is in the folder `source` below the path `inside`.
    fn folder(&mut self, source: &Path, inside: &Path) -> Result<(), ArchiveError> {
        let mut names = fs::read_dir(source)?
            .map(|it| it.map(|it| it.file_name()))
            .collect::<io::Result<Vec<_>>>()?;
        names.sort();
        for name in names {
            self.item(&source.join(&name), &inside.join(&name))?;
        }
        Ok(())
    }

    fn empty_folder(&mut self, path: &Path) -> Result<(), ArchiveError> {
        self.tree.add(Kind::Folder, path.as_os_str().as_bytes(), b"")?;
        self.append(EntryType::Directory, path, 0o755, 0, io::empty())
    }

    /// Packs `source` as `path`.
    fn item(&mut self, source: &Path, path: &Path) -> Result<(), ArchiveError> {
        let name = path.as_os_str().as_bytes();
        let meta = fs::symlink_metadata(source)?;
        let kind = meta.file_type();
        if kind.is_dir() {
            self.empty_folder(path)?;
            self.folder(source, path)
        } else if kind.is_symlink() {
            let target = fs::read_link(source)?;
            self.tree.add(Kind::SymbolicLink, name, target.as_os_str().as_bytes())?;
            self.link(path, &target)
        } else if kind.is_file() {
            self.tree.add(Kind::File, name, b"")?;
            let mode = if meta.permissions().mode() & 0o100 == 0 { 0o644 } else { 0o755 };
            let file = Exactly { file: fs::File::open(source)?, left: meta.len() };
            self.append(EntryType::Regular, path, mode, meta.len(), file)
        } else {
            Err(Refusal::new(Rule::Type, "neither a file, a folder nor a link").at(name).into())
        }
    }

    fn link(&mut self, path: &Path, target: &Path) -> Result<(), ArchiveError> {
        let mut header = plain_header(EntryType::Symlink, 0o777, 0);
        self.count(path, 0)?;
        Ok(self.tar.append_link(&mut header, path, target)?)
    }

    fn append(
        &mut self,
        kind: EntryType,
        path: &Path,
        mode: u32,
        size: u64,
        data: impl Read,
    ) -> Result<(), ArchiveError> {
        self.count(path, size)?;
        let mut header = plain_header(kind, mode, size);
        Ok(self.tar.append_data(&mut header, path, data)?)
    }

    fn count(&mut self, path: &Path, size: u64) -> Result<(), Refusal> {
        self.entries += 1;
        self.bytes = self.bytes.saturating_add(size);
        let at = path.as_os_str().as_bytes();
        if self.entries > self.limits.entries {
            let detail = format!("more than {} entries", self.limits.entries);
            return Err(Refusal::new(Rule::TooManyEntries, detail).at(at));
        }
        if self.bytes > self.limits.unpacked_bytes {
            let detail = format!("more than {} bytes", self.limits.unpacked_bytes);
            return Err(Refusal::new(Rule::TooLarge, detail).at(at));
        }
        Ok(())
    }

    fn finish(self) -> Result<W, ArchiveError> {
        Ok(self.tar.into_inner()?)
    }
}

fn plain_header(kind: EntryType, mode: u32, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(EPOCH);
    header.set_size(size);
    header
}

/// A file that must have exactly the length that its header says, whoever writes to it meanwhile.
struct Exactly {
    file: fs::File,
    left: u64,
}

impl Read for Exactly {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let room = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let read = self.file.read(buffer.get_mut(..room).unwrap_or_default())?;
        if read == 0 && room > 0 {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "a file got shorter while it was packed",
            ));
        }
        self.left -= read as u64;
        Ok(read)
    }
}
