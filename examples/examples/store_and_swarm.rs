//! A store of versions, and their way to many hosts, without the rest: `cargo run -p deploy-examples --example store_and_swarm`.
//!
//! One process plays all parts here. Each host has a certificate, an address and a folder of its own, as if it were a machine.
use deploy_artifacts::ObjectArtifactStore;
use deploy_core::{
    access::{Action, Resource},
    backend::{ArtifactKind, ArtifactStore as _, Clock, PutArtifact, authorize},
    digest::Digest,
    id::HostName,
    memory::{MemoryAuthorizer, Rule, SystemClock},
};
use deploy_distribution::{
    Blob, BlobFile, Outboard,
    schedule::Policy,
    token::{Grant, TOKEN_LIFETIME, TokenSigner, TokenVerifier},
    transfer::{
        BlockServer, BlockSource, Client, Director, Endpoint, FetchOrder, Fetched, Fetcher,
        Identify, Limits, Shelf,
    },
};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use std::{
    collections::BTreeMap,
    error::Error,
    fs::{self, File},
    future::pending,
    path::Path,
    sync::Arc,
};
use tokio::{io::AsyncWriteExt as _, net::TcpListener, sync::watch, task::JoinSet};
use tokio_rustls::rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
    server::WebPkiClientVerifier,
};

type Failure = Box<dyn Error + Send + Sync>;

const HOSTS: usize = 6;
/// In bytes.
const SIZE: usize = 24 << 20;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let folder = tempfile::tempdir()?;
    let artifact = put_and_get(folder.path()).await?;
    let fleet = Fleet::new()?;

    // The store gives what it has, and schedules: who fetches which block from whom.
    let outboard = Outboard::compute(fs::metadata(&artifact)?.len(), File::open(&artifact)?)?;
    let blob = outboard.blob();
    let shelf = Arc::new(Shelf::new());
    shelf.add(Arc::new(BlobFile::whole(&artifact, outboard)?));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let store = Endpoint::new("store".parse()?, listener.local_addr()?.to_string());
    let director = Director::new(vec![store.clone()], 4, Policy::default(), 1, fleet.clock());
    let server = fleet.server(shelf)?.with_director(Arc::new(director));
    let server = Arc::new(server);
    tokio::spawn(Arc::clone(&server).serve(listener, fleet.tls("store")?, pending()));

    let mut hosts = JoinSet::new();
    for name in fleet.hosts() {
        let into = folder.path().join(&name);
        let (fleet, store) = (fleet.clone(), store.clone());
        hosts.spawn(async move {
            Ok::<_, Failure>((fleet.fetch(&name, blob, store, &into).await?, name))
        });
    }
    while let Some(done) = hosts.join_next().await {
        let (fetched, name) = done??;
        let from_store = fetched.bytes_from(std::slice::from_ref(&store)) >> 10;
        eprintln!("{name}: {} KiB, {from_store} of them from the store", fetched.total() >> 10);
    }
    let given: u64 = server.served().values().sum();
    eprintln!("the store has sent {:.2} copies to {HOSTS} hosts", given as f64 / SIZE as f64);
    Ok(())
}

/// Keeps a version in a folder, and gets it out as a file.
async fn put_and_get(folder: &Path) -> Result<std::path::PathBuf, Failure> {
    let rules = MemoryAuthorizer::new(vec![Rule::allow("ci".parse()?, [Action::ArtifactWrite])]);
    let permit = authorize(&rules, "ci".parse()?, Action::ArtifactWrite, Resource::System).await?;
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let bytes: Vec<u8> = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[0]
    })
    .take(SIZE)
    .collect();
    let (digest, size, now) = (Digest::of(&bytes), bytes.len() as u64, SystemClock::new().now());
    let (web, kind, version) = ("web".parse()?, ArtifactKind::Package, "1.4.2".parse()?);
    let store = ObjectArtifactStore::open_local(folder.join("artifacts"))?;
    store
        .put(&permit, PutArtifact::new(digest, size, web, kind, version, now), &mut &*bytes)
        .await?;

    let path = folder.join("web-1.4.2");
    let mut file = tokio::fs::File::create(&path).await?;
    tokio::io::copy(&mut store.open(&digest, 0).await?, &mut file).await?;
    file.flush().await?;
    Ok(path)
}

/// Who takes part, each with a certificate of one authority. In earnest that is the control plane's, as is the key of tokens.
#[derive(Clone)]
struct Fleet {
    authority: CertificateDer<'static>,
    members: Arc<BTreeMap<String, (CertificateDer<'static>, Vec<u8>)>>,
    tokens: Arc<TokenSigner>,
}

impl Fleet {
    fn new() -> Result<Self, Failure> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = params.self_signed(&key)?.der().clone();
        let issuer = Issuer::new(params, key);
        let names = (1..=HOSTS).map(|it| format!("host-{it}")).chain(["store".to_owned()]);
        let mut members = BTreeMap::new();
        for name in names {
            let key = KeyPair::generate()?;
            let certificate = CertificateParams::new(vec!["127.0.0.1".to_owned()])?;
            let certificate = certificate.signed_by(&key, &issuer)?.der().clone();
            members.insert(name, (certificate, key.serialize_der()));
        }
        let tokens = Arc::new(TokenSigner::from_secret(&[7; 32]));
        Ok(Self { authority, members: Arc::new(members), tokens })
    }

    fn hosts(&self) -> Vec<String> {
        self.members.keys().filter(|it| *it != "store").cloned().collect()
    }

    fn clock(&self) -> Arc<dyn Clock> {
        Arc::new(SystemClock::new())
    }

    fn roots(&self) -> Result<Arc<RootCertStore>, Failure> {
        let mut roots = RootCertStore::empty();
        roots.add(self.authority.clone())?;
        Ok(Arc::new(roots))
    }

    fn member(
        &self,
        name: &str,
    ) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), Failure> {
        let (certificate, key) = self.members.get(name).ok_or("nobody is called that")?;
        Ok((vec![certificate.clone()], PrivatePkcs8KeyDer::from(key.clone()).into()))
    }

    /// Says whose certificate somebody shows.
    fn identify(&self) -> Identify {
        let known: BTreeMap<Vec<u8>, HostName> = self
            .members
            .iter()
            .filter_map(|(name, (certificate, _))| Some((certificate.to_vec(), name.parse().ok()?)))
            .collect();
        Arc::new(move |it: &CertificateDer<'_>| known.get(it.as_ref()).cloned())
    }

    fn tls(&self, name: &str) -> Result<watch::Receiver<Arc<ServerConfig>>, Failure> {
        let verifier = WebPkiClientVerifier::builder(self.roots()?).build()?;
        let (chain, key) = self.member(name)?;
        let config = ServerConfig::builder().with_client_cert_verifier(verifier);
        Ok(watch::Sender::new(Arc::new(config.with_single_cert(chain, key)?)).subscribe())
    }

    fn server(&self, source: Arc<dyn BlockSource>) -> Result<BlockServer, Failure> {
        let verifier = TokenVerifier::new([self.tokens.public_key()])?;
        Ok(BlockServer::new(source, verifier, self.identify(), self.clock()))
    }

    /// What a host does: it fetches, and meanwhile gives to others what it has.
    async fn fetch(
        &self,
        name: &str,
        blob: Blob,
        store: Endpoint,
        into: &Path,
    ) -> Result<Fetched, Failure> {
        fs::create_dir(into)?;
        let shelf = Arc::new(Shelf::new());
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?.to_string();
        let server = Arc::new(self.server(Arc::<Shelf>::clone(&shelf))?);
        tokio::spawn(server.serve(listener, self.tls(name)?, pending()));

        let until = self.clock().now().after(TOKEN_LIFETIME);
        let grant = Grant::new(name.parse()?, vec![blob], until);
        let token = watch::Sender::new(self.tokens.sign(&grant)).subscribe();
        let (chain, key) = self.member(name)?;
        let config = ClientConfig::builder().with_root_certificates(self.roots()?);
        let config = config.with_client_auth_cert(chain, key)?;
        let config = watch::Sender::new(Arc::new(config)).subscribe();
        let client = Arc::new(Client::new(config, self.identify(), self.clock()));
        let fetcher = Fetcher::new(client, Arc::new(Limits::new(None)), self.clock());
        let order = FetchOrder::new(blob, address, token)
            .with_schedulers(vec![store.clone()])
            .with_seeds(vec![store]);
        let file = fetcher.prepare(&order, into).await?;
        shelf.add(Arc::clone(&file));
        let fetched = fetcher.fetch(&order, &file).await?;
        file.finish()?;
        Ok(fetched)
    }
}
