//! The rest of an artifact of which blocks have come before they came no longer: it is fetched from the server alone, and put among those.
use super::{NotTaken, blocking};
use crate::{FetchArtifact, spec::Artifact};
use bytes::Bytes;
use deploy_core::{backend::Clock, digest::Digest};
use deploy_distribution::{Blob, BlobFile, BlobFileError};
use std::{
    ffi::OsStr,
    fs, io,
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

/// So much that is had already is read over, in bytes, rather than that another stream is begun: HTTP/2 sends that much ahead of whoever reads, and
/// it is lost with the stream.
const READ_OVER: u64 = 2 << 20;

/// Fetches whatever is missing among the blocks in `folder`, and says where the whole is then; `None` if none were ever begun there. What
/// comes is compared with the root of the blocks, and not yet with the digest.
pub(crate) async fn complete(
    artifact: Artifact,
    from: &dyn FetchArtifact,
    folder: &Path,
    clock: &dyn Clock,
) -> Result<Option<PathBuf>, NotTaken> {
    let folder = folder.to_owned();
    let Some(file) = blocking(move || begun(&folder, artifact.size)).await? else {
        return Ok(None);
    };
    let file = Arc::new(file);
    for gap in gaps(&file) {
        fill(&file, gap, artifact.digest, from, clock).await?;
    }
    Ok(Some(blocking(move || file.finish()).await?))
}

/// Removes from `folder` what is not `blob`: the blocks of something that was once said to be the artifact.
pub(super) fn keep_only(folder: &Path, blob: Blob) -> io::Result<()> {
    let name = blob.to_string();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.file_name().and_then(OsStr::to_str).is_none_or(|it| !it.starts_with(&name)) {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

/// What was begun in a folder of a blob of that size, with what is right of it.
fn begun(folder: &Path, size: u64) -> Result<Option<BlobFile>, BlobFileError> {
    let failed = |source| BlobFileError::Io { path: folder.to_owned(), source };
    let entries = match fs::read_dir(folder) {
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(None),
        entries => entries.map_err(failed)?,
    };
    for entry in entries {
        let name = entry.map_err(failed)?.file_name();
        let blob = name.to_str().and_then(|it| it.strip_suffix(".outboard")?.parse::<Blob>().ok());
        let Some(blob) = blob.filter(|it| it.size() == size) else { continue };
        if let Some(file) = BlobFile::resume(folder, blob)? {
            file.check()?;
            return Ok(Some(file));
        }
    }
    Ok(None)
}

/// The runs of blocks that are not had, with the few between them that are.
fn gaps(file: &BlobFile) -> Vec<Range<u32>> {
    let had = file.had();
    let near = u32::try_from(READ_OVER / file.blob().block_size()).unwrap_or(0);
    let mut gaps: Vec<Range<u32>> = Vec::new();
    for number in (0..file.blob().blocks()).filter(|it| !had.contains(*it)) {
        match gaps.last_mut() {
            Some(gap) if number - gap.end <= near => gap.end = number + 1,
            _ => gaps.push(number..number + 1),
        }
    }
    gaps
}

async fn fill(
    file: &Arc<BlobFile>,
    gap: Range<u32>,
    digest: Digest,
    from: &dyn FetchArtifact,
    clock: &dyn Clock,
) -> Result<(), NotTaken> {
    let start = file.blob().block(gap.start).map_or(0, |it| it.start);
    let mut bytes = from.fetch(digest, start).await.map_err(NotTaken::Away)?;
    let mut left = Bytes::new();
    for number in gap {
        let block = file.blob().block(number).map_or(0, |it| it.length.get());
        let length = usize::try_from(block).unwrap_or(usize::MAX);
        let mut block = Vec::with_capacity(length);
        while block.len() < length {
            if left.is_empty() {
                let next = bytes.next().await.map_err(NotTaken::Away)?;
                left = next.ok_or_else(|| NotTaken::Away(io::ErrorKind::UnexpectedEof.into()))?;
            }
            block.extend(left.split_to(left.len().min(length - block.len())));
        }
        let (file, now) = (Arc::clone(file), clock.now());
        blocking(move || file.put(number, &block, now)).await?;
    }
    Ok(())
}

#[cfg(test)]
#[path = "rest_tests.rs"]
mod tests;
