//! What is asked of a certificate beyond what X.509 asks.
use super::{provider, server::Hook};
use crate::{error::PkiError, peer::AgentPeer, revocation::Revocations};
use deploy_core::digest::Digest;
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore,
    SignatureScheme,
    client::{
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_cert_signed_by_trust_anchor,
    },
    crypto::{CryptoProvider, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::{
        ParsedCertificate, WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
};
use std::{fmt, sync::Arc};
use tokio::sync::watch;

/// The longest chain that is looked at: a certificate, its issuer, the root.
const LONGEST_CHAIN: usize = 3;

const REFUSED: Error = Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure);

fn roots(root: &CertificateDer<'_>) -> Result<Arc<RootCertStore>, Error> {
    let mut roots = RootCertStore::empty();
    roots.add(root.clone().into_owned())?;
    Ok(Arc::new(roots))
}

/// Lets agents of one authority in, but those on a list.
pub(super) struct AgentVerifier {
    inner: Arc<dyn ClientCertVerifier>,
    revocations: watch::Receiver<Revocations>,
    hook: Option<Hook>,
    strangers: bool,
}

impl AgentVerifier {
    pub(super) fn new(
        root: &CertificateDer<'_>,
        revocations: watch::Receiver<Revocations>,
        hook: Option<Hook>,
        strangers: bool,
    ) -> Result<Self, PkiError> {
        let builder = WebPkiClientVerifier::builder_with_provider(roots(root)?, provider());
        let inner = builder
            .build()
            .map_err(|_| PkiError::Certificate("the root of the authority is none"))?;
        Ok(Self { inner, revocations, hook, strangers })
    }

    fn lets_in(&self, peer: &AgentPeer) -> bool {
        // Who cannot be told of revocations any more does not know of them.
        let up_to_date = self.revocations.has_changed().is_ok();
        up_to_date
            && !self.revocations.borrow().keeps_out(peer)
            && self.hook.as_ref().is_none_or(|hook| hook(peer))
    }
}

impl fmt::Debug for AgentVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AgentVerifier").finish_non_exhaustive()
    }
}

impl ClientCertVerifier for AgentVerifier {
    fn client_auth_mandatory(&self) -> bool {
        !self.strangers
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.inner.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        if intermediates.len() >= LONGEST_CHAIN {
            return Err(REFUSED);
        }
        let verified = self.inner.verify_client_cert(end_entity, intermediates, now)?;
        let peer = AgentPeer::of(end_entity).map_err(|_| REFUSED)?;
        if self.lets_in(&peer) {
            Ok(verified)
        } else {
            Err(Error::InvalidCertificate(CertificateError::Revoked))
        }
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(REFUSED)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

/// Trusts servers whose chain leads to one root, known by its fingerprint. The server shows the root itself.
///
/// The name under which a server is reached proves nothing beyond that, and is not looked at: the authority makes servers of one
/// control plane and of nobody else, and that is who an agent wants to speak to, under whatever name or address.
#[derive(Debug)]
pub(super) struct PinnedVerifier {
    authority: Digest,
    provider: Arc<CryptoProvider>,
}

impl PinnedVerifier {
    pub(super) fn new(authority: Digest) -> Self {
        Self { authority, provider: provider() }
    }
}

impl ServerCertVerifier for PinnedVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if intermediates.len() >= LONGEST_CHAIN {
            return Err(REFUSED);
        }
        let root = intermediates.iter().find(|it| Digest::of(it) == self.authority);
        let root = root.ok_or(Error::InvalidCertificate(CertificateError::UnknownIssuer))?;
        let certificate = ParsedCertificate::try_from(end_entity)?;
        let algorithms = self.provider.signature_verification_algorithms.all;
        let roots = roots(root)?;
        verify_server_cert_signed_by_trust_anchor(
            &certificate,
            &roots,
            intermediates,
            now,
            algorithms,
        )?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(REFUSED)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Trusts servers of one authority, and its agents. Which of them somebody is, and whether it is who it should be, the certificate says to
/// whoever has connected.
#[derive(Debug)]
pub(super) struct PeerVerifier {
    authority: Digest,
    servers: PinnedVerifier,
}

impl PeerVerifier {
    pub(super) fn new(authority: Digest) -> Self {
        Self { authority, servers: PinnedVerifier::new(authority) }
    }

    fn verify_agent(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if intermediates.len() >= LONGEST_CHAIN {
            return Err(REFUSED);
        }
        let root = intermediates.iter().find(|it| Digest::of(it) == self.authority);
        let root = root.ok_or(Error::InvalidCertificate(CertificateError::UnknownIssuer))?;
        let verifier = WebPkiClientVerifier::builder_with_provider(roots(root)?, provider());
        let verifier = verifier.build().map_err(|_| REFUSED)?;
        verifier.verify_client_cert(end_entity, intermediates, now)?;
        Ok(ServerCertVerified::assertion())
    }
}

impl ServerCertVerifier for PeerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if AgentPeer::of(end_entity).is_ok() {
            return self.verify_agent(end_entity, intermediates, now);
        }
        self.servers.verify_server_cert(end_entity, intermediates, name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(REFUSED)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.servers.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.servers.supported_verify_schemes()
    }
}
