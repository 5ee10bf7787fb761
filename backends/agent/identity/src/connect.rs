//! Connections to the servers of one authority.
use crate::{HostPort, Via, credentials::Credentials};
use async_trait::async_trait;
use deploy_core::{backend::Clock, digest::Digest};
use deploy_pki::PinnedConnector;
use hyper_util::rt::TokioIo;
use std::{fmt, io, path::PathBuf, sync::Arc, time::Duration};
use tokio_rustls::{TlsConnector, rustls::ClientConfig};
use tonic::transport::{Channel, Endpoint, Uri};
use tower::service_fn;

/// How often a silent connection is tried, and how long an answer may take.
const KEEP_ALIVE: (Duration, Duration) = (Duration::from_secs(20), Duration::from_secs(10));

/// Makes connections to the gateway.
#[async_trait]
pub trait Connect: fmt::Debug + Send + Sync + 'static {
    /// A connection over which both sides have proved who they are.
    async fn connect(&self) -> io::Result<Channel>;
}

/// Connects to the gateway with what the host is known by, which is read anew each time: it changes.
#[derive(Debug)]
pub struct GatewayConnector {
    state: PathBuf,
    via: Arc<Via>,
    clock: Arc<dyn Clock>,
}

impl GatewayConnector {
    /// With the credentials in the folder `state`.
    #[must_use]
    pub fn new(state: impl Into<PathBuf>, clock: Arc<dyn Clock>) -> Self {
        Self { state: state.into(), via: Arc::default(), clock }
    }

    /// By way of others.
    #[must_use]
    pub fn with_via(mut self, via: Via) -> Self {
        self.via = Arc::new(via);
        self
    }
}

#[async_trait]
impl Connect for GatewayConnector {
    async fn connect(&self) -> io::Result<Channel> {
        let credentials = Credentials::read(&self.state).map_err(io::Error::other)?;
        let connector = PinnedConnector::new(credentials.authority(), Arc::clone(&self.clock));
        let config = connector.agent(credentials.chain(), &credentials.key()?);
        connect(credentials.gateway(), &self.via, config.map_err(io::Error::other)?).await
    }
}

/// A connection to `server`, a `HOST:PORT`, from somebody who has no certificate yet.
pub(crate) async fn connect_as_stranger(
    server: &str,
    via: &Arc<Via>,
    authority: Digest,
    clock: Arc<dyn Clock>,
) -> io::Result<Channel> {
    let config = PinnedConnector::new(authority, clock).stranger().map_err(io::Error::other)?;
    connect(server, via, config).await
}

async fn connect(server: &str, via: &Arc<Via>, config: ClientConfig) -> io::Result<Channel> {
    let gateway: HostPort =
        server.parse().map_err(|err| io::Error::new(io::ErrorKind::InvalidInput, err))?;
    let tls = TlsConnector::from(Arc::new(config));
    let via = Arc::clone(via);
    let connector = service_fn(move |_: Uri| {
        let (via, gateway, tls) = (Arc::clone(&via), gateway.clone(), tls.clone());
        async move { via.open(&gateway, &tls).await.map(TokioIo::new) }
    });
    let (every, within) = KEEP_ALIVE;
    // What is behind `http` is TLS: this says only that it is made here.
    let endpoint = Endpoint::from_shared(format!("http://{server}")).map_err(io::Error::other)?;
    let endpoint = endpoint
        .http2_keep_alive_interval(every)
        .keep_alive_timeout(within)
        .keep_alive_while_idle(true);
    endpoint.connect_with_connector(connector).await.map_err(|err| in_words(&err))
}

/// The innermost cause: what is around it says only that it is an error of a transport.
fn in_words(err: &tonic::transport::Error) -> io::Error {
    let mut innermost: &dyn std::error::Error = err;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    io::Error::other(innermost.to_string())
}
