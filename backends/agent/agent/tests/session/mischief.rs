//! A way between agents and their gateway on which what either says comes late, twice, and out of order.
use deploy_agent_protocol::v1::{
    AgentFrame, AnnounceReply, AnnounceRequest, FetchRequest, GatewayFrame, PassReply, PassRequest,
    SwarmReply, SwarmRequest,
    gateway_client::GatewayClient,
    gateway_server::{Gateway, GatewayServer},
};
use futures_util::{
    Stream,
    stream::{self, BoxStream, StreamExt as _},
};
use std::{
    hash::{BuildHasher as _, RandomState},
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{net::TcpListener, sync::mpsc, task::JoinHandle, time::timeout};
use tonic::{
    Request, Response, Status, Streaming,
    transport::{Channel, Endpoint, Server, server::TcpIncoming},
};

/// How long a frame is held back behind which nothing comes.
const HELD_FOR: Duration = Duration::from_millis(30);

/// Takes frames in for a gateway, and passes them on as it likes. Dropping it ends all of its connections.
#[derive(Debug)]
pub(crate) struct Mischief {
    pub(crate) address: SocketAddr,
    done: Arc<Done>,
    server: JoinHandle<()>,
}

/// What was done to frames.
#[derive(Debug, Default)]
struct Done {
    doubled: AtomicUsize,
    held: AtomicUsize,
}

impl Mischief {
    pub(crate) async fn before(gateway: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let done = Arc::<Done>::default();
        let service = Carrier { gateway, done: Arc::clone(&done) };
        let server = Server::builder().add_service(GatewayServer::new(service));
        let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
        let server = tokio::spawn(async move {
            server.serve_with_incoming(incoming).await.unwrap();
        });
        Self { address, done, server }
    }

    /// How many frames came twice, and how many were held back.
    pub(crate) fn done(&self) -> (usize, usize) {
        (self.done.doubled.load(Ordering::SeqCst), self.done.held.load(Ordering::SeqCst))
    }
}

impl Drop for Mischief {
    fn drop(&mut self) {
        self.server.abort();
    }
}

struct Carrier {
    gateway: SocketAddr,
    done: Arc<Done>,
}

impl Carrier {
    /// The gateway, as `host` would reach it.
    async fn connect(&self, host: String) -> GatewayClient<Channel> {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.gateway)).unwrap();
        GatewayClient::new(endpoint.user_agent(host).unwrap().connect().await.unwrap())
    }

    /// What becomes of frames on their way. The first of them is how a connection begins, and nobody's but the connection's.
    fn carry<T: Clone + Send + 'static>(
        &self,
        mut from: Streaming<T>,
    ) -> impl Stream<Item = T> + Send + use<T> {
        let (to, passed) = mpsc::channel(1);
        let done = Arc::clone(&self.done);
        tokio::spawn(async move {
            if let Ok(Some(first)) = from.message().await
                && to.send(first).await.is_ok()
            {
                // Whichever end has gone: the other learns it.
                let _gone = disturb(from, to, &done).await;
            }
        });
        stream::unfold(passed, |mut passed| async {
            passed.recv().await.map(|frame| (frame, passed))
        })
    }
}

/// Passes half of the frames on twice, and one in four only behind the next one, or late. `None` if an end has gone.
async fn disturb<T: Clone>(mut from: Streaming<T>, to: mpsc::Sender<T>, done: &Done) -> Option<()> {
    let mut chance = Chance::new();
    let mut held = None;
    loop {
        let wait = if held.is_some() { HELD_FOR } else { Duration::MAX };
        let Ok(next) = timeout(wait, from.message()).await else {
            to.send(held.take()?).await.ok()?;
            continue;
        };
        let frame = next.ok()??;
        if held.is_none() && chance.one_in(4) {
            done.held.fetch_add(1, Ordering::SeqCst);
            held = Some(frame);
            continue;
        }
        to.send(frame.clone()).await.ok()?;
        if let Some(held) = held.take() {
            to.send(held).await.ok()?;
        }
        if chance.one_in(2) {
            done.doubled.fetch_add(1, Ordering::SeqCst);
            to.send(frame).await.ok()?;
        }
    }
}

/// Which host has sent a request.
fn sender<T>(request: &Request<T>) -> String {
    let agent = request.metadata().get("user-agent").unwrap().to_str().unwrap();
    agent.split(' ').next().unwrap().to_owned()
}

#[tonic::async_trait]
impl Gateway for Carrier {
    type SessionStream = BoxStream<'static, Result<GatewayFrame, Status>>;
    type FetchStream = BoxStream<'static, Result<deploy_agent_protocol::v1::FetchChunk, Status>>;

    async fn session(
        &self,
        request: Request<Streaming<AgentFrame>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let mut gateway = self.connect(sender(&request)).await;
        let from_agent = self.carry(request.into_inner());
        let from_gateway = gateway.session(from_agent).await?.into_inner();
        Ok(Response::new(self.carry(from_gateway).map(Ok).boxed()))
    }

    async fn fetch(
        &self,
        request: Request<FetchRequest>,
    ) -> Result<Response<Self::FetchStream>, Status> {
        let mut gateway = self.connect(sender(&request)).await;
        Ok(Response::new(gateway.fetch(request.into_inner()).await?.into_inner().boxed()))
    }

    async fn swarm(&self, request: Request<SwarmRequest>) -> Result<Response<SwarmReply>, Status> {
        let mut gateway = self.connect(sender(&request)).await;
        gateway.swarm(request.into_inner()).await
    }

    async fn announce(
        &self,
        _request: Request<AnnounceRequest>,
    ) -> Result<Response<AnnounceReply>, Status> {
        Err(Status::unimplemented("relays do not come this way"))
    }

    async fn pass(&self, _request: Request<PassRequest>) -> Result<Response<PassReply>, Status> {
        Err(Status::unimplemented("relays do not come this way"))
    }
}

/// Another one in each run: what must hold holds in all of them.
struct Chance {
    source: RandomState,
    drawn: u64,
}

impl Chance {
    fn new() -> Self {
        Self { source: RandomState::new(), drawn: 0 }
    }

    fn one_in(&mut self, many: u64) -> bool {
        self.drawn += 1;
        self.source.hash_one(self.drawn).is_multiple_of(many)
    }
}
