use crate::error::PkiError;
use deploy_core::{
    agent::{Certificate, KeyFingerprint},
    id::HostName,
    time::Timestamp,
};
use rustls::pki_types::CertificateDer;
use x509_parser::{
    extensions::GeneralName,
    prelude::{FromDer as _, X509Certificate},
};

/// What the identity of an agent begins with, in its certificate.
const HOST: &str = "deploy://host/";

/// The longest certificate that is looked at, in bytes. Those of this authority have less than 700.
const LONGEST: usize = 4_096;

/// Who an agent is, as its certificate says. Whose key it is today, the registry of agents has to say.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AgentPeer {
    /// The host that the certificate was issued to.
    pub host: HostName,
    /// The key that it is for.
    pub key: KeyFingerprint,
    /// Its serial number and end.
    pub certificate: Certificate,
}

impl AgentPeer {
    /// Reads a certificate that TLS has verified. By itself this proves nothing.
    ///
    /// # Errors
    /// If it is none of an agent.
    pub fn of(certificate: &CertificateDer<'_>) -> Result<Self, PkiError> {
        if certificate.len() > LONGEST {
            return Err(PkiError::Certificate("it is too long"));
        }
        let (rest, parsed) = X509Certificate::from_der(certificate)
            .map_err(|_| PkiError::Certificate("it cannot be read"))?;
        if !rest.is_empty() {
            return Err(PkiError::Certificate("something comes after its end"));
        }
        let expires = parsed.validity().not_after.timestamp();
        let expires = u64::try_from(expires).unwrap_or(0).saturating_mul(1_000);
        let expires_at = Timestamp::from_millis(expires);
        Ok(Self {
            host: host_of(&parsed)?,
            key: KeyFingerprint::of(parsed.public_key().raw),
            certificate: Certificate::new(hex(parsed.raw_serial()), expires_at),
        })
    }
}

/// How an agent's host is named in its certificate.
pub(crate) fn uri_of(host: &HostName) -> String {
    format!("{HOST}{host}")
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|it| format!("{it:02x}")).collect()
}

/// An agent has one name, and it is that of its host.
fn host_of(certificate: &X509Certificate<'_>) -> Result<HostName, PkiError> {
    const NO_AGENT: PkiError = PkiError::Certificate("it is none of an agent");
    let names = certificate.subject_alternative_name().map_err(|_| NO_AGENT)?.ok_or(NO_AGENT)?;
    let [GeneralName::URI(uri)] = names.value.general_names.as_slice() else {
        return Err(NO_AGENT);
    };
    uri.strip_prefix(HOST).and_then(|host| host.parse().ok()).ok_or(NO_AGENT)
}
