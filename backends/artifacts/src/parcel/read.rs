use super::{CHUNK, ParcelError, ParcelIndex, index, tar};
use deploy_core::{backend::ArtifactMeta, digest::Digest};
use sha2::{Digest as _, Sha256};
use std::{collections::BTreeMap, io};
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// A parcel that was read whole, and is what it says.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Parcel {
    /// What is in it.
    pub index: ParcelIndex,
    /// Where each artifact begins.
    offsets: BTreeMap<Digest, u64>,
}

impl Parcel {
    /// Where in the file the bytes of an artifact begin.
    #[must_use]
    pub fn offset_of(&self, digest: &Digest) -> Option<u64> {
        self.offsets.get(digest).copied()
    }
}

/// Reads a parcel from its beginning to its end.
///
/// # Errors
/// If it is anything but a whole, undamaged parcel of a format that this program knows, or cannot be read.
pub async fn verify_parcel(
    input: &mut (dyn AsyncRead + Send + Unpin),
) -> Result<Parcel, ParcelError> {
    let mut source = Source { input, at: 0 };
    let index = source.index().await?;
    let mut offsets = BTreeMap::new();
    for artifact in index.artifacts() {
        offsets.insert(artifact.digest, source.artifact(&artifact).await?);
    }
    source.end().await?;
    Ok(Parcel { index, offsets })
}

struct Source<'a> {
    input: &'a mut (dyn AsyncRead + Send + Unpin),
    /// How much was read.
    at: u64,
}

impl Source<'_> {
    async fn index(&mut self) -> Result<ParcelIndex, ParcelError> {
        let mut header = [0; tar::BLOCK];
        match self.fill(&mut header, "its first header").await {
            Err(ParcelError::Short { .. }) => {
                return Err(ParcelError::foreign("it is shorter than a header"));
            }
            filled => filled?,
        }
        let ArtifactMeta { digest, size, .. } = tar::index_of(&header)?;
        if size > index::LARGEST {
            let what = format!(
                "its index has {size} bytes, and may have {}: it is no export, or one in bad faith",
                index::LARGEST
            );
            return Err(ParcelError::TooLarge { what });
        }
        let mut bytes = vec![0; usize::try_from(size).unwrap_or(0)];
        self.fill(&mut bytes, "its index").await?;
        self.pad(size, "its index").await?;
        if Digest::of(&bytes) != digest {
            return Err(ParcelError::damaged("the bytes of its index are others"));
        }
        ParcelIndex::decode(&bytes)
    }

    /// Reads an artifact, and says where it began.
    async fn artifact(&mut self, artifact: &ArtifactMeta) -> Result<u64, ParcelError> {
        let ArtifactMeta { digest, size, .. } = *artifact;
        let name = digest.to_string();
        let mut header = [0; tar::BLOCK];
        self.fill(&mut header, &name).await?;
        if header != tar::header(&tar::place(&digest), size) {
            let what = format!("{name} has to follow, and something else does");
            return Err(ParcelError::damaged(what));
        }
        let (begin, mut left) = (self.at, size);
        let (mut hasher, mut chunk) = (Sha256::new(), vec![0; CHUNK]);
        while left > 0 {
            let want = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
            let Some(part) = chunk.get_mut(..want) else { break };
            self.fill(part, &name).await?;
            hasher.update(&part);
            left = left.saturating_sub(u64::try_from(want).unwrap_or(u64::MAX));
        }
        if Digest::from_bytes(hasher.finalize().into()) != digest {
            return Err(ParcelError::damaged(format!("the bytes of {name} are others")));
        }
        self.pad(size, &name).await?;
        Ok(begin)
    }

    async fn end(&mut self) -> Result<(), ParcelError> {
        let mut end = tar::END;
        self.fill(&mut end, "its end").await?;
        let more = self.input.read(&mut [0; 1]).await? > 0;
        if more || end != tar::END {
            return Err(ParcelError::damaged("something follows the last artifact"));
        }
        Ok(())
    }

    /// Reads up to the next block.
    async fn pad(&mut self, size: u64, what: &str) -> Result<(), ParcelError> {
        let mut padding = [0; tar::BLOCK];
        let padding = padding.get_mut(..tar::padding(size)).unwrap_or_default();
        self.fill(padding, what).await?;
        if padding.iter().all(|it| *it == 0) {
            return Ok(());
        }
        Err(ParcelError::damaged(format!("{what} is followed by what does not belong there")))
    }

    async fn fill(&mut self, buffer: &mut [u8], what: &str) -> Result<(), ParcelError> {
        match self.input.read_exact(buffer).await {
            Ok(read) => {
                self.at = self.at.saturating_add(u64::try_from(read).unwrap_or(u64::MAX));
                Ok(())
            }
            Err(err) if err.kind() == io::ErrorKind::UnexpectedEof => {
                Err(ParcelError::Short { what: format!("{what} is not all there") })
            }
            Err(err) => Err(err.into()),
        }
    }
}
