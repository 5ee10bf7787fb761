//! By what this relay has blobs, as the server says.
use crate::link::Link;
use async_trait::async_trait;
use deploy_agent_identity::endpoints;
use deploy_agent_protocol::v1::PassRequest;
use deploy_core::backend::Clock;
use deploy_distribution::{
    Blob,
    transfer::{Pass, Passes, SourceError},
};
use std::{sync::Arc, time::Duration};
use tokio::sync::watch;
use tonic::Code;

/// Asks the server.
#[derive(Debug)]
pub(crate) struct ServerPasses {
    pub(crate) link: Arc<Link>,
    /// `HOST:PORT` of the server, whose host may also be that of its blocks.
    pub(crate) gateway: watch::Receiver<String>,
    pub(crate) clock: Arc<dyn Clock>,
}

#[async_trait]
impl Passes for ServerPasses {
    async fn pass(&self, blob: Blob) -> Result<Pass, SourceError> {
        let request = PassRequest { root: blob.root().as_bytes().to_vec(), size: blob.size() };
        let asked_at = self.clock.now();
        let answered = self.link.call(async move |mut it| it.pass(request).await).await;
        let reply = answered.map_err(|status| match status.code() {
            Code::NotFound => SourceError::Missing,
            _ => SourceError::Failed(status.message().to_owned()),
        })?;
        let gateway = self.gateway.borrow().clone();
        let from = endpoints(&reply.from, &gateway);
        let from = from.map_err(|err| SourceError::Failed(err.to_string()))?;
        let until = asked_at.after(Duration::from_secs(reply.token_s.into()));
        Ok(Pass::new(reply.token, from, until))
    }
}
