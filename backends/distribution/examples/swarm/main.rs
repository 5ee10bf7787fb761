//! A store, relays and hosts as processes of their own, and the scheduler in a simulation: what `benches/distribution` measures.
//!
//! ```text
//! swarm certs FOLDER NAME=ADDRESS...      a certificate for each, and one authority
//! swarm store FOLDER FILE LISTEN          gives FILE, and schedules; prints what it is
//! swarm relay FOLDER NAME LISTEN STORE BLOB INTO
//!                                         gives what it gets from STORE, and schedules; until its input ends
//! swarm host FOLDER NAME LISTEN SOURCES BLOB INTO
//!                                         waits for a line, fetches, gives what it has until its input ends;
//!                                         a line `rate N` limits what it takes to N bytes a second, 0 to nothing
//! swarm sim HOSTS BLOCKS SLOTS [SHARDS]   the scheduler on virtual time; with shards, one for each of so many parts of the hosts
//! swarm asks HOSTS BLOCKS RATE            the scheduler in real time: how long RATE asks a second take to be answered
//! ```
//!
//! STORE is its address. SOURCES are NAME=ADDRESS, between commas, the nearest first: that one schedules.
use deploy_core::{backend::Clock, id::HostName, memory::SystemClock};
use deploy_distribution::{
    Blob, BlobFile, Outboard,
    schedule::Policy,
    token::{Grant, TOKEN_LIFETIME, TokenSigner, TokenVerifier},
    transfer::{
        BlockServer, BlockSource, Client, Director, Endpoint, FetchOrder, Fetcher, Identify,
        Limits, Pass, Relay, Shelf, Space,
    },
};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use std::{
    collections::BTreeMap,
    env,
    error::Error,
    fs::{self, File},
    io::{self, Write as _},
    num::NonZeroU64,
    path::{Path, PathBuf},
    sync::Arc,
};
use tokio::{
    net::TcpListener,
    sync::{mpsc, watch},
};
use tokio_rustls::rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer},
    server::WebPkiClientVerifier,
};

mod asks;

#[path = "../../tests/simulation/sim.rs"]
#[expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "it is shared with a test")]
mod sim;

type Failure = Box<dyn Error + Send + Sync>;

/// Signs tokens here. Anywhere else it is the control plane's, and secret.
const SECRET: [u8; 32] = [7; 32];

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    match words.as_slice() {
        ["certs", folder, names @ ..] => certs(Path::new(folder), names),
        ["store", folder, file, listen] => {
            runtime.block_on(store(Path::new(folder), Path::new(file), listen))
        }
        ["relay", folder, name, listen, store, blob, into] => {
            let identity = Identity::read(Path::new(folder), name)?;
            let store = Endpoint::new("store".parse()?, (*store).to_owned());
            runtime.block_on(relay(identity, listen, store, blob.parse()?, into.into()))
        }
        ["host", folder, name, listen, sources, blob, into] => {
            let identity = Identity::read(Path::new(folder), name)?;
            let sources = sources.split(',').map(source).collect::<Result<_, _>>()?;
            runtime.block_on(host(identity, listen, sources, blob.parse()?, into.into()))
        }
        ["sim", hosts, blocks, slots] => {
            simulate(hosts.parse()?, blocks.parse()?, slots.parse()?, 1)
        }
        ["sim", hosts, blocks, slots, shards] => {
            simulate(hosts.parse()?, blocks.parse()?, slots.parse()?, shards.parse()?)
        }
        ["asks", hosts, blocks, rate] => {
            runtime.block_on(asks::measure(hosts.parse()?, blocks.parse()?, rate.parse()?))
        }
        _ => Err("see the head of this file".into()),
    }
}

fn say(line: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}

/// Each shard has a seed and a scheduler of its own, as zones with relays have: they know nothing of each other.
fn simulate(hosts: u32, blocks: u32, slots: u16, shards: u32) -> Result<(), Failure> {
    for shard in 1..=shards {
        let mut scenario = sim::Scenario::new(hosts / shards, blocks, shard.into());
        scenario.slots = slots;
        let outcome = sim::run(&scenario);
        let factor = outcome.last.as_secs_f64() / scenario.ideal().as_secs_f64();
        let copies = f64::from(outcome.from_seed) / f64::from(blocks);
        let (hosts, unfinished) = (scenario.hosts, outcome.unfinished);
        let delivered = outcome.delivered;
        say(&format!(
            "{hosts} hosts, {blocks} blocks, {slots} slots: {factor:.3} x ideal, {copies:.3} copies from the seed, \
             {delivered} blocks, {unfinished} hosts without"
        ))?;
    }
    Ok(())
}

fn certs(folder: &Path, names: &[&str]) -> Result<(), Failure> {
    fs::create_dir_all(folder)?;
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    fs::write(folder.join("authority"), params.self_signed(&key)?.der())?;
    let issuer = Issuer::new(params, key);
    for name in names {
        let key = KeyPair::generate()?;
        let (name, address) = name.split_once('=').ok_or("it has to be NAME=ADDRESS")?;
        let params = CertificateParams::new(vec![address.to_owned()])?;
        fs::write(folder.join(format!("{name}.cert")), params.signed_by(&key, &issuer)?.der())?;
        fs::write(folder.join(format!("{name}.key")), key.serialize_der())?;
    }
    Ok(())
}

/// Who somebody is, and TLS that says so.
struct Identity {
    name: HostName,
    client: Arc<Client>,
    server: watch::Receiver<Arc<ServerConfig>>,
    identify: Identify,
}

impl Identity {
    fn read(folder: &Path, name: &str) -> Result<Self, Failure> {
        let mut roots = RootCertStore::empty();
        roots.add(fs::read(folder.join("authority"))?.into())?;
        let roots = Arc::new(roots);
        let chain = vec![CertificateDer::from(fs::read(folder.join(format!("{name}.cert")))?)];
        let key = fs::read(folder.join(format!("{name}.key")))?;
        let key = || PrivateKeyDer::try_from(key.clone());
        let verifier = WebPkiClientVerifier::builder(Arc::clone(&roots)).build()?;
        let server = ServerConfig::builder().with_client_cert_verifier(verifier);
        let server = server.with_single_cert(chain.clone(), key()?)?;
        let client = ClientConfig::builder().with_root_certificates(roots);
        let client = client.with_client_auth_cert(chain, key()?)?;
        let identify = identify(folder)?;
        let client = watch::Sender::new(Arc::new(client)).subscribe();
        let clock = Arc::new(SystemClock::new());
        let client = Client::new(client, Arc::clone(&identify), clock);
        let server = watch::Sender::new(Arc::new(server)).subscribe();
        Ok(Self { name: name.parse()?, client: Arc::new(client), server, identify })
    }

    fn token(&self, blob: Blob) -> watch::Receiver<String> {
        let until = SystemClock::new().now().after(TOKEN_LIFETIME);
        let grant = Grant::new(self.name.clone(), vec![blob], until);
        watch::Sender::new(TokenSigner::from_secret(&SECRET).sign(&grant)).subscribe()
    }

    fn block_server(&self, source: Arc<dyn BlockSource>) -> Result<BlockServer, Failure> {
        let verifier = TokenVerifier::new([TokenSigner::from_secret(&SECRET).public_key()])?;
        let identify = Arc::clone(&self.identify);
        Ok(BlockServer::new(source, verifier, identify, Arc::new(SystemClock::new())))
    }
}

/// By comparing certificates: what is in them is none of this program's business.
fn identify(folder: &Path) -> Result<Identify, Failure> {
    let mut known = BTreeMap::<Vec<u8>, HostName>::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|it| it == "cert") {
            let name = path.file_stem().and_then(|it| it.to_str()).unwrap_or_default();
            known.insert(fs::read(&path)?, name.parse()?);
        }
    }
    Ok(Arc::new(move |it: &CertificateDer<'_>| known.get(it.as_ref()).cloned()))
}

fn source(text: &str) -> Result<Endpoint, Failure> {
    let (name, address) = text.split_once('=').ok_or("a source has to be NAME=ADDRESS")?;
    Ok(Endpoint::new(name.parse()?, address.to_owned()))
}

async fn store(folder: &Path, file: &Path, listen: &str) -> Result<(), Failure> {
    let identity = Identity::read(folder, "store")?;
    let outboard = Outboard::compute(fs::metadata(file)?.len(), File::open(file)?)?;
    let blob = outboard.blob();
    let shelf = Shelf::new();
    shelf.add(Arc::new(BlobFile::whole(file, outboard)?));
    give(&identity, Arc::new(shelf), listen, blob).await
}

async fn relay(
    identity: Identity,
    listen: &str,
    store: Endpoint,
    blob: Blob,
    into: PathBuf,
) -> Result<(), Failure> {
    fs::create_dir_all(&into)?;
    let (client, limits) = (Arc::clone(&identity.client), Arc::new(Limits::new(None)));
    let clock = Arc::new(SystemClock::new());
    let until = clock.now().after(TOKEN_LIFETIME);
    let pass = Pass::new(identity.token(blob).borrow().clone(), vec![store], until);
    let space = Space::new(u64::MAX);
    let relay = Relay::open(into, space, Arc::new(pass), client, limits, clock)?;
    give(&identity, Arc::new(relay), listen, blob).await
}

/// Gives what `source` has, and schedules, until the input ends.
async fn give(
    identity: &Identity,
    source: Arc<dyn BlockSource>,
    listen: &str,
    blob: Blob,
) -> Result<(), Failure> {
    let seed = Endpoint::new(identity.name.clone(), listen.to_owned());
    let clock = Arc::new(SystemClock::new());
    let director = Director::new(vec![seed], slots(), Policy::default(), 1, clock);
    let server = identity.block_server(source)?.with_slots(lanes());
    let server = Arc::new(server.with_director(Arc::new(director)));
    let listener = TcpListener::bind(listen).await?;
    say(&format!("READY {blob}"))?;
    let mut lines = lines();
    let stop = async move { while lines.recv().await.is_some() {} };
    Arc::clone(&server).serve(listener, identity.server.clone(), stop).await;
    let served: u64 = server.served().values().sum();
    say(&format!("SERVED {served}"))?;
    Ok(())
}

async fn host(
    identity: Identity,
    listen: &str,
    sources: Vec<Endpoint>,
    blob: Blob,
    into: PathBuf,
) -> Result<(), Failure> {
    fs::create_dir_all(&into)?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let shelf = Arc::new(Shelf::new());
    let server = identity.block_server(Arc::<Shelf>::clone(&shelf))?.with_slots(lanes());
    let listener = TcpListener::bind(listen).await?;
    let tls = identity.server.clone();
    tokio::spawn(Arc::new(server).serve(listener, tls, std::future::pending()));
    let limits = Arc::new(Limits::new(None));
    let client = Arc::clone(&identity.client);
    let fetcher = Fetcher::new(client, Arc::clone(&limits), Arc::clone(&clock));
    let order = FetchOrder::new(blob, listen.to_owned(), identity.token(blob))
        .with_schedulers(sources.iter().take(1).cloned().collect())
        .with_seeds(sources)
        .with_slots(slots());
    let mut lines = lines();
    say("READY")?;
    lines.recv().await;
    let rates = async move {
        while let Some(line) = lines.recv().await {
            let rate = line.strip_prefix("rate ").and_then(|it| it.parse().ok());
            limits.set_total(rate.and_then(NonZeroU64::new));
        }
    };
    let fetched = async {
        let file = fetcher.prepare(&order, &into).await?;
        shelf.add(Arc::clone(&file));
        let fetched = fetcher.fetch(&order, &file).await?;
        let (total, kept) = (fetched.total(), fetched.kept);
        say(&format!("DONE {} {total} {kept}", clock.now().as_millis()))?;
        fetcher.linger(&order, &file).await;
        Ok(())
    };
    tokio::select! {
        () = rates => Ok(()),
        ended = fetched => ended,
    }
}

/// How many blocks a scheduler sends others for to one source at a time.
fn slots() -> u16 {
    env::var("SLOTS").ok().and_then(|it| it.parse().ok()).unwrap_or(10)
}

/// How many of them the source sends at once; the others are next.
fn lanes() -> u16 {
    env::var("LANES").ok().and_then(|it| it.parse().ok()).unwrap_or(4)
}

/// What is said to this process, line by line.
fn lines() -> mpsc::Receiver<String> {
    let (sender, lines) = mpsc::channel(1);
    std::thread::spawn(move || {
        for line in io::stdin().lines().map_while(Result::ok) {
            if sender.blocking_send(line).is_err() {
                return;
            }
        }
    });
    lines
}
