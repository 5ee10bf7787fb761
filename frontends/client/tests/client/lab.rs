//! A server with a certificate of its own authority, and a way to it that can be cut.
use deploy_artifacts::ObjectArtifactStore;
use deploy_client::{ArtifactUpload, Client, Server};
use deploy_core::{
    access::Action,
    backend::Clock,
    digest::Digest,
    engine::Parts,
    memory::{
        MemoryAuthorizer, MemoryExecutor, MemoryNotifier, Rule, SpreadScheduler, SystemClock,
    },
};
use deploy_host::{
    archive::{Limits as ArchiveLimits, PackedFile, pack_files},
    descriptor,
};
use deploy_operations::{Agents, LimitFile, LinksElsewhere};
use deploy_pki::{Authority, api_config};
use deploy_server::{Control, DriverPool, FirstToken, Holder, Limits, Transport, serve};
use deploy_sql::{
    Database, SqlAgentRegistry, SqlAnswerStore, SqlCredentialStore, SqlHostInventory, SqlJournal,
    SqlLeaseStore, SqlLogStore, SqlServiceRegistry,
};
use deploy_wire::{Artifact, Connection, NewHost, NewRelease, Repair, ServiceSpec, Strategy};
use std::{collections::BTreeMap, io::Cursor, net::SocketAddr, sync::Arc};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::watch,
};

pub(crate) struct Lab {
    pub(crate) address: SocketAddr,
    pub(crate) authority: String,
    pub(crate) token: String,
    _stop: watch::Sender<bool>,
    _dir: TempDir,
}

/// An authority, and the transport of a server at `127.0.0.1` that it vouches for.
pub(crate) fn authority() -> (String, Transport) {
    let dir = tempfile::tempdir().unwrap();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let authority = Authority::open(dir.path(), clock.now()).unwrap();
    let identity = authority.issue_server(&["127.0.0.1"], clock.now()).unwrap();
    let config = Arc::new(api_config(&identity, clock).unwrap());
    (authority.root_pem().to_owned(), Transport::Tls(watch::channel(config).1))
}

impl Lab {
    pub(crate) async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let control = control(&dir).await;
        let (stop, stopping) = watch::channel(false);
        let holder = Holder::new("server-1", |_| false);
        let principal = "deploy-server".parse().unwrap();
        let pool = DriverPool::new(control.parts.clone(), principal, holder);
        let mut limits = Limits::default();
        limits.local_hosts = true;
        let server = deploy_server::Server::new(control, pool.clone(), limits, stopping.clone());
        let FirstToken::Made(token) = server.first_token().await.unwrap() else {
            panic!("there is a token already");
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (authority, transport) = authority();
        tokio::spawn(serve(server, listener, transport));
        tokio::spawn(async move { pool.run(stopping).await });
        Self { address, authority, token: token.reveal(), _stop: stop, _dir: dir }
    }

    pub(crate) fn client(&self) -> Client {
        self.client_by(self.address)
    }

    /// A client that takes the way over `address`.
    pub(crate) fn client_by(&self, address: SocketAddr) -> Client {
        let server = Server::new(format!("https://{address}"), self.token.as_str());
        Client::new(server.with_authority(self.authority.as_str())).unwrap()
    }
}

async fn control(dir: &TempDir) -> Control {
    let database = Database::open_sqlite(dir.path().join("deploy.db")).await.unwrap();
    let store = ObjectArtifactStore::open_local(dir.path().join("artifacts")).unwrap();
    let clock = Arc::new(SystemClock::new());
    let rules = vec![Rule::allow("*".parse().unwrap(), Action::ALL)];
    let parts = Parts {
        artifacts: Arc::new(store),
        authorizer: Arc::new(MemoryAuthorizer::new(rules)),
        clock: Arc::<SystemClock>::clone(&clock),
        executor: Arc::new(MemoryExecutor::new(clock)),
        inventory: Arc::new(SqlHostInventory::new(&database)),
        journal: Arc::new(SqlJournal::new(&database)),
        leases: Arc::new(SqlLeaseStore::new(&database)),
        logs: Arc::new(SqlLogStore::new(&database)),
        notifier: Arc::new(MemoryNotifier::new()),
        registry: Arc::new(SqlServiceRegistry::new(&database)),
        scheduler: Arc::new(SpreadScheduler::default()),
    };
    let answers = Arc::new(SqlAnswerStore::new(&database));
    let links = LinksElsewhere::new(Digest::of(b"an authority"), Some("here:7444".to_owned()));
    let registry = Arc::new(SqlAgentRegistry::new(&database));
    let agents = Agents { registry, links: Arc::new(links) };
    Control {
        parts,
        answers,
        credentials: Arc::new(SqlCredentialStore::new(&database)),
        agents,
        upkeep: None,
        builds: None,
        limits: Some(Arc::new(LimitFile::new(dir.path().join("limits.json")))),
    }
}

/// The service `web`, with a release `web-1`, on the hosts `h1` to `h3`.
pub(crate) async fn fleet(client: &Client) {
    let strategy =
        Strategy { min_healthy_time_ms: 0, check_interval_ms: 10, ..Strategy::default() };
    let spec = ServiceSpec {
        owner: "ann".to_owned(),
        deploy_path: "/srv/web".to_owned(),
        account: None,
        selector: "*".to_owned(),
        count: None,
        strategy,
        repair: Repair::default(),
        build: None,
    };
    assert_eq!(client.put_service("web", &spec, None).await.unwrap().revision, 1);
    for name in ["h1", "h2", "h3"] {
        client.add_host(&host(name)).await.unwrap();
    }
    let text = "format = 1\n\n[start]\ncommand = \"exec ./serve\"\n";
    let file =
        PackedFile { path: descriptor::FILE_NAME, executable: false, bytes: text.as_bytes() };
    let archive = pack_files([file], ArchiveLimits::DESCRIPTOR, Vec::new()).unwrap();
    push(client, "descriptor", archive).await;
    push(client, "package", b"package".to_vec()).await;
    let release = NewRelease {
        service: "web".to_owned(),
        version: "1".to_owned(),
        package: "1".to_owned(),
        descriptor: "1".to_owned(),
        ..NewRelease::default()
    };
    assert_eq!(client.create_release(&release).await.unwrap().id, "web-1");
}

pub(crate) fn host(name: &str) -> NewHost {
    let root = Some(format!("/srv/hosts/{name}"));
    let connection = Connection { via: "local".to_owned(), root, ..Connection::default() };
    NewHost { name: name.to_owned(), connection, labels: BTreeMap::new() }
}

pub(crate) async fn push(client: &Client, kind: &str, bytes: Vec<u8>) -> Artifact {
    let what = ArtifactUpload {
        digest: Digest::of(&bytes).to_string(),
        size: u64::try_from(bytes.len()).unwrap(),
        repository: "web".to_owned(),
        kind: kind.to_owned(),
        version: "1".to_owned(),
    };
    let open = || {
        let bytes = bytes.clone();
        async move { Ok(Cursor::new(bytes)) }
    };
    client.upload(&what, open).await.unwrap()
}

/// How many bytes a way lets through, in each direction, before it is cut.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cut {
    pub(crate) up: usize,
    pub(crate) down: usize,
    /// How many connections this happens to; those after them are whole.
    pub(crate) times: usize,
}

/// A way to `server` that is cut again and again; says how often it was.
pub(crate) async fn cutting(server: SocketAddr, cut: Cut) -> (SocketAddr, watch::Receiver<usize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (counter, count) = watch::channel(0);
    let counter = Arc::new(counter);
    tokio::spawn(async move {
        for number in 0_usize.. {
            let (client, _) = listener.accept().await.unwrap();
            let server = TcpStream::connect(server).await.unwrap();
            let counter = Arc::clone(&counter);
            let whole = number >= cut.times;
            let (up, down) = if whole { (usize::MAX, usize::MAX) } else { (cut.up, cut.down) };
            tokio::spawn(async move {
                if pipe(client, server, up, down).await {
                    counter.send_modify(|it| *it += 1);
                }
            });
        }
    });
    (address, count)
}

/// Carries bytes until a side ends or has sent all that it may; says whether it was cut.
async fn pipe(
    mut client: TcpStream,
    mut server: TcpStream,
    mut up: usize,
    mut down: usize,
) -> bool {
    let (mut from_client, mut from_server) = ([0; 4_096], [0; 4_096]);
    loop {
        let (read, left, is_up) = tokio::select! {
            read = client.read(&mut from_client) => (read, &mut up, true),
            read = server.read(&mut from_server) => (read, &mut down, false),
        };
        let Ok(length @ 1..) = read else { return false };
        let carried = length.min(*left);
        *left -= carried;
        let sent = if is_up {
            server.write_all(&from_client[..carried]).await
        } else {
            client.write_all(&from_server[..carried]).await
        };
        if carried < length {
            return true;
        }
        if sent.is_err() {
            return false;
        }
    }
}
