//! Packages and descriptors, from folders, files and archives on this machine.
use crate::problem::{invalid, io_problem};
use deploy_core::digest::{Digest, Hasher};
use deploy_host::{
    archive::{self, ArchiveError, Limits},
    descriptor::{self, Bundle, DescriptorError},
};
use deploy_wire::{Problem, ProblemCode};
use std::{
    fs::File,
    io::{Read as _, Seek as _, Write as _},
    path::Path,
};

/// The largest descriptor archive that is read into memory, in bytes.
const LARGEST_DESCRIPTOR: u64 = 16 << 20;

/// A package or a descriptor, ready to be put: judged, and with its digest known.
#[derive(Debug)]
pub(crate) struct Packed {
    pub(crate) file: File,
    pub(crate) digest: Digest,
    pub(crate) size: u64,
}

/// Takes a package: an archive, or a folder that is packed first. This blocks.
pub(crate) fn pack_package(path: &Path) -> Result<Packed, Problem> {
    let refused = |err: ArchiveError| archive_problem(path, &err);
    let mut file = if path.is_dir() {
        let file = temporary(path)?;
        archive::pack_dir(path, Limits::PACKAGE, file).map_err(refused)?
    } else {
        File::open(path).map_err(|err| io_problem(path.display(), &err))?
    };
    file.rewind().map_err(|err| io_problem(path.display(), &err))?;
    let summary = archive::validate(&file, Limits::PACKAGE).map_err(refused)?;
    file.rewind().map_err(|err| io_problem(path.display(), &err))?;
    Ok(Packed { file, digest: summary.digest, size: summary.packed_bytes })
}

/// Takes a descriptor: an archive, a folder, or a `descriptor.toml` alone. This blocks.
pub(crate) fn pack_descriptor(path: &Path) -> Result<(Bundle, Packed), Problem> {
    let (bundle, bytes) = read_descriptor(path).map_err(|err| descriptor_problem(path, &err))?;
    let mut file = temporary(path)?;
    let written = file.write_all(&bytes).and_then(|()| file.rewind());
    written.map_err(|err| io_problem(path.display(), &err))?;
    let mut hasher = Hasher::new();
    hasher.update(&bytes);
    let size = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    Ok((bundle, Packed { file, digest: hasher.finish(), size }))
}

/// Why a descriptor cannot be used.
#[derive(Debug)]
pub(crate) enum UnusableDescriptor {
    Broken(DescriptorError),
    Unreadable(std::io::Error),
}

/// Reads a descriptor, and gives the bytes of its archive as well. This blocks.
pub(crate) fn read_descriptor(path: &Path) -> Result<(Bundle, Vec<u8>), UnusableDescriptor> {
    let mut start = [0; 2];
    let is_archive = path.is_file()
        && File::open(path)
            .and_then(|mut file| file.read_exact(&mut start))
            .is_ok_and(|()| start == [0x1f, 0x8b]);
    let bytes = if is_archive {
        let mut bytes = Vec::new();
        let read =
            File::open(path).and_then(|it| it.take(LARGEST_DESCRIPTOR).read_to_end(&mut bytes));
        read.map_err(UnusableDescriptor::Unreadable)?;
        bytes
    } else {
        std::fs::metadata(path).map_err(UnusableDescriptor::Unreadable)?;
        descriptor::pack(path).map_err(UnusableDescriptor::Broken)?
    };
    let bundle = descriptor::read(&bytes).map_err(UnusableDescriptor::Broken)?;
    Ok((bundle, bytes))
}

/// What is wrong with the descriptor at `path`.
pub(crate) fn descriptor_problem(path: &Path, err: &UnusableDescriptor) -> Problem {
    let err = match err {
        UnusableDescriptor::Broken(err) => err,
        UnusableDescriptor::Unreadable(err) => return io_problem(path.display(), err),
    };
    let folder = if path.is_dir() { Some(path) } else { path.parent() };
    let mut messages = Vec::new();
    let mut problem = Problem::new(ProblemCode::InvalidFile, "");
    for (at, it) in err.problems().iter().enumerate() {
        let file = match folder {
            Some(folder) if !folder.as_os_str().is_empty() => {
                folder.join(&it.file).display().to_string()
            }
            Some(_) | None => it.file.clone(),
        };
        let place = it.place.map_or_else(String::new, |(line, column)| format!(":{line}:{column}"));
        messages.push(format!("{file}{place}: {}", it.message));
        if at == 0 {
            problem = problem.with_context("file", file);
            if let Some((line, column)) = it.place {
                problem = problem.with_context("line", line).with_context("column", column);
            }
        }
    }
    problem.message = messages.join("\n");
    problem
}

fn archive_problem(path: &Path, err: &ArchiveError) -> Problem {
    match err {
        ArchiveError::Io(cause) => io_problem(path.display(), cause),
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
        _ => Problem::new(ProblemCode::InvalidArchive, format!("{}: {err}", path.display())),
    }
}

fn temporary(path: &Path) -> Result<File, Problem> {
    tempfile::tempfile().map_err(|err| {
        invalid(format_args!(
            "{}: there is no room to pack it in the temporary folder: {err}",
            path.display()
        ))
    })
}
