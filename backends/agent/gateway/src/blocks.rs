//! Blocks of what orders name, for many hosts at once.
use crate::relays::Relays;
use deploy_agent_protocol::{
    BLOCKS_OF_SERVER,
    v1::{BlockServer as Named, PassReply, SwarmReply},
};
use deploy_core::{
    agent::Agent,
    backend::{Clock, HostInventory},
    digest::Digest,
    id::{HostName, LabelValue},
};
use deploy_distribution::{
    Blob, BlobFile, Outboard,
    schedule::Policy,
    token::{Grant, TOKEN_LIFETIME, TokenError, TokenSigner, TokenVerifier},
    transfer::{BlockServer, Director, Endpoint, Shelf},
};
use deploy_parts::PartStore;
use deploy_pki::AgentPeer;
use rustls_pki_types::CertificateDer;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    fs::File,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::{sync::OnceCell, task::spawn_blocking};

/// How many artifacts are given in blocks at a time: the one that was asked for the longest ago makes room.
const MOST_GIVEN: usize = 256;
/// How many blocks hosts are sent here for at a time; four of them are sent at once.
const SLOTS: u16 = 6;
/// For how long a token is good, in seconds.
const TOKEN_S: u32 = TOKEN_LIFETIME.as_secs() as u32;

/// Why something cannot be had in blocks. It can be fetched whole all the same.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the artifact is not given in blocks: {0}")]
pub(crate) struct NotGiven(String);

impl NotGiven {
    fn new(why: impl fmt::Display) -> Self {
        Self(why.to_string())
    }
}

/// What the server gives to hosts block by block, and sends them to each other for. Clones are the same.
#[derive(Clone)]
pub struct Blocks(Arc<Inner>);

struct Inner {
    parts: PartStore,
    shelf: Arc<Shelf>,
    director: Arc<Director>,
    signer: TokenSigner,
    address: String,
    inventory: Arc<dyn HostInventory>,
    clock: Arc<dyn Clock>,
    given: Mutex<Given>,
}

#[derive(Default)]
struct Given {
    asked: u64,
    artifacts: BTreeMap<Digest, Entry>,
}

/// Whoever asks first has it hashed; others wait for that.
#[derive(Default)]
struct Entry {
    blob: Arc<OnceCell<Blob>>,
    asked: u64,
    /// The zones of hosts that were told where it is: relays of these may have it.
    zones: BTreeSet<String>,
}

impl fmt::Debug for Blocks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Blocks").field("address", &self.0.address).finish_non_exhaustive()
    }
}

impl Blocks {
    /// Of the parts in `parts`, and the packages that these are of. Tokens are signed with `secret`, which is that of orders: hosts know its
    /// public key. Hosts are told `address`, a `HOST:PORT`, or `:PORT` where they know the host best; near each other are those to
    /// which `inventory` gives the same labels `zone` and `rack`.
    #[must_use]
    pub fn new(
        parts: PartStore,
        secret: &[u8; 32],
        address: String,
        inventory: Arc<dyn HostInventory>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let name: Option<HostName> = BLOCKS_OF_SERVER.parse().ok();
        let seeds = name.map(|it| Endpoint::new(it, address.clone())).into_iter().collect();
        let seed = clock.now().as_millis();
        let director = Director::new(seeds, SLOTS, Policy::default(), seed, Arc::clone(&clock));
        Self(Arc::new(Inner {
            parts,
            shelf: Arc::new(Shelf::new()),
            director: Arc::new(director),
            signer: TokenSigner::from_secret(secret),
            address,
            inventory,
            clock,
            given: Mutex::default(),
        }))
    }

    /// What answers on the port of blocks, to hosts whose certificates TLS has verified.
    ///
    /// # Errors
    /// If the secret makes no key.
    pub fn server(&self) -> Result<BlockServer, TokenError> {
        let verifier = TokenVerifier::new([self.0.signer.public_key()])?;
        let identify = Arc::new(|it: &CertificateDer<'_>| AgentPeer::of(it).ok().map(|it| it.host));
        let (shelf, clock) = (Arc::clone(&self.0.shelf) as _, Arc::clone(&self.0.clock));
        let server = BlockServer::new(shelf, verifier, identify, clock);
        Ok(server.with_director(Arc::clone(&self.0.director)))
    }

    /// Where `host`, which may have an artifact, has its blocks from.
    pub(crate) async fn swarm(
        &self,
        host: &HostName,
        digest: Digest,
        relays: Option<&Relays>,
    ) -> Result<SwarmReply, NotGiven> {
        let blob = *self.entry(digest).get_or_try_init(|| self.give(digest)).await?;
        let [zone, rack] = self.place(host).await;
        let relays = relays.map(|it| it.for_hosts(&zone, blob.root())).unwrap_or_default();
        if !relays.is_empty() {
            self.note_zone(digest, &zone);
        }
        let servers = self.and_here(relays);
        Ok(SwarmReply {
            root: blob.root().as_bytes().to_vec(),
            size: blob.size(),
            schedulers: servers.clone(),
            seeds: servers,
            token: self.token(host, blob),
            token_s: TOKEN_S,
            zone,
            rack,
        })
    }

    /// By what a relay has a blob that hosts of its zone were told of; `None` if none was.
    pub(crate) fn pass(&self, relay: &Agent, blob: Blob, relays: &Relays) -> Option<PassReply> {
        let zone = relay.zone()?;
        let is_wanted = {
            let given = self.0.given.lock().unwrap_or_else(PoisonError::into_inner);
            let entry = given.artifacts.values().find(|it| it.blob.get() == Some(&blob));
            entry.is_some_and(|it| it.zones.contains(zone.as_str()))
        };
        if !is_wanted {
            return None;
        }
        let before = relays.before(&relay.host, zone.as_str(), blob.root());
        let (token, from) = (self.token(&relay.host, blob), self.and_here(before));
        Some(PassReply { token, token_s: TOKEN_S, from })
    }

    fn token(&self, host: &HostName, blob: Blob) -> String {
        let until = self.0.clock.now().after(TOKEN_LIFETIME);
        self.0.signer.sign(&Grant::new(host.clone(), vec![blob], until))
    }

    /// Some relays, and this server.
    fn and_here(&self, relays: Vec<Endpoint>) -> Vec<Named> {
        let relays = relays.into_iter();
        let relays = relays.map(|it| Named { name: it.name.to_string(), address: it.address });
        let (name, address) = (BLOCKS_OF_SERVER.to_owned(), self.0.address.clone());
        relays.chain([Named { name, address }]).collect()
    }

    fn note_zone(&self, digest: Digest, zone: &str) {
        let mut given = self.0.given.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = given.artifacts.get_mut(&digest).filter(|it| !it.zones.contains(zone));
        if let Some(entry) = entry {
            entry.zones.insert(zone.to_owned());
        }
    }

    fn entry(&self, digest: Digest) -> Arc<OnceCell<Blob>> {
        let mut given = self.0.given.lock().unwrap_or_else(PoisonError::into_inner);
        given.asked += 1;
        let asked = given.asked;
        if given.artifacts.len() >= MOST_GIVEN && !given.artifacts.contains_key(&digest) {
            let oldest = given.artifacts.iter().min_by_key(|(_, it)| it.asked);
            let gone = oldest.map(|(digest, _)| *digest);
            let gone = gone.and_then(|it| given.artifacts.remove(&it));
            if let Some(blob) = gone.and_then(|it| it.blob.get().copied()) {
                self.0.shelf.remove(blob);
            }
        }
        let entry = given.artifacts.entry(digest).or_default();
        entry.asked = asked;
        Arc::clone(&entry.blob)
    }

    /// Gives the blocks of an artifact from now on.
    async fn give(&self, digest: Digest) -> Result<Blob, NotGiven> {
        let path = self.0.parts.file(digest).await.map_err(NotGiven::new)?;
        let hashed = spawn_blocking(move || {
            let file = File::open(&path).map_err(NotGiven::new)?;
            let size = file.metadata().map_err(NotGiven::new)?.len();
            let outboard = Outboard::compute(size, file).map_err(NotGiven::new)?;
            BlobFile::whole(&path, outboard).map_err(NotGiven::new)
        });
        let file = hashed.await.map_err(NotGiven::new)??;
        let (blob, file) = (file.blob(), Arc::new(file));
        let given = self.0.given.lock().unwrap_or_else(PoisonError::into_inner);
        self.0.shelf.add(Arc::clone(&file));
        // Others may have taken its place while it was hashed.
        if !given.artifacts.contains_key(&digest) {
            self.0.shelf.remove_this(&file);
        }
        Ok(blob)
    }

    /// The zone and the rack of a host. Where that is not known, nobody is near it.
    async fn place(&self, host: &HostName) -> [String; 2] {
        let found = self.0.inventory.host(host).await.ok();
        ["zone", "rack"].map(|key| {
            let labels = found.as_ref().map(|it| &it.value.labels);
            let value = labels.and_then(|it| it.iter().find(|(it, _)| it.as_str() == key));
            value.map_or_else(String::new, |(_, value): (_, &LabelValue)| value.to_string())
        })
    }
}
