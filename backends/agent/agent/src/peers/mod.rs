//! Artifacts block by block, from the server and from other hosts, to which this one gives what it has.
mod giving;
mod swarm;
mod told;

use crate::{FetchArtifact, credentials::Credentials, policy::Policy, spec::Artifact};
use deploy_agent_protocol::BLOCKS_OF_SERVER;
use deploy_core::{
    backend::Clock, digest::Digest, id::HostName, telemetry::TARGET_BACKEND, time::Timestamp,
};
use deploy_distribution::{
    BlobFile,
    transfer::{Client, FetchOrder, Fetched, Fetcher, Identify, Limits, Shelf},
};
use deploy_pki::{AgentPeer, PeerTls};
use giving::Giving;
use rustls_pki_types::CertificateDer;
use std::{
    fs, future, io,
    net::SocketAddr,
    num::{NonZeroU32, NonZeroU64},
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use swarm::Swarm;
use tokio::{
    net::{TcpListener, UdpSocket},
    select,
    sync::watch,
};
use tokio_rustls::rustls::{ClientConfig, ServerConfig};

/// When no block came for so long the artifact is fetched in another way.
const STALL: Duration = Duration::from_secs(120);
/// How soon a token is asked for again at the earliest.
const AGAIN: Duration = Duration::from_secs(5);
/// How many blocks others may ask for at a time, beyond those that are sent.
const SLOTS: u16 = 10;

/// The blocks that this host fetches, and those that it gives.
#[derive(Debug)]
pub struct Peers {
    fetcher: Arc<Fetcher>,
    /// `None` if it gives none.
    giving: Option<Giving>,
    tls: PeerTls,
    client: watch::Sender<Arc<ClientConfig>>,
    /// The host of the gateway's address, which may also be that of its blocks.
    gateway: Mutex<String>,
    clock: Arc<dyn Clock>,
}

/// An artifact that came in blocks.
#[derive(Debug)]
pub(crate) struct Taken {
    file: Arc<BlobFile>,
    path: PathBuf,
    order: FetchOrder,
    token_until: Timestamp,
    _shelf: OnShelf,
}

impl Taken {
    /// Where it lies now.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

/// Others are given blocks of it for as long as this is kept.
#[derive(Debug)]
struct OnShelf(Option<Arc<Shelf>>, Arc<BlobFile>);

impl OnShelf {
    fn new(giving: Option<&Giving>, file: &Arc<BlobFile>) -> Self {
        let shelf = giving.map(Giving::shelf);
        if let Some(shelf) = &shelf {
            shelf.add(Arc::clone(file));
        }
        Self(shelf, Arc::clone(file))
    }
}

impl Drop for OnShelf {
    fn drop(&mut self) {
        if let Some(shelf) = &self.0 {
            shelf.remove(self.1.blob());
        }
    }
}

impl Peers {
    /// As the host that these credentials are of, whose policy says how much it takes and gives. Tokens are believed that one of `signers` has
    /// signed. A port that cannot be had is no reason to give up: then it only takes.
    ///
    /// # Errors
    /// If the credentials are no good.
    pub async fn open(
        credentials: &Credentials,
        policy: &Policy,
        signers: &[[u8; 32]],
        clock: Arc<dyn Clock>,
    ) -> io::Result<Self> {
        let policy = policy.peers();
        let tls = PeerTls::new(credentials.authority(), Arc::clone(&clock));
        let (client, server) = configs(&tls, credentials)?;
        let (client, newest) = watch::channel(client);
        let own = Client::new(newest, identify(), Arc::clone(&clock));
        let limits = Arc::new(Limits::new(rate(policy.download_mbit)));
        let fetcher = Fetcher::new(Arc::new(own), limits, Arc::clone(&clock));
        let giving = match TcpListener::bind(policy.listen).await {
            _ if !policy.serve => None,
            Err(err) => {
                tracing::warn!(
                    target: TARGET_BACKEND,
                    { listen = %policy.listen, reason = %err }, "this host gives no blocks to others: `[peers] listen` cannot be had"
                );
                None
            }
            Ok(listener) => {
                let limits = Arc::new(Limits::new(rate(policy.upload_mbit)));
                Some(Giving::new(listener, server, signers, limits, Arc::clone(&clock))?)
            }
        };
        let gateway = Mutex::new(host_of(credentials.gateway()).to_owned());
        Ok(Self { fetcher: Arc::new(fetcher), giving, tls, client, gateway, clock })
    }

    /// Where others have blocks of it; `None` if nowhere.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        self.giving.as_ref().map(Giving::address)
    }

    /// Goes by newer credentials from now on.
    ///
    /// # Errors
    /// If they are no good: then it goes on by those that it has.
    pub(crate) fn renewed(&self, credentials: &Credentials) -> io::Result<()> {
        let (client, server) = configs(&self.tls, credentials)?;
        self.client.send_replace(client);
        if let Some(giving) = &self.giving {
            giving.renewed(server);
        }
        let mut gateway = self.gateway.lock().unwrap_or_else(PoisonError::into_inner);
        host_of(credentials.gateway()).clone_into(&mut gateway);
        Ok(())
    }

    /// Gives blocks to others. Ends only by being dropped.
    pub(crate) async fn serve(&self) {
        if let Some(giving) = &self.giving {
            giving.serve().await;
        }
        future::pending::<()>().await;
    }

    /// Fetches an artifact in blocks, in `folder`, from where an earlier try ended. What came there is compared with the BLAKE3 root that
    /// `from` says, and not yet with the digest. `None` if nobody gives blocks.
    pub(crate) async fn take(
        &self,
        artifact: Artifact,
        from: &dyn FetchArtifact,
        folder: &Path,
    ) -> io::Result<Option<Taken>> {
        let gateway = self.gateway.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(reply) = from.swarm(artifact.digest).await? else { return Ok(None) };
        let swarm = Swarm::read(reply, artifact, &gateway)?;
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let (newest, token) = watch::channel(swarm.token.clone());
        let order = swarm.order(self.own_address(&swarm).await, self.slots(), token);
        let failed = io::Error::other;
        let file = self.fetcher.prepare(&order, folder).await.map_err(failed)?;
        let shelf = OnShelf::new(self.giving.as_ref(), &file);
        let mut token_until = self.clock.now().after(swarm.token_for);
        let fetched = select! {
            biased;
            fetched = self.fetcher.fetch(&order, &file) => fetched.map_err(failed)?,
            () = self.renew(artifact, from, &newest, &mut token_until) => Fetched::default(),
            err = self.stalled(&order) => return Err(err),
        };
        tracing::info!(target: TARGET_BACKEND, { digest = %artifact.digest }, "{}", told::came(&fetched));
        for (host, bytes) in &fetched.wrong {
            tracing::warn!(target: TARGET_BACKEND, { host = %host, bytes }, "a host gave wrong blocks");
        }
        let path = folder.join(order.blob.to_string());
        Ok(Some(Taken { file, path, order, token_until, _shelf: shelf }))
    }

    /// Gives an artifact to others that came and was right, until nobody is sent here for it any more, or it is forgotten.
    pub(crate) fn stay(&self, digest: Digest, taken: Taken) {
        let Some(giving) = &self.giving else { return };
        let (fetcher, clock) = (Arc::clone(&self.fetcher), Arc::clone(&self.clock));
        giving.stay(digest, async move {
            select! {
                () = fetcher.linger(&taken.order, &taken.file) => {}
                () = clock.sleep_until(taken.token_until) => {}
            }
            drop(taken);
        });
    }

    /// Gives an artifact to nobody any more.
    pub(crate) fn forget(&self, digest: Digest) {
        if let Some(giving) = &self.giving {
            giving.forget(digest);
        }
    }

    /// Has a new token before the last one ends. Never returns: what cannot be had now is asked for again.
    async fn renew(
        &self,
        artifact: Artifact,
        from: &dyn FetchArtifact,
        newest: &watch::Sender<String>,
        until: &mut Timestamp,
    ) {
        loop {
            let left = until.since(self.clock.now());
            self.clock.sleep_until(self.clock.now().after((left / 2).max(AGAIN))).await;
            match from.swarm(artifact.digest).await {
                Ok(Some(reply)) => {
                    *until = self.clock.now().after(Duration::from_secs(reply.token_s.into()));
                    newest.send_replace(reply.token);
                }
                Ok(None) => {}
                Err(err) => {
                    tracing::debug!(target: TARGET_BACKEND, { reason = %err }, "a token is not renewed yet");
                }
            }
        }
    }

    /// Waits until nothing came for too long.
    async fn stalled(&self, order: &FetchOrder) -> io::Error {
        let mut progress = order.progress.subscribe();
        loop {
            select! {
                biased;
                Ok(()) = progress.changed() => {}
                () = self.clock.sleep_until(self.clock.now().after(STALL)) => {
                    let why = format!("no block came for {} s", STALL.as_secs());
                    return io::Error::new(io::ErrorKind::TimedOut, why);
                }
            }
        }
    }

    const fn slots(&self) -> u16 {
        if self.giving.is_some() { SLOTS } else { 0 }
    }

    /// Where others reach this host: at the address by which it reaches the scheduler.
    async fn own_address(&self, swarm: &Swarm) -> String {
        let Some(listen) = self.address() else { return String::new() };
        if !listen.ip().is_unspecified() {
            return listen.to_string();
        }
        let route = async {
            let socket = UdpSocket::bind(SocketAddr::new(listen.ip(), 0)).await?;
            // Nothing is sent: this asks which way it would go.
            socket.connect(&swarm.schedulers.first().map_or("", |it| &it.address)).await?;
            Ok::<_, io::Error>(SocketAddr::new(socket.local_addr()?.ip(), listen.port()))
        };
        route.await.map_or_else(|_nobody_is_sent| String::new(), |it| it.to_string())
    }
}

type Configs = (Arc<ClientConfig>, Arc<ServerConfig>);

fn configs(tls: &PeerTls, credentials: &Credentials) -> io::Result<Configs> {
    let (chain, key) = (credentials.chain(), credentials.key()?);
    let client = tls.client(chain.clone(), &key).map_err(io::Error::other)?;
    let server = tls.server(chain, &key).map_err(io::Error::other)?;
    Ok((Arc::new(client), Arc::new(server)))
}

/// Whose a certificate is that [`PeerTls`] has verified: no host's is the server's, and no host has the server's name.
fn identify() -> Identify {
    Arc::new(|certificate: &CertificateDer<'_>| match AgentPeer::of(certificate) {
        Ok(peer) => Some(peer.host).filter(|it| it.as_str() != BLOCKS_OF_SERVER),
        Err(_of_a_server) => BLOCKS_OF_SERVER.parse::<HostName>().ok(),
    })
}

fn rate(mbit: Option<NonZeroU32>) -> Option<NonZeroU64> {
    NonZeroU64::new(u64::from(mbit?.get()) * 1_000_000 / 8)
}

/// Of a `HOST:PORT`.
fn host_of(address: &str) -> &str {
    address.rsplit_once(':').map_or(address, |(host, _)| host)
}
