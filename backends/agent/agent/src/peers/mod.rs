//! Artifacts block by block, from the server and from other hosts, to which this one gives what it has.
mod giving;
mod not_taken;
mod rest;
mod swarm;
mod told;

pub(crate) use not_taken::NotTaken;

use crate::{FetchArtifact, policy::Policy, rates::Rates, spec::Artifact};
use deploy_agent_identity::{Credentials, PeerConfigs, identify};
use deploy_core::{backend::Clock, digest::Digest, telemetry::TARGET_BACKEND, time::Timestamp};
use deploy_distribution::{
    Blob, BlobFile, BlobFileError,
    transfer::{Client, FetchOrder, Fetcher, Shelf},
};
use deploy_pki::PeerTls;
use giving::Giving;
use not_taken::blocking;
use std::{
    fs, future, io,
    net::SocketAddr,
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
use tokio_rustls::rustls::ClientConfig;

/// When no block came for so long the rest of the artifact is fetched in another way.
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
    rates: Arc<Rates>,
    tls: PeerTls,
    client: watch::Sender<Arc<ClientConfig>>,
    /// `HOST:PORT` of the gateway, whose host may also be that of its blocks.
    gateway: Mutex<String>,
    /// Whether the server is out of reach, but through others.
    apart: bool,
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
            shelf.remove_this(&self.1);
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
        let (policy, apart) = (policy.peers(), !policy.via().is_empty());
        let tls = PeerTls::new(credentials.authority(), Arc::clone(&clock));
        let PeerConfigs { client, server, .. } = PeerConfigs::new(&tls, credentials)?;
        let (client, newest) = watch::channel(client);
        let own = Client::new(newest, identify(), Arc::clone(&clock));
        let rates = Rates::new(policy, Arc::clone(&clock));
        let fetcher = Fetcher::new(Arc::new(own), rates.download(), Arc::clone(&clock));
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
                let clock = Arc::clone(&clock);
                Some(Giving::new(listener, server, signers, rates.upload(), clock)?)
            }
        };
        let gateway = Mutex::new(credentials.gateway().to_owned());
        Ok(Self { fetcher: Arc::new(fetcher), giving, rates, tls, client, gateway, apart, clock })
    }

    /// Where others have blocks of it; `None` if nowhere.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        self.giving.as_ref().map(Giving::address)
    }

    /// How fast it fetches and gives.
    pub(crate) fn rates(&self) -> Arc<Rates> {
        Arc::clone(&self.rates)
    }

    /// Goes by newer credentials from now on.
    ///
    /// # Errors
    /// If they are no good: then it goes on by those that it has.
    pub(crate) fn renewed(&self, credentials: &Credentials) -> io::Result<()> {
        let PeerConfigs { client, server, .. } = PeerConfigs::new(&self.tls, credentials)?;
        self.client.send_replace(client);
        if let Some(giving) = &self.giving {
            giving.renewed(server);
        }
        let mut gateway = self.gateway.lock().unwrap_or_else(PoisonError::into_inner);
        credentials.gateway().clone_into(&mut gateway);
        Ok(())
    }

    /// Gives blocks to others. Ends only by being dropped.
    pub(crate) async fn serve(&self) {
        if let Some(giving) = &self.giving {
            giving.serve().await;
        }
        future::pending::<()>().await;
    }

    /// Fetches an artifact in blocks, in `folder`, from where an earlier try ended: there, or, over the session, in the file `part`. What came there is compared with the BLAKE3 root that
    /// `from` says, and not yet with the digest. `None` if nobody gives blocks.
    pub(crate) async fn take(
        &self,
        artifact: Artifact,
        from: &dyn FetchArtifact,
        folder: &Path,
        part: &Path,
    ) -> Result<Option<Taken>, NotTaken> {
        let swarm = self.swarm(artifact, from).await.map_err(NotTaken::Away)?;
        let Some(mut swarm) = swarm else { return Ok(None) };
        let (own, blob) = (folder.to_owned(), swarm.blob);
        blocking(move || make(&own, blob)).await?;
        let (newest, token) = watch::channel(swarm.token.clone());
        let order = self.order(&swarm, &token, from).await;
        let mut order = order.with_beginning(part.to_owned());
        let file = self.fetcher.prepare(&order, folder).await?;
        let shelf = OnShelf::new(self.giving.as_ref(), &file);
        let mut token_until = self.clock.now().after(swarm.token_for);
        let fetched = loop {
            let elsewhere = select! {
                biased;
                fetched = self.fetcher.fetch(&order, &file) => break fetched?,
                elsewhere = self.renew(artifact, from, &swarm, &newest, &mut token_until) => elsewhere,
                err = self.stalled(&order) => return Err(NotTaken::Away(err)),
            };
            // Whoever was locked out, or is gone, is asked no longer. What came stays.
            swarm = elsewhere;
            order = self.order(&swarm, &token, from).await;
        };
        tracing::info!(target: TARGET_BACKEND, { digest = %artifact.digest }, "{}", told::came(&fetched));
        for (host, bytes) in &fetched.wrong {
            tracing::warn!(target: TARGET_BACKEND, { host = %host, bytes }, "a host gave wrong blocks");
        }
        let path = folder.join(order.blob.to_string());
        Ok(Some(Taken { file, path, order, token_until, _shelf: shelf }))
    }

    /// Goes on with what [`take`](Self::take) has begun in `folder`, from the server alone: fetches what is missing, and says where the whole
    /// is then. `None` if nothing was begun.
    pub(crate) async fn complete(
        &self,
        artifact: Artifact,
        from: &dyn FetchArtifact,
        folder: &Path,
    ) -> Result<Option<PathBuf>, NotTaken> {
        rest::complete(artifact, from, folder, &*self.clock).await
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

    /// Where an artifact can be had in blocks; `None` if nowhere.
    async fn swarm(
        &self,
        artifact: Artifact,
        from: &dyn FetchArtifact,
    ) -> io::Result<Option<Swarm>> {
        let gateway = self.gateway.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(reply) = from.swarm(artifact.digest).await? else { return Ok(None) };
        let mut swarm = Swarm::read(reply, artifact, &gateway)?;
        let is_somewhere = !self.apart || swarm.leave_out_server();
        Ok(is_somewhere.then_some(swarm))
    }

    async fn order(
        &self,
        swarm: &Swarm,
        token: &watch::Receiver<String>,
        from: &dyn FetchArtifact,
    ) -> FetchOrder {
        let order = swarm.order(self.own_address(swarm).await, self.slots(), token.clone());
        order.with_throttle(from.throttle())
    }

    /// Has a new token before the last one ends. Returns only if others are to be asked from then on; what cannot be had now is asked for
    /// again.
    async fn renew(
        &self,
        artifact: Artifact,
        from: &dyn FetchArtifact,
        swarm: &Swarm,
        newest: &watch::Sender<String>,
        until: &mut Timestamp,
    ) -> Swarm {
        loop {
            let left = until.since(self.clock.now());
            self.clock.sleep_until(self.clock.now().after((left / 2).max(AGAIN))).await;
            match self.swarm(artifact, from).await {
                Ok(Some(now)) => {
                    *until = self.clock.now().after(now.token_for);
                    newest.send_replace(now.token.clone());
                    let is_same = now.schedulers == swarm.schedulers && now.seeds == swarm.seeds;
                    if now.blob == swarm.blob && !is_same {
                        return now;
                    }
                }
                Ok(None) => {}
                Err(err) => {
                    tracing::debug!(target: TARGET_BACKEND, { reason = %err }, "a token is not renewed yet");
                }
            }
        }
    }

    /// Waits until nothing came for too long: longer where our own limits hold it back, which may have changed meanwhile.
    async fn stalled(&self, order: &FetchOrder) -> io::Error {
        let mut progress = order.progress.subscribe();
        let mut moved_at = self.clock.now();
        loop {
            let after = STALL.saturating_add(self.rates.held_back(order.throttle.as_deref()));
            let until = moved_at.after(after);
            if self.clock.now() >= until {
                let why = format!("no block came for {} s", after.as_secs());
                return io::Error::new(io::ErrorKind::TimedOut, why);
            }
            select! {
                biased;
                Ok(()) = progress.changed() => moved_at = self.clock.now(),
                () = self.clock.sleep_until(until) => {}
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

/// The folder for the blocks of an artifact, which are those of `blob`.
fn make(folder: &Path, blob: Blob) -> Result<(), BlobFileError> {
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
    let made = made.and_then(|()| rest::keep_only(folder, blob));
    made.map_err(|source| BlobFileError::Io { path: folder.to_owned(), source })
}
