//! A control plane, relays and hosts in one process.
use async_trait::async_trait;
use deploy_agent::{Names, Policy};
use deploy_agent_gateway::{
    AgentExecutor, AgentListener, Blocks, Enroller, Gateway, GatewayOptions, Rates, Registrar,
    RegistryAdmission, Relays,
};
use deploy_agent_identity::{Connect as _, Credentials, EnrolError, GatewayConnector};
use deploy_agent_protocol::{OrderSigner, v1::gateway_client::GatewayClient};
use deploy_core::{
    access::{Action, Resource},
    agent::Agent,
    backend::{
        AgentRegistry as _, ArtifactKind, AttemptRequest, Clock, CreateJoinToken, Executor as _,
        Expect, HostInventory as _, HostRequest, StageRequest,
    },
    conformance::{permit, sample},
    digest::Digest,
    error::BackendResult,
    host::{Connection, Host},
    id::{HostName, Seq, TokenId},
    memory::{MemoryAgentRegistry, MemoryArtifactStore, MemoryHostInventory, SystemClock},
    plan::PlannedRelease,
    token::{JoinToken, TokenSecret},
};
use deploy_distribution::{Blob, Outboard, transfer::BlockServer};
use deploy_parts::{PartStore, PartStoreOptions};
use deploy_pki::{AgentAcceptor, Authority, Revocations};
use deploy_relay::{RelayError, RelayNode, Settings};
use deploy_test_support::releases::{pack, put, release};
use std::{
    fs::{self, File},
    future,
    net::SocketAddr,
    num::NonZeroU32,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tempfile::TempDir;
use tokio::{
    net::TcpListener,
    sync::{oneshot, watch},
    task::JoinHandle,
};
use tonic::transport::Channel;

/// As orders are signed.
const SECRET: [u8; 32] = [7; 32];
/// How often a relay says that it is there.
pub(crate) const EVERY: Duration = Duration::from_secs(2);
/// Of what is in a package, in bytes.
const LARGE: usize = 8 << 20;

/// Remembers who has come into the inventory.
#[derive(Debug, Default)]
pub(crate) struct Book(pub(crate) Mutex<Vec<HostName>>);

#[async_trait]
impl Registrar for Book {
    async fn admit(&self, _: &HostName) -> BackendResult<()> {
        Ok(())
    }

    async fn register(&self, agent: &Agent) -> BackendResult<()> {
        self.0.lock().unwrap().push(agent.host.clone());
        Ok(())
    }
}

pub(crate) struct Lab {
    pub(crate) dir: TempDir,
    store: Arc<MemoryArtifactStore>,
    pub(crate) agents: Arc<MemoryAgentRegistry>,
    authority: Arc<Authority>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) gateway: Gateway,
    pub(crate) relays: Relays,
    pub(crate) rates: Rates,
    pub(crate) server: Arc<BlockServer>,
    pub(crate) book: Arc<Book>,
    inventory: Arc<MemoryHostInventory>,
    pub(crate) door: String,
    /// Nobody is let in where nobody says who is kept out.
    _list: watch::Sender<Revocations>,
    tokens: AtomicU64,
    tasks: Vec<JoinHandle<()>>,
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Lab {
    pub(crate) async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("pki")).unwrap();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let store = Arc::new(MemoryArtifactStore::new());
        let agents = Arc::new(MemoryAgentRegistry::new());
        let authority = Arc::new(Authority::open(&dir.path().join("pki"), clock.now()).unwrap());
        let identity = authority.issue_server(&["127.0.0.1"], clock.now()).unwrap();
        let list = watch::Sender::new(Revocations::new());
        let acceptor = || AgentAcceptor::new(&authority, list.subscribe(), Arc::clone(&clock));
        let parts = dir.path().join("parts");
        let parts =
            PartStore::open(parts, Arc::clone(&store) as _, PartStoreOptions::default()).unwrap();
        let inventory = Arc::new(MemoryHostInventory::new());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let known = Arc::clone(&inventory) as _;
        let blocks =
            Blocks::new(parts.clone(), &SECRET, format!(":{port}"), known, Arc::clone(&clock));
        let rates = Rates::default();
        let server = Arc::new(blocks.server().unwrap());
        let tls = watch::Sender::new(Arc::new(acceptor().block_config(&identity).unwrap()));
        let serving = Arc::clone(&server);
        let giving = tokio::spawn(async move {
            serving.serve(listener, tls.subscribe(), future::pending()).await;
        });
        // Three are missed before a relay counts as gone, also where the machine has much else to do.
        let relays = Relays::heard_every(EVERY, Arc::clone(&agents) as _, Arc::clone(&clock));
        let options = GatewayOptions::default()
            .with_parts(parts)
            .with_blocks(blocks)
            .with_relays(relays.clone())
            .with_rates(rates.clone());
        let admission = RegistryAdmission::new(Arc::clone(&agents) as _, Arc::clone(&clock));
        let signer = OrderSigner::from_secret(&SECRET);
        let signers = vec![signer.public_key()];
        let kept = Arc::clone(&store) as _;
        let gateway = Gateway::new(Arc::new(admission), kept, Arc::clone(&clock), signer, options);
        let book = Arc::new(Book::default());
        let (registry, registrar) = (Arc::clone(&agents) as _, Arc::clone(&book) as _);
        let (issuer, time) = (Arc::clone(&authority), Arc::clone(&clock));
        let enroller = Enroller::new(registry, issuer, registrar, time, signers, "");
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let door = listener.local_addr().unwrap().to_string();
        let config = Arc::new(acceptor().with_strangers().config(&identity).unwrap());
        let config = watch::Sender::new(config).subscribe();
        let (served, listener) =
            (gateway.clone(), AgentListener::new(listener, config, Arc::clone(&clock)));
        let sessions = tokio::spawn(async move {
            listener.serve(&served, &enroller, future::pending()).await.unwrap();
        });
        Self {
            dir,
            store,
            agents,
            authority,
            clock,
            gateway,
            relays,
            rates,
            server,
            book,
            inventory,
            door,
            _list: list,
            tokens: AtomicU64::new(1),
            tasks: vec![giving, sessions],
        }
    }

    pub(crate) fn folder(&self, name: &str) -> PathBuf {
        let folder = self.dir.path().join(name);
        fs::create_dir_all(&folder).unwrap();
        folder
    }

    /// A join token that gives these labels to many.
    pub(crate) async fn token(&self, labels: &[(&str, &str)]) -> String {
        let permit = permit(Action::HostEnroll, Resource::System).await;
        let number = self.tokens.fetch_add(1, Ordering::Relaxed);
        let (id, secret) = (TokenId::from_bits(number), TokenSecret::from_bytes([9; 32]));
        let now = self.clock.now();
        let labels = labels.iter().map(|(key, value)| (sample::name(key), sample::name(value)));
        let request = CreateJoinToken::new(
            id.clone(),
            secret.hash(),
            now,
            now.after(Duration::from_secs(600)),
        )
        .with_labels(labels.collect())
        .with_uses(NonZeroU32::new(16).unwrap());
        self.agents.create_join_token(&permit, &request).await.unwrap();
        JoinToken::new(id, secret, self.authority.fingerprint()).reveal()
    }

    pub(crate) async fn enrol_relay(
        &self,
        name: &str,
        labels: &[(&str, &str)],
    ) -> Result<Credentials, EnrolError> {
        let (token, state) = (self.token(labels).await, self.folder(name));
        // All relays of these tests are on one machine.
        let mut names = Names::default();
        (names.host, names.instance) = (Some(name.to_owned()), Some(format!("relay/test/{name}")));
        let clock = Arc::clone(&self.clock);
        deploy_agent_identity::enrol(&state, &self.door, &token, names, clock).await
    }

    /// A relay of that zone, which the server knows.
    pub(crate) async fn relay(&self, name: &str, zone: &str) -> Running {
        self.enrol_relay(name, &[("role", "relay"), ("zone", zone)]).await.unwrap();
        self.start_relay(name).await
    }

    pub(crate) async fn start_relay(&self, name: &str) -> Running {
        let node = self.open_relay(name, settings()).await.unwrap();
        let (name, at) = (name.parse::<HostName>().unwrap(), node.address().unwrap().to_string());
        let relay = Running::new(node);
        // One that was there before it was on another port.
        let is_it = || self.relays.alive().iter().any(|it| it.name == name && it.address == at);
        eventually("the server knows the relay", is_it).await;
        relay
    }

    pub(crate) async fn open_relay(
        &self,
        name: &str,
        settings: Settings,
    ) -> Result<RelayNode, RelayError> {
        RelayNode::open(&self.folder(name), settings, Arc::clone(&self.clock)).await
    }

    /// A host of that zone, whose agent has a session.
    pub(crate) async fn host(&mut self, name: &str, zone: &str) -> HostName {
        let door = self.door.clone();
        self.host_by(&door, name, zone).await
    }

    /// The same, which finds the server at `door`.
    pub(crate) async fn host_by(&mut self, door: &str, name: &str, zone: &str) -> HostName {
        let host: HostName = name.parse().unwrap();
        let known = Host::new(host.clone(), Connection::Agent);
        let known = known.with_labels([(sample::name("zone"), sample::name(zone))].into());
        let write = permit(Action::HostWrite, Resource::Host(host.clone(), None)).await;
        self.inventory.put(&write, known, Expect::Absent).await.unwrap();
        let state = self.folder(name);
        self.enrol_host(door, name, &[]).await.unwrap();
        let config = state.join("host.toml");
        fs::write(&config, "folders = ['/srv']\n[peers]\nlisten = '127.0.0.1:0'\n").unwrap();
        let (policy, clock) = (Policy::read(&config).unwrap(), Arc::clone(&self.clock));
        self.tasks.push(tokio::spawn(async move {
            deploy_agent::run(&state, policy, clock, || {}, future::pending()).await.unwrap();
        }));
        eventually("the host is there", || self.gateway.is_connected(&host)).await;
        host
    }

    pub(crate) async fn enrol_host(
        &self,
        door: &str,
        name: &str,
        labels: &[(&str, &str)],
    ) -> Result<Credentials, EnrolError> {
        let token = self.token(labels).await;
        let mut names = Names::default();
        (names.host, names.instance) = (Some(name.to_owned()), Some(format!("test/here/{name}")));
        let clock = Arc::clone(&self.clock);
        deploy_agent_identity::enrol(&self.folder(name), door, &token, names, clock).await
    }

    /// As whoever is known by what lies in the folder of that name.
    pub(crate) async fn client(&self, name: &str) -> GatewayClient<Channel> {
        let connect = GatewayConnector::new(self.folder(name), Arc::clone(&self.clock));
        GatewayClient::new(connect.connect().await.unwrap())
    }

    /// A release of a package with one large file.
    pub(crate) async fn release(&self) -> PlannedRelease {
        let noise = (0_u64..).flat_map(|it| Digest::of(&it.to_be_bytes()).as_bytes().to_vec());
        let noise: Vec<u8> = noise.take(LARGE).collect();
        let package = pack(&[("bin/web.sh", &noise)]).unwrap();
        let package = put(&*self.store, ArtifactKind::Package, &package).await.unwrap();
        let descriptor: &[(&str, &[u8])] = &[("descriptor.toml", b"format = 1\n")];
        let release = release(&*self.store, "one", descriptor, &[]).await.unwrap();
        PlannedRelease::from(&release.with_package(package))
    }

    /// Has a host fetch what it needs.
    pub(crate) async fn stage(&self, host: &HostName, release: &PlannedRelease) {
        let host = Host::new(host.clone(), Connection::Agent);
        let on = HostRequest::new(host, sample::name("web"), "/srv/web".parse().unwrap());
        let (token, rollout) = (format!("{:032x}", 1), sample::name("r1"));
        let attempt = AttemptRequest::new(on, rollout, Seq::new(1), token, release.clone());
        let request = StageRequest::new(attempt.on.clone(), attempt.artifacts())
            .with_deliveries(attempt.delivery().into_iter().collect());
        let permit = permit(Action::HostExecute, Resource::System).await;
        let executor = AgentExecutor::new(self.gateway.clone());
        executor.stage(&permit, &request).await.unwrap();
    }

    /// The file of the large part of the package.
    pub(crate) fn largest_part(&self) -> PathBuf {
        let blobs = fs::read_dir(self.dir.path().join("parts/blobs")).unwrap();
        blobs.map(|it| it.unwrap().path()).max_by_key(|it| size_of(it)).unwrap()
    }

    /// The same for the transport.
    pub(crate) fn part(&self) -> Blob {
        let largest = self.largest_part();
        Outboard::compute(size_of(&largest), File::open(&largest).unwrap()).unwrap().blob()
    }

    /// How many bytes of blocks the server has given.
    pub(crate) fn given(&self) -> u64 {
        self.server.served().values().sum()
    }
}

fn size_of(path: &Path) -> u64 {
    fs::metadata(path).unwrap().len()
}

/// On ports that are free.
pub(crate) fn settings() -> Settings {
    let mut settings = Settings::default();
    settings.blocks.listen = "127.0.0.1:0".parse().unwrap();
    settings.way_out.listen = "127.0.0.1:0".parse().unwrap();
    settings.free_gib = 0;
    settings
}

/// A relay that runs until it is told to stop.
pub(crate) struct Running {
    pub(crate) way_out: SocketAddr,
    _settings: watch::Sender<Settings>,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl Running {
    pub(crate) fn new(node: RelayNode) -> Self {
        let way_out = node.way_out().unwrap().unwrap();
        let newest = watch::Sender::new(settings());
        let settings = newest.subscribe();
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(async move {
            node.run(settings, async { drop(stopped.await) }).await.unwrap();
        });
        Self { way_out, _settings: newest, stop: Some(stop), task }
    }

    pub(crate) async fn stop(mut self) {
        drop(self.stop.take());
        (&mut self.task).await.unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Waits until something holds.
#[track_caller]
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) -> impl Future<Output = ()> {
    let clock = SystemClock::new();
    let end = clock.now().after(Duration::from_secs(60));
    async move {
        while !holds() {
            assert!(clock.now() < end, "waited in vain until {what}");
            clock.sleep_until(clock.now().after(Duration::from_millis(10))).await;
        }
    }
}
