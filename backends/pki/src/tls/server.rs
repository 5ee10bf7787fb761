use super::{HTTP_1, HTTP_2, Time, provider, verify::AgentVerifier};
use crate::{authority::Authority, error::PkiError, peer::AgentPeer, revocation::Revocations};
use deploy_core::backend::Clock;
use rustls::{
    ConfigBuilder, ServerConfig, WantsVerifier,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::NoServerSessionStorage,
    sign::CertifiedKey,
    version::TLS13,
};
use std::{fmt, sync::Arc};
use tokio::sync::watch;

/// What a server shows to whoever connects: a certificate with all that leads to its root, and its key.
///
/// `Debug` tells nothing of the key.
pub struct ServerIdentity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl ServerIdentity {
    /// A certificate that somebody else has issued.
    ///
    /// # Errors
    /// If the key is not the one of the first certificate.
    pub fn new(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Result<Self, PkiError> {
        let provider = provider();
        let signing = provider.key_provider.load_private_key(key.clone_key())?;
        CertifiedKey::new(chain.clone(), signing).keys_match()?;
        Ok(Self { chain, key })
    }

    /// As [`new`](Self::new), from files in PEM.
    ///
    /// # Errors
    /// If they are none, or do not belong together.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, PkiError> {
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(chain).collect();
        let chain = chain.map_err(|_| PkiError::Certificate("it is not in PEM"))?;
        let key = PrivateKeyDer::from_pem_slice(key);
        Self::new(chain, key.map_err(|_| PkiError::Certificate("its key is not in PEM"))?)
    }

    /// The certificate, and all that leads to its root.
    #[must_use]
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }
}

impl fmt::Debug for ServerIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerIdentity").field("chain", &self.chain.len()).finish_non_exhaustive()
    }
}

/// TLS for the port of people and programs, who say otherwise who they are.
///
/// # Errors
/// If the identity cannot be used.
pub fn api_config(
    identity: &ServerIdentity,
    clock: Arc<dyn Clock>,
) -> Result<ServerConfig, PkiError> {
    let config = builder(clock)?.with_no_client_auth();
    let mut config = config.with_single_cert(identity.chain.clone(), identity.key.clone_key())?;
    config.alpn_protocols = vec![HTTP_2.to_vec(), HTTP_1.to_vec()];
    Ok(config)
}

/// TLS for the port of agents: whoever has no certificate of an agent has no connection, unless strangers are let in.
pub struct AgentAcceptor {
    root: CertificateDer<'static>,
    revocations: watch::Receiver<Revocations>,
    hook: Option<Hook>,
    strangers: bool,
    clock: Arc<dyn Clock>,
}

/// Says whether an agent whose certificate is good has a connection.
pub(crate) type Hook = Arc<dyn Fn(&AgentPeer) -> bool + Send + Sync>;

impl AgentAcceptor {
    /// For agents of `authority`, but those on the list, at each handshake. The list must be kept up for as long as this is used:
    /// without its sender nobody gets in.
    #[must_use]
    pub fn new(
        authority: &Authority,
        revocations: watch::Receiver<Revocations>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let root = authority.root().clone();
        Self { root, revocations, hook: None, strangers: false, clock }
    }

    /// And only for those to whom `hook` says yes. It is asked in the middle of a handshake: it must not wait.
    #[must_use]
    pub fn with_hook(mut self, hook: impl Fn(&AgentPeer) -> bool + Send + Sync + 'static) -> Self {
        self.hook = Some(Arc::new(hook));
        self
    }

    /// And whoever shows no certificate at all: machines that have a join token and nothing else yet. Who shows one that is not good
    /// has no connection all the same.
    #[must_use]
    pub const fn with_strangers(mut self) -> Self {
        self.strangers = true;
        self
    }

    /// The configuration for a server that shows `identity`.
    ///
    /// # Errors
    /// If the identity cannot be used.
    pub fn config(&self, identity: &ServerIdentity) -> Result<ServerConfig, PkiError> {
        self.config_for(identity, HTTP_2)
    }

    /// The same for the port where the server gives blocks.
    ///
    /// # Errors
    /// If the identity cannot be used.
    pub fn block_config(&self, identity: &ServerIdentity) -> Result<ServerConfig, PkiError> {
        self.config_for(identity, HTTP_1)
    }

    fn config_for(
        &self,
        identity: &ServerIdentity,
        protocol: &[u8],
    ) -> Result<ServerConfig, PkiError> {
        let (list, hook) = (self.revocations.clone(), self.hook.clone());
        let verifier = Arc::new(AgentVerifier::new(&self.root, list, hook, self.strangers)?);
        let config = builder(Arc::clone(&self.clock))?.with_client_cert_verifier(verifier);
        let config = config.with_single_cert(identity.chain.clone(), identity.key.clone_key())?;
        Ok(without_resumption(config, protocol))
    }
}

/// A session that is taken up again is not verified again: whoever was revoked meanwhile would come in.
pub(super) fn without_resumption(mut config: ServerConfig, protocol: &[u8]) -> ServerConfig {
    config.alpn_protocols = vec![protocol.to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config
}

impl fmt::Debug for AgentAcceptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AgentAcceptor").finish_non_exhaustive()
    }
}

pub(super) fn builder(
    clock: Arc<dyn Clock>,
) -> Result<ConfigBuilder<ServerConfig, WantsVerifier>, PkiError> {
    let builder = ServerConfig::builder_with_details(provider(), Arc::new(Time(clock)));
    Ok(builder.with_protocol_versions(&[&TLS13])?)
}
