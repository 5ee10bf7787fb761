//! A gateway, an agent, and the connection between them, which can be cut.
use async_trait::async_trait;
use deploy_agent::{Connect, HostSide, Identity, Session};
use deploy_agent_gateway::{
    Admission, AgentExecutor, Boots, Denied, Gateway, GatewayOptions, Peer,
};
use deploy_agent_protocol::{
    OrderSigner, Versions,
    v1::{AgentFrame, Hello, agent_frame, gateway_client::GatewayClient},
};
use deploy_core::{
    backend::ArtifactStore,
    conformance::sample,
    id::HostName,
    memory::{MemoryArtifactStore, SystemClock},
};
use futures_util::stream::{self, StreamExt as _};
use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    task::JoinHandle,
};
use tonic::{
    Request,
    service::interceptor::InterceptedService,
    transport::{Channel, Endpoint, Server, server::TcpIncoming},
};

const HEARTBEAT: Duration = Duration::from_millis(200);

pub(crate) fn signer() -> OrderSigner {
    OrderSigner::from_secret(&[7; 32])
}

/// Lets everybody in who is not denied, as the host `h1`.
#[derive(Debug, Default)]
pub(crate) struct Door {
    pub(crate) denied: Mutex<Option<Denied>>,
    pub(crate) doubled: Mutex<u32>,
    pub(crate) seen: Mutex<u32>,
    pub(crate) arrived: Mutex<u32>,
}

#[async_trait]
impl Admission for Door {
    async fn identify(&self, peer: &Peer) -> Result<HostName, Denied> {
        let denied = self.denied.lock().unwrap().clone();
        denied.map_or_else(
            || Ok(std::str::from_utf8(peer.certificate()).unwrap().parse().unwrap()),
            Err,
        )
    }

    async fn arrived(&self, _host: &HostName, _hello: &Hello) -> Result<(), Denied> {
        *self.arrived.lock().unwrap() += 1;
        Ok(())
    }

    async fn doubled(&self, _host: &HostName, _boots: &Boots) {
        *self.doubled.lock().unwrap() += 1;
        *self.denied.lock().unwrap() = Some(Denied::Forever("it is locked out".to_owned()));
    }

    async fn seen(&self, _host: &HostName) -> Result<(), Denied> {
        *self.seen.lock().unwrap() += 1;
        self.denied.lock().unwrap().clone().map_or(Ok(()), Err)
    }
}

/// A gateway behind a listener. Dropping it ends all of its connections.
#[derive(Debug)]
pub(crate) struct Served {
    pub(crate) gateway: Gateway,
    pub(crate) door: Arc<Door>,
    pub(crate) address: SocketAddr,
    server: JoinHandle<()>,
}

impl Served {
    pub(crate) async fn new(store: Arc<MemoryArtifactStore>) -> Self {
        Self::over(store).await
    }

    pub(crate) async fn over(store: Arc<dyn ArtifactStore>) -> Self {
        Self::with_heartbeat(store, HEARTBEAT).await
    }

    pub(crate) async fn with_heartbeat(store: Arc<dyn ArtifactStore>, heartbeat: Duration) -> Self {
        Self::with(store, GatewayOptions::default().with_heartbeat(heartbeat)).await
    }

    /// One that speaks other versions of the protocol.
    pub(crate) async fn speaking(store: Arc<dyn ArtifactStore>, versions: Versions) -> Self {
        let options = GatewayOptions::default().with_heartbeat(HEARTBEAT).speaking(versions);
        Self::with(store, options).await
    }

    pub(crate) async fn with(store: Arc<dyn ArtifactStore>, options: GatewayOptions) -> Self {
        let door = Arc::new(Door::default());
        let clock = Arc::new(SystemClock::new());
        let gateway = Gateway::new(Arc::clone(&door) as _, store, clock, signer(), options);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let service = InterceptedService::new(gateway.service(), |mut request: Request<()>| {
            let agent = request.metadata().get("user-agent").unwrap().to_str().unwrap();
            let host = agent.split(' ').next().unwrap().to_owned();
            request.extensions_mut().insert(Peer::new(host));
            Ok(request)
        });
        let server = Server::builder().add_service(service);
        let server = tokio::spawn(async move {
            server
                .serve_with_incoming(TcpIncoming::from(listener).with_nodelay(Some(true)))
                .await
                .unwrap();
        });
        Self { gateway, door, address, server }
    }

    pub(crate) fn executor(&self) -> AgentExecutor {
        AgentExecutor::new(self.gateway.clone()).with_reconnect_for(Duration::from_secs(20))
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// The way from an agent to its gateway.
#[derive(Debug)]
pub(crate) struct Link {
    address: SocketAddr,
    way: Arc<Way>,
    listener: JoinHandle<()>,
}

#[derive(Debug)]
struct Way {
    to: Mutex<SocketAddr>,
    connections: Mutex<Vec<JoinHandle<()>>>,
    passes: watch::Sender<Passes>,
}

/// What a way carries; what it does not is kept until it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Passes {
    pub(crate) to_agent: bool,
    pub(crate) from_agent: bool,
}

impl Way {
    fn cut(&self) {
        self.connections.lock().unwrap().drain(..).for_each(|it| it.abort());
    }

    async fn carry(self: Arc<Self>, listener: TcpListener) {
        while let Ok((agent, _)) = listener.accept().await {
            let to = *self.to.lock().unwrap();
            let [out, back] = [self.passes.subscribe(), self.passes.subscribe()];
            let connection = tokio::spawn(async move {
                let Ok(gateway) = TcpStream::connect(to).await else { return };
                let (from_agent, to_agent) = agent.into_split();
                let (from_gateway, to_gateway) = gateway.into_split();
                // Whichever end has gone: the other learns it.
                tokio::select! {
                    () = pass(from_agent, to_gateway, out, |it| it.from_agent) => {}
                    () = pass(from_gateway, to_agent, back, |it| it.to_agent) => {}
                }
            });
            self.connections.lock().unwrap().push(connection);
        }
    }
}

/// Carries bytes one way, as long as they pass.
async fn pass(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut passes: watch::Receiver<Passes>,
    direction: fn(&Passes) -> bool,
) {
    let mut buffer = vec![0; 16 << 10];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        let (there, _) = buffer.split_at(length);
        if passes.wait_for(direction).await.is_err() || to.write_all(there).await.is_err() {
            return;
        }
    }
}

impl Link {
    pub(crate) async fn new(served: &Served) -> Self {
        Self::to(served.address).await
    }

    pub(crate) async fn to(address: SocketAddr) -> Self {
        let open = Passes { to_agent: true, from_agent: true };
        let way = Arc::new(Way {
            to: Mutex::new(address),
            connections: Mutex::default(),
            passes: watch::Sender::new(open),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let listener = tokio::spawn(Arc::clone(&way).carry(listener));
        Self { address, way, listener }
    }

    /// Where its other end is reached.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Carries no more than this from now on.
    pub(crate) fn let_pass(&self, passes: Passes) {
        self.way.passes.send_replace(passes);
    }

    pub(crate) fn cut(&self) {
        self.way.cut();
    }

    /// Leads to another gateway from now on.
    pub(crate) fn lead_to(&self, served: &Served) {
        *self.way.to.lock().unwrap() = served.address;
        self.way.cut();
    }

    /// An agent at this end.
    pub(crate) fn agent(&self, host: Arc<dyn HostSide>, boot_id: &str) -> Agent {
        self.agent_of("h1", host, boot_id)
    }

    /// An agent of the host `name`.
    pub(crate) fn agent_of(&self, name: &str, host: Arc<dyn HostSide>, boot_id: &str) -> Agent {
        Agent::of(self.session(name, host, boot_id))
    }

    /// An agent that speaks other versions of the protocol.
    pub(crate) fn agent_speaking(&self, versions: Versions, host: Arc<dyn HostSide>) -> Agent {
        Agent::of(self.session("h1", host, "boot 1").speaking(versions))
    }

    fn session(&self, name: &str, host: Arc<dyn HostSide>, boot_id: &str) -> Session {
        let identity = Identity::new(name, boot_id, vec![signer().public_key()]);
        let connect = Plain { address: self.address, name: name.to_owned() };
        Session::new(host, Arc::new(connect), identity)
    }

    /// One of the first version of the protocol, which says hello and no more.
    pub(crate) async fn older_agent(&self) -> Agent {
        let connect = Plain { address: self.address, name: "h1".to_owned() };
        let channel = connect.connect().await.unwrap();
        let hello = Hello { protocol: 1, boot_id: "boot 1".to_owned(), ..Hello::default() };
        let hello = AgentFrame { kind: Some(agent_frame::Kind::Hello(hello)) };
        let outbox = stream::iter([hello]).chain(stream::pending());
        let mut said = GatewayClient::new(channel).session(outbox).await.unwrap().into_inner();
        Agent(tokio::spawn(async move { while let Ok(Some(_)) = said.message().await {} }))
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.listener.abort();
        self.cut();
    }
}

/// A running agent. Dropping it ends it as a kill would.
#[derive(Debug)]
pub(crate) struct Agent(JoinHandle<()>);

impl Agent {
    fn of(session: Session) -> Self {
        Self(tokio::spawn(async move { session.run().await }))
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Connects without proving anything: who is who is not what these tests are about.
#[derive(Debug)]
struct Plain {
    address: SocketAddr,
    name: String,
}

#[async_trait]
impl Connect for Plain {
    async fn connect(&self) -> io::Result<Channel> {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.address)).unwrap();
        let endpoint = endpoint.user_agent(self.name.clone()).unwrap();
        endpoint.connect().await.map_err(io::Error::other)
    }
}

pub(crate) fn h1() -> HostName {
    sample::name("h1")
}
