//! Stores, relays and hosts on this machine, over real TLS.
use async_trait::async_trait;
use bytes::Bytes;
use deploy_core::{backend::Clock, id::HostName, memory::SystemClock, time::Timestamp};
use deploy_distribution::{
    Blob, BlobFile, BlobId, Outboard,
    schedule::Policy,
    token::{Grant, TOKEN_LIFETIME, TokenSigner, TokenVerifier},
    transfer::{
        BlockServer, BlockSource, Client, Director, Endpoint, FetchError, FetchOrder, Fetched,
        Fetcher, Identify, Limits, Pass, Passes, Relay, Shelf, SourceError, Space,
    },
};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use std::{
    collections::BTreeMap,
    fs::File,
    io::Write as _,
    ops::Range,
    path::PathBuf,
    sync::{Arc, Mutex},
};
use tempfile::TempDir;
use tokio::{
    net::TcpListener,
    sync::{oneshot, watch},
    task::JoinHandle,
};
use tokio_rustls::rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer},
    server::WebPkiClientVerifier,
};

pub(crate) struct Scene {
    pub(crate) folder: TempDir,
    pub(crate) bytes: Vec<u8>,
    pub(crate) outboard: Outboard,
    pub(crate) signer: TokenSigner,
    issuer: Issuer<'static, KeyPair>,
    roots: Arc<RootCertStore>,
    known: Arc<Mutex<BTreeMap<Vec<u8>, HostName>>>,
}

/// Who somebody is, and what it shows.
pub(crate) struct Identity {
    pub(crate) name: HostName,
    pub(crate) client: Arc<Client>,
    pub(crate) tls: Arc<ClientConfig>,
    pub(crate) server: Arc<ServerConfig>,
}

/// A server that runs until it is told to stop.
pub(crate) struct Running {
    pub(crate) endpoint: Endpoint,
    pub(crate) server: Arc<BlockServer>,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl Running {
    pub(crate) async fn stop(mut self) {
        drop(self.stop.take());
        self.task.await.unwrap();
    }

    pub(crate) fn blocks_given(&self, scene: &Scene) -> u64 {
        self.server.served().values().sum::<u64>() / scene.blob().block_size()
    }
}

impl Scene {
    pub(crate) fn new(length: usize) -> Self {
        let mut bytes = vec![0; length];
        blake3::Hasher::new().finalize_xof().fill(&mut bytes);
        let outboard = Outboard::compute(length as u64, &*bytes).unwrap();
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = params.self_signed(&key).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(authority.der().clone()).unwrap();
        Self {
            folder: tempfile::tempdir().unwrap(),
            bytes,
            outboard,
            signer: TokenSigner::from_secret(&[7; 32]),
            issuer: Issuer::new(params, key),
            roots: Arc::new(roots),
            known: Arc::default(),
        }
    }

    pub(crate) fn blob(&self) -> Blob {
        self.outboard.blob()
    }

    pub(crate) fn identity(&self, name: &str) -> Identity {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["127.0.0.1".into()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap().der().clone();
        let host: HostName = name.parse().unwrap();
        self.known.lock().unwrap().insert(certificate.to_vec(), host.clone());
        let chain = vec![certificate];
        let key = || PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let verifier = WebPkiClientVerifier::builder(Arc::clone(&self.roots)).build().unwrap();
        let server = ServerConfig::builder().with_client_cert_verifier(verifier);
        let server = server.with_single_cert(chain.clone(), key()).unwrap();
        let client = ClientConfig::builder().with_root_certificates(Arc::clone(&self.roots));
        let client = client.with_client_auth_cert(chain, key()).unwrap();
        let tls = Arc::new(client);
        let newest = watch::Sender::new(Arc::clone(&tls)).subscribe();
        let client = Client::new(newest, self.identify(), Arc::new(SystemClock::new()));
        Identity { name: host, client: Arc::new(client), tls, server: Arc::new(server) }
    }

    pub(crate) fn identify(&self) -> Identify {
        let known = Arc::clone(&self.known);
        Arc::new(move |it: &CertificateDer<'_>| known.lock().unwrap().get(it.as_ref()).cloned())
    }

    pub(crate) fn verifier(&self) -> TokenVerifier {
        TokenVerifier::new([self.signer.public_key()]).unwrap()
    }

    pub(crate) fn token(&self, host: &HostName) -> watch::Receiver<String> {
        watch::Sender::new(self.token_for(host, vec![self.blob()])).subscribe()
    }

    pub(crate) fn token_for(&self, host: &HostName, blobs: Vec<Blob>) -> String {
        let until = now().after(TOKEN_LIFETIME);
        self.signer.sign(&Grant::new(host.clone(), blobs, until))
    }

    pub(crate) fn block_server(&self, source: Arc<dyn BlockSource>) -> BlockServer {
        self.block_server_by(source, Arc::new(SystemClock::new()))
    }

    pub(crate) fn block_server_by(
        &self,
        source: Arc<dyn BlockSource>,
        clock: Arc<dyn Clock>,
    ) -> BlockServer {
        BlockServer::new(source, self.verifier(), self.identify(), clock)
    }

    pub(crate) async fn run(&self, who: &Identity, server: BlockServer) -> Running {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        self.run_on(who, server, listener)
    }

    pub(crate) fn run_on(
        &self,
        who: &Identity,
        server: BlockServer,
        listener: TcpListener,
    ) -> Running {
        let address = listener.local_addr().unwrap().to_string();
        let (server, tls) = (Arc::new(server), watch::Sender::new(Arc::clone(&who.server)));
        let (stop, stopped) = oneshot::channel::<()>();
        let serving = Arc::clone(&server);
        let task = tokio::spawn(async move {
            let stopped = async { drop(stopped.await) };
            serving.serve(listener, tls.subscribe(), stopped).await;
        });
        let endpoint = Endpoint::new(who.name.clone(), address);
        Running { endpoint, server, stop: Some(stop), task }
    }

    /// All of the blob, as a store has it.
    pub(crate) fn store(&self) -> Arc<Shelf> {
        let path = self.folder.path().join("store");
        if !path.exists() {
            File::create(&path).unwrap().write_all(&self.bytes).unwrap();
        }
        let shelf = Shelf::new();
        shelf.add(Arc::new(BlobFile::whole(&path, self.outboard.clone()).unwrap()));
        Arc::new(shelf)
    }

    /// A store that schedules as well.
    pub(crate) async fn origin(&self) -> Running {
        let who = self.identity("origin");
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        self.origin_on(&who, listener)
    }

    pub(crate) fn origin_on(&self, who: &Identity, listener: TcpListener) -> Running {
        let address = listener.local_addr().unwrap().to_string();
        let seed = Endpoint::new(who.name.clone(), address);
        let server = self.block_server(self.store()).with_director(self.director(vec![seed]));
        self.run_on(who, server, listener)
    }

    pub(crate) fn director(&self, seeds: Vec<Endpoint>) -> Arc<Director> {
        let clock = Arc::new(SystemClock::new());
        Arc::new(Director::new(seeds, 6, Policy::default(), 1, clock))
    }

    pub(crate) async fn relay(&self, name: &str, upstream: Vec<Endpoint>, budget: u64) -> Running {
        let who = self.identity(name);
        let relay = self.cache(&who, vec![self.blob()], upstream, budget);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let seed = Endpoint::new(who.name.clone(), address);
        let server = self.block_server(relay).with_director(self.director(vec![seed]));
        self.run_on(&who, server, listener)
    }

    /// What is in a relay, that may have these blobs.
    pub(crate) fn cache(
        &self,
        who: &Identity,
        blobs: Vec<Blob>,
        upstream: Vec<Endpoint>,
        budget: u64,
    ) -> Arc<Relay> {
        let pass =
            Pass::new(self.token_for(&who.name, blobs), upstream, now().after(TOKEN_LIFETIME));
        self.cache_by(who, Arc::new(pass), budget)
    }

    /// The same, by what `passes` says.
    pub(crate) fn cache_by(
        &self,
        who: &Identity,
        passes: Arc<dyn Passes>,
        budget: u64,
    ) -> Arc<Relay> {
        let folder = self.make_folder(who.name.as_str());
        let (space, clock) = (Space::new(budget), Arc::new(SystemClock::new()));
        let (client, limits) = (Arc::clone(&who.client), Arc::new(Limits::new(None)));
        Arc::new(Relay::open(folder, space, passes, client, limits, clock).unwrap())
    }

    pub(crate) fn make_folder(&self, name: &str) -> PathBuf {
        let folder = self.folder.path().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        folder
    }

    /// A host that gives what it gets.
    pub(crate) async fn host(&self, name: &str) -> Host {
        let who = self.identity(name);
        let shelf = Arc::new(Shelf::new());
        let running = self.run(&who, self.block_server(Arc::<Shelf>::clone(&shelf))).await;
        self.host_of(&who, running, shelf)
    }

    pub(crate) fn host_of(&self, who: &Identity, running: Running, shelf: Arc<Shelf>) -> Host {
        let limits = Arc::new(Limits::new(None));
        let clock = Arc::new(SystemClock::new());
        let fetcher = Fetcher::new(Arc::clone(&who.client), Arc::clone(&limits), clock);
        let address = running.endpoint.address.clone();
        let order = FetchOrder::new(self.blob(), address, self.token(&who.name));
        let folder = self.make_folder(who.name.as_str());
        Host { folder, shelf, running, limits, fetcher: Arc::new(fetcher), order }
    }
}

pub(crate) struct Host {
    pub(crate) folder: PathBuf,
    pub(crate) shelf: Arc<Shelf>,
    pub(crate) running: Running,
    pub(crate) limits: Arc<Limits>,
    pub(crate) fetcher: Arc<Fetcher>,
    pub(crate) order: FetchOrder,
}

impl Host {
    pub(crate) async fn prepare(&self) -> Arc<BlobFile> {
        let file = self.fetcher.prepare(&self.order, &self.folder).await.unwrap();
        self.shelf.add(Arc::clone(&file));
        file
    }

    /// Fetches it all.
    pub(crate) async fn fetch(&self) -> Result<Fetched, FetchError> {
        let file = self.prepare().await;
        self.fetcher.fetch(&self.order, &file).await
    }

    /// Fetches it in the background, and stays.
    pub(crate) fn spawn_fetch(&self) -> JoinHandle<Fetched> {
        let (fetcher, order) = (Arc::clone(&self.fetcher), self.order.clone());
        let (folder, shelf) = (self.folder.clone(), Arc::clone(&self.shelf));
        tokio::spawn(async move {
            let file = fetcher.prepare(&order, &folder).await.unwrap();
            shelf.add(Arc::clone(&file));
            let fetched = fetcher.fetch(&order, &file).await.unwrap();
            tokio::spawn(async move { fetcher.linger(&order, &file).await });
            fetched
        })
    }

    pub(crate) fn has_all(&self, scene: &Scene) -> bool {
        let path = self.folder.join(scene.blob().to_string());
        std::fs::read(path).is_ok_and(|it| it == scene.bytes)
    }
}

/// Serves what is wrong: each byte of every block but the first few is another one.
#[derive(Debug)]
pub(crate) struct Garbage {
    pub(crate) outboard: Outboard,
    pub(crate) file: Arc<File>,
}

impl Garbage {
    pub(crate) fn new(scene: &Scene) -> Self {
        let wrong: Vec<u8> = scene.bytes.iter().map(|it| !it).collect();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&wrong).unwrap();
        Self { outboard: scene.outboard.clone(), file: Arc::new(file) }
    }
}

#[async_trait]
impl BlockSource for Garbage {
    async fn outboard(&self, _: Blob) -> Result<Bytes, SourceError> {
        Ok(self.outboard.bytes().clone())
    }

    async fn readable(&self, _: Blob, _: Range<u64>) -> Result<Arc<File>, SourceError> {
        Ok(Arc::clone(&self.file))
    }
}

pub(crate) fn now() -> Timestamp {
    SystemClock::new().now()
}

pub(crate) fn other_blob() -> Blob {
    Blob::new(BlobId::of(b"other"), 5).unwrap()
}
