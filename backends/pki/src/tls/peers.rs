use super::{
    HTTP_1, Time, provider,
    server::{builder, without_resumption},
    verify::{AgentVerifier, PeerVerifier},
};
use crate::{error::PkiError, machine::MachineKey, revocation::Revocations};
use deploy_core::{backend::Clock, digest::Digest};
use rustls::{
    ClientConfig, ServerConfig, client::Resumption, pki_types::CertificateDer, version::TLS13,
};
use std::{fmt, sync::Arc};
use tokio::sync::watch;

/// TLS between hosts that give each other blocks: each shows the certificate of its agent, at both ends of a connection.
///
/// A certificate of an agent is no server's, here as elsewhere: nobody but whoever connects by [`client`](Self::client) takes it for
/// somebody who gives blocks, and who that is its name says. Connections to gateways are of [`PinnedConnector`](super::PinnedConnector),
/// which believes servers alone.
pub struct PeerTls {
    authority: Digest,
    /// A host is told of nobody who is kept out: their tokens end soon.
    nobody: watch::Sender<Revocations>,
    clock: Arc<dyn Clock>,
}

impl PeerTls {
    /// Among hosts and servers of the authority with this fingerprint.
    #[must_use]
    pub fn new(authority: Digest, clock: Arc<dyn Clock>) -> Self {
        Self { authority, nobody: watch::Sender::new(Revocations::new()), clock }
    }

    /// For a host that has this key, and a certificate of it with all that leads to its root, to ask others.
    ///
    /// # Errors
    /// If key and certificate do not belong together.
    pub fn client(
        &self,
        chain: Vec<CertificateDer<'static>>,
        key: &MachineKey,
    ) -> Result<ClientConfig, PkiError> {
        let time = Arc::new(Time(Arc::clone(&self.clock)));
        let builder = ClientConfig::builder_with_details(provider(), time);
        let builder = builder.with_protocol_versions(&[&TLS13])?;
        let verifier = Arc::new(PeerVerifier::new(self.authority));
        let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
        let mut config = builder.with_client_auth_cert(chain, key.private_key())?;
        config.alpn_protocols = vec![HTTP_1.to_vec()];
        config.resumption = Resumption::disabled();
        Ok(config)
    }

    /// For the same host, to be asked by others. It is good for as long as this is kept.
    ///
    /// # Errors
    /// If key and certificate do not belong together, or the chain does not lead to the root of the authority.
    pub fn server(
        &self,
        chain: Vec<CertificateDer<'static>>,
        key: &MachineKey,
    ) -> Result<ServerConfig, PkiError> {
        let root = chain.iter().find(|it| Digest::of(it) == self.authority);
        let root = root.ok_or(PkiError::Certificate("its chain has another root"))?;
        let verifier = AgentVerifier::new(root, self.nobody.subscribe(), None, false)?;
        let config = builder(Arc::clone(&self.clock))?;
        let config = config.with_client_cert_verifier(Arc::new(verifier));
        let config = config.with_single_cert(chain, key.private_key())?;
        Ok(without_resumption(config, HTTP_1))
    }
}

impl fmt::Debug for PeerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PeerTls").field("authority", &self.authority).finish_non_exhaustive()
    }
}
