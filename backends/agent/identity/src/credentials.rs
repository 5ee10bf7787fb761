//! What a machine is known by, as it lies on its disk.
use deploy_agent_protocol::{PublicKey, v1};
use deploy_core::digest::Digest;
use deploy_pki::MachineKey;
use rustls_pki_types::CertificateDer;
use serde::{Deserialize, Serialize};
use std::{
    fmt, fs,
    io::{self, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, fchown},
    path::{Path, PathBuf},
};
use thiserror::Error;

/// The file, in the state folder.
const FILE: &str = "credentials.toml";

/// Why there are no credentials.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CredentialsError {
    /// The machine was never enrolled.
    #[error("this machine is not enrolled: there is no {}; the command `enrol` makes it", .0.display())]
    Missing(PathBuf),
    /// The file cannot be read or written.
    #[error("{}: {source}", .path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What it says is not understood. Not what: it may be the key.
    #[error("{} is damaged: enrol the machine again", .0.display())]
    Damaged(PathBuf),
}

/// The key and certificate of a host, and whom it trusts. `Debug` tells nothing of the key.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Credentials {
    host: String,
    /// `HOST:PORT`.
    gateway: String,
    /// The SHA-256 digest of the authority's certificate.
    authority: Digest,
    signers: Vec<String>,
    renew_at_ms: u64,
    key: String,
    chain: Vec<String>,
}

impl Credentials {
    /// Of `certificate`, which was issued for `key` by the `authority`. Where it names no gateway, that is `known`.
    #[must_use]
    pub fn new(
        authority: Digest,
        key: &MachineKey,
        certificate: &v1::Certificate,
        known: &str,
    ) -> Self {
        let named = certificate.gateway.as_str();
        let gateway = if named.is_empty() { known } else { named };
        Self {
            host: certificate.host.clone(),
            gateway: gateway.to_owned(),
            authority,
            signers: certificate.signers.iter().map(|it| to_hex(it)).collect(),
            renew_at_ms: certificate.renew_at_ms,
            key: key.to_pem(),
            chain: certificate.chain.iter().map(|it| to_hex(it)).collect(),
        }
    }

    /// Those that are kept in the folder `state`.
    ///
    /// # Errors
    /// If there are none, or they cannot be read.
    pub fn read(state: &Path) -> Result<Self, CredentialsError> {
        let path = state.join(FILE);
        match fs::read_to_string(&path) {
            Ok(text) => toml::from_str(&text).map_err(|_secret| CredentialsError::Damaged(path)),
            Err(err) if err.kind() == io::ErrorKind::NotFound => {
                Err(CredentialsError::Missing(path))
            }
            Err(source) => Err(CredentialsError::Io { path, source }),
        }
    }

    /// Keeps them in the folder `state`, for this account alone: these or what was there before, whatever happens.
    ///
    /// # Errors
    /// If they cannot be written.
    pub fn write(&self, state: &Path) -> Result<(), CredentialsError> {
        let path = state.join(FILE);
        let written = toml::to_string(self)
            .map_err(io::Error::other)
            .and_then(|text| replace(state, &path, text.as_bytes()));
        written.map_err(|source| CredentialsError::Io { path, source })
    }

    /// The name of the host.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// `HOST:PORT` of the gateway.
    #[must_use]
    pub fn gateway(&self) -> &str {
        &self.gateway
    }

    /// The authority whose servers this host trusts.
    #[must_use]
    pub const fn authority(&self) -> Digest {
        self.authority
    }

    /// Whose orders it follows; what cannot be read is nobody's.
    #[must_use]
    pub fn signers(&self) -> Vec<PublicKey> {
        let keys = self.signers.iter().filter_map(|it| from_hex(it));
        keys.filter_map(|it| it.try_into().ok()).collect()
    }

    /// Milliseconds since 1970.
    #[must_use]
    pub const fn renew_at_ms(&self) -> u64 {
        self.renew_at_ms
    }

    /// Its key.
    ///
    /// # Errors
    /// If it is none.
    pub fn key(&self) -> io::Result<MachineKey> {
        MachineKey::from_pem(&self.key).map_err(io::Error::other)
    }

    /// Its certificate, and all that leads to the authority.
    #[must_use]
    pub fn chain(&self) -> Vec<CertificateDer<'static>> {
        let chain = self.chain.iter().filter_map(|it| from_hex(it));
        chain.map(CertificateDer::from).collect()
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("host", &self.host)
            .field("gateway", &self.gateway)
            .finish_non_exhaustive()
    }
}

/// Writes a file in `folder` for the account alone that the folder belongs to: it holds this or what it held before, whatever happens.
pub(crate) fn replace(folder: &Path, path: &Path, bytes: &[u8]) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let new = path.with_extension("new");
    let mut options = fs::OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    let owner = fs::metadata(folder)?;
    if owner.uid() != file.metadata()?.uid() {
        fchown(&file, Some(owner.uid()), Some(owner.gid()))?;
    }
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    fs::File::open(folder)?.sync_all()
}

pub(crate) fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|it| format!("{it:02x}")).collect()
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || !text.bytes().all(|it| it.is_ascii_hexdigit()) {
        return None;
    }
    let digits = text.as_bytes().chunks(2);
    digits.map(|it| u8::from_str_radix(std::str::from_utf8(it).ok()?, 16).ok()).collect()
}
