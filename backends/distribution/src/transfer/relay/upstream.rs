//! Where a relay has blocks from.
use super::{Pass, Passes};
use crate::{
    block::{Blob, BlobFile, BlobFileError, BlockRange, Outboard},
    transfer::{Client, Endpoint, Limits, LinkError, SourceError, client::BlockAsk},
};
use deploy_core::{backend::Clock, id::HostName, telemetry::TARGET_BACKEND, time::Timestamp};
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{sync::Semaphore, task::spawn_blocking};

/// How long nothing may come from whoever a relay gets blocks from.
const STALL: Duration = Duration::from_secs(10);
/// And how long a block may take, however slowly something comes: 4 MiB at half a megabit a second.
const WITHIN: Duration = Duration::from_secs(60);
/// How many blocks come at a time: each is in memory until it was checked.
const MOST_PULLS: usize = 8;
/// Who cannot be reached is not asked for so long, where there is somebody else.
const REST: Duration = Duration::from_secs(10);
/// And for so long where there is nobody else.
const SHORT_REST: Duration = Duration::from_secs(1);
/// Who gave what was wrong.
const LONG_REST: Duration = Duration::from_secs(600);
/// How long it is remembered that there is no pass.
const REFUSED_FOR: Duration = Duration::from_secs(2);
/// How many passes are kept: those that have ended go first.
const MOST_PASSES: usize = 1_024;

/// What is known of the pass for a blob; whoever has it locked asks.
type Desk = Arc<tokio::sync::Mutex<Held>>;

#[derive(Debug, Default)]
struct Held {
    pass: Option<Pass>,
    /// Why there is none.
    refused: Option<SourceError>,
    /// When it is to be asked for again.
    again_at: Option<Timestamp>,
}

impl Held {
    /// Takes in what came of asking for a pass.
    fn take(&mut self, asked: Result<Pass, SourceError>, now: Timestamp) {
        match asked {
            Ok(pass) => {
                self.again_at = Some(now.after(pass.until.since(now) / 2));
                (self.pass, self.refused) = (Some(pass), None);
            }
            Err(why) => {
                self.again_at = Some(now.after(REFUSED_FOR));
                self.refused = Some(why);
            }
        }
    }
}

#[derive(Debug)]
pub(super) struct Upstream {
    passes: Arc<dyn Passes>,
    client: Arc<Client>,
    limits: Arc<Limits>,
    clock: Arc<dyn Clock>,
    desks: Mutex<BTreeMap<Blob, Desk>>,
    /// Until when somebody is not asked.
    resting: Mutex<BTreeMap<HostName, Timestamp>>,
    pulls: Semaphore,
    pulled: AtomicU64,
}

impl Upstream {
    pub(super) fn new(
        passes: Arc<dyn Passes>,
        client: Arc<Client>,
        limits: Arc<Limits>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let (desks, resting) = (Mutex::default(), Mutex::default());
        let (pulls, pulled) = (Semaphore::new(MOST_PULLS), AtomicU64::new(0));
        Self { passes, client, limits, clock, desks, resting, pulls, pulled }
    }

    pub(super) fn pulled(&self) -> u64 {
        self.pulled.load(Ordering::Relaxed)
    }

    pub(super) async fn outboard(&self, blob: Blob) -> Result<Outboard, SourceError> {
        let pass = self.pass(blob).await?;
        let mut last = None;
        for from in self.awake(&pass) {
            match self.client.outboard(from, blob, &pass.token).await {
                Ok(outboard) => return Ok(outboard),
                Err(err) => last = Some(self.failed(&pass, err)),
            }
        }
        Err(nobody(last))
    }

    /// Gets a block and keeps it in `file`.
    pub(super) async fn pull(
        &self,
        file: &Arc<BlobFile>,
        block: BlockRange,
        now: Timestamp,
    ) -> Result<(), SourceError> {
        let _place = self.pulls.acquire().await.map_err(|_closed| SourceError::Missing)?;
        // Not before: a pass may end while others are waited for.
        let pass = self.pass(file.blob()).await?;
        let mut last = None;
        for from in self.awake(&pass) {
            let bytes = match self.block(from, &pass, file.blob(), block).await {
                Ok(bytes) => bytes,
                Err(err) => {
                    last = Some(self.failed(&pass, err));
                    continue;
                }
            };
            let (file, length) = (Arc::clone(file), bytes.len() as u64);
            let put = spawn_blocking(move || file.put(block.number, &bytes, now)).await;
            match put.map_err(|lost| SourceError::Failed(lost.to_string()))? {
                Ok(_new) => {
                    self.pulled.fetch_add(length, Ordering::Relaxed);
                    return Ok(());
                }
                Err(BlobFileError::WrongBlock { .. }) => {
                    let wrong = LinkError::Wrong { to: from.clone() };
                    last = Some(self.failed(&pass, wrong));
                }
                Err(err) => return Err(SourceError::Failed(err.to_string())),
            }
        }
        Err(nobody(last))
    }

    async fn block(
        &self,
        from: &Endpoint,
        pass: &Pass,
        blob: Blob,
        block: BlockRange,
    ) -> Result<Vec<u8>, LinkError> {
        let gauge = self.limits.gauge(blob, &from.name);
        let ask = BlockAsk {
            blob,
            block,
            token: &pass.token,
            assigned: false,
            stall: STALL,
            within: WITHIN,
            gauge,
        };
        self.client.block(from, &ask).await
    }

    /// The pass for a blob. One that is good yet is used while the next one is asked for: whoever gives them may be away for long.
    async fn pass(&self, blob: Blob) -> Result<Pass, SourceError> {
        let desk = self.desk(blob);
        let mut held = desk.lock().await;
        let now = self.clock.now();
        let is_due = held.again_at.is_none_or(|it| it <= now);
        if let Some(pass) = held.pass.clone().filter(|it| it.until > now) {
            if is_due {
                held.again_at = Some(now.after(REFUSED_FOR));
                let (passes, clock) = (Arc::clone(&self.passes), Arc::clone(&self.clock));
                let desk = Arc::clone(&desk);
                tokio::spawn(async move {
                    let asked = passes.pass(blob).await;
                    desk.lock().await.take(asked, clock.now());
                });
            }
            return Ok(pass);
        }
        if is_due {
            let asked = self.passes.pass(blob).await;
            held.take(asked, self.clock.now());
        }
        let good = held.pass.clone().filter(|it| it.until > now);
        good.ok_or_else(|| held.refused.clone().unwrap_or(SourceError::Missing))
    }

    fn desk(&self, blob: Blob) -> Desk {
        let mut desks = self.desks.lock().unwrap_or_else(PoisonError::into_inner);
        if desks.len() >= MOST_PASSES && !desks.contains_key(&blob) {
            let now = self.clock.now();
            let is_good = |it: &Held| it.pass.as_ref().is_some_and(|it| it.until > now);
            desks.retain(|_, it| it.try_lock().map_or(true, |it| is_good(&it)));
            while desks.len() >= MOST_PASSES {
                desks.pop_first();
            }
        }
        Arc::clone(desks.entry(blob).or_default())
    }

    /// Those of a pass that are asked now.
    fn awake<'a>(&self, pass: &'a Pass) -> impl Iterator<Item = &'a Endpoint> {
        let now = self.clock.now();
        let resting: Vec<HostName> = {
            let mut resting = self.resting();
            resting.retain(|_, until| *until > now);
            resting.keys().cloned().collect()
        };
        pass.from.iter().filter(move |it| !resting.contains(&it.name))
    }

    /// What cannot be reached, or lies, is left alone for a while.
    fn failed(&self, pass: &Pass, err: LinkError) -> LinkError {
        let last = pass.from.last().map(|it| &it.name);
        let rest = |to: &Endpoint| if last == Some(&to.name) { SHORT_REST } else { REST };
        let (to, rest) = match &err {
            LinkError::Unreachable { to, .. }
            | LinkError::SomebodyElse { to }
            | LinkError::Stalled { to, .. }
            | LinkError::TooSlow { to, .. } => (to, rest(to)),
            LinkError::Wrong { to } => {
                tracing::warn!(target: TARGET_BACKEND, source = %to.name, "whoever blocks come from gave a wrong one");
                // The only one that is left has to be asked again, whatever it gave.
                (to, if last == Some(&to.name) { SHORT_REST } else { LONG_REST })
            }
            LinkError::Refused { .. } => return err,
        };
        self.resting().insert(to.name.clone(), self.clock.now().after(rest));
        err
    }

    fn resting(&self) -> MutexGuard<'_, BTreeMap<HostName, Timestamp>> {
        self.resting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn nobody(last: Option<LinkError>) -> SourceError {
    let why =
        last.map_or_else(|| "nobody has it who can be reached".to_owned(), |it| it.to_string());
    SourceError::Failed(why)
}
