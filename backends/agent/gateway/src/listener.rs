//! Takes connections of agents.
use crate::{admission::Peer, enrolment::Enroller, gateway::Gateway};
use deploy_core::{backend::Clock, telemetry::TARGET_BACKEND};
use futures_util::{Stream, stream};
use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    select,
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
};
use tokio_rustls::{TlsAcceptor, rustls::ServerConfig, server::TlsStream};
use tonic::transport::{Error, Server, server::Connected};

/// How long somebody may take to prove who they are.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(10);
/// How many may be at that at a time: each costs a signature, and those who come later wait.
const HANDSHAKES: usize = 256;
/// How long to wait where no connection can be taken, such as for want of files.
const TAKE_AGAIN: Duration = Duration::from_millis(100);

/// A listener for agents: over TLS, with a certificate of each.
#[derive(Debug)]
pub struct AgentListener {
    listener: TcpListener,
    config: Arc<ServerConfig>,
    clock: Arc<dyn Clock>,
}

impl AgentListener {
    /// On `listener`, by a configuration that demands a certificate of whoever connects.
    #[must_use]
    pub fn new(listener: TcpListener, config: Arc<ServerConfig>, clock: Arc<dyn Clock>) -> Self {
        Self { listener, config, clock }
    }

    /// Serves sessions and renewals until `stop` is ready, and then ends all of them.
    ///
    /// # Errors
    /// If the transport fails as a whole; not if a connection does.
    pub async fn serve(
        self,
        gateway: &Gateway,
        enroller: &Enroller,
        stop: impl Future<Output = ()>,
    ) -> Result<(), Error> {
        let server = Server::builder()
            .add_service(gateway.service())
            .add_service(enroller.service())
            .serve_with_incoming(self.connections());
        select! {
            biased;
            () = stop => Ok(()),
            ended = server => ended,
        }
    }

    /// The connections over which somebody has proved who they are.
    fn connections(self) -> impl Stream<Item = io::Result<Connection>> {
        let (proved, connections) = mpsc::channel(HANDSHAKES);
        tokio::spawn(self.take(proved));
        stream::unfold(connections, |mut connections| async {
            connections.recv().await.map(|connection| (Ok(connection), connections))
        })
    }

    /// Takes connections until nobody wants them any more.
    async fn take(self, proved: mpsc::Sender<Connection>) {
        let acceptor = TlsAcceptor::from(Arc::clone(&self.config));
        let places = Arc::new(Semaphore::new(HANDSHAKES));
        while let Ok(place) = Arc::clone(&places).acquire_owned().await {
            let taken = select! {
                biased;
                () = proved.closed() => return,
                taken = self.listener.accept() => taken,
            };
            match taken {
                Ok((stream, _)) => {
                    let (acceptor, clock) = (acceptor.clone(), Arc::clone(&self.clock));
                    let proved = proved.clone();
                    tokio::spawn(async move {
                        if let Some(connection) = prove(stream, acceptor, &*clock, place).await {
                            // Nobody wants it: the listener is gone.
                            let _unwanted = proved.send(connection).await;
                        }
                    });
                }
                Err(err) => {
                    tracing::warn!(target: TARGET_BACKEND, reason = %err, "no connection can be taken");
                    self.clock.sleep_until(self.clock.now().after(TAKE_AGAIN)).await;
                }
            }
        }
    }
}

/// The connection, if somebody proves in time who they are.
async fn prove(
    stream: TcpStream,
    acceptor: TlsAcceptor,
    clock: &dyn Clock,
    _place: OwnedSemaphorePermit,
) -> Option<Connection> {
    // Answers are small, and an agent that waits for one has nothing to say meanwhile.
    stream.set_nodelay(true).ok()?;
    let until = clock.now().after(HANDSHAKE_WITHIN);
    let stream = select! {
        biased;
        stream = acceptor.accept(stream) => stream,
        () = clock.sleep_until(until) => return None,
    };
    let stream = match stream {
        Ok(stream) => stream,
        Err(err) => {
            tracing::debug!(target: TARGET_BACKEND, reason = %err, "somebody is not let in");
            return None;
        }
    };
    let (_, session) = stream.get_ref();
    let certificate = session.peer_certificates()?.first()?;
    let peer = Peer::new(certificate.to_vec());
    Some(Connection { stream, peer })
}

/// A connection, and whose it is.
#[derive(Debug)]
struct Connection {
    stream: TlsStream<TcpStream>,
    peer: Peer,
}

impl Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
