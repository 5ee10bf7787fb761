//! Descriptor archives.
use super::{Descriptor, DescriptorError, FILE_NAME, Script};
use crate::archive::{self, ArchiveError, ArchiveFile, Limits, PackedFile};
use std::{collections::BTreeMap, path::Path};

/// A descriptor and all its files.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Bundle {
    /// What it says.
    pub descriptor: Descriptor,
    /// All its files, by path; `descriptor.toml` among them.
    pub files: BTreeMap<String, ArchiveFile>,
}

/// Reads a descriptor archive. This blocks.
///
/// # Errors
/// If the archive is refused, or the descriptor does not hold together, or a script is not there.
pub fn read(archive: &[u8]) -> Result<Bundle, DescriptorError> {
    let files = archive::read_files(archive, Limits::DESCRIPTOR).map_err(|err| of_archive(&err))?;
    let text = files.get(FILE_NAME).ok_or_else(|| {
        DescriptorError::of_file(
            FILE_NAME,
            "the archive has no such file at its top: pack the folder that holds it",
        )
    })?;
    let text = std::str::from_utf8(&text.bytes)
        .map_err(|_| DescriptorError::of_file(FILE_NAME, "it is not UTF-8"))?;
    let descriptor = Descriptor::parse(text)?;
    let scripts = descriptor.steps.iter().flat_map(|it| {
        let custom = match &it.script {
            Script::Custom(path) => Some(path),
            Script::Default => None,
        };
        custom.into_iter().chain(&it.check)
    });
    for path in scripts {
        if !files.contains_key(path) {
            let message = format!("{FILE_NAME} names this script, and there is no such file");
            return Err(DescriptorError::of_file(path, message));
        }
    }
    Ok(Bundle { descriptor, files })
}

/// Packs a descriptor: the folder `dir`, or the one file `dir` where there are no scripts. The same content gives the same bytes. This blocks.
///
/// # Errors
/// As [`read`], or if it cannot be read.
pub fn pack(dir: &Path) -> Result<Vec<u8>, DescriptorError> {
    let shown = || dir.display().to_string();
    let packed = if dir.is_file() {
        std::fs::read(dir).map_err(ArchiveError::from).and_then(|bytes| {
            let file = PackedFile { path: FILE_NAME, executable: false, bytes: &bytes };
            archive::pack_files([file], Limits::DESCRIPTOR, Vec::new())
        })
    } else {
        archive::pack_dir(dir, Limits::DESCRIPTOR, Vec::new())
    };
    let bytes = packed.map_err(|err| match &err {
        ArchiveError::Io(cause) => DescriptorError::of_file(shown(), cause.to_string()),
        ArchiveError::Refused(_) => of_archive(&err),
    })?;
    read(&bytes)?;
    Ok(bytes)
}

/// Reads a descriptor where it is written, before it is packed. This blocks.
///
/// # Errors
/// As [`pack`].
pub fn read_dir(dir: &Path) -> Result<Bundle, DescriptorError> {
    read(&pack(dir)?)
}

fn of_archive(err: &ArchiveError) -> DescriptorError {
    match err {
        ArchiveError::Io(cause) => {
            DescriptorError::of_file("descriptor archive", cause.to_string())
        }
        ArchiveError::Refused(refusal) => {
            DescriptorError::of_file("descriptor archive", refusal.to_string())
        }
    }
}
