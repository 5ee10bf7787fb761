//! Artifacts, from the gateway.
use crate::host::{ArtifactBytes, FetchArtifact};
use async_trait::async_trait;
use bytes::Bytes;
use deploy_agent_protocol::v1::{
    FetchChunk, FetchRequest, SwarmReply, SwarmRequest, gateway_client::GatewayClient,
};
use deploy_core::digest::Digest;
use std::io;
use tonic::{Code, Status, Streaming, transport::Channel};

/// Fetches what the orders of this session name.
#[derive(Clone, Debug)]
pub(super) struct RemoteArtifacts(GatewayClient<Channel>);

impl RemoteArtifacts {
    pub(super) fn new(channel: Channel) -> Self {
        Self(GatewayClient::new(channel))
    }
}

#[async_trait]
impl FetchArtifact for RemoteArtifacts {
    async fn fetch(&self, digest: Digest, offset: u64) -> io::Result<Box<dyn ArtifactBytes>> {
        let request = FetchRequest { digest: digest.as_bytes().to_vec(), offset };
        let reply = self.0.clone().fetch(request).await.map_err(|it| io_error(&it))?;
        Ok(Box::new(Pieces(reply.into_inner())))
    }

    async fn swarm(&self, digest: Digest) -> io::Result<Option<SwarmReply>> {
        let request = SwarmRequest { digest: digest.as_bytes().to_vec() };
        match self.0.clone().swarm(request).await {
            Ok(reply) => Ok(Some(reply.into_inner())),
            // The latter says a server that is older than this call.
            Err(status) if matches!(status.code(), Code::NotFound | Code::Unimplemented) => {
                Ok(None)
            }
            Err(status) => Err(io_error(&status)),
        }
    }
}

#[derive(Debug)]
struct Pieces(Streaming<FetchChunk>);

#[async_trait]
impl ArtifactBytes for Pieces {
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        Ok(self.0.message().await.map_err(|it| io_error(&it))?.map(|it| it.bytes))
    }
}

fn io_error(status: &Status) -> io::Error {
    let kind = match status.code() {
        Code::NotFound => io::ErrorKind::NotFound,
        Code::PermissionDenied => io::ErrorKind::PermissionDenied,
        Code::OutOfRange => io::ErrorKind::InvalidInput,
        _ => io::ErrorKind::ConnectionAborted,
    };
    io::Error::new(kind, status.message().to_owned())
}
