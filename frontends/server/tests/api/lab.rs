//! A control plane on a port of its own, and a way to talk to it.
use axum::body::Bytes;
use deploy_artifacts::ObjectArtifactStore;
use deploy_core::{
    access::Action,
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
use deploy_server::{Control, DriverPool, FirstToken, Holder, Limits, Server, Transport, serve};
use deploy_sql::{
    Database, SqlAgentRegistry, SqlAnswerStore, SqlCredentialStore, SqlHostInventory, SqlJournal,
    SqlLeaseStore, SqlLogStore, SqlServiceRegistry,
};
use http_body_util::{BodyExt as _, Full};
use hyper::{HeaderMap, Method, Request, StatusCode, client::conn::http1};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use std::{fmt::Debug, net::SocketAddr, str::FromStr, sync::Arc};
use tempfile::TempDir;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
};

pub(crate) fn parse<T: FromStr<Err: Debug>>(text: &str) -> T {
    text.parse().unwrap()
}

/// Backends that outlive a server: all that is kept is in files.
pub(crate) struct World {
    pub(crate) control: Control,
    dir: TempDir,
    database: Database,
    pub(crate) executor: MemoryExecutor,
}

impl World {
    pub(crate) async fn new() -> Self {
        let executor = MemoryExecutor::new(Arc::new(SystemClock::new()));
        Self::open(tempfile::tempdir().unwrap(), executor).await
    }

    /// As another process finds it: the hosts are as they were, and of everything else there is what was kept.
    async fn reopened(self) -> Self {
        self.database.close().await;
        Self::open(self.dir, self.executor).await
    }

    async fn open(dir: TempDir, executor: MemoryExecutor) -> Self {
        let database = Database::open_sqlite(dir.path().join("deploy.db")).await.unwrap();
        let store = ObjectArtifactStore::open_local(dir.path().join("artifacts")).unwrap();
        let rules = vec![Rule::allow(parse("*"), Action::ALL)];
        let parts = Parts {
            artifacts: Arc::new(store),
            authorizer: Arc::new(MemoryAuthorizer::new(rules)),
            clock: Arc::new(SystemClock::new()),
            executor: Arc::new(executor.clone()),
            inventory: Arc::new(SqlHostInventory::new(&database)),
            journal: Arc::new(SqlJournal::new(&database)),
            leases: Arc::new(SqlLeaseStore::new(&database)),
            logs: Arc::new(SqlLogStore::new(&database)),
            notifier: Arc::new(MemoryNotifier::new()),
            registry: Arc::new(SqlServiceRegistry::new(&database)),
            scheduler: Arc::new(SpreadScheduler::default()),
        };
        let answers = Arc::new(SqlAnswerStore::new(&database));
        let credentials = Arc::new(SqlCredentialStore::new(&database));
        let links = LinksElsewhere::new(Digest::of(b"an authority"), None);
        let agents =
            Agents { registry: Arc::new(SqlAgentRegistry::new(&database)), links: Arc::new(links) };
        let limits = Some(Arc::new(LimitFile::new(dir.path().join("limits.json"))));
        let control =
            Control { parts, answers, credentials, agents, upkeep: None, builds: None, limits };
        Self { control, dir, database, executor }
    }
}

/// A server that is up.
pub(crate) struct Lab {
    pub(crate) world: World,
    pub(crate) address: SocketAddr,
    pub(crate) admin: String,
    stop: watch::Sender<bool>,
    serving: JoinHandle<()>,
    driving: JoinHandle<()>,
}

/// An answer, read whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|err| panic!("{err}: {:?}", self.body))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |it| it.to_str().unwrap())
    }

    /// The code of the problem that it is.
    pub(crate) fn problem(&self) -> String {
        assert_eq!(self.header("content-type"), "application/problem+json", "{self:?}");
        let details = self.json();
        assert_eq!(details["status"], self.status.as_u16(), "{details}");
        assert_eq!(details["request_id"], self.header("x-request-id"), "{details}");
        assert!(!details["detail"].as_str().unwrap().is_empty() && details["type"].is_string());
        details["code"].as_str().unwrap().to_owned()
    }
}

impl Lab {
    pub(crate) async fn new() -> Self {
        Self::with(limits()).await
    }

    pub(crate) async fn with(limits: Limits) -> Self {
        Self::over(World::new().await, limits, "server-1").await
    }

    /// The server after it was stopped and started again.
    pub(crate) async fn restarted(self) -> Self {
        let admin = self.admin.clone();
        let world = self.stop().await.reopened().await;
        Self { admin, ..Self::over(world, limits(), "server-2").await }
    }

    /// A server of the name `holder` over what another may have left.
    pub(crate) async fn over(world: World, limits: Limits, holder: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopping) = watch::channel(false);
        let holder = Holder::new(holder, |it| it.starts_with("dead"));
        let pool = DriverPool::new(world.control.parts.clone(), parse("deploy-server"), holder);
        let server = Server::new(world.control.clone(), pool.clone(), limits, stopping.clone());
        let admin = match server.first_token().await.unwrap() {
            FirstToken::Made(token) => token.reveal(),
            _ => String::new(),
        };
        let serving = tokio::spawn(serve(server, listener, Transport::Plain));
        let driving = tokio::spawn(async move { pool.run(stopping).await });
        Self { world, address, admin, stop, serving, driving }
    }

    /// Stops in an orderly way, and gives what is left.
    pub(crate) async fn stop(self) -> World {
        self.stop.send(true).unwrap();
        self.serving.await.unwrap();
        self.driving.await.unwrap();
        self.world
    }

    /// A request of the first token.
    pub(crate) fn request(&self, method: Method, path: &str) -> hyper::http::request::Builder {
        Request::builder()
            .method(method)
            .uri(path)
            .header("host", "server")
            .header("authorization", format!("Bearer {}", self.admin))
    }

    pub(crate) async fn send(&self, request: Request<Full<Bytes>>) -> Answer {
        let response = self.open(request).await;
        let (head, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Answer { status: head.status, headers: head.headers, body }
    }

    /// An answer whose body is still to come.
    pub(crate) async fn open(
        &self,
        request: Request<Full<Bytes>>,
    ) -> hyper::Response<hyper::body::Incoming> {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        sender.send_request(request).await.unwrap()
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(self.request(Method::GET, path).body(Full::default()).unwrap()).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.write(Method::POST, path, &[], body).await
    }

    pub(crate) async fn write(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &Value,
    ) -> Answer {
        let mut request = self.request(method, path).header("content-type", "application/json");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request.body(Full::from(body.to_string())).unwrap()).await
    }

    /// The service `web` on the hosts `h1` to `h3`.
    pub(crate) async fn fleet(&self) {
        let web = json!({"owner": "ann", "deploy_path": "/srv/web", "selector": "*",
            "strategy": {"min_healthy_time_ms": 0, "check_interval_ms": 10}});
        let put = self.write(Method::PUT, "/api/v1/services/web", &[("if-none-match", "*")], &web);
        assert_eq!(put.await.status, StatusCode::CREATED);
        for name in ["h1", "h2", "h3"] {
            let connection = json!({"via": "local", "root": format!("/srv/hosts/{name}")});
            let host = json!({"name": name, "connection": connection});
            let added = self.post("/api/v1/hosts", &host).await;
            assert_eq!(added.status, StatusCode::CREATED, "{added:?}");
        }
    }

    /// Uploads both artifacts of a version.
    pub(crate) async fn push(&self, version: &str) {
        let descriptor = descriptor_archive();
        let package = format!("package {version}").into_bytes();
        for (kind, bytes) in [("descriptor", descriptor), ("package", package)] {
            let answer = self.upload(kind, version, &bytes, 0).await;
            assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
        }
    }

    pub(crate) async fn upload(
        &self,
        kind: &str,
        version: &str,
        bytes: &[u8],
        offset: usize,
    ) -> Answer {
        let digest = Digest::of(bytes);
        let path = format!(
            "/api/v1/artifacts/{digest}/upload?repository=web&kind={kind}&version={version}&size={}",
            bytes.len()
        );
        let request = self
            .request(Method::PUT, &path)
            .header("content-type", "application/octet-stream")
            .header("upload-offset", offset.to_string());
        self.send(request.body(Full::from(bytes[offset..].to_vec())).unwrap()).await
    }

    /// Makes the release `web-VERSION`.
    pub(crate) async fn release(&self, version: &str) {
        self.push(version).await;
        let release = json!({"service": "web", "version": version, "package": version,
            "descriptor": version});
        let made = self.post("/api/v1/releases", &release).await;
        assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
    }

    /// A token of these properties.
    pub(crate) async fn token(&self, asked: &Value) -> String {
        let made = self.post("/api/v1/tokens", asked).await;
        assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
        made.json()["secret"].as_str().unwrap().to_owned()
    }
}

pub(crate) fn limits() -> Limits {
    let mut limits = Limits::default();
    limits.rate_burst = 10_000;
    limits.local_hosts = true;
    limits
}

fn descriptor_archive() -> Vec<u8> {
    let text = "format = 1\n\n[start]\ncommand = \"exec ./serve\"\n";
    let file =
        PackedFile { path: descriptor::FILE_NAME, executable: false, bytes: text.as_bytes() };
    pack_files([file], ArchiveLimits::DESCRIPTOR, Vec::new()).unwrap()
}
