//! Bytes come in.
use crate::draft::Draft;
use bytes::{Bytes, BytesMut};
use deploy_core::{
    backend::PutArtifact,
    error::{BackendError, BackendResult, ErrorKind},
};
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt as _};

const OPERATION: &str = "artifact.put";

/// How much is read, hashed and written at a time. Two of these are in memory: one coming in, one going out.
const CHUNK: usize = 1 << 20;

/// Fills `draft` with the whole of `body`, and gives it back if it is what `request` promised.
pub(crate) async fn fill(
    mut draft: Draft,
    request: &PutArtifact,
    body: &mut (dyn AsyncRead + Send + Unpin),
) -> BackendResult<Draft> {
    let mut room = request.size.saturating_sub(request.offset);
    loop {
        let (chunk, end) = next_chunk(body).await;
        let Some(left) = room.checked_sub(chunk.len() as u64) else {
            draft.discard().await?;
            return Err(mismatch(request).with("found", "more bytes than that"));
        };
        room = left;
        draft = draft.write(chunk).await?;
        match end {
            None => {}
            Some(Ok(())) => return check(draft, request).await,
            Some(Err(cause)) => {
                draft.keep().await?;
                let err = BackendError::new(ErrorKind::Unavailable, OPERATION);
                return Err(err.with("digest", request.digest).because(cause));
            }
        }
    }
}

async fn check(draft: Draft, request: &PutArtifact) -> BackendResult<Draft> {
    let ended = draft.end().await?;
    if (ended.digest, ended.size) == (request.digest, request.size) {
        return Ok(ended.draft);
    }
    ended.draft.discard().await?;
    let err = mismatch(request).with("found", ended.digest).with("found_size", ended.size);
    Err(if request.offset > 0 { err.with("resumed_at", request.offset) } else { err })
}

fn mismatch(request: &PutArtifact) -> BackendError {
    BackendError::new(ErrorKind::InvalidInput, OPERATION)
        .with("digest", request.digest)
        .with("size", request.size)
}

/// The next bytes of `body`: a whole chunk, or fewer and how the body ended.
async fn next_chunk(body: &mut (dyn AsyncRead + Send + Unpin)) -> (Bytes, Option<io::Result<()>>) {
    let mut chunk = BytesMut::with_capacity(CHUNK);
    let end = loop {
        match body.read_buf(&mut chunk).await {
            Ok(0) => break Some(Ok(())),
            Ok(_) if chunk.len() < CHUNK => {}
            Ok(_) => break None,
            Err(err) => break Some(Err(err)),
        }
    };
    (chunk.freeze(), end)
}
