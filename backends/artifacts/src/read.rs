//! Bytes go out, and are checked on their way.
use crate::{catalogue::Catalogue, fault};
use bytes::{Buf as _, Bytes};
use deploy_core::{
    digest::Digest,
    error::{BackendError, BackendResult, ErrorKind},
};
use futures_util::{
    StreamExt as _,
    stream::{self, BoxStream},
};
use object_store::{GetResult, GetResultPayload};
use sha2::{Digest as _, Sha256};
use std::{
    fs::File,
    io::{self, Read as _},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};
use tokio::{
    io::{AsyncRead, ReadBuf},
    task,
};

type Cause = Box<dyn std::error::Error + Send + Sync>;

/// How much is read and hashed at a time.
const CHUNK: usize = 512 << 10;

/// The bytes of an artifact from `skip` on.
///
/// All of it is read and hashed, and the last chunk is held back until the hash is known to be right: even a reader that
/// stops at the last byte, without asking for the end, is never left with all the bytes of an artifact that has rotted.
pub(crate) fn checked(
    operation: &'static str,
    found: GetResult,
    digest: Digest,
    skip: u64,
    catalogue: Catalogue,
) -> BoxStream<'static, BackendResult<Bytes>> {
    let left = found.meta.size;
    let source = match found.payload {
        GetResultPayload::File(file, _) => Source::File(Arc::new(file)),
        GetResultPayload::Stream(stream) => Source::Stream(stream),
    };
    let state = Checked {
        operation,
        source,
        hasher: Sha256::new(),
        digest,
        left,
        skip,
        catalogue,
        done: false,
    };
    stream::try_unfold(state, Checked::next).boxed()
}

/// As an [`AsyncRead`].
pub(crate) struct Reader {
    pub(crate) chunks: BoxStream<'static, BackendResult<Bytes>>,
    pub(crate) current: Bytes,
}

impl AsyncRead for Reader {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.current.is_empty() {
            match ready!(self.chunks.poll_next_unpin(cx)) {
                Some(Ok(chunk)) => self.current = chunk,
                Some(Err(err)) => return Poll::Ready(Err(into_io(err))),
                None => return Poll::Ready(Ok(())),
            }
        }
        let length = buf.remaining().min(self.current.len());
        buf.put_slice(&self.current.split_to(length));
        Poll::Ready(Ok(()))
    }
}

fn into_io(err: BackendError) -> io::Error {
    let kind = match err.kind() {
        ErrorKind::Corrupt => io::ErrorKind::InvalidData,
        _ => io::ErrorKind::Other,
    };
    io::Error::new(kind, err)
}

/// The error for an artifact that is not what was put.
pub(crate) async fn corrupt(
    operation: &'static str,
    digest: &Digest,
    found: impl std::fmt::Display,
    catalogue: &Catalogue,
) -> BackendError {
    let err = BackendError::new(ErrorKind::Corrupt, operation);
    let err = match catalogue.naming(operation, digest).await.unwrap_or_default().first() {
        Some(entry) => err
            .with("repository", &entry.repository)
            .with("kind", entry.kind.as_str())
            .with("version", &entry.version),
        None => err,
    };
    err.with("digest", digest)
        .with("found", found)
        .with("hint", "put it again: that replaces the damaged bytes")
}

enum Source {
    File(Arc<File>),
    Stream(BoxStream<'static, object_store::Result<Bytes>>),
}

struct Checked {
    operation: &'static str,
    source: Source,
    hasher: Sha256,
    digest: Digest,
    left: u64,
    skip: u64,
    catalogue: Catalogue,
    done: bool,
}

impl Checked {
    async fn next(mut self) -> BackendResult<Option<(Bytes, Self)>> {
        while !self.done {
            let mut chunk = self.pull().await?;
            self.left = self.left.saturating_sub(chunk.len() as u64);
            if self.left == 0 || chunk.is_empty() {
                self.check().await?;
                self.done = true;
            }
            let skipped = self.skip.min(chunk.len() as u64);
            self.skip = self.skip.saturating_sub(skipped);
            chunk.advance(usize::try_from(skipped).unwrap_or(chunk.len()));
            if !chunk.is_empty() {
                return Ok(Some((chunk, self)));
            }
        }
        Ok(None)
    }

    /// The next bytes, hashed; none at the end.
    async fn pull(&mut self) -> BackendResult<Bytes> {
        let (operation, digest) = (self.operation, self.digest);
        let failed = |err: Cause| fault::reading(operation, digest, err);
        match &mut self.source {
            Source::File(file) => {
                let (file, want) = (Arc::clone(file), self.left.min(CHUNK as u64));
                let hasher = self.hasher.clone();
                let pulled = task::spawn_blocking(move || pull_file(&file, want, hasher)).await;
                let pulled = pulled.map_err(|err| fault::lost(operation, err))?;
                let (chunk, hasher) = pulled.map_err(|err| failed(err.into()))?;
                self.hasher = hasher;
                Ok(chunk)
            }
            Source::Stream(stream) => {
                while let Some(chunk) = stream.next().await {
                    let chunk = chunk.map_err(|err| failed(err.into()))?;
                    if !chunk.is_empty() {
                        self.hasher.update(&chunk);
                        return Ok(chunk);
                    }
                }
                Ok(Bytes::new())
            }
        }
    }

    async fn check(&mut self) -> BackendResult<()> {
        let found = Digest::from_bytes(self.hasher.finalize_reset().into());
        if found == self.digest {
            return Ok(());
        }
        Err(corrupt(self.operation, &self.digest, found, &self.catalogue).await)
    }
}

fn pull_file(mut file: &File, want: u64, mut hasher: Sha256) -> io::Result<(Bytes, Sha256)> {
    let mut chunk = Vec::with_capacity(usize::try_from(want).unwrap_or(CHUNK));
    file.by_ref().take(want).read_to_end(&mut chunk)?;
    hasher.update(&chunk);
    Ok((chunk.into(), hasher))
}
