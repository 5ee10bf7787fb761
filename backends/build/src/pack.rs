//! Outputs, packed so that the same content always gives the same bytes.
use crate::ended::{Ended, Halt, internal};
use deploy_core::{
    backend::{BuildFailure, BuildFault},
    digest::Hasher,
    spec::{ArchiveFormat, ArtifactRef, Recipe, RelativePath},
    time::Timestamp,
};
use deploy_host::{
    archive::{self, ArchiveError, Limits},
    descriptor,
};
use flate2::{Compression, GzBuilder};
use std::{
    fs::{self, File},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

/// The level of gzip, which is part of the format: another one would give other bytes.
pub(crate) const GZIP_LEVEL: u32 = 6;
/// The level of zstd, in one thread.
pub(crate) const ZSTD_LEVEL: i32 = 9;

/// Packs the outputs of `recipe` from the folder `source` into `into`. This blocks.
pub(crate) fn package(
    recipe: &Recipe,
    source: &Path,
    into: &Path,
    watch: &Watch,
) -> Result<ArtifactRef, Ended> {
    let mut entries = Vec::new();
    for (inside, outside) in &recipe.outputs {
        let found = find(source, outside)?;
        if inside.is_top() && !found.is_dir() {
            let message = format!(
                "output `{outside}`: only a folder can be the top of a package, and it is none"
            );
            return Err(BuildFailure::new(BuildFault::OutputMissing, message).into());
        }
        entries.push((PathBuf::from(inside.as_str()), found));
    }
    let entries = entries.iter().map(|(inside, found)| (inside.as_path(), found.as_path()));
    let out = Counted::create(into)?;
    let refused = |err: ArchiveError| match watch.check() {
        Err(ended) => ended,
        Ok(()) => archive_failure(&err, "package", BuildFault::OutputRefused),
    };
    let out = match recipe.archive {
        ArchiveFormat::TarZst => {
            let encoder = watch.over(zstd::Encoder::new(out, ZSTD_LEVEL)?);
            archive::pack_tar(entries, Limits::PACKAGE, encoder).map_err(refused)?.out.finish()?
        }
        _ => {
            let encoder = GzBuilder::new().mtime(0).write(out, Compression::new(GZIP_LEVEL));
            let encoder = watch.over(encoder);
            archive::pack_tar(entries, Limits::PACKAGE, encoder).map_err(refused)?.out.finish()?
        }
    };
    out.finish()
}

/// Packs the folder `descriptor` of the folder `source` into `into`, if it is one. This blocks.
pub(crate) fn descriptor(
    descriptor: &RelativePath,
    source: &Path,
    into: &Path,
) -> Result<ArtifactRef, Ended> {
    let refused = |why: String| {
        BuildFailure::new(
            BuildFault::DescriptorRefused,
            format!("descriptor `{descriptor}`: {why}"),
        )
    };
    let folder = find(source, descriptor)?;
    if !folder.is_dir() {
        return Err(refused("it is no folder".to_owned()).into());
    }
    let packed = archive::pack_dir(&folder, Limits::DESCRIPTOR, Vec::new());
    let bytes =
        packed.map_err(|err| archive_failure(&err, "descriptor", BuildFault::DescriptorRefused))?;
    descriptor::read(&bytes).map_err(|err| refused(err.to_string()))?;
    let mut out = Counted::create(into)?;
    out.write_all(&bytes)?;
    out.finish()
}

/// A path of the source, none of whose folders is a link: what a build has made must not lead out of it.
pub(crate) fn find(source: &Path, path: &RelativePath) -> Result<PathBuf, Ended> {
    let missing =
        |why: &str| BuildFailure::new(BuildFault::OutputMissing, format!("`{path}` {why}"));
    let mut found = source.to_owned();
    if path.is_top() {
        return Ok(found);
    }
    for part in path.as_str().split('/') {
        found.push(part);
        match fs::symlink_metadata(&found) {
            Ok(meta) if meta.is_symlink() => {
                return Err(missing("is a link, or leads through one").into());
            }
            Ok(_) => {}
            Err(err)
                if matches!(err.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) =>
            {
                return Err(missing("is not there after the last command").into());
            }
            Err(err) => return Err(internal(err)),
        }
    }
    Ok(found)
}

fn archive_failure(err: &ArchiveError, what: &str, fault: BuildFault) -> Ended {
    match err {
        ArchiveError::Io(err) => Ended::from(io::Error::new(err.kind(), err.to_string())),
        refused @ ArchiveError::Refused(_) => {
            BuildFailure::new(fault, format!("{what}: {refused}")).into()
        }
    }
}

/// Says when packing has to stop.
#[derive(Debug)]
pub(crate) struct Watch {
    halt: Halt,
    deadline: Timestamp,
}

impl Watch {
    pub(crate) const fn new(halt: Halt, deadline: Timestamp) -> Self {
        Self { halt, deadline }
    }

    fn check(&self) -> Result<(), Ended> {
        self.halt.check()?;
        if self.halt.clock().now() < self.deadline {
            return Ok(());
        }
        let message = "the outputs cannot be packed in time: there is too much of them";
        Err(BuildFailure::new(BuildFault::OutputRefused, message).into())
    }

    const fn over<W>(&self, out: W) -> Watched<'_, W> {
        Watched { out, watch: self, unseen: 0 }
    }
}

/// Takes no more once packing has to stop.
struct Watched<'a, W> {
    out: W,
    watch: &'a Watch,
    /// How much was written since the last look.
    unseen: usize,
}

/// How much is written between two looks, in bytes.
const STRETCH: usize = 4 << 20;

impl<W: Write> Write for Watched<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.unseen >= STRETCH {
            self.unseen = 0;
            // Why it stopped is asked again by who began it.
            self.watch.check().map_err(|_| io::Error::other("packing has to stop"))?;
        }
        let written = self.out.write(bytes)?;
        self.unseen += written;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// A file whose digest and size are known once it is written.
struct Counted {
    file: BufWriter<File>,
    hasher: Hasher,
    size: u64,
}

impl Counted {
    fn create(path: &Path) -> io::Result<Self> {
        Ok(Self {
            file: BufWriter::with_capacity(256 << 10, File::create(path)?),
            hasher: Hasher::new(),
            size: 0,
        })
    }

    fn finish(self) -> Result<ArtifactRef, Ended> {
        let file = self.file.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.sync_all()?;
        Ok(ArtifactRef::new(self.hasher.finish(), self.size))
    }
}

impl Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hasher.update(bytes.get(..written).unwrap_or_default());
        self.size += u64::try_from(written).unwrap_or(u64::MAX);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
