//! Sockets: taken, kept within limits, and let go in an orderly way.
use crate::{api, limits::Limits, state::Server};
use deploy_core::backend::Clock;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{
        conn::auto::Builder,
        graceful::{GracefulShutdown, Watcher},
    },
    service::TowerToHyperService,
};
use std::{io, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        self, ServerConfig,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    },
};

/// How long requests under way may take to end when the server stops.
const LAST_WORDS: Duration = Duration::from_secs(10);
/// How long to wait when no connection can be taken, as when there are no descriptors left.
const BREATH: Duration = Duration::from_millis(100);
/// The largest head of a request, in bytes.
const LARGEST_HEAD: usize = 64 << 10;

/// How bytes travel.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Transport {
    /// For everybody to read.
    Plain,
    /// Encrypted.
    Tls(Arc<ServerConfig>),
}

/// Why connections cannot be served.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The certificate or the key is none.
    #[error("the {what} is not one in PEM")]
    Pem {
        /// Which of the two.
        what: &'static str,
        /// What is wrong.
        #[source]
        source: rustls::pki_types::pem::Error,
    },
    /// The certificate and the key do not go together, or cannot be used.
    #[error("the certificate cannot be used with its key")]
    Tls(#[from] rustls::Error),
}

impl Transport {
    /// Encrypted, with a chain of certificates and the key of the first of them, both in PEM. TLS 1.3 alone.
    ///
    /// # Errors
    /// If they are not that, or do not go together.
    pub fn tls(chain: &[u8], key: &[u8]) -> Result<Self, ServeError> {
        let bad = |what| move |source| ServeError::Pem { what, source };
        let chain: Vec<_> = CertificateDer::pem_slice_iter(chain)
            .collect::<Result<_, _>>()
            .map_err(bad("certificate"))?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(bad("key"))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_no_client_auth()
            .with_single_cert(chain, key)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self::Tls(Arc::new(config)))
    }
}

/// Serves `server` on `listener` until it is told to stop, and then until the requests under way have their answers.
///
/// # Errors
/// None so far: a connection that fails concerns nobody else.
pub async fn serve(server: Server, listener: TcpListener, transport: Transport) {
    let state = Arc::clone(&server.state);
    let acceptor = Acceptor {
        service: TowerToHyperService::new(api::router(server)),
        builder: builder(&state.limits),
        limits: state.limits,
        transport,
    };
    let acceptor = Arc::new(acceptor);
    let room = Arc::new(Semaphore::new(state.limits.connections));
    let graceful = GracefulShutdown::new();
    let mut stopping = state.stopping.clone();
    let clock = &state.control.parts.clock;
    loop {
        let accepted = tokio::select! {
            biased;
            _ = stopping.wait_for(|it| *it) => break,
            accepted = accept(&listener, &room) => accepted,
        };
        match accepted {
            Ok((stream, peer, place)) => {
                let (acceptor, watcher) = (Arc::clone(&acceptor), graceful.watcher());
                tokio::spawn(async move { acceptor.serve(stream, peer, place, watcher).await });
            }
            Err(err) => {
                tracing::warn!(%err, "a connection could not be taken");
                pause(&**clock).await;
            }
        }
    }
    drop(listener);
    if tokio::time::timeout(LAST_WORDS, graceful.shutdown()).await.is_err() {
        tracing::warn!("some requests did not end in time");
    }
}

async fn pause(clock: &dyn Clock) {
    clock.sleep_until(clock.now().after(BREATH)).await;
}

async fn accept(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
) -> io::Result<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    // Whoever does not fit in waits in the queue of the system.
    let place = Arc::clone(room).acquire_owned().await.map_err(io::Error::other)?;
    let (stream, peer) = listener.accept().await?;
    stream.set_nodelay(true)?;
    Ok((stream, peer, place))
}

fn builder(limits: &Limits) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head_timeout)
        .max_buf_size(LARGEST_HEAD);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(Duration::from_secs(30))
        .max_concurrent_streams(128)
        .max_header_list_size(u32::try_from(LARGEST_HEAD).unwrap_or(u32::MAX));
    builder
}

struct Acceptor {
    service: TowerToHyperService<axum::Router>,
    builder: Builder<TokioExecutor>,
    limits: Limits,
    transport: Transport,
}

impl Acceptor {
    async fn serve(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        place: OwnedSemaphorePermit,
        watcher: Watcher,
    ) {
        match &self.transport {
            Transport::Plain => self.answer(stream, peer, watcher).await,
            Transport::Tls(config) => {
                let handshake = TlsAcceptor::from(Arc::clone(config)).accept(stream);
                match tokio::time::timeout(self.limits.head_timeout, handshake).await {
                    Ok(Ok(stream)) => self.answer(stream, peer, watcher).await,
                    Ok(Err(err)) => tracing::debug!(%peer, %err, "no TLS connection"),
                    Err(_late) => tracing::debug!(%peer, "no TLS connection in time"),
                }
            }
        }
        drop(place);
    }

    async fn answer(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        peer: SocketAddr,
        watcher: Watcher,
    ) {
        let connection = self.builder.serve_connection(TokioIo::new(stream), self.service.clone());
        if let Err(err) = watcher.watch(connection.into_owned()).await {
            tracing::debug!(%peer, err, "a connection has ended");
        }
    }
}
