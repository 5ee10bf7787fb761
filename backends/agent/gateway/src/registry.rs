//! Who may have a session, by what a registry of agents knows.
use crate::{
    admission::{Admission, Denied, Peer},
    session::Boots,
};
use async_trait::async_trait;
use deploy_agent_protocol::v1::Hello;
use deploy_core::{
    backend::{AgentRegistry, Clock},
    error::{BackendError, ErrorKind},
    id::{BootId, HostName},
    telemetry::{HOST, TARGET_BACKEND},
};
use deploy_pki::AgentPeer;
use rustls_pki_types::CertificateDer;
use std::sync::Arc;

/// Lets in whom an [`AgentRegistry`] knows, and tells it who was there.
#[derive(Clone, Debug)]
pub struct RegistryAdmission {
    agents: Arc<dyn AgentRegistry>,
    clock: Arc<dyn Clock>,
}

impl RegistryAdmission {
    /// By what `agents` knows.
    #[must_use]
    pub fn new(agents: Arc<dyn AgentRegistry>, clock: Arc<dyn Clock>) -> Self {
        Self { agents, clock }
    }
}

#[async_trait]
impl Admission for RegistryAdmission {
    async fn identify(&self, peer: &Peer) -> Result<HostName, Denied> {
        let certificate = CertificateDer::from(peer.certificate());
        let said = AgentPeer::of(&certificate).map_err(|err| Denied::Forever(err.to_string()))?;
        let agent = self.agents.identify(&said.key).await.map_err(|err| denied(&err))?;
        if agent.host != said.host {
            return Err(Denied::Forever(format!(
                "the certificate is that of `{}`, and the key now that of `{}`: enrol the host again",
                said.host, agent.host
            )));
        }
        Ok(agent.host)
    }

    async fn arrived(&self, host: &HostName, hello: &Hello) -> Result<(), Denied> {
        let boot = boot(&hello.boot_id)?;
        self.agents
            .arrive(host, &boot, self.clock.now())
            .await
            .map(drop)
            .map_err(|err| denied(&err))
    }

    async fn doubled(&self, host: &HostName, boots: &Boots) {
        // Both are there: the one that comes back after the other is what the registry locks out for.
        for boot in [&boots.new, &boots.open] {
            let Ok(boot) = self::boot(boot) else { continue };
            if let Err(err) = self.agents.arrive(host, &boot, self.clock.now()).await {
                tracing::warn!(
                    target: TARGET_BACKEND,
                    { { HOST } = %host, reason = %err.chain() }, "two machines say that they are one host"
                );
            }
        }
    }

    async fn seen(&self, host: &HostName) {
        if let Err(err) = self.agents.hear(host, self.clock.now()).await {
            tracing::debug!(target: TARGET_BACKEND, { { HOST } = %host, reason = %err.chain() }, "a sight is not noted");
        }
    }
}

fn boot(text: &str) -> Result<BootId, Denied> {
    text.parse().map_err(|err| Denied::Forever(format!("the agent's boot id is none: {err}")))
}

/// Whether asking again can help.
pub(crate) fn denied(err: &BackendError) -> Denied {
    match err.kind() {
        ErrorKind::NotFound | ErrorKind::PermissionDenied | ErrorKind::Unauthenticated => {
            Denied::Forever(err.chain())
        }
        _ => Denied::ForNow(err.chain()),
    }
}
