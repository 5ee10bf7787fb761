use super::{CHUNK, ParcelError, ParcelIndex, tar};
use deploy_core::{backend::ArtifactMeta, digest::Digest};
use sha2::{Digest as _, Sha256};
use std::vec;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// Writes a parcel: the same content is the same bytes.
#[derive(Debug)]
pub struct ParcelWriter<W> {
    out: W,
    /// What is still to come.
    rest: vec::IntoIter<ArtifactMeta>,
}

impl<W: AsyncWrite + Unpin> ParcelWriter<W> {
    /// Begins a parcel of what `index` says.
    ///
    /// # Errors
    /// If the index contradicts itself or is too large, or nothing can be written to `out`.
    pub async fn begin(mut out: W, index: ParcelIndex) -> Result<Self, ParcelError> {
        let bytes = index.encode()?;
        let size = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        let place = tar::index_place(&Digest::of(&bytes));
        out.write_all(&tar::header(&place, size)).await?;
        out.write_all(&bytes).await?;
        out.write_all(padding(size)).await?;
        Ok(Self { out, rest: index.artifacts().into_iter() })
    }

    /// Adds the next artifact of the index.
    ///
    /// # Errors
    /// If another one is the next, `body` is not what the index says, or it cannot be read or written. The parcel is spoilt then.
    pub async fn add(
        &mut self,
        digest: &Digest,
        body: &mut (dyn AsyncRead + Send + Unpin),
    ) -> Result<(), ParcelError> {
        let Some(next) = self.rest.next().filter(|it| it.digest == *digest) else {
            return Err(ParcelError::damaged(format!("{digest} is not the next artifact")));
        };
        self.out.write_all(&tar::header(&tar::place(digest), next.size)).await?;
        let (mut hasher, mut left) = (Sha256::new(), next.size);
        let mut chunk = vec![0; CHUNK];
        loop {
            let read = body.read(&mut chunk).await?;
            let Some(bytes) = chunk.get(..read).filter(|it| !it.is_empty()) else { break };
            let Some(fewer) = left.checked_sub(u64::try_from(read).unwrap_or(u64::MAX)) else {
                break;
            };
            left = fewer;
            hasher.update(bytes);
            self.out.write_all(bytes).await?;
        }
        if left > 0 || Digest::from_bytes(hasher.finalize().into()) != *digest {
            return Err(ParcelError::damaged(format!("what came as {digest} is something else")));
        }
        Ok(self.out.write_all(padding(next.size)).await?)
    }

    /// Ends the parcel, and gives back what it was written to.
    ///
    /// # Errors
    /// If an artifact was left out, or the end cannot be written.
    pub async fn finish(mut self) -> Result<W, ParcelError> {
        if let Some(missing) = self.rest.next() {
            return Err(ParcelError::Short { what: format!("{} was not added", missing.digest) });
        }
        self.out.write_all(&tar::END).await?;
        self.out.flush().await?;
        Ok(self.out)
    }
}

/// What follows `size` bytes up to the next block.
fn padding(size: u64) -> &'static [u8] {
    tar::END.get(..tar::padding(size)).unwrap_or_default()
}
