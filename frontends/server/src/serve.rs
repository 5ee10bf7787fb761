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
    sync::{OwnedSemaphorePermit, Semaphore, watch},
};
use tokio_rustls::{TlsAcceptor, rustls::ServerConfig};

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
    /// Encrypted, each connection by the newest configuration: a certificate is renewed while the server runs.
    Tls(watch::Receiver<Arc<ServerConfig>>),
}

/// Serves `server` on `listener` until it is told to stop, and then until the requests under way have their answers.
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
                let newest = Arc::clone(&config.borrow());
                let handshake = TlsAcceptor::from(newest).accept(stream);
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
