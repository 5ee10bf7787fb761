use super::{HTTP_2, Time, provider, verify::PinnedVerifier};
use crate::{error::PkiError, machine::MachineKey};
use deploy_core::{backend::Clock, digest::Digest};
use rustls::{ClientConfig, client::Resumption, pki_types::CertificateDer, version::TLS13};
use std::sync::Arc;

/// TLS of an agent: it speaks to servers of one authority, which its join token names, and to nobody else.
#[derive(Clone, Debug)]
pub struct PinnedConnector {
    authority: Digest,
    clock: Arc<dyn Clock>,
}

impl PinnedConnector {
    /// To servers of the authority with this fingerprint.
    #[must_use]
    pub fn new(authority: Digest, clock: Arc<dyn Clock>) -> Self {
        Self { authority, clock }
    }

    /// For an agent that has no certificate yet.
    ///
    /// # Errors
    /// If TLS cannot be set up.
    pub fn stranger(&self) -> Result<ClientConfig, PkiError> {
        self.config(None)
    }

    /// For an agent that has this key, and a certificate of it with all that leads to its root.
    ///
    /// # Errors
    /// If key and certificate do not belong together.
    pub fn agent(
        &self,
        chain: Vec<CertificateDer<'static>>,
        key: &MachineKey,
    ) -> Result<ClientConfig, PkiError> {
        self.config(Some((chain, key)))
    }

    fn config(
        &self,
        identity: Option<(Vec<CertificateDer<'static>>, &MachineKey)>,
    ) -> Result<ClientConfig, PkiError> {
        let time = Arc::new(Time(Arc::clone(&self.clock)));
        let builder = ClientConfig::builder_with_details(provider(), time);
        let builder = builder.with_protocol_versions(&[&TLS13])?;
        let verifier = Arc::new(PinnedVerifier::new(self.authority));
        let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
        let mut config = match identity {
            None => builder.with_no_client_auth(),
            Some((chain, key)) => builder.with_client_auth_cert(chain, key.private_key())?,
        };
        config.alpn_protocols = vec![HTTP_2.to_vec()];
        config.resumption = Resumption::disabled();
        Ok(config)
    }
}
