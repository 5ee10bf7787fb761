//! The server's end: a platform over a gateway, with its journal on a disk.
use crate::fleet::{name, signer};
use async_trait::async_trait;
use deploy_agent_gateway::{
    Admission, AgentExecutor, Boots, Denied, Gateway, GatewayOptions, Peer,
};
use deploy_agent_protocol::v1::Hello;
use deploy_benches::Failure;
use deploy_core::{
    access::Action,
    backend::{ArtifactKind, ArtifactStore, Clock},
    engine::{DriveOptions, NoObserver, Parts, PlanRelease, Platform},
    host::{Connection, Host},
    id::{HostName, Principal, ReleaseId, ServiceName},
    memory::{
        MemoryArtifactStore, MemoryAuthorizer, MemoryHostInventory, MemoryLeaseStore,
        MemoryLogStore, MemoryNotifier, MemoryServiceRegistry, Rule, SpreadScheduler, SystemClock,
    },
    rollout::Outcome,
    spec::{Release, Service},
    time::Timestamp,
};
use deploy_host::{
    archive::{Limits, PackedFile, pack_files},
    descriptor,
};
use deploy_sql::{Database, SqlJournal};
use rustix::time::{ClockId, clock_gettime};
use std::{fs, net::SocketAddr, sync::Arc, time::Duration};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tonic::{
    Request,
    service::interceptor::InterceptedService,
    transport::{Server as Listening, server::TcpIncoming},
};

/// How often the latency of one attempt is measured.
const TIMES: usize = 300;
const DESCRIPTOR: &str = "format = 1\n[steps.post]\nscript = 'post.sh'\neffect = 'idempotent'\n\
    [steps.fetch]\nenabled = false\n[steps.install]\nenabled = false\n[steps.rollback]\nenabled = false\n";

#[derive(Debug)]
struct Everybody;

#[async_trait]
impl Admission for Everybody {
    async fn identify(&self, peer: &Peer) -> Result<HostName, Denied> {
        let name = std::str::from_utf8(peer.certificate()).unwrap_or_default();
        // What the transport puts behind it is not the name's.
        let name = name.split(' ').next().unwrap_or_default();
        name.parse().map_err(|err| Denied::Forever(format!("{err}")))
    }

    async fn arrived(&self, _host: &HostName, _hello: &Hello) -> Result<(), Denied> {
        Ok(())
    }

    async fn doubled(&self, _host: &HostName, _boots: &Boots) {}

    async fn seen(&self, _host: &HostName) {}
}

pub(crate) struct Server {
    gateway: Gateway,
    platform: Platform,
    clock: Arc<dyn Clock>,
    address: SocketAddr,
    me: Principal,
    /// All hosts, and one of them.
    services: [ServiceName; 2],
    _folder: TempDir,
}

impl Server {
    pub(crate) async fn new(hosts: usize, wave: usize) -> Result<Self, Failure> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
        let artifacts: Arc<dyn ArtifactStore> = Arc::new(MemoryArtifactStore::new());
        let gateway = Gateway::new(
            Arc::new(Everybody),
            Arc::clone(&artifacts),
            Arc::clone(&clock),
            signer(),
            GatewayOptions::default(),
        );
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let service = InterceptedService::new(gateway.service(), |mut request: Request<()>| {
            let agent = request.metadata().get("user-agent");
            let peer = agent.map(|it| Peer::new(it.as_encoded_bytes().to_vec()));
            peer.map(|it| request.extensions_mut().insert(it));
            Ok(request)
        });
        let serving = Listening::builder().add_service(service);
        tokio::spawn(
            serving.serve_with_incoming(TcpIncoming::from(listener).with_nodelay(Some(true))),
        );
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
        let database = Database::open_sqlite(folder.path().join("deploy.db")).await?;
        let platform = Platform::new(Parts {
            artifacts,
            authorizer: Arc::new(MemoryAuthorizer::new(vec![Rule::allow(
                "bench".parse()?,
                Action::ALL,
            )])),
            clock: Arc::clone(&clock),
            executor: Arc::new(AgentExecutor::new(gateway.clone())),
            inventory: Arc::new(MemoryHostInventory::new()),
            journal: Arc::new(SqlJournal::new(&database)),
            leases: Arc::new(MemoryLeaseStore::new(Arc::clone(&clock))),
            logs: Arc::new(MemoryLogStore::new()),
            notifier: Arc::new(MemoryNotifier::new()),
            registry: Arc::new(MemoryServiceRegistry::new()),
            scheduler: Arc::new(SpreadScheduler::default()),
        });
        let (me, services) = ("bench".parse()?, ["all".parse()?, "one".parse()?]);
        let server = Self { gateway, platform, clock, address, me, services, _folder: folder };
        server.know(hosts, wave).await?;
        Ok(server)
    }

    async fn know(&self, hosts: usize, wave: usize) -> Result<(), Failure> {
        for number in 0..hosts {
            let host = Host::new(name(number).parse()?, Connection::Agent);
            self.platform.apply_host(&self.me, host).await?;
        }
        for (name, selector) in self.services.iter().zip(["*", "host=host-0"]) {
            let (name, me) = (name.clone(), self.me.clone());
            let mut service = Service::new(name, me, "/srv/app".parse()?, selector.parse()?);
            service.strategy.waves =
                [wave.to_string().parse()?].into_iter().collect::<Vec<_>>().try_into()?;
            self.platform.apply_service(&self.me, service).await?;
        }
        Ok(())
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Seconds.
    pub(crate) fn since(&self, began: Timestamp) -> f64 {
        self.clock.now().since(began).as_secs_f64()
    }

    pub(crate) async fn wait(&self, wait: Duration) {
        self.clock.sleep_until(self.clock.now().after(wait)).await;
    }

    /// Until so many agents are connected.
    pub(crate) async fn wait_for(&self, hosts: usize) {
        while self.gateway.connected().len() < hosts {
            self.wait(Duration::from_millis(20)).await;
        }
    }

    pub(crate) fn disconnect_all(&self) {
        for host in self.gateway.connected() {
            self.gateway.disconnect(&host);
        }
    }

    /// Bytes.
    pub(crate) fn resident(&self) -> Result<u64, Failure> {
        let pages = fs::read_to_string("/proc/self/statm")?;
        let pages: u64 = pages.split(' ').nth(1).ok_or("statm is short")?.parse()?;
        Ok(pages * 4096)
    }

    /// Seconds of CPU of this process.
    pub(crate) fn cpu(&self) -> f64 {
        let now = clock_gettime(ClockId::ProcessCPUTime);
        let nanos = u32::try_from(now.tv_nsec).map_or(0.0, f64::from);
        u32::try_from(now.tv_sec).map_or(f64::NAN, f64::from) + nanos / 1e9
    }

    pub(crate) async fn roll_out(&self, round: usize) -> Result<(), Failure> {
        let [all, _one] = &self.services;
        self.roll_out_to(all, round).await
    }

    /// Milliseconds from the start of a rollout onto one host to its end.
    pub(crate) async fn latencies(&self) -> Result<Vec<f64>, Failure> {
        let [_all, one] = &self.services;
        let mut all = Vec::new();
        for round in 1..=TIMES {
            let id = self.release(one, round).await?;
            let (plan, _) =
                self.platform.plan(&self.me, PlanRelease::new(one.clone(), id, 7)).await?;
            let began = clock_gettime(ClockId::Monotonic);
            self.carry_out(plan).await?;
            let ended = clock_gettime(ClockId::Monotonic);
            let nanos =
                (ended.tv_sec - began.tv_sec) * 1_000_000_000 + ended.tv_nsec - began.tv_nsec;
            all.push(u32::try_from(nanos / 1_000).map_or(f64::NAN, f64::from) / 1e3);
        }
        Ok(all)
    }

    async fn roll_out_to(&self, service: &ServiceName, round: usize) -> Result<(), Failure> {
        let id = self.release(service, round).await?;
        let request = PlanRelease::new(service.clone(), id, 7);
        let (plan, _) = self.platform.plan(&self.me, request).await?;
        self.carry_out(plan).await
    }

    async fn release(&self, service: &ServiceName, round: usize) -> Result<ReleaseId, Failure> {
        let files = [("descriptor.toml", DESCRIPTOR), ("post.sh", "true\n")]
            .map(|(path, text)| PackedFile { path, executable: false, bytes: text.as_bytes() });
        let packed = pack_files(files, Limits::PACKAGE, Vec::new())?;
        let steps = descriptor::read(&packed)?.descriptor.steps();
        let (id, me): (ReleaseId, _) = (format!("{service}-{round}").parse()?, &self.me);
        let (kind, version) = (ArtifactKind::Descriptor, round.to_string().parse()?);
        let repository = service.as_str().parse()?;
        let how = self.platform.put_bytes(me, repository, kind, version, &packed).await?;
        let version = round.to_string().parse()?;
        let (now, service) = (self.clock.now(), service.clone());
        let release = Release::new(id.clone(), service, version, how, steps, now, me.clone());
        self.platform.create_release(me, release).await?;
        Ok(id)
    }

    async fn carry_out(&self, plan: deploy_core::plan::Plan) -> Result<(), Failure> {
        let rollout = self.platform.start(&self.me, plan).await?;
        let options = DriveOptions::new("bench");
        self.platform.drive(&self.me, &rollout, options, &NoObserver).await?;
        match self.platform.load(&rollout).await?.outcome() {
            Some(Outcome::Succeeded) => Ok(()),
            other => Err(format!("the rollout ended as {other:?}").into()),
        }
    }
}
