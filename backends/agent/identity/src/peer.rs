//! The same certificate, shown to those who exchange blocks.
use crate::Credentials;
use deploy_agent_protocol::{BLOCKS_OF_SERVER, v1};
use deploy_core::id::HostName;
use deploy_distribution::transfer::{Endpoint, Identify};
use deploy_pki::{AgentPeer, PeerTls};
use rustls_pki_types::CertificateDer;
use std::{io, sync::Arc};
use tokio_rustls::rustls::{ClientConfig, ServerConfig};

/// More than any control plane names.
const MOST_ENDPOINTS: usize = 16;

/// TLS among those who exchange blocks.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PeerConfigs {
    /// To ask others.
    pub client: Arc<ClientConfig>,
    /// To be asked.
    pub server: Arc<ServerConfig>,
}

impl PeerConfigs {
    /// As whoever these credentials are of.
    ///
    /// # Errors
    /// If they are no good.
    pub fn new(tls: &PeerTls, credentials: &Credentials) -> io::Result<Self> {
        let (chain, key) = (credentials.chain(), credentials.key()?);
        let client = tls.client(chain.clone(), &key).map_err(io::Error::other)?;
        let server = tls.server(chain, &key).map_err(io::Error::other)?;
        Ok(Self { client: Arc::new(client), server: Arc::new(server) })
    }
}

/// Whose a certificate is that [`PeerTls`] has verified: no host's is the server's, and no host has the server's name.
#[must_use]
pub fn identify() -> Identify {
    Arc::new(|certificate: &CertificateDer<'_>| match AgentPeer::of(certificate) {
        Ok(peer) => Some(peer.host).filter(|it| it.as_str() != BLOCKS_OF_SERVER),
        Err(_of_a_server) => BLOCKS_OF_SERVER.parse::<HostName>().ok(),
    })
}

/// Those who give blocks, as a gateway that is reached at `gateway`, a `HOST:PORT`, has named them: a port alone is one of that host.
///
/// # Errors
/// If a name is none.
pub fn endpoints(named: &[v1::BlockServer], gateway: &str) -> io::Result<Vec<Endpoint>> {
    let (host, _port) = gateway.rsplit_once(':').unwrap_or((gateway, ""));
    let endpoint = |it: &v1::BlockServer| {
        let invalid = |_| io::Error::new(io::ErrorKind::InvalidData, "a name is none");
        let is_port = it.address.starts_with(':');
        let address = if is_port { format!("{host}{}", it.address) } else { it.address.clone() };
        Ok(Endpoint::new(it.name.parse().map_err(invalid)?, address))
    };
    named.iter().take(MOST_ENDPOINTS).map(endpoint).collect()
}
