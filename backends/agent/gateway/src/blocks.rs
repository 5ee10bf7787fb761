//! Blocks of what orders name, for many hosts at once.
use deploy_agent_protocol::{
    BLOCKS_OF_SERVER,
    v1::{BlockServer as Named, SwarmReply},
};
use deploy_core::{
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
    collections::BTreeMap,
    fmt,
    fs::File,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::{sync::OnceCell, task::spawn_blocking};

/// How many artifacts are given in blocks at a time: the one that was asked for the longest ago makes room.
const MOST_GIVEN: usize = 256;
/// How many blocks hosts are sent here for at a time; four of them are sent at once.
const SLOTS: u16 = 6;

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
    ) -> Result<SwarmReply, NotGiven> {
        let blob = *self.entry(digest).get_or_try_init(|| self.give(digest)).await?;
        let until = self.0.clock.now().after(TOKEN_LIFETIME);
        let token = self.0.signer.sign(&Grant::new(host.clone(), vec![blob], until));
        let here = Named { name: BLOCKS_OF_SERVER.to_owned(), address: self.0.address.clone() };
        let [zone, rack] = self.place(host).await;
        Ok(SwarmReply {
            root: blob.root().as_bytes().to_vec(),
            size: blob.size(),
            schedulers: vec![here.clone()],
            seeds: vec![here],
            token,
            token_s: u32::try_from(TOKEN_LIFETIME.as_secs()).unwrap_or(u32::MAX),
            zone,
            rack,
        })
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
        let blob = file.blob();
        self.0.shelf.add(Arc::new(file));
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
