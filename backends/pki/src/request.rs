use crate::error::PkiError;
use deploy_core::agent::KeyFingerprint;
use rcgen::{CertificateSigningRequestParams, PublicKey, PublicKeyData as _};
use rustls::pki_types::CertificateSigningRequestDer;
use std::fmt;

/// The longest request that is looked at, in bytes. One with a key alone has less than 300.
pub const LONGEST_REQUEST: usize = 4_096;

/// What an agent asks a certificate with: its public key, signed by itself. Whatever else it says of itself is not looked at.
pub struct CertificateRequest {
    public_key: PublicKey,
    key: KeyFingerprint,
}

impl CertificateRequest {
    /// Reads a request (PKCS #10, as DER), and checks that whoever made it has the key.
    ///
    /// # Errors
    /// If it is none, is longer than [`LONGEST_REQUEST`], its signature is wrong, or its key is not one of P-256.
    pub fn parse(der: &[u8]) -> Result<Self, PkiError> {
        if der.len() > LONGEST_REQUEST {
            return Err(PkiError::Request("it is too long"));
        }
        let der = CertificateSigningRequestDer::from(der);
        let parsed = CertificateSigningRequestParams::from_der(&der);
        let public_key = match parsed {
            Ok(parsed) => parsed.public_key,
            Err(rcgen::Error::InvalidCertificationRequestSignature) => {
                return Err(PkiError::Request("it is not signed with the key that is in it"));
            }
            Err(_) => return Err(PkiError::Request("it cannot be read")),
        };
        if *public_key.algorithm() != rcgen::PKCS_ECDSA_P256_SHA256 {
            return Err(PkiError::Request("its key is not one of ECDSA P-256"));
        }
        let key = KeyFingerprint::of(&public_key.subject_public_key_info());
        Ok(Self { public_key, key })
    }

    /// The key that the certificate is to be for.
    #[must_use]
    pub const fn key(&self) -> KeyFingerprint {
        self.key
    }

    pub(crate) const fn public_key(&self) -> &PublicKey {
        &self.public_key
    }
}

impl fmt::Debug for CertificateRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CertificateRequest").field("key", &self.key).finish_non_exhaustive()
    }
}
