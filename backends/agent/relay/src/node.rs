//! A relay as a whole.
use crate::{
    RelayError, Settings, link::Link, passes::ServerPasses, way_out::WayOut, works::Works,
};
use deploy_agent_identity::{
    Credentials, GatewayConnector, PeerConfigs, boot_id, identify, keep_certificate,
};
use deploy_core::{backend::Clock, id::HostName};
use deploy_distribution::{
    schedule::Policy,
    token::TokenVerifier,
    transfer::{BlockServer, Client, Director, Endpoint, Limits, Passes, Relay},
};
use deploy_pki::PeerTls;
use rustix::fs::{FlockOperation, flock};
use std::{
    fs::{DirBuilder, File, OpenOptions},
    future, io,
    net::SocketAddr,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, atomic::AtomicU64},
};
use tokio::{net::TcpListener, select, sync::watch, task::spawn_blocking};
use tokio_rustls::rustls::{ClientConfig, ServerConfig};

/// How many blocks hosts are sent here for at a time; four of them are sent at once.
const SLOTS: u16 = 6;

/// A relay of a data centre, whose ports are taken.
#[derive(Debug)]
pub struct RelayNode {
    state: PathBuf,
    credentials: Credentials,
    connect: GatewayConnector,
    works: Works,
    listener: TcpListener,
    way_out: Option<WayOut>,
    /// The `HOST:PORT`, or `:PORT`, that hosts are told.
    told: String,
    tls: PeerTls,
    newest: Newest,
    /// The folder is this relay's for as long as this is open.
    _lock: File,
}

/// What changes with each certificate.
#[derive(Debug)]
struct Newest {
    client: watch::Sender<Arc<ClientConfig>>,
    server: watch::Sender<Arc<ServerConfig>>,
    gateway: watch::Sender<String>,
}

impl RelayNode {
    /// As what the credentials in the folder `state` say; blocks are kept in `blocks` there.
    ///
    /// # Errors
    /// If there are no credentials, or the folder or a port cannot be had.
    pub async fn open(
        state: &Path,
        settings: Settings,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, RelayError> {
        let credentials = Credentials::read(state)?;
        let lock = lock(state)?;
        let tls = PeerTls::new(credentials.authority(), Arc::clone(&clock));
        let newest = Newest::new(&tls, &credentials).map_err(RelayError::Identity)?;
        let connector = || GatewayConnector::new(state, Arc::clone(&clock));
        let link = Arc::new(Link::new(Arc::new(connector()), Arc::clone(&clock)));
        let upstream = Arc::new(Limits::new(settings.upstream()));
        let passes = ServerPasses {
            link: Arc::clone(&link),
            gateway: newest.gateway.subscribe(),
            clock: Arc::clone(&clock),
        };
        let client = Client::new(newest.client.subscribe(), identify(), Arc::clone(&clock));
        let cache = Cache { state, settings: &settings, clock: &clock };
        let relay = cache.open(Arc::new(passes), Arc::new(client), Arc::clone(&upstream)).await?;
        let listener = listen("blocks.listen", settings.blocks.listen).await?;
        let port = listener.local_addr().map_err(RelayError::Identity)?.port();
        let upload = Arc::new(Limits::new(settings.upload()));
        let server = block_server(&credentials, &relay, &clock).map_err(RelayError::Identity)?;
        let server = server.with_limits(Arc::clone(&upload));
        let way_out = if settings.way_out.serve {
            let listener = listen("way_out.listen", settings.way_out.listen).await?;
            Some(WayOut::new(listener, newest.gateway.subscribe(), Arc::clone(&clock)))
        } else {
            None
        };
        let passed_on = way_out.as_ref().map(WayOut::connections).unwrap_or_default();
        let connect = connector();
        Ok(Self {
            state: state.to_owned(),
            told: settings.blocks.address.clone().unwrap_or_else(|| format!(":{port}")),
            works: Works {
                link,
                relay,
                server: Arc::new(server),
                upstream,
                allowed: AtomicU64::new(0),
                upload,
                settings: Mutex::new(settings),
                passed_on,
                clock,
            },
            credentials,
            connect,
            listener,
            way_out,
            tls,
            newest,
            _lock: lock,
        })
    }

    /// What it is called.
    #[must_use]
    pub fn name(&self) -> &str {
        self.credentials.host()
    }

    /// `HOST:PORT` of the server that it speaks to.
    #[must_use]
    pub fn server(&self) -> &str {
        self.credentials.gateway()
    }

    /// Where it gives blocks.
    ///
    /// # Errors
    /// If the socket does not say it.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Where agents go through to the server; `None` if nowhere.
    ///
    /// # Errors
    /// If the socket does not say it.
    pub fn way_out(&self) -> io::Result<Option<SocketAddr>> {
        self.way_out.as_ref().map(WayOut::address).transpose()
    }

    /// Relays until `stop` is ready, and goes by the newest `settings` meanwhile.
    ///
    /// # Errors
    /// If the kernel does not say which boot this is.
    pub async fn run(
        self,
        settings: watch::Receiver<Settings>,
        stop: impl Future<Output = ()>,
    ) -> Result<(), RelayError> {
        let boot_id = boot_id().map_err(RelayError::Boot)?;
        let Self {
            state,
            credentials,
            connect,
            works,
            listener,
            way_out,
            told,
            tls,
            newest,
            _lock,
        } = self;
        let renewed = |it: &Credentials| match newest.change(&tls, it) {
            Ok(()) => works.link.renew(),
            Err(err) => tracing::warn!(reason = %err, "hosts do not see the new certificate"),
        };
        let server = Arc::clone(&works.server);
        let pass_on = async {
            match &way_out {
                Some(way_out) => way_out.serve().await,
                None => future::pending().await,
            }
        };
        select! {
            () = stop => {}
            () = server.serve(listener, newest.server.subscribe(), future::pending()) => {}
            () = pass_on => {}
            () = works.announce(&told, &boot_id) => {}
            () = works.follow(settings) => {}
            () = keep_certificate(&state, &connect, &*works.clock, credentials, renewed) => {}
        }
        Ok(())
    }
}

impl Newest {
    fn new(tls: &PeerTls, credentials: &Credentials) -> io::Result<Self> {
        let configs = PeerConfigs::new(tls, credentials)?;
        Ok(Self {
            client: watch::Sender::new(configs.client),
            server: watch::Sender::new(configs.server),
            gateway: watch::Sender::new(credentials.gateway().to_owned()),
        })
    }

    fn change(&self, tls: &PeerTls, credentials: &Credentials) -> io::Result<()> {
        let configs = PeerConfigs::new(tls, credentials)?;
        self.client.send_replace(configs.client);
        self.server.send_replace(configs.server);
        self.gateway.send_replace(credentials.gateway().to_owned());
        Ok(())
    }
}

/// Where blocks are kept.
struct Cache<'a> {
    state: &'a Path,
    settings: &'a Settings,
    clock: &'a Arc<dyn Clock>,
}

impl Cache<'_> {
    async fn open(
        &self,
        passes: Arc<dyn Passes>,
        client: Arc<Client>,
        limits: Arc<Limits>,
    ) -> Result<Arc<Relay>, RelayError> {
        let (folder, space) = (self.state.join("blocks"), self.settings.space());
        let (clock, path) = (Arc::clone(self.clock), folder.clone());
        let opened = spawn_blocking(move || {
            DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
            Relay::open(folder, space, passes, client, limits, clock)
        });
        let opened = opened.await.unwrap_or_else(|lost| Err(io::Error::other(lost)));
        opened.map(Arc::new).map_err(|source| RelayError::Folder { path, source })
    }
}

/// What gives blocks, and sends hosts to each other: to this relay as well, where they know it by its name.
fn block_server(
    credentials: &Credentials,
    relay: &Arc<Relay>,
    clock: &Arc<dyn Clock>,
) -> io::Result<BlockServer> {
    let name: HostName = credentials.host().parse().map_err(io::Error::other)?;
    let verifier = TokenVerifier::new(credentials.signers()).map_err(io::Error::other)?;
    let (seeds, seed) = (vec![Endpoint::new(name, String::new())], clock.now().as_millis());
    let director = Director::new(seeds, SLOTS, Policy::default(), seed, Arc::clone(clock));
    let source = Arc::clone(relay) as _;
    let server = BlockServer::new(source, verifier, identify(), Arc::clone(clock));
    Ok(server.with_director(Arc::new(director)))
}

async fn listen(setting: &'static str, address: SocketAddr) -> Result<TcpListener, RelayError> {
    let listener = TcpListener::bind(address).await;
    listener.map_err(|source| RelayError::Listen { setting, address, source })
}

/// Takes the folder for this process, as long as the file is open.
fn lock(state: &Path) -> Result<File, RelayError> {
    let path = state.join("lock");
    let failed = |source| RelayError::Folder { path: path.clone(), source };
    let mut options = OpenOptions::new();
    let file = options.create(true).write(true).truncate(false).open(&path).map_err(failed)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(RelayError::Busy(state.to_owned())),
        Err(err) => Err(failed(err.into())),
    }
}
