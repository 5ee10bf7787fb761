//! Who may have a session, by what a registry of agents knows.
use crate::{
    admission::{Admission, Denied, Peer},
    session::Boots,
};
use async_trait::async_trait;
use deploy_agent_protocol::v1::{Facts, Hello};
use deploy_core::{
    agent::{Agent, AgentFacts},
    backend::{AgentRegistry, CertifyAgent, Clock},
    error::{BackendError, ErrorKind},
    id::{BootId, HostName},
    telemetry::{HOST, TARGET_BACKEND},
};
use deploy_pki::AgentPeer;
use rustls_pki_types::CertificateDer;
use std::sync::Arc;

/// The longest word of a host's that is kept, in characters.
const LONGEST_WORD: usize = 128;
/// How many of its addresses.
const ADDRESSES: usize = 16;

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

    /// The agent that `peer` is: that of a host, or a relay.
    pub(crate) async fn agent(&self, peer: &Peer) -> Result<Agent, Denied> {
        let certificate = CertificateDer::from(peer.certificate());
        let said = AgentPeer::of(&certificate).map_err(|err| Denied::Forever(err.to_string()))?;
        let agent = match self.agents.identify(&said.key).await {
            Err(err) if err.kind() == ErrorKind::Unauthenticated => self.adopt(&said, &err).await?,
            known => known.map_err(|err| denied(&err))?,
        };
        if agent.host != said.host {
            return Err(Denied::Forever(format!(
                "the certificate is that of `{}`, and the key now that of `{}`: enrol the host again",
                said.host, agent.host
            )));
        }
        Ok(agent)
    }

    /// Notes that an agent is there, in that boot.
    pub(crate) async fn arrive(&self, host: &HostName, boot_id: &str) -> Result<(), Denied> {
        let arrived = self.agents.arrive(host, &boot(boot_id)?, self.clock.now()).await;
        arrived.map(drop).map_err(|err| denied(&err))
    }

    /// Notes that an agent is still there.
    pub(crate) async fn hear(&self, host: &HostName) -> Result<(), Denied> {
        self.agents.hear(host, self.clock.now()).await.map_err(|err| denied(&err))
    }

    /// Lets somebody in whose key is `unknown`, but whose certificate, which TLS has verified, is newer than any that the registry
    /// knows of the host. No certificate is given out that was not written down before: the registry was restored from a backup, and
    /// the agent has renewed its key since.
    async fn adopt(&self, said: &AgentPeer, unknown: &BackendError) -> Result<Agent, Denied> {
        let agent = self.agents.agent(&said.host).await.map_err(|_no_agent| denied(unknown))?;
        let keys = [Some(&agent.key), agent.next_key.as_ref()];
        let certificates = keys.into_iter().flatten().filter_map(|it| it.certificate.as_ref());
        let newest = certificates.map(|it| it.expires_at).max();
        if newest.is_none_or(|it| said.certificate.expires_at <= it) {
            return Err(denied(unknown));
        }
        let (holder, certificate) = (agent.key.fingerprint, said.certificate.clone());
        let request = CertifyAgent::new(holder, said.key, certificate);
        self.agents.certify(&request).await.map_err(|err| denied(&err))?;
        tracing::warn!(
            target: TARGET_BACKEND,
            { { HOST } = %said.host },
            "an agent has renewed its key, and the registry does not know of it: it was restored from a backup"
        );
        self.agents.identify(&said.key).await.map_err(|err| denied(&err))
    }
}

#[async_trait]
impl Admission for RegistryAdmission {
    async fn identify(&self, peer: &Peer) -> Result<HostName, Denied> {
        let agent = self.agent(peer).await?;
        if agent.is_relay() {
            let why = format!("`{}` is a relay, and no host: it has no session", agent.host);
            return Err(Denied::Forever(why));
        }
        Ok(agent.host)
    }

    async fn arrived(&self, host: &HostName, hello: &Hello) -> Result<(), Denied> {
        let boot = boot(&hello.boot_id)?;
        let arrived = self.agents.arrive(host, &boot, self.clock.now()).await;
        let agent = arrived.map_err(|err| denied(&err))?;
        let facts = facts(hello.facts.as_ref(), &hello.agent_version);
        // Thousands may come back at once, each as it was.
        if agent.facts != facts {
            self.agents.describe(host, &facts).await.map_err(|err| denied(&err))?;
        }
        Ok(())
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

    async fn seen(&self, host: &HostName) -> Result<(), Denied> {
        self.agents.hear(host, self.clock.now()).await.map_err(|err| denied(&err))
    }
}

/// What a host says of itself, as far as it is kept: nothing that changes all the time.
pub(crate) fn facts(said: Option<&Facts>, agent_version: &str) -> AgentFacts {
    let mut facts = AgentFacts::default();
    facts.agent_version = short(agent_version);
    let Some(said) = said else { return facts };
    facts.os = short(&said.os);
    facts.kernel = short(&said.kernel);
    facts.architecture = short(&said.architecture);
    (facts.cpus, facts.memory_bytes) = (said.cpus, said.memory_bytes);
    facts.disk_bytes = said.disks.iter().find(|it| it.path == "/").map_or(0, |it| it.size_bytes);
    facts.addresses = said.addresses.iter().take(ADDRESSES).map(|it| short(it)).collect();
    facts
}

/// What can be shown of a word of a host's.
fn short(word: &str) -> String {
    word.chars().filter(|it| !it.is_control()).take(LONGEST_WORD).collect()
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
