//! A host gets a blob.
use super::{
    Client, Endpoint, Fetched, Joining, LinkError, NextRequest, Throttle, lanes::Lanes,
    limit::Limits,
};
use crate::block::{Bits, Blob, BlobFile, BlobFileError};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use deploy_core::{backend::Clock, id::LabelValue};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::{sync::watch, task::spawn_blocking};

/// How long to wait before those are asked again who could not be reached.
pub(super) const AGAIN_AFTER: Duration = Duration::from_secs(2);
/// How long one request for the next block waits.
pub(super) const POLL: Duration = Duration::from_secs(10);

/// Why a blob cannot be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// Nobody gives its outboard.
    #[error("{blob} cannot be had from anybody")]
    Nobody {
        /// The blob.
        blob: Blob,
        /// What the last one said, if there was any.
        #[source]
        last: Option<LinkError>,
    },
    /// It cannot be kept.
    #[error(transparent)]
    File(#[from] BlobFileError),
}

impl FetchError {
    /// A stable, lower-case name.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Nobody { .. } => "blob_unavailable",
            Self::File(BlobFileError::NoRoom { .. }) => "blob_no_room",
            Self::File(_) => "blob_file",
        }
    }
}

/// What to fetch, and where it can be had.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FetchOrder {
    /// What.
    pub blob: Blob,
    /// Who schedules, the first one that answers: the relays of the data centre, or the server.
    pub schedulers: Vec<Endpoint>,
    /// Who has all of it, the nearest first: relays, then the store. Asked where no scheduler sends anywhere.
    pub seeds: Vec<Endpoint>,
    /// Where this host gives blocks: an `IP:PORT`, with the IP that it reaches schedulers from, unless these take any address.
    pub address: String,
    /// How many blocks are asked of it at a time: those beyond what it sends at once are next, so that its link is never idle while
    /// somebody is told whom to ask. 10 unless said otherwise.
    pub slots: u16,
    /// In which zone it is.
    pub zone: Option<LabelValue>,
    /// In which rack it is.
    pub rack: Option<LabelValue>,
    /// The newest token, which has to name the blob.
    pub token: watch::Receiver<String>,
    /// Where it is said what came so far.
    pub progress: watch::Sender<Fetched>,
    /// A limit beside those of this host, such as one that others share who fetch for the same reason.
    pub throttle: Option<Arc<Throttle>>,
    /// A file that may be the beginning of the blob, had in another way.
    pub beginning: Option<PathBuf>,
}

impl FetchOrder {
    /// That blob, for a host that gives its blocks at `address`. Nobody is named yet who has it.
    #[must_use]
    pub fn new(blob: Blob, address: String, token: watch::Receiver<String>) -> Self {
        Self {
            blob,
            schedulers: Vec::new(),
            seeds: Vec::new(),
            address,
            slots: 10,
            zone: None,
            rack: None,
            token,
            progress: watch::Sender::default(),
            throttle: None,
            beginning: None,
        }
    }

    /// And says there what came so far, and from whom, with each block.
    #[must_use]
    pub fn with_progress(mut self, progress: watch::Sender<Fetched>) -> Self {
        self.progress = progress;
        self
    }

    /// Under this limit as well, if there is one.
    #[must_use]
    pub fn with_throttle(mut self, throttle: Option<Arc<Throttle>>) -> Self {
        self.throttle = throttle;
        self
    }

    /// With what this file has of it, if it is there; it is moved away then.
    #[must_use]
    pub fn with_beginning(mut self, beginning: PathBuf) -> Self {
        self.beginning = Some(beginning);
        self
    }

    /// Scheduled by these.
    #[must_use]
    pub fn with_schedulers(mut self, schedulers: Vec<Endpoint>) -> Self {
        self.schedulers = schedulers;
        self
    }

    /// From these in the end.
    #[must_use]
    pub fn with_seeds(mut self, seeds: Vec<Endpoint>) -> Self {
        self.seeds = seeds;
        self
    }

    /// In that zone and rack.
    #[must_use]
    pub fn with_place(mut self, zone: Option<LabelValue>, rack: Option<LabelValue>) -> Self {
        (self.zone, self.rack) = (zone, rack);
        self
    }

    /// With so many slots.
    #[must_use]
    pub fn with_slots(mut self, slots: u16) -> Self {
        self.slots = slots;
        self
    }

    /// A source as this host knows it: its own way to a seed may be another than that of whoever names the seed.
    pub(super) fn as_known(&self, source: Endpoint) -> Endpoint {
        self.seeds.iter().find(|it| it.name == source.name).cloned().unwrap_or(source)
    }

    pub(super) fn joining(&self, had: &Bits, under_way: Vec<u32>) -> Joining {
        Joining {
            address: self.address.clone(),
            zone: self.zone.clone(),
            rack: self.rack.clone(),
            had: STANDARD.encode(had.to_bytes()),
            under_way,
            slots: self.slots,
        }
    }
}

/// Gets blobs, block by block, from whoever a scheduler says, or from seeds where none does.
#[derive(Debug)]
pub struct Fetcher {
    pub(super) client: Arc<Client>,
    pub(super) limits: Arc<Limits>,
    pub(super) clock: Arc<dyn Clock>,
}

impl Fetcher {
    /// Over these connections, and within these limits.
    #[must_use]
    pub const fn new(client: Arc<Client>, limits: Arc<Limits>, clock: Arc<dyn Clock>) -> Self {
        Self { client, limits, clock }
    }

    /// The file of a blob in `folder`, with what is had of it: what an earlier try has left, or nothing yet. Whoever gives blocks to
    /// others can give those that come from now on.
    ///
    /// # Errors
    /// If nobody gives the outboard of the blob, or there is no room.
    pub async fn prepare(
        &self,
        order: &FetchOrder,
        folder: &Path,
    ) -> Result<Arc<BlobFile>, FetchError> {
        let (blob, into) = (order.blob, folder.to_owned());
        let resumed = blocking(move || BlobFile::resume(&into, blob)).await?;
        if let Some(file) = resumed {
            return Ok(Arc::new(file));
        }
        let mut last = None;
        for from in order.seeds.iter().chain(&order.schedulers) {
            let token = order.token.borrow().clone();
            match self.client.outboard(from, blob, &token).await {
                Ok(outboard) => {
                    let (into, beginning) = (folder.to_owned(), order.beginning.clone());
                    let open = move || match beginning {
                        Some(beginning) => BlobFile::open_with(&into, outboard, &beginning),
                        None => BlobFile::open(&into, outboard),
                    };
                    let file = blocking(open).await?;
                    return Ok(Arc::new(file));
                }
                Err(err) => last = Some(err),
            }
        }
        Err(FetchError::Nobody { blob, last })
    }

    /// Fetches what is missing; what was there before is hashed first. It goes on until all of it is there, whoever is away
    /// meanwhile; dropping it ends it, and what was had by then is had.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub async fn fetch(
        &self,
        order: &FetchOrder,
        file: &Arc<BlobFile>,
    ) -> Result<Fetched, FetchError> {
        let before = Arc::clone(file);
        blocking(move || before.check()).await?;
        let fetched = Lanes::new(self, order, Arc::clone(file)).run().await?;
        let (file, now) = (Arc::clone(file), self.clock.now());
        blocking(move || {
            if !file.is_full() {
                file.sync(now)?;
            }
            file.finish()
        })
        .await?;
        Ok(fetched)
    }

    /// Stays in the swarm of a blob that is had, so that others are sent here. Ends only by being dropped.
    pub async fn linger(&self, order: &FetchOrder, file: &BlobFile) {
        let mut joining = Some(order.joining(&file.had(), Vec::new()));
        loop {
            let (mut known, mut next) = (false, NextRequest::new(order.blob));
            next.joining = joining.take();
            next.wait_ms = u32::try_from(POLL.as_millis()).unwrap_or(0);
            let token = order.token.borrow().clone();
            for scheduler in &order.schedulers {
                if let Ok(answer) = self.client.next(scheduler, &next, &token).await {
                    known = answer.known;
                    break;
                }
            }
            if !known {
                joining = Some(order.joining(&file.had(), Vec::new()));
                self.clock.sleep_until(self.clock.now().after(AGAIN_AFTER)).await;
            }
        }
    }
}

pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, BlobFileError> + Send + 'static,
) -> Result<T, BlobFileError> {
    match spawn_blocking(work).await {
        Ok(done) => done,
        Err(lost) => {
            let source = std::io::Error::other(lost);
            Err(BlobFileError::Io { path: PathBuf::new(), source })
        }
    }
}
