mod files;

use crate::{
    error::PkiError,
    peer::{hex, uri_of},
    request::CertificateRequest,
    tls::ServerIdentity,
};
use deploy_core::{agent::Certificate, digest::Digest, id::HostName, time::Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PublicKeyData, SanType, SerialNumber,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use std::{fmt, path::Path, time::Duration};
use time::OffsetDateTime;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// How long the certificate of an agent is good.
pub const AGENT_LIFETIME: Duration = DAY;

/// How old an agent's certificate is when a new one is due: a third of its life.
pub const RENEW_AFTER: Duration = Duration::from_secs(AGENT_LIFETIME.as_secs() / 3);

/// How long the certificate of a server is good.
pub const SERVER_LIFETIME: Duration = Duration::from_secs(90 * DAY.as_secs());

/// How far the clock of the other side may be behind: certificates are good from so long before they are made.
pub const SKEW: Duration = Duration::from_secs(5 * 60);

/// How long root and issuers are good.
const AUTHORITY_LIFETIME: Duration = Duration::from_secs(20 * 365 * DAY.as_secs());

/// The certificate authority of a control plane. `Debug` tells nothing of its keys.
pub struct Authority {
    root: CertificateDer<'static>,
    root_pem: String,
    servers: Intermediate,
    agents: Intermediate,
}

/// An issuer that the root has signed.
struct Intermediate {
    certificate: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate that was issued, with all that leads to its root.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Issued {
    /// Itself, its issuer, the root.
    pub chain: [CertificateDer<'static>; 3],
    /// Its serial number and end.
    pub certificate: Certificate,
}

impl Issued {
    /// The certificate itself.
    #[must_use]
    pub const fn leaf(&self) -> &CertificateDer<'static> {
        let [leaf, ..] = &self.chain;
        leaf
    }
}

impl Authority {
    /// The secret, kept in `folder`, that the orders of this control plane are signed with; made there at the first start.
    ///
    /// # Errors
    /// As for [`open`](Self::open).
    pub fn order_secret(folder: &Path) -> Result<[u8; 32], PkiError> {
        files::order_secret(folder)
    }

    /// The authority that is kept in `folder`; at the first start, one that is made there.
    ///
    /// It lies in one file that only its owner may read, which is there whole or not at all.
    ///
    /// # Errors
    /// If the file cannot be read or made, is damaged, or may be read by others.
    pub fn open(folder: &Path, now: Timestamp) -> Result<Self, PkiError> {
        files::open(folder, now)
    }

    /// The certificate of the root.
    #[must_use]
    pub const fn root(&self) -> &CertificateDer<'static> {
        &self.root
    }

    /// The certificate of the root as text, for programs that are told whom to trust by a file.
    #[must_use]
    pub fn root_pem(&self) -> &str {
        &self.root_pem
    }

    /// What join tokens name this authority by: the SHA-256 digest of its root.
    #[must_use]
    pub fn fingerprint(&self) -> Digest {
        Digest::of(&self.root)
    }

    /// Makes a key and a certificate for a server that is reached under `names`: host names or addresses.
    ///
    /// It is good for [`SERVER_LIFETIME`]: a server that runs longer makes another in time, and TLS for new connections with it.
    ///
    /// # Errors
    /// If a name is none, or there are none.
    pub fn issue_server(
        &self,
        names: &[impl AsRef<str>],
        now: Timestamp,
    ) -> Result<ServerIdentity, PkiError> {
        let names: Result<Vec<_>, _> = names.iter().map(|it| server_name(it.as_ref())).collect();
        let names = names?;
        if names.is_empty() {
            return Err(PkiError::Name(String::new()));
        }
        let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
        let usage = ExtendedKeyUsagePurpose::ServerAuth;
        let params = leaf_params(usage, names, now, SERVER_LIFETIME)?;
        let issued = self.issue(&self.servers, &params, &key)?;
        let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
        ServerIdentity::new(issued.chain.to_vec(), key)
    }

    /// Makes the certificate of an agent. Who it is comes from the caller, and not from the request.
    ///
    /// # Errors
    /// If signing fails.
    pub fn issue_agent(
        &self,
        request: &CertificateRequest,
        host: &HostName,
        now: Timestamp,
    ) -> Result<Issued, PkiError> {
        let uri = uri_of(host).try_into().map_err(PkiError::Crypto)?;
        let usage = ExtendedKeyUsagePurpose::ClientAuth;
        let params = leaf_params(usage, vec![SanType::URI(uri)], now, AGENT_LIFETIME)?;
        self.issue(&self.agents, &params, request.public_key())
    }

    fn issue(
        &self,
        by: &Intermediate,
        params: &CertificateParams,
        key: &impl PublicKeyData,
    ) -> Result<Issued, PkiError> {
        let leaf = params.signed_by(key, &by.issuer)?.der().clone();
        let serial = params.serial_number.as_ref().map(|it| hex(it.as_ref())).unwrap_or_default();
        let expires = u64::try_from(params.not_after.unix_timestamp()).unwrap_or(0);
        let expires_at = Timestamp::from_millis(expires.saturating_mul(1_000));
        let chain = [leaf, by.certificate.clone(), self.root.clone()];
        Ok(Issued { chain, certificate: Certificate::new(serial, expires_at) })
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority")
            .field("fingerprint", &self.fingerprint())
            .finish_non_exhaustive()
    }
}

fn server_name(name: &str) -> Result<SanType, PkiError> {
    let refused = || PkiError::Name(name.to_owned());
    match ServerName::try_from(name).map_err(|_| refused())? {
        ServerName::IpAddress(address) => Ok(SanType::IpAddress(address.into())),
        ServerName::DnsName(name) => {
            Ok(SanType::DnsName(name.as_ref().try_into().map_err(|_| refused())?))
        }
        _ => Err(refused()),
    }
}

/// Of a certificate that signs nothing.
fn leaf_params(
    usage: ExtendedKeyUsagePurpose,
    names: Vec<SanType>,
    now: Timestamp,
    lifetime: Duration,
) -> Result<CertificateParams, PkiError> {
    let mut params = CertificateParams::default();
    params.serial_number = Some(serial()?);
    params.distinguished_name = DistinguishedName::new();
    params.subject_alt_names = names;
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![usage];
    params.use_authority_key_identifier_extension = true;
    (params.not_before, params.not_after) = validity(now, lifetime);
    Ok(params)
}

/// Of a certificate that signs others: issuers, if it is the root, else those of one `usage`.
fn issuer_params(
    name: &str,
    usage: Option<ExtendedKeyUsagePurpose>,
    now: Timestamp,
) -> Result<CertificateParams, PkiError> {
    let mut params = CertificateParams::default();
    params.serial_number = Some(serial()?);
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    let below = u8::from(usage.is_none());
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(below));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.extended_key_usages = usage.into_iter().collect();
    params.use_authority_key_identifier_extension = true;
    (params.not_before, params.not_after) = validity(now, AUTHORITY_LIFETIME);
    Ok(params)
}

/// 127 random bits: a number that is positive, and never the same twice.
fn serial() -> Result<SerialNumber, PkiError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(PkiError::Random)?;
    let [first, ..] = &mut bytes;
    *first = (*first & 0x7f) | 0x40;
    Ok(SerialNumber::from_slice(&bytes))
}

fn validity(now: Timestamp, lifetime: Duration) -> (OffsetDateTime, OffsetDateTime) {
    let instant = |at: Timestamp| {
        let seconds = i64::try_from(at.as_millis() / 1_000).unwrap_or(i64::MAX);
        OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH)
    };
    let skew = u64::try_from(SKEW.as_millis()).unwrap_or(0);
    let from = Timestamp::from_millis(now.as_millis().saturating_sub(skew));
    (instant(from), instant(now.after(lifetime)))
}
