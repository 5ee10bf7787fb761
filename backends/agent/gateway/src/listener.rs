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
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch},
};
use tokio_rustls::{TlsAcceptor, rustls::ServerConfig, server::TlsStream};
use tonic::{
    Request, Status,
    service::InterceptorLayer,
    transport::{Error, Server, server::Connected},
};

/// How long somebody may take to prove who they are.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(10);
/// How many may be at that at a time: each costs a signature, and those who come later wait.
const HANDSHAKES: usize = 256;
/// How long somebody without a certificate may stay: to enrol takes no longer.
const STRANGERS_STAY: Duration = Duration::from_secs(30);
/// How many of them there may be; more are sent away.
const STRANGERS: usize = 1_024;
/// How long calls under way may take to end when the listener stops. Sessions are ended at once, and sought again elsewhere.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// How long to wait where no connection can be taken, such as for want of files.
const TAKE_AGAIN: Duration = Duration::from_millis(100);

/// A listener for agents, over TLS: those with a certificate have sessions, and those without may enrol.
#[derive(Debug)]
pub struct AgentListener {
    listener: TcpListener,
    config: watch::Receiver<Arc<ServerConfig>>,
    clock: Arc<dyn Clock>,
}

impl AgentListener {
    /// On `listener`, each connection by the newest configuration, which says whether those without a certificate come in at all: a
    /// certificate of the server is renewed while it runs.
    #[must_use]
    pub const fn new(
        listener: TcpListener,
        config: watch::Receiver<Arc<ServerConfig>>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { listener, config, clock }
    }

    /// Serves sessions, enrolment and renewals until `stop` is ready. Sessions are ended then, and their agents seek another.
    ///
    /// # Errors
    /// If the transport fails as a whole; not if a connection does.
    pub async fn serve(
        self,
        gateway: &Gateway,
        enroller: &Enroller,
        stop: impl Future<Output = ()>,
    ) -> Result<(), Error> {
        let clock = Arc::clone(&self.clock);
        let (stopped, mut stopping) = watch::channel(false);
        let server = Server::builder()
            .layer(InterceptorLayer::new(introduce))
            .add_service(gateway.service())
            .add_service(enroller.service())
            .serve_with_incoming_shutdown(self.connections(), async move {
                // Without anybody who could say so it is stopped as well.
                let _said = stopping.wait_for(|it| *it).await;
            });
        let stop = async {
            stop.await;
            stopped.send_replace(true);
            gateway.disconnect_all();
            clock.sleep_until(clock.now().after(LAST_WORDS)).await;
        };
        select! {
            biased;
            ended = server => ended,
            () = stop => Ok(()),
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
        let places = Arc::new(Semaphore::new(HANDSHAKES));
        let door =
            Arc::new(Door { strangers: Arc::new(Semaphore::new(STRANGERS)), clock: self.clock });
        while let Ok(place) = Arc::clone(&places).acquire_owned().await {
            let taken = select! {
                biased;
                () = proved.closed() => return,
                taken = self.listener.accept() => taken,
            };
            match taken {
                Ok((stream, _)) => {
                    let acceptor = TlsAcceptor::from(Arc::clone(&self.config.borrow()));
                    let (door, proved) = (Arc::clone(&door), proved.clone());
                    tokio::spawn(async move {
                        if let Some(connection) = door.prove(stream, acceptor, place).await {
                            // Nobody wants it: the listener is gone.
                            let _unwanted = proved.send(connection).await;
                        }
                    });
                }
                Err(err) => {
                    tracing::warn!(target: TARGET_BACKEND, reason = %err, "no connection can be taken");
                    door.clock.sleep_until(door.clock.now().after(TAKE_AGAIN)).await;
                }
            }
        }
    }
}

/// Tells requests apart by who has sent them.
#[expect(clippy::unnecessary_wraps, reason = "an interceptor may refuse, and this one does not")]
fn introduce(mut request: Request<()>) -> Result<Request<()>, Status> {
    if let Some(Visitor(Some(peer))) = request.extensions().get().cloned() {
        request.extensions_mut().insert(peer);
    }
    Ok(request)
}

/// Where whoever comes has to prove who they are.
struct Door {
    strangers: Arc<Semaphore>,
    clock: Arc<dyn Clock>,
}

impl Door {
    /// The connection, if somebody proves in time who they are, or is a stranger for whom there is room.
    async fn prove(
        &self,
        stream: TcpStream,
        acceptor: TlsAcceptor,
        _place: OwnedSemaphorePermit,
    ) -> Option<Connection> {
        // Answers are small, and an agent that waits for one has nothing to say meanwhile.
        stream.set_nodelay(true).ok()?;
        let until = self.clock.now().after(HANDSHAKE_WITHIN);
        let stream = select! {
            biased;
            stream = acceptor.accept(stream) => stream,
            () = self.clock.sleep_until(until) => return None,
        };
        let stream = match stream {
            Ok(stream) => stream,
            Err(err) => {
                tracing::debug!(target: TARGET_BACKEND, reason = %err, "somebody is not let in");
                return None;
            }
        };
        let (socket, session) = stream.get_ref();
        let from = socket.peer_addr().ok()?.ip().to_canonical();
        let certificate = session.peer_certificates().and_then(<[_]>::first);
        let peer = certificate.map(|it| Peer::new(it.to_vec()).connected_from(from));
        let stay = if peer.is_some() { None } else { Some(self.stay()?) };
        Some(Connection { stream, visitor: Visitor(peer), stay })
    }

    /// How long a stranger may stay; `None` if there are too many of them.
    fn stay(&self) -> Option<Stay> {
        let place = Arc::clone(&self.strangers).try_acquire_owned().ok()?;
        let (clock, until) = (Arc::clone(&self.clock), self.clock.now().after(STRANGERS_STAY));
        let over = Box::pin(async move { clock.sleep_until(until).await });
        Some(Stay { over, _place: place })
    }
}

/// Who has connected: somebody who has proved it, or (`None`) a stranger.
#[derive(Clone, Debug)]
struct Visitor(Option<Peer>);

/// The time of a stranger.
struct Stay {
    over: Pin<Box<dyn Future<Output = ()> + Send>>,
    _place: OwnedSemaphorePermit,
}

/// A connection, and whose it is.
struct Connection {
    stream: TlsStream<TcpStream>,
    visitor: Visitor,
    stay: Option<Stay>,
}

impl Connected for Connection {
    type ConnectInfo = Visitor;

    fn connect_info(&self) -> Visitor {
        self.visitor.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some(stay) = &mut self.stay
            && stay.over.as_mut().poll(context).is_ready()
        {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
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
