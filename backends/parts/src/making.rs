//! Makes the parts of one package.
use crate::{PartsError, blobs::Blobs};
use deploy_core::{
    backend::ArtifactStore,
    digest::{Digest, Hasher},
    error::{BackendError, ErrorKind},
    spec::ArtifactRef,
};
use deploy_package::{
    Publication,
    archive::Limits,
    chunks::Index,
    publish::{self, Earlier},
};
use rustix::fs::statvfs;
use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    task::spawn_blocking,
};

/// How much of a package is copied at once, in bytes.
const PIECE: usize = 256 << 10;

/// How many times its packed size a package takes while its parts are made: its archive, its files, and what is made of them.
const UNPACKED: u64 = 6;
/// How much of the disk stays free, in bytes.
pub(crate) const RESERVE: u64 = 1 << 30;

/// An earlier version, of which the new one is to have a delta.
pub(crate) struct Base {
    pub(crate) package: ArtifactRef,
    pub(crate) publication: Arc<Publication>,
}

/// What it takes to make parts.
pub(crate) struct Making<'a> {
    pub(crate) packages: &'a Arc<dyn ArtifactStore>,
    pub(crate) blobs: &'a Blobs,
    pub(crate) work: &'a Path,
    pub(crate) limits: Limits,
}

impl Making<'_> {
    /// The parts of `package`, which are among the blobs afterwards.
    pub(crate) async fn publish(
        &self,
        package: ArtifactRef,
        base: Option<Base>,
    ) -> Result<Publication, PartsError> {
        let keep = |source| PartsError::Keep { path: self.work.to_owned(), source };
        let earlier = base.as_ref().map_or(0, |it| it.package.size);
        self.has_room(package.size.saturating_add(earlier))?;
        let work = TempDir::new_in(self.work).map_err(keep)?;
        let archive = self.fetch(package, work.path()).await?;
        let earlier = match base {
            Some(base) => {
                let archive = self.fetch(base.package, work.path()).await?;
                Some((archive, self.blobs.path(base.publication.index().digest)))
            }
            None => None,
        };
        let (blobs, limits) = (self.blobs.clone(), self.limits);
        let made = spawn_blocking(move || make(package, &archive, earlier, &work, &blobs, limits));
        made.await.unwrap_or_else(|err| Err(keep(io::Error::other(err))))
    }

    /// Whether there is room for packages of so many bytes, unpacked and cut: the disk is the server's own, and is left some of it.
    fn has_room(&self, packed: u64) -> Result<(), PartsError> {
        let keep = |source| PartsError::Keep { path: self.work.to_owned(), source };
        let free = free_at(self.work).map_err(keep)?;
        let needed = packed.saturating_mul(UNPACKED).saturating_add(RESERVE);
        if free >= needed { Ok(()) } else { Err(PartsError::NoRoom { needed, free }) }
    }

    /// Copies a package out of the store, since it is read several times.
    async fn fetch(&self, package: ArtifactRef, work: &Path) -> Result<PathBuf, PartsError> {
        let path = work.join(format!("{}.archive", package.digest.hex()));
        let keep = |source| PartsError::Keep { path: path.clone(), source };
        let opened = self.packages.open(&package.digest, 0).await;
        let mut reader = opened.map_err(PartsError::Package)?;
        let mut file = tokio::fs::File::create(&path).await.map_err(keep)?;
        let copied = tokio::io::copy(&mut reader, &mut file).await;
        let flushed = match copied {
            Ok(_) => file.flush().await.map_err(keep),
            Err(err) => Err(unread(package.digest, err)),
        };
        flushed.map(|()| path)
    }
}

/// How many bytes the disk has left that a folder is on.
pub(crate) fn free_at(folder: &Path) -> io::Result<u64> {
    let disk = statvfs(folder)?;
    Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
}

/// Copies what the store has under `digest` to the file `to`, by way of the folder `work`, if it is that.
pub(crate) async fn copy(
    packages: &Arc<dyn ArtifactStore>,
    digest: Digest,
    work: &Path,
    to: &Path,
) -> Result<(), PartsError> {
    let keep = |source| PartsError::Keep { path: to.to_owned(), source };
    let mut reader = packages.open(&digest, 0).await.map_err(PartsError::Package)?;
    let draft = tempfile::NamedTempFile::new_in(work).map_err(keep)?;
    let mut file = tokio::fs::File::from_std(draft.reopen().map_err(keep)?);
    let (mut hasher, mut piece) = (Hasher::new(), vec![0; PIECE]);
    loop {
        let length = reader.read(&mut piece).await.map_err(|err| unread(digest, err))?;
        let bytes = piece.get(..length).unwrap_or_default();
        if bytes.is_empty() {
            break;
        }
        hasher.update(bytes);
        file.write_all(bytes).await.map_err(keep)?;
    }
    file.sync_all().await.map_err(keep)?;
    let found = hasher.finish();
    if found != digest {
        return Err(PartsError::OtherPackage { asked: digest, found });
    }
    draft.persist(to).map(drop).map_err(|err| keep(err.error))
}

fn unread(digest: Digest, err: io::Error) -> PartsError {
    let kind = ErrorKind::Unavailable;
    let err = BackendError::new(kind, "parts.copy").with("digest", digest).because(err);
    PartsError::Package(err)
}

fn make(
    package: ArtifactRef,
    archive: &Path,
    earlier: Option<(PathBuf, PathBuf)>,
    work: &TempDir,
    blobs: &Blobs,
    limits: Limits,
) -> Result<Publication, PartsError> {
    let out = work.path().join("parts");
    let keep = |source| PartsError::Keep { path: out.clone(), source };
    fs::create_dir(&out).map_err(keep)?;
    let unpublishable = |source| PartsError::Unpublishable { package: package.digest, source };
    let earlier = match earlier {
        Some((archive, index)) => {
            let bytes = fs::read(index).map_err(keep)?;
            let index = Index::parse(&bytes, limits).map_err(unpublishable)?;
            vec![Earlier::new(archive, index)]
        }
        None => Vec::new(),
    };
    let publication = publish::publish(archive, &earlier, &out, limits).map_err(unpublishable)?;
    let found = publication.archive().digest;
    if found != package.digest {
        return Err(PartsError::OtherPackage { asked: package.digest, found });
    }
    for entry in fs::read_dir(&out).map_err(keep)? {
        let entry = entry.map_err(keep)?;
        let name = entry.file_name();
        if let Some(name) = name.to_str().filter(|it| it.len() == 64) {
            blobs.take(&entry.path(), name).map_err(keep)?;
        }
    }
    blobs.sync().map_err(keep)?;
    Ok(publication)
}
