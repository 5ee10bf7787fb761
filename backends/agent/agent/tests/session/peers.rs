//! Hosts have blocks from each other, and from the server no more than it takes.
use crate::{
    delivery::{PLAIN, noise},
    enrolled::{Plane, Program},
    support::{Fixture, scripts::eventually},
};
use async_trait::async_trait;
use bytes::Bytes;
use deploy_agent::{Credentials, Names, enrol};
use deploy_agent_gateway::{AgentExecutor, Blocks, GatewayOptions, Rates};
use deploy_core::{
    access::{Action, Permit, Resource},
    backend::{
        ArtifactKind, AttemptRequest, BackendResult, Executor as _, HostRequest, StageReport,
        StageRequest,
    },
    conformance::{permit, sample},
    digest::Digest,
    host::{Connection, Host},
    id::{HostName, RolloutId, Seq},
    memory::MemoryHostInventory,
    plan::PlannedRelease,
};
use deploy_distribution::{
    Blob, BlobFile, Outboard,
    token::{Grant, TOKEN_LIFETIME, TokenSigner, TokenVerifier},
    transfer::{
        BlockServer, BlockSource, Client, Endpoint, FetchOrder, Fetcher, Limits, LinkError, Served,
        SourceError,
    },
};
use deploy_parts::{PartStore, PartStoreOptions};
use deploy_pki::{AgentAcceptor, AgentPeer, PeerTls};
use deploy_test_support::releases::{pack, put, release};
use rustls_pki_types::CertificateDer;
use std::{
    fs::{self, File},
    future,
    io::Write as _,
    ops::Range,
    path::PathBuf,
    sync::Arc,
};
use tempfile::TempDir;
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};

/// As the gateway's orders are signed.
const SECRET: [u8; 32] = [7; 32];
pub(crate) const LARGE: usize = 24 << 20;

/// A control plane that gives blocks, and hosts.
pub(crate) struct Lab {
    fixture: Fixture,
    pub(crate) plane: Plane,
    pub(crate) rates: Rates,
    token: String,
    permit: Permit,
    server: Arc<BlockServer>,
    endpoint: Endpoint,
    serving: JoinHandle<()>,
    pub(crate) hosts: Vec<Member>,
}

pub(crate) struct Member {
    pub(crate) name: HostName,
    pub(crate) state: TempDir,
    pub(crate) policy: String,
    program: Option<Program>,
}

impl Member {
    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        self.program = None;
    }

    pub(crate) fn start(&mut self) {
        self.program = Some(Program::run(self.state.path(), &self.policy));
    }

    /// The files of blocks that have not come together yet.
    pub(crate) fn blocks(&self, artifact: Digest) -> PathBuf {
        self.state.path().join("artifacts").join(format!("{}.blocks", artifact.hex()))
    }

    fn artifacts(&self) -> impl Iterator<Item = PathBuf> {
        fs::read_dir(self.state.path().join("artifacts")).unwrap().map(|it| it.unwrap().path())
    }

    /// How many bytes there are of what comes over the session just now.
    pub(crate) fn came(&self) -> u64 {
        let parts = self.artifacts().filter(|it| it.extension().is_some_and(|it| it == "part"));
        parts.map(|it| file_size(&it)).sum()
    }

    /// The sizes of the large artifacts that are there.
    pub(crate) fn large(&self) -> Vec<u64> {
        let whole = self.artifacts().filter(|it| it.extension().is_none());
        whole.map(|it| file_size(&it)).filter(|it| *it > 1 << 20).collect()
    }

    pub(crate) fn has(&self, artifact: Digest) -> bool {
        let file = self.state.path().join("artifacts").join(artifact.hex());
        fs::read(file).is_ok_and(|it| Digest::of(&it) == artifact)
    }
}

impl Lab {
    /// With so many hosts that have this in their `[peers]`.
    pub(crate) async fn new(hosts: u32, peers: &str) -> Self {
        Self::with(hosts, peers, GatewayOptions::with_blocks).await
    }

    /// Whose gateway is told of the blocks by `with`.
    pub(crate) async fn with(
        hosts: u32,
        peers: &str,
        with: fn(GatewayOptions, Blocks) -> GatewayOptions,
    ) -> Self {
        let fixture = Fixture::new("none").await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let parts = fixture.dir.path().join("parts");
        let store = Arc::clone(&fixture.store) as _;
        let parts = PartStore::open(parts, store, PartStoreOptions::default()).unwrap();
        let inventory = Arc::new(MemoryHostInventory::new());
        let clock = Arc::new(deploy_core::memory::SystemClock::new());
        let blocks = Blocks::new(parts.clone(), &SECRET, format!(":{port}"), inventory, clock);
        let rates = Rates::default();
        let server = Arc::new(blocks.server().unwrap().with_limits(rates.origin()));
        let options = GatewayOptions::default().with_parts(parts).with_rates(rates.clone());
        let options = with(options, blocks);
        let plane = Plane::with(&fixture, options).await;
        let list = plane.revocations.subscribe();
        let acceptor = AgentAcceptor::new(&plane.authority, list, Arc::clone(&plane.clock));
        let identity = plane.authority.issue_server(&["127.0.0.1"], plane.clock.now()).unwrap();
        let tls = watch::Sender::new(Arc::new(acceptor.block_config(&identity).unwrap()));
        let serving = Arc::clone(&server);
        let serving = tokio::spawn(async move {
            serving.serve(listener, tls.subscribe(), future::pending()).await;
        });
        let token = plane.token(16).await;
        let permit = permit(Action::HostExecute, Resource::System).await;
        let endpoint = Endpoint::new(sample::name("deploy-server"), format!("127.0.0.1:{port}"));
        let none = Vec::new();
        let mut lab =
            Self { fixture, plane, rates, token, permit, server, endpoint, serving, hosts: none };
        for number in 0..hosts {
            lab.join(number, peers).await;
        }
        lab
    }

    async fn credentials(&self, number: u32, state: &TempDir) -> Credentials {
        let mut names = Names::default();
        names.host = Some(format!("host-{number}"));
        names.instance = Some(format!("test/here/{number}"));
        let clock = Arc::clone(&self.plane.clock);
        enrol(state.path(), &self.plane.door, &self.token, names, clock).await.unwrap()
    }

    async fn join(&mut self, number: u32, peers: &str) {
        self.join_in(tempfile::tempdir().unwrap(), number, peers).await;
    }

    /// With its state there.
    pub(crate) async fn join_in(&mut self, state: TempDir, number: u32, peers: &str) {
        let name: HostName = self.credentials(number, &state).await.host().parse().unwrap();
        let policy = format!("folders = ['/srv']\n[peers]\nlisten = '127.0.0.1:0'\n{peers}\n");
        let program = Some(Program::run(state.path(), &policy));
        eventually("the host is there", || self.plane.gateway.is_connected(&name)).await;
        self.hosts.push(Member { name, state, policy, program });
    }

    /// A release of a package with one large file.
    pub(crate) async fn release(&self) -> PlannedRelease {
        self.release_of(&noise(LARGE)).await
    }

    /// Whose file has these bytes.
    pub(crate) async fn release_of(&self, file: &[u8]) -> PlannedRelease {
        let store = &*self.fixture.store;
        let package = pack(&[("bin/web.sh", file)]).unwrap();
        let package = put(store, ArtifactKind::Package, &package).await.unwrap();
        let release = release(store, "one", PLAIN, &[]).await.unwrap();
        PlannedRelease::from(&release.with_package(package))
    }

    /// Has a host fetch what it needs.
    pub(crate) async fn stage(&self, host: &HostName, release: &PlannedRelease) {
        self.try_stage(host, &[release]).await.unwrap();
    }

    /// Has a host fetch what it needs of all these.
    pub(crate) async fn try_stage(
        &self,
        host: &HostName,
        releases: &[&PlannedRelease],
    ) -> BackendResult<StageReport> {
        let host = Host::new(host.clone(), Connection::Agent);
        let on = HostRequest::new(host, sample::name("web"), "/srv/web".parse().unwrap());
        let token = format!("{:032x}", 1);
        let rollout: RolloutId = sample::name("r1");
        let attempts = releases.iter().map(|it| {
            let (on, rollout, token) = (on.clone(), rollout.clone(), token.clone());
            AttemptRequest::new(on, rollout, Seq::new(1), token, (*it).clone())
        });
        let attempts: Vec<_> = attempts.collect();
        let artifacts = attempts.iter().flat_map(AttemptRequest::artifacts).collect();
        let request = StageRequest::new(on, artifacts)
            .with_deliveries(attempts.iter().filter_map(AttemptRequest::delivery).collect())
            .with_rollout(Some(rollout));
        let executor = AgentExecutor::new(self.plane.gateway.clone());
        executor.stage(&self.permit, &request).await
    }

    /// Has all hosts fetch it at once.
    pub(crate) async fn stage_all(&self, release: &PlannedRelease) {
        let all = self.hosts.iter().map(|it| self.stage(&it.name, release));
        futures_util::future::join_all(all).await;
    }

    /// The large part of the package, as the server has it, and what it is for the transport.
    pub(crate) fn part(&self) -> (Digest, Outboard, PathBuf) {
        let blobs = fs::read_dir(self.fixture.dir.path().join("parts/blobs")).unwrap();
        let largest = blobs.map(|it| it.unwrap().path()).max_by_key(file_size).unwrap();
        let outboard = Outboard::compute(file_size(&largest), File::open(&largest).unwrap());
        let name = largest.file_name().unwrap().to_str().unwrap();
        (format!("sha256:{name}").parse().unwrap(), outboard.unwrap(), largest)
    }

    /// How many bytes of blocks the server has given.
    pub(crate) fn given(&self) -> u64 {
        self.server.served().values().sum()
    }

    fn token_for(&self, host: &HostName, blob: Blob) -> String {
        let until = self.plane.clock.now().after(TOKEN_LIFETIME);
        TokenSigner::from_secret(&SECRET).sign(&Grant::new(host.clone(), vec![blob], until))
    }

    fn peer_tls(&self) -> PeerTls {
        PeerTls::new(self.plane.authority.fingerprint(), Arc::clone(&self.plane.clock))
    }

    fn client(&self, of: &Credentials) -> Arc<Client> {
        let config = self.peer_tls().client(of.chain(), &of.key().unwrap()).unwrap();
        let newest = watch::Sender::new(Arc::new(config)).subscribe();
        let clock = Arc::clone(&self.plane.clock);
        Arc::new(Client::new(newest, Arc::new(|it: &CertificateDer<'_>| Some(who(it))), clock))
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

fn who(certificate: &CertificateDer<'_>) -> HostName {
    AgentPeer::of(certificate).map_or_else(|_| sample::name("deploy-server"), |it| it.host)
}

fn file_size(path: &PathBuf) -> u64 {
    fs::metadata(path).unwrap().len()
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_have_most_of_it_from_each_other() {
    let lab = Lab::new(3, "upload_mbit = 400\ndownload_mbit = 200").await;
    let release = lab.release().await;
    lab.stage_all(&release).await;
    let (part, outboard, _) = lab.part();
    assert!(lab.hosts.iter().all(|it| it.has(part)));
    let (given, size) = (lab.given(), outboard.blob().size());
    assert!((size..size * 9 / 5).contains(&given), "{given} of {size}: one copy, and little more");
    for host in &lab.hosts {
        let left = fs::read_dir(host.state.path().join("artifacts")).unwrap();
        let folders = left.filter(|it| it.as_ref().unwrap().path().is_dir()).count();
        assert_eq!(folders, 0, "nothing is left of its blocks");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_later_has_it_from_those_who_have_it() {
    let mut lab = Lab::new(2, "download_mbit = 200").await;
    let release = lab.release().await;
    lab.stage_all(&release).await;
    let (part, outboard, _) = lab.part();
    let before = lab.given();
    lab.join(7, "download_mbit = 200").await;
    lab.stage(&lab.hosts[2].name, &release).await;
    assert!(lab.hosts[2].has(part));
    let given = lab.given() - before;
    assert!(given < outboard.blob().size() / 2, "{given}");
}

#[tokio::test(flavor = "multi_thread")]
async fn where_no_blocks_are_given_it_comes_all_the_same() {
    let lab = Lab::new(2, "").await;
    lab.serving.abort();
    eventually("the port is closed", || lab.serving.is_finished()).await;
    let release = lab.release().await;
    lab.stage_all(&release).await;
    let (part, ..) = lab.part();
    assert!(lab.given() == 0 && lab.hosts.iter().all(|it| it.has(part)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_may_not_reach_the_server_asks_it_for_no_blocks() {
    let mut lab = Lab::new(0, "").await;
    let through = format!("[gateway]\nvia = ['{}']", lab.plane.door);
    lab.join(0, &through).await;
    let release = lab.release().await;
    lab.stage_all(&release).await;
    let (part, ..) = lab.part();
    assert!(lab.given() == 0 && lab.hosts[0].has(part));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_gives_nothing_takes_all_the_same() {
    let lab = Lab::new(2, "serve = false").await;
    let release = lab.release().await;
    lab.stage_all(&release).await;
    let (part, outboard, _) = lab.part();
    assert!(lab.hosts.iter().all(|it| it.has(part)));
    assert!(lab.given() >= 2 * outboard.blob().size());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_that_wants_the_archive_has_that_in_blocks() {
    let lab = Lab::new(1, "").await;
    let store = &*lab.fixture.store;
    let archive = pack(&[("bin/web.sh", &noise(LARGE))]).unwrap();
    let package = put(store, ArtifactKind::Package, &archive).await.unwrap();
    let descriptor = b"format = 1\n[steps.post]\nscript = \"post.sh\"\n";
    let scripts: &[(&str, &[u8])] = &[("descriptor.toml", descriptor), ("post.sh", b"true\n")];
    let release = release(store, "one", scripts, &[]).await.unwrap().with_package(package);
    lab.stage(&lab.hosts[0].name, &PlannedRelease::from(&release)).await;
    assert!(lab.hosts[0].has(package.digest) && lab.given() >= archive.len() as u64);
}

/// Bytes that are all wrong.
#[derive(Debug)]
struct Flipped(Outboard, Arc<File>);

#[async_trait]
impl BlockSource for Flipped {
    async fn outboard(&self, _: Blob) -> Result<Bytes, SourceError> {
        Ok(self.0.bytes().clone())
    }

    async fn readable(&self, _: Blob, _: Range<u64>) -> Result<Arc<File>, SourceError> {
        Ok(Arc::clone(&self.1))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_flips_bytes_harms_nobody() {
    let mut lab = Lab::new(1, "").await;
    let release = lab.release().await;
    lab.stage(&lab.hosts[0].name, &release).await;
    let (part, outboard, path) = lab.part();
    let blob = outboard.blob();
    // A host of this control plane, which somebody has taken over.
    let state = tempfile::tempdir().unwrap();
    let liar = lab.credentials(9, &state).await;
    let name: HostName = liar.host().parse().unwrap();
    let wrong: Vec<u8> = fs::read(&path).unwrap().iter().map(|it| !it).collect();
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&wrong).unwrap();
    let source = Arc::new(Flipped(outboard.clone(), Arc::new(file)));
    let verifier = TokenVerifier::new([TokenSigner::from_secret(&SECRET).public_key()]).unwrap();
    let clock = || Arc::clone(&lab.plane.clock);
    let identify = Arc::new(|it: &CertificateDer<'_>| Some(who(it)));
    let server = Arc::new(BlockServer::new(source, verifier, identify, clock()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let tls = lab.peer_tls();
    let config = Arc::new(tls.server(liar.chain(), &liar.key().unwrap()).unwrap());
    let serving = Arc::clone(&server);
    let giving = tokio::spawn(async move {
        let newest = watch::Sender::new(config);
        serving.serve(listener, newest.subscribe(), future::pending()).await;
    });
    let whole = BlobFile::whole(&path, outboard).unwrap();
    let token = watch::Sender::new(lab.token_for(&name, blob)).subscribe();
    let order = FetchOrder::new(blob, address, token);
    let order = order.with_schedulers(vec![lab.endpoint.clone()]);
    let fetcher = Fetcher::new(lab.client(&liar), Arc::new(Limits::new(None)), clock());
    let lying = tokio::spawn(async move { fetcher.linger(&order, &whole).await });

    for number in 1..4 {
        lab.join(number, "").await;
        let host = &lab.hosts[usize::try_from(number).unwrap()];
        lab.stage(&host.name, &release).await;
        assert!(host.has(part));
    }
    let lied: Served = server.served();
    assert!(!lied.is_empty(), "somebody has asked it");
    for (host, bytes) in lied {
        assert!(bytes <= 2 * blob.block_size(), "{host} was given {bytes}");
    }
    lying.abort();
    giving.abort();
    drop(tls);
}

fn status(refused: Result<Outboard, LinkError>) -> u16 {
    match refused {
        Err(LinkError::Refused { status, .. }) => status,
        Err(other) => panic!("{other}"),
        Ok(_) => 200,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_token_of_ones_own_nothing_is_given() {
    let lab = Lab::new(1, "").await;
    let release = lab.release().await;
    lab.stage(&lab.hosts[0].name, &release).await;
    let blob = lab.part().1.blob();
    let state = tempfile::tempdir().unwrap();
    let other = lab.credentials(9, &state).await;
    let name: HostName = other.host().parse().unwrap();
    let client = lab.client(&other);
    let ask = async |token: &str| status(client.outboard(&lab.endpoint, blob, token).await);
    assert_eq!(ask(&lab.token_for(&name, blob)).await, 200);
    assert_eq!(ask("").await, 401);
    assert_eq!(ask(&lab.token_for(&lab.hosts[0].name, blob)).await, 403);

    // Whoever is kept out has no connection, whatever token it has.
    lab.plane.revocations.send_modify(|it| {
        it.hosts.insert(name.clone());
    });
    let (again, token) = (lab.client(&other), lab.token_for(&name, blob));
    let refused = again.outboard(&lab.endpoint, blob, &token).await;
    assert!(
        !matches!(refused, Ok(_) | Err(LinkError::Refused { .. })),
        "it has a connection: {refused:?}"
    );
}
