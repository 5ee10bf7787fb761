//! Packages and descriptors, from folders, files and archives on this machine.
use crate::problem::io_problem;
use deploy_core::{backend::ArtifactKind, digest::Digest};
use deploy_host::{
    archive::{self, ArchiveError, ArchiveFile, Encoding, Limits, PackedFile},
    descriptor::{self, Bundle, DescriptorError},
};
use deploy_package::Manifest;
use deploy_wire::{Problem, ProblemCode};
use std::{
    collections::BTreeMap,
    fmt,
    fs::File,
    io::{Read as _, Seek as _, SeekFrom, Write as _},
    path::Path,
};

/// The largest descriptor archive that is read into memory, in bytes.
const LARGEST_DESCRIPTOR: u64 = 16 << 20;

/// A package or a descriptor, ready to be put: judged, and with its digest known.
#[derive(Debug)]
pub(crate) struct Packed {
    pub(crate) file: File,
    /// Where in the file it begins.
    pub(crate) begin: u64,
    pub(crate) digest: Digest,
    pub(crate) size: u64,
}

impl Packed {
    /// The digest of the manifest of the tree in it, whatever it is wrapped in: what is signed is about the tree. This blocks.
    pub(crate) fn manifest(&self) -> Result<Digest, Problem> {
        let unreadable = |err: &dyn fmt::Display| {
            Problem::new(
                ProblemCode::InvalidFile,
                format!("the package cannot be described: {err}"),
            )
        };
        let limits = Limits::PACKAGE.with_encodings(Encoding::ALL);
        let mut file = &self.file;
        file.rewind().map_err(|err| unreadable(&err))?;
        let manifest = Manifest::read(file, limits).map_err(|err| unreadable(&err))?.manifest;
        file.rewind().map_err(|err| unreadable(&err))?;
        if manifest.archive().digest != self.digest {
            return Err(unreadable(&"it was changed while it was read"));
        }
        manifest.digest().map_err(|err| unreadable(&err))
    }
}

/// Takes a package: an archive, or a folder that is packed first. This blocks.
pub(crate) fn pack_package(path: &Path) -> Result<Packed, Problem> {
    let refused = |err: ArchiveError| archive_problem(path, &err);
    let mut file = if path.is_dir() {
        let file = temporary(path.display())?;
        archive::pack_dir(path, Limits::PACKAGE, file).map_err(refused)?
    } else {
        File::open(path).map_err(|err| io_problem(path.display(), &err))?
    };
    file.rewind().map_err(|err| io_problem(path.display(), &err))?;
    let summary = archive::validate(&file, Limits::PACKAGE).map_err(refused)?;
    file.rewind().map_err(|err| io_problem(path.display(), &err))?;
    Ok(Packed { file, begin: 0, digest: summary.digest, size: summary.packed_bytes })
}

/// Takes a descriptor: an archive, a folder, or a `descriptor.toml` alone. This blocks.
pub(crate) fn pack_descriptor(path: &Path) -> Result<(Bundle, Packed), Problem> {
    let (bundle, bytes) = read_descriptor(path)?;
    let mut file = temporary(path.display())?;
    let written = file.write_all(&bytes).and_then(|()| file.rewind());
    written.map_err(|err| io_problem(path.display(), &err))?;
    let size = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    Ok((bundle, Packed { file, begin: 0, digest: Digest::of(&bytes), size }))
}

/// Reads a descriptor, and gives the bytes of its archive as well. This blocks.
pub(crate) fn read_descriptor(path: &Path) -> Result<(Bundle, Vec<u8>), Problem> {
    let refused = |err: ArchiveError| archive_problem(path, &err);
    let written = Written::at(path).map_err(|err| io_problem(path.display(), &err))?;
    let bytes = match &written {
        Written::Alone(bytes) => {
            let file = PackedFile { path: descriptor::FILE_NAME, executable: false, bytes };
            archive::pack_files([file], Limits::DESCRIPTOR, Vec::new()).map_err(refused)?
        }
        Written::Folder => {
            archive::pack_dir(path, Limits::DESCRIPTOR, Vec::new()).map_err(refused)?
        }
        Written::Packed(bytes) => bytes.clone(),
    };
    let files = archive::read_files(bytes.as_slice(), Limits::DESCRIPTOR).map_err(refused)?;
    let bundle = descriptor::read(&bytes).map_err(|err| {
        let name = |file: &str| match &written {
            Written::Alone(_) => path.display().to_string(),
            Written::Folder => path.join(file).display().to_string(),
            Written::Packed(_) => format!("{}: {file}", path.display()),
        };
        descriptor_problem(&err, &files, name)
    })?;
    Ok((bundle, bytes))
}

/// Judges what somebody else has packed, as it is judged when it is packed here; `name` is what people know it by. This blocks.
pub(crate) fn judge(packed: &Packed, kind: ArtifactKind, name: &Path) -> Result<(), Problem> {
    let failed = |err: std::io::Error| io_problem(name.display(), &err);
    let mut file = packed.file.try_clone().map_err(failed)?;
    file.seek(SeekFrom::Start(packed.begin)).map_err(failed)?;
    let archive = file.take(packed.size);
    match kind {
        ArtifactKind::Package => {
            archive::validate(archive, Limits::PACKAGE)
                .map_err(|err| archive_problem(name, &err))?;
        }
        ArtifactKind::Descriptor => {
            let mut bytes = Vec::new();
            archive.take(LARGEST_DESCRIPTOR).read_to_end(&mut bytes).map_err(failed)?;
            let files = archive::read_files(bytes.as_slice(), Limits::DESCRIPTOR);
            let files = files.map_err(|err| archive_problem(name, &err))?;
            let named = |file: &str| format!("{}: {file}", name.display());
            descriptor::read(&bytes).map_err(|err| descriptor_problem(&err, &files, named))?;
        }
        _ => {}
    }
    Ok(())
}

/// How a descriptor is written down.
enum Written {
    /// As a `descriptor.toml` with no scripts beside it.
    Alone(Vec<u8>),
    Folder,
    /// As an archive.
    Packed(Vec<u8>),
}

impl Written {
    fn at(path: &Path) -> std::io::Result<Self> {
        if path.is_dir() {
            return Ok(Self::Folder);
        }
        let mut bytes = Vec::new();
        File::open(path)?.take(LARGEST_DESCRIPTOR).read_to_end(&mut bytes)?;
        let packed = bytes.starts_with(&[0x1f, 0x8b]);
        Ok(if packed { Self::Packed(bytes) } else { Self::Alone(bytes) })
    }
}

/// What is wrong with a descriptor whose files people know by these names.
fn descriptor_problem(
    err: &DescriptorError,
    files: &BTreeMap<String, ArchiveFile>,
    name: impl Fn(&str) -> String,
) -> Problem {
    let mut messages = Vec::new();
    let mut problem = Problem::new(ProblemCode::InvalidFile, "");
    for (at, it) in err.problems().iter().enumerate() {
        let file = name(&it.file);
        let place = it.place.map_or_else(String::new, |(line, column)| format!(":{line}:{column}"));
        messages.push(format!("{file}{place}: {}", it.message));
        if at > 0 {
            continue;
        }
        problem = problem.with_context("file", file);
        if let Some((line, column)) = it.place {
            problem = problem.with_context("line", line).with_context("column", column);
            let bytes = files.get(&it.file).map_or(&[][..], |it| it.bytes.as_slice());
            let text = String::from_utf8_lossy(bytes);
            // With several problems, one line of the file would stand below the last of them.
            if let Some(source) = text.lines().nth(line.saturating_sub(1))
                && err.problems().len() == 1
            {
                problem =
                    problem.with_context("source", source.chars().take(200).collect::<String>());
            }
        }
    }
    problem.message = messages.join("\n");
    problem
}

fn archive_problem(path: &Path, err: &ArchiveError) -> Problem {
    match err {
        ArchiveError::Io(cause) => {
            let problem = io_problem(path.display(), cause);
            if problem.code == ProblemCode::NoSpace {
                return problem.with_hint(
                    "folders are packed in the temporary folder first: make room there, or name another one with `TMPDIR`",
                );
            }
            problem
        }
        ArchiveError::Refused(refusal) => {
            let problem =
                Problem::new(ProblemCode::InvalidArchive, format!("{}: {refusal}", path.display()))
                    .with_context("file", path.display())
                    .with_context("rule", refusal.rule().code());
            match refusal.entry() {
                Some(entry) => problem.with_context("entry", entry),
                None => problem,
            }
        }
    }
}

/// A file without a name, for what is to be looked at whole before it is used.
pub(crate) fn temporary(what: impl fmt::Display) -> Result<File, Problem> {
    let folder = std::env::temp_dir();
    tempfile::tempfile().map_err(|err| {
        let what =
            format_args!("{what}: it cannot be put in the temporary folder {}", folder.display());
        io_problem(what, &err).with_hint("`TMPDIR` names another folder for that")
    })
}
