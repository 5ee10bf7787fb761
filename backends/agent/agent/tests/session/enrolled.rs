//! From a join token to a host that follows orders, over TLS, with the programs' own parts.
use crate::{link::signer, support::Fixture};
use async_trait::async_trait;
use deploy_agent::{
    Connect as _, Credentials, EnrolError, GatewayConnector, Identity, Names, Session, enrol, renew,
};
use deploy_agent_gateway::{
    Admission as _, AgentExecutor, AgentListener, Enroller, Gateway, GatewayOptions, Peer,
    Registrar, RegistryAdmission,
};
use deploy_agent_protocol::{
    OrderSigner,
    v1::{
        FetchRequest, RenewRequest, enrolment_client::EnrolmentClient,
        gateway_client::GatewayClient,
    },
};
use deploy_core::{
    access::{Action, Resource},
    agent::{Agent, AgentState, Certificate},
    backend::{
        AgentRegistry as _, CertifyAgent, Clock, CreateJoinToken, EnrollAgent, Executor as _,
        HostRequest, Observed,
    },
    conformance::{permit, sample},
    error::{BackendResult, ErrorKind},
    host::{Connection, Host},
    id::{HostName, TokenId},
    memory::{MemoryAgentRegistry, SystemClock},
    time::Timestamp,
    token::{JoinToken, TokenSecret},
};
use deploy_pki::{AgentAcceptor, Authority, PinnedConnector, Revocations};
use hyper_util::rt::TokioIo;
use rustix::process::{Pid, Signal, kill_process};
use rustls_pki_types::ServerName;
use std::{
    fs,
    io::Write as _,
    num::NonZeroU32,
    os::unix::net::UnixDatagram,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};
use tempfile::TempDir;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
};
use tokio_rustls::{
    TlsConnector,
    rustls::{ClientConfig, ServerConfig},
};
use tonic::{
    Code,
    transport::{Channel, Endpoint, Uri},
};
use tower::service_fn;

/// Remembers who was registered.
#[derive(Debug, Default)]
struct Book(Mutex<Vec<HostName>>);

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

/// A control plane, as far as agents see it.
pub(crate) struct Plane {
    agents: Arc<MemoryAgentRegistry>,
    pub(crate) authority: Arc<Authority>,
    book: Arc<Book>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) gateway: Gateway,
    /// Where agents and strangers are let in.
    pub(crate) door: String,
    pub(crate) revocations: watch::Sender<Revocations>,
    stop: watch::Sender<bool>,
    newest: watch::Sender<Arc<ServerConfig>>,
    sessions: JoinHandle<()>,
    _folder: TempDir,
}

impl Drop for Plane {
    fn drop(&mut self) {
        self.sessions.abort();
    }
}

impl Plane {
    pub(crate) async fn new(fixture: &Fixture) -> Self {
        let options = GatewayOptions::default().with_heartbeat(Duration::from_millis(200));
        Self::with(fixture, options).await
    }

    pub(crate) async fn with(fixture: &Fixture, options: GatewayOptions) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let authority = Arc::new(Authority::open(folder.path(), clock.now()).unwrap());
        let identity = authority.issue_server(&["127.0.0.1"], clock.now()).unwrap();
        let agents = Arc::new(MemoryAgentRegistry::new());
        let (revocations, list) = watch::channel(Revocations::new());
        let acceptor = AgentAcceptor::new(&authority, list, Arc::clone(&clock)).with_strangers();
        let config = Arc::new(acceptor.config(&identity).unwrap());
        let admission = RegistryAdmission::new(Arc::clone(&agents) as _, Arc::clone(&clock));
        let gateway = Gateway::new(
            Arc::new(admission),
            Arc::clone(&fixture.store) as _,
            Arc::clone(&clock),
            signer(),
            options,
        );
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let door = listener.local_addr().unwrap().to_string();
        let book = Arc::new(Book::default());
        let enroller = Enroller::new(
            Arc::clone(&agents) as _,
            Arc::clone(&authority),
            Arc::clone(&book) as _,
            Arc::clone(&clock),
            vec![signer().public_key()],
            "",
        );
        let served = gateway.clone();
        let (newest, config) = watch::channel(config);
        let listener = AgentListener::new(listener, config, Arc::clone(&clock));
        let (stop, mut stopped) = watch::channel(false);
        let sessions = tokio::spawn(async move {
            let stopped = async { drop(stopped.wait_for(|it| *it).await) };
            listener.serve(&served, &enroller, stopped).await.unwrap();
        });
        Self {
            agents,
            authority,
            book,
            clock,
            gateway,
            door,
            revocations,
            stop,
            newest,
            sessions,
            _folder: folder,
        }
    }

    /// A join token for so many hosts.
    pub(crate) async fn token(&self, uses: u32) -> String {
        let permit = permit(Action::HostEnroll, Resource::System).await;
        let (id, secret) = (TokenId::from_bits(7), TokenSecret::from_bytes([9; 32]));
        let now = self.clock.now();
        let until = now.after(Duration::from_secs(600));
        let request = CreateJoinToken::new(id.clone(), secret.hash(), now, until)
            .with_uses(NonZeroU32::new(uses).unwrap());
        self.agents.create_join_token(&permit, &request).await.unwrap();
        JoinToken::new(id, secret, self.authority.fingerprint()).reveal()
    }

    async fn enrol(&self, fixture: &Fixture, token: &str) -> Result<Credentials, EnrolError> {
        enrol(&fixture.state(), &self.door, token, Names::default(), Arc::clone(&self.clock)).await
    }

    /// An agent of a machine of its own, with a session of its own.
    pub(crate) async fn enrolled(
        &self,
        fixture: &Fixture,
        state: &Path,
        number: u32,
        token: &str,
    ) -> Session {
        fs::create_dir(state).unwrap();
        let mut names = Names::default();
        names.host = Some(format!("host-{number}"));
        names.instance = Some(format!("test/here/{number}"));
        let credentials =
            enrol(state, &self.door, token, names, Arc::clone(&self.clock)).await.unwrap();
        let connect = GatewayConnector::new(state.to_owned(), Arc::clone(&self.clock));
        let identity = Identity::new(credentials.host(), "boot-1", credentials.signers());
        Session::new(fixture.host(), Arc::new(connect), identity)
    }

    fn session(&self, fixture: &Fixture, credentials: &Credentials) -> JoinHandle<()> {
        let connect = GatewayConnector::new(fixture.state(), Arc::clone(&self.clock));
        let identity = Identity::new(credentials.host(), "boot-1", credentials.signers());
        let session = Session::new(fixture.host(), Arc::new(connect), identity);
        tokio::spawn(async move { session.run().await })
    }

    /// Whether the host answers.
    pub(crate) async fn reaches(&self, host: &HostName) {
        self.observe(host).await.unwrap();
    }

    async fn observe(&self, host: &HostName) -> BackendResult<Observed> {
        let permit = permit(Action::HostObserve, Resource::System).await;
        let host = Host::new(host.clone(), Connection::Agent);
        let on = HostRequest::new(host, sample::name("web"), sample::name("/srv/web"));
        AgentExecutor::new(self.gateway.clone()).observe(&permit, &on).await
    }
}

#[tokio::test]
async fn a_join_token_makes_a_host_that_follows_orders() {
    let fixture = Fixture::new("none").await;
    let plane = Plane::new(&fixture).await;
    let credentials = plane.enrol(&fixture, &plane.token(1).await).await.unwrap();
    let host: HostName = credentials.host().parse().unwrap();
    assert_eq!(plane.book.0.lock().unwrap().first(), Some(&host));
    let facts = plane.agents.agent(&host).await.unwrap().facts;
    assert_eq!(facts.agent_version, env!("CARGO_PKG_VERSION"));
    assert!(facts.cpus > 0 && facts.memory_bytes > 0 && !facts.kernel.is_empty(), "{facts:?}");
    let _session = plane.session(&fixture, &credentials);
    plane.reaches(&host).await;
    assert!(plane.agents.agent(&host).await.unwrap().last_seen_at.is_some());
}

#[tokio::test]
async fn a_token_that_is_used_up_or_of_others_makes_no_host() {
    let (first, second) = (Fixture::new("none").await, Fixture::new("none").await);
    let plane = Plane::new(&first).await;
    let token = plane.token(1).await;
    plane.enrol(&first, &token).await.unwrap();
    let refused = plane.enrol(&second, &token).await.unwrap_err();
    assert!(matches!(refused, EnrolError::Refused(_)), "{refused}");
    Credentials::read(&second.state()).unwrap_err();

    let other = Plane::new(&second).await;
    let token = other.token(1).await;
    let refused = plane.enrol(&second, &token).await.unwrap_err();
    assert!(matches!(refused, EnrolError::Connect { .. }), "the authority is another: {refused}");
    let refused = plane.enrol(&second, "dplj_nonsense").await.unwrap_err();
    assert!(matches!(refused, EnrolError::Token(_)), "{refused}");
}

#[tokio::test]
async fn a_certificate_is_renewed_for_a_new_key_and_the_old_one_is_worth_nothing() {
    let fixture = Fixture::new("none").await;
    let plane = Plane::new(&fixture).await;
    let old = plane.enrol(&fixture, &plane.token(1).await).await.unwrap();
    let connect = GatewayConnector::new(fixture.state(), Arc::clone(&plane.clock));
    let new = renew(&fixture.state(), &connect).await.unwrap();
    assert_eq!(new.host(), old.host());
    assert_ne!(new.key().unwrap().fingerprint(), old.key().unwrap().fingerprint());
    let host: HostName = new.host().parse().unwrap();
    let session = plane.session(&fixture, &new);
    plane.reaches(&host).await;
    session.abort();

    // Somebody has kept a copy of the old key.
    let thief = Fixture::new("none").await;
    old.write(&thief.state()).unwrap();
    let connect = GatewayConnector::new(thief.state(), Arc::clone(&plane.clock));
    renew(&thief.state(), &connect).await.unwrap_err();
    assert_eq!(plane.agents.agent(&host).await.unwrap().state, AgentState::Quarantined);
}

/// The registry of a backup that was made when `old` was the host's certificate, which ended at `until`.
async fn restored(plane: &Plane, old: &Credentials, until: Timestamp) -> MemoryAgentRegistry {
    let known = plane.agents.agent(&old.host().parse().unwrap()).await.unwrap();
    let (agents, permit) =
        (MemoryAgentRegistry::new(), permit(Action::HostEnroll, Resource::System).await);
    let (id, secret, now) =
        (known.enrolled_with, TokenSecret::from_bytes([9; 32]), plane.clock.now());
    let later = now.after(Duration::from_secs(600));
    let token = CreateJoinToken::new(id.clone(), secret.hash(), now, later);
    agents.create_join_token(&permit, &token).await.unwrap();
    let key = old.key().unwrap().fingerprint();
    let machine = EnrollAgent::new(id, secret.hash(), key, known.host, known.natural_key, now);
    agents.enroll(&machine).await.unwrap();
    let certificate = Certificate::new("01", until);
    agents.certify(&CertifyAgent::new(key, key, certificate)).await.unwrap();
    agents
}

#[tokio::test]
async fn an_agent_that_a_restored_registry_is_older_than_is_known_again() {
    let fixture = Fixture::new("none").await;
    let plane = Plane::new(&fixture).await;
    let old = plane.enrol(&fixture, &plane.token(1).await).await.unwrap();
    let connect = GatewayConnector::new(fixture.state(), Arc::clone(&plane.clock));
    let new = renew(&fixture.state(), &connect).await.unwrap();
    let (key, shown) = (new.key().unwrap().fingerprint(), Peer::new(new.chain()[0].to_vec()));
    let now = plane.clock.now();

    let agents = Arc::new(restored(&plane, &old, now).await);
    let admission = RegistryAdmission::new(Arc::clone(&agents) as _, Arc::clone(&plane.clock));
    assert_eq!(admission.identify(&shown).await.unwrap().as_str(), new.host());
    assert_eq!(agents.identify(&key).await.unwrap().key.fingerprint, key);
    let stolen = Peer::new(old.chain()[0].to_vec());
    admission.identify(&stolen).await.unwrap_err();

    // A registry that knows a newer certificate has lost nothing: this one is not the host's.
    let later = now.after(Duration::from_secs(3 * 24 * 3600));
    let agents = Arc::new(restored(&plane, &old, later).await);
    let admission = RegistryAdmission::new(Arc::clone(&agents) as _, Arc::clone(&plane.clock));
    admission.identify(&shown).await.unwrap_err();
    assert!(agents.identify(&old.key().unwrap().fingerprint()).await.is_ok());
}

#[tokio::test]
async fn a_stranger_may_enrol_and_nothing_else() {
    let fixture = Fixture::new("none").await;
    let plane = Plane::new(&fixture).await;
    let token = plane.token(1).await;
    let (_, trusted) = token.rsplit_once('_').unwrap();
    let authority = format!("sha256:{trusted}").parse().unwrap();
    let config = PinnedConnector::new(authority, Arc::clone(&plane.clock)).stranger().unwrap();
    let channel = dial(&plane.door, config).await;
    let asked = RenewRequest { signing_request: vec![] };
    let refused = EnrolmentClient::new(channel.clone()).renew(asked).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated, "{refused}");
    let frames = futures_util::stream::pending();
    let refused = GatewayClient::new(channel.clone()).session(frames).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated, "{refused}");
    let asked = FetchRequest { digest: vec![0; 32], offset: 0 };
    let refused = GatewayClient::new(channel).fetch(asked).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated, "{refused}");
}

/// A connection of nobody in particular.
async fn dial(server: &str, config: ClientConfig) -> Channel {
    let (tls, address) = (TlsConnector::from(Arc::new(config)), server.to_owned());
    let connector = service_fn(move |_: Uri| {
        let (tls, address) = (tls.clone(), address.clone());
        async move {
            let stream = TcpStream::connect(&address).await?;
            let name = ServerName::try_from("any.name").unwrap();
            Ok::<_, std::io::Error>(TokioIo::new(tls.connect(name, stream).await?))
        }
    });
    let endpoint = Endpoint::from_shared(format!("http://{server}")).unwrap();
    endpoint.connect_with_connector(connector).await.unwrap()
}

#[tokio::test]
async fn a_listener_that_stops_sends_agents_away_and_takes_nobody() {
    let fixture = Fixture::new("none").await;
    let mut plane = Plane::new(&fixture).await;
    let credentials = plane.enrol(&fixture, &plane.token(1).await).await.unwrap();
    let host: HostName = credentials.host().parse().unwrap();
    let _session = plane.session(&fixture, &credentials);
    plane.reaches(&host).await;
    plane.stop.send_replace(true);
    (&mut plane.sessions).await.unwrap();
    assert!(plane.gateway.connected().is_empty());
    TcpStream::connect(&plane.door).await.unwrap_err();
}

#[tokio::test]
async fn new_connections_see_the_newest_certificate() {
    let fixture = Fixture::new("none").await;
    let plane = Plane::new(&fixture).await;
    let token = plane.token(1).await;
    // One that nobody trusts: of another authority.
    let elsewhere = tempfile::tempdir().unwrap();
    let other = Authority::open(elsewhere.path(), plane.clock.now()).unwrap();
    let identity = other.issue_server(&["127.0.0.1"], plane.clock.now()).unwrap();
    let list = plane.revocations.subscribe();
    let acceptor = AgentAcceptor::new(&other, list, Arc::clone(&plane.clock)).with_strangers();
    let before = plane.newest.send_replace(Arc::new(acceptor.config(&identity).unwrap()));
    let refused = plane.enrol(&fixture, &token).await.unwrap_err();
    assert!(matches!(refused, EnrolError::Connect { .. }), "{refused}");
    plane.newest.send_replace(before);
    plane.enrol(&fixture, &token).await.unwrap();
}

#[tokio::test]
async fn whoever_is_revoked_gets_no_connection() {
    let fixture = Fixture::new("none").await;
    let plane = Plane::new(&fixture).await;
    let credentials = plane.enrol(&fixture, &plane.token(1).await).await.unwrap();
    let host: HostName = credentials.host().parse().unwrap();
    plane.revocations.send_modify(|it| {
        it.hosts.insert(host);
    });
    let connect = GatewayConnector::new(fixture.state(), Arc::clone(&plane.clock));
    // TLS 1.3 tells the client only after its own last word: by then it may be connected.
    let renewed = match connect.connect().await {
        Err(_) => return,
        Ok(_) => renew(&fixture.state(), &connect).await,
    };
    renewed.unwrap_err();
}

/// The program itself.
pub(crate) struct Program(Child);

impl Program {
    pub(crate) fn enrol(plane: &Plane, state: &Path, token: &str) {
        Self::enrol_at(&plane.door, &[], state, token);
    }

    pub(crate) fn enrol_at(server: &str, more: &[&str], state: &Path, token: &str) {
        let mut enrol = Command::new(env!("CARGO_BIN_EXE_deploy-agent"))
            .args(["enrol", "--server", server, "--state-dir"])
            .arg(state)
            .args(more)
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        enrol.stdin.take().unwrap().write_all(token.as_bytes()).unwrap();
        assert!(enrol.wait().unwrap().success());
    }

    pub(crate) fn run(state: &Path, policy: &str) -> Self {
        let config = state.join("host.toml");
        fs::write(&config, policy).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_deploy-agent"));
        command.arg("run").arg("--config").arg(config).arg("--state-dir").arg(state);
        // As systemd starts it, which is told when it is up.
        let socket = state.join("notify");
        drop(fs::remove_file(&socket));
        let told = UnixDatagram::bind(&socket).unwrap();
        told.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let program = Self(command.env("NOTIFY_SOCKET", socket).spawn().unwrap());
        let mut said = [0; 64];
        told.recv(&mut said).unwrap();
        assert!(said.starts_with(b"READY=1"));
        program
    }

    fn stop(mut self) {
        let pid = Pid::from_raw(i32::try_from(self.0.id()).unwrap()).unwrap();
        kill_process(pid, Signal::TERM).unwrap();
        assert!(self.0.wait().unwrap().success());
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have been stopped.
        let _gone = self.0.kill();
        let _status = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_program_becomes_a_host_and_follows_whom_its_host_lets_it() {
    let fixture = Fixture::new("none").await;
    let plane = Plane::new(&fixture).await;
    let state = tempfile::tempdir().unwrap();
    Program::enrol(&plane, state.path(), &plane.token(1).await);
    let credentials = Credentials::read(state.path()).unwrap();
    let host: HostName = credentials.host().parse().unwrap();
    let program = Program::run(state.path(), "folders = ['/srv']\n");
    plane.reaches(&host).await;
    program.stop();

    // Root has named another signer: the control plane has nothing to say here any more.
    let other = OrderSigner::from_secret(&[8; 32]).public_key();
    let other: String = other.iter().map(|it| format!("{it:02x}")).collect();
    let program =
        Program::run(state.path(), &format!("folders = ['/srv']\nsigners = ['{other}']\n"));
    let err = plane.observe(&host).await.unwrap_err();
    assert_eq!(err.kind(), ErrorKind::PermissionDenied, "{}", err.chain());
    assert!(err.chain().contains("its signer is not one that this host trusts"), "{}", err.chain());
    program.stop();
}
