//! Artifacts, over the connections of those that were ordered to have them.
use crate::gateway::Gateway;
use deploy_agent_protocol::{LONGEST_CHUNK, v1::FetchChunk};
use deploy_core::{
    backend::ArtifactReader, digest::Digest, error::ErrorKind, telemetry::TARGET_BACKEND,
};
use futures_util::{Stream, stream};
use std::io;
use tokio::io::AsyncReadExt as _;
use tonic::Status;

impl Gateway {
    /// The bytes of an artifact from `offset` on, as fast as this server may give them.
    pub(crate) async fn artifact(
        self,
        digest: &Digest,
        offset: u64,
    ) -> Result<impl Stream<Item = Result<FetchChunk, Status>> + use<>, Status> {
        let reader = self.open(digest, offset).await?;
        Ok(stream::unfold((self, Some(reader)), |(gateway, reader)| async {
            let (chunk, rest) = gateway.next_chunk(reader?).await?;
            Some((chunk, (gateway, rest)))
        }))
    }

    /// Opens what an order of a session has named.
    async fn open(&self, digest: &Digest, offset: u64) -> Result<ArtifactReader, Status> {
        if let Some(parts) = self.parts() {
            match parts.open_part(digest, offset).await {
                Ok(Some(part)) => return Ok(part),
                Err(err) if err.kind() == io::ErrorKind::InvalidInput => {
                    return Err(Status::out_of_range(err.to_string()));
                }
                Err(err) => {
                    tracing::warn!(target: TARGET_BACKEND, { %digest, error = %err }, "a part cannot be read");
                }
                Ok(None) => {}
            }
        }
        self.artifacts().open(digest, offset).await.map_err(|err| {
            let text = err.chain();
            match err.kind() {
                ErrorKind::NotFound => Status::not_found(text),
                ErrorKind::InvalidInput => Status::out_of_range(text),
                _ => Status::unavailable(text),
            }
        })
    }

    /// The next piece of an artifact, and what is left of it, once as much may go.
    async fn next_chunk(
        &self,
        mut reader: ArtifactReader,
    ) -> Option<(Result<FetchChunk, Status>, Option<ArtifactReader>)> {
        let mut bytes = Vec::with_capacity(LONGEST_CHUNK);
        let mut piece = (&mut reader).take(LONGEST_CHUNK as u64);
        match piece.read_to_end(&mut bytes).await {
            Ok(0) => None,
            Ok(length) => {
                self.rates().give(length as u64, self.clock()).await;
                Some((Ok(FetchChunk { bytes: bytes.into() }), Some(reader)))
            }
            Err(err) => Some((Err(Status::unavailable(err.to_string())), None)),
        }
    }
}
