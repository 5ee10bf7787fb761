//! One blob being fetched: blocks under way, one request that waits for the next ones, and one that reports those that came.
//!
//! What came is reported at once, and never behind the request that waits: it is what others wait for.
use super::{
    Endpoint, FailedBlock, FetchError, FetchOrder, Fetched, Fetcher, LinkError, NextAnswer,
    NextRequest,
    client::BlockAsk,
    fetch::{AGAIN_AFTER, POLL},
};
use crate::{
    block::{BlobFile, BlobFileError},
    schedule::Failure,
};
use deploy_core::{id::HostName, time::Timestamp};
use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
    sync::Arc,
    time::Duration,
};
use tokio::{
    select,
    task::{AbortHandle, JoinSet, spawn_blocking},
};

/// How much of a blob may be under way to a host: it is in memory until it was checked.
const MOST_UNDER_WAY: u64 = 24 << 20;
/// How many blocks may be under way: at least, so that a link is never idle, and at most.
const AHEAD: (u64, u64) = (2, 16);
/// How many are asked of seeds at once where no scheduler is.
const DIRECT: usize = 4;
/// A source is given up when nothing comes for four times as long as a block usually takes, and for no less than this.
const STALL: Duration = Duration::from_secs(2);
/// The same while nobody knows what is usual.
const FIRST_STALL: Duration = Duration::from_secs(10);
/// Who is in a swarm and is sent nowhere for so long helps itself.
const STARVED_AFTER: Duration = Duration::from_secs(5);

/// Something that was under way has ended.
enum Landed {
    Block { number: u32, from: Endpoint, came: Came, took: Duration },
    Answer { lane: Lane, scheduler: usize, answer: Result<NextAnswer, LinkError>, sent: Report },
}

/// What came of a block.
enum Came {
    Right(u64),
    Wrong(u64),
    Not(Failure),
    Broken(BlobFileError),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Lane {
    Poll,
    Report,
}

/// What a scheduler has not been told yet.
#[derive(Clone, Default)]
struct Report {
    done: Vec<u32>,
    failed: Vec<FailedBlock>,
}

pub(super) struct Lanes<'a> {
    fetcher: &'a Fetcher,
    order: &'a FetchOrder,
    file: Arc<BlobFile>,
    under_way: BTreeMap<u32, (Endpoint, AbortHandle)>,
    tasks: JoinSet<Landed>,
    report: Report,
    polling: bool,
    reporting: bool,
    /// Whether the scheduler that is asked knows this host.
    joined: bool,
    /// The one that is asked, by its place in the order; `None` while none answers.
    scheduler: Option<usize>,
    /// Whether none has answered since the last one did not.
    alone: bool,
    /// When those that could not be reached are tried again.
    scheduler_again_at: Timestamp,
    seeds_again_at: Timestamp,
    /// The seed that is asked where no scheduler is.
    seed: usize,
    /// When something came last, or somebody was sent for.
    moved_at: Timestamp,
    banned: BTreeSet<HostName>,
    usual: Option<Duration>,
    fetched: Fetched,
}

impl<'a> Lanes<'a> {
    pub(super) fn new(fetcher: &'a Fetcher, order: &'a FetchOrder, file: Arc<BlobFile>) -> Self {
        let now = fetcher.clock.now();
        let had = file.had();
        let sizes = had.iter().filter_map(|it| order.blob.block(it)).map(|it| it.length.get());
        Self {
            fetcher,
            order,
            under_way: BTreeMap::new(),
            tasks: JoinSet::new(),
            report: Report::default(),
            polling: false,
            reporting: false,
            joined: false,
            scheduler: (!order.schedulers.is_empty()).then_some(0),
            alone: order.schedulers.is_empty(),
            scheduler_again_at: now,
            seeds_again_at: now,
            seed: 0,
            moved_at: now,
            banned: BTreeSet::new(),
            usual: None,
            fetched: Fetched { kept: sizes.sum(), ..Fetched::default() },
            file,
        }
    }

    pub(super) async fn run(mut self) -> Result<Fetched, FetchError> {
        // What is under way once all of it is had is had as well, and has only to be counted.
        while !self.file.is_full() || !self.under_way.is_empty() {
            self.start();
            let wake_at = self.wake_at();
            let clock = &self.fetcher.clock;
            select! {
                biased;
                Some(landed) = self.tasks.join_next() => {
                    // A task that was aborted has been accounted for.
                    if let Ok(landed) = landed {
                        self.landed(landed)?;
                    }
                }
                () = clock.sleep_until(wake_at) => self.wake(),
            }
        }
        self.say_goodbye().await;
        Ok(self.fetched)
    }

    /// Starts whatever may be under way and is not.
    fn start(&mut self) {
        if self.alone {
            self.help_yourself(DIRECT);
        }
        if self.scheduler.is_none() {
            return;
        }
        if !self.joined {
            if !self.polling && !self.reporting {
                self.ask(Lane::Report);
            }
            return;
        }
        let has_news = !self.report.done.is_empty() || !self.report.failed.is_empty();
        if has_news && !self.reporting {
            self.ask(Lane::Report);
        }
        if !self.polling && self.want() > 0 {
            self.ask(Lane::Poll);
        }
    }

    fn ask(&mut self, lane: Lane) {
        let Some(at) = self.scheduler else { return };
        let Some(scheduler) = self.order.schedulers.get(at).cloned() else { return };
        let mut next = NextRequest::new(self.order.blob);
        if !self.joined {
            let under_way = self.under_way.keys().copied().collect();
            next.joining = Some(self.order.joining(&self.file.had(), under_way));
        }
        let sent = mem::take(&mut self.report);
        (next.done, next.failed) = (sent.done.clone(), sent.failed.clone());
        next.want = self.want();
        let wait = if lane == Lane::Poll { POLL } else { Duration::ZERO };
        next.wait_ms = u32::try_from(wait.as_millis()).unwrap_or(0);
        match lane {
            Lane::Poll => self.polling = true,
            Lane::Report => self.reporting = true,
        }
        let (client, token) = (Arc::clone(&self.fetcher.client), self.token());
        self.tasks.spawn(async move {
            let answer = client.next(&scheduler, &next, &token).await;
            Landed::Answer { lane, scheduler: at, answer, sent }
        });
    }

    fn landed(&mut self, landed: Landed) -> Result<(), FetchError> {
        match landed {
            Landed::Answer { lane, scheduler, answer, sent } => {
                match lane {
                    Lane::Poll => self.polling = false,
                    Lane::Report => self.reporting = false,
                }
                self.answered(scheduler, answer, sent);
                Ok(())
            }
            Landed::Block { number, from, came, took } => {
                self.under_way.remove(&number);
                self.came(number, from, came, took)
            }
        }
    }

    fn answered(&mut self, at: usize, answer: Result<NextAnswer, LinkError>, sent: Report) {
        match answer {
            Ok(NextAnswer { known: true, get }) => {
                (self.joined, self.alone) = (true, false);
                for given in get {
                    self.take_up(given.block, given.source);
                }
            }
            // It was started anew, or has not heard of this host for too long: what it was told it hears again by the joining.
            Ok(NextAnswer { known: false, .. }) => self.joined = false,
            Err(_) if self.scheduler == Some(at) => {
                self.report.failed.extend(sent.failed);
                self.joined = false;
                let next = at + 1;
                self.scheduler = (next < self.order.schedulers.len()).then_some(next);
                if self.scheduler.is_none() {
                    self.alone = true;
                    self.scheduler_again_at = self.now().after(AGAIN_AFTER);
                }
            }
            Err(_) => {}
        }
    }

    /// Goes where a scheduler said.
    fn take_up(&mut self, number: u32, from: Endpoint) {
        if self.file.has(number) {
            self.report.done.push(number);
        } else if self.banned.contains(&from.name) {
            self.report.failed.push(FailedBlock::new(number, from.name, Failure::Corrupt));
        } else if !self.under_way.contains_key(&number) {
            self.send_for(number, from, true);
        }
    }

    fn send_for(&mut self, number: u32, from: Endpoint, assigned: bool) {
        let Some(block) = self.order.blob.block(number) else { return };
        self.moved_at = self.now();
        let (client, clock) = (Arc::clone(&self.fetcher.client), Arc::clone(&self.fetcher.clock));
        let gauge = self.fetcher.limits.gauge(self.order.blob, &from.name);
        let (file, token, stall) = (Arc::clone(&self.file), self.token(), self.stall());
        let (blob, source) = (self.order.blob, from.clone());
        let task = self.tasks.spawn(async move {
            let began = clock.now();
            let ask = BlockAsk { blob, block, token: &token, assigned, stall, gauge };
            let came = match client.block(&from, &ask).await {
                Ok(bytes) => keep(file, number, bytes, clock.now()).await,
                Err(err) => Came::Not(err.failure()),
            };
            Landed::Block { number, from, came, took: clock.now().since(began) }
        });
        self.under_way.insert(number, (source, task));
    }

    fn came(
        &mut self,
        number: u32,
        from: Endpoint,
        came: Came,
        took: Duration,
    ) -> Result<(), FetchError> {
        let name = from.name;
        match came {
            Came::Right(bytes) => {
                self.moved_at = self.now();
                self.usual = Some(self.usual.map_or(took, |it| (it * 7 + took) / 8));
                *self.fetched.bytes.entry(name).or_default() += bytes;
                self.report.done.push(number);
            }
            Came::Wrong(bytes) => {
                *self.fetched.wrong.entry(name.clone()).or_default() += bytes;
                self.report.failed.push(FailedBlock::new(number, name.clone(), Failure::Corrupt));
                self.ban(&name);
            }
            Came::Not(why) => {
                if self.alone {
                    self.try_another_seed();
                }
                self.report.failed.push(FailedBlock::new(number, name, why));
            }
            Came::Broken(err) => return Err(err.into()),
        }
        Ok(())
    }

    /// Whoever served what was wrong is not asked again, and what is under way from it is given up.
    fn ban(&mut self, name: &HostName) {
        let others = self.under_way.iter().filter(|(_, (from, _))| from.name == *name);
        for number in others.map(|it| *it.0).collect::<Vec<_>>() {
            if let Some((_, task)) = self.under_way.remove(&number) {
                task.abort();
                self.report.failed.push(FailedBlock::new(number, name.clone(), Failure::Busy));
            }
        }
        self.banned.insert(name.clone());
    }

    /// Fetches from a seed, at most so many at a time: slower, and never blocked.
    fn help_yourself(&mut self, most: usize) {
        let seeds = self.order.seeds.iter().filter(|it| !self.banned.contains(&it.name));
        let seeds: Vec<_> = seeds.collect();
        let Some(from) = seeds.get(self.seed).copied().or_else(|| seeds.first().copied()) else {
            return;
        };
        let room = most.saturating_sub(self.under_way.len());
        if room == 0 || self.now() < self.seeds_again_at {
            return;
        }
        let had = self.file.had();
        let missing = had.missing().filter(|it| !self.under_way.contains_key(it));
        for number in missing.take(room).collect::<Vec<_>>() {
            self.fetched.unscheduled += 1;
            self.send_for(number, from.clone(), false);
        }
    }

    /// After the last one all are tried again, a little later.
    fn try_another_seed(&mut self) {
        self.seed += 1;
        if self.seed >= self.order.seeds.len() {
            self.seed = 0;
            self.seeds_again_at = self.now().after(AGAIN_AFTER);
        }
    }

    fn wake_at(&self) -> Timestamp {
        let starved_at = self.moved_at.after(STARVED_AFTER);
        if self.scheduler.is_some() || self.order.schedulers.is_empty() {
            return starved_at.min(self.seeds_again_at.max(self.now().after(AGAIN_AFTER)));
        }
        starved_at.min(self.scheduler_again_at)
    }

    fn wake(&mut self) {
        let now = self.now();
        let is_time = now >= self.scheduler_again_at && !self.order.schedulers.is_empty();
        if self.scheduler.is_none() && is_time {
            (self.scheduler, self.joined) = (Some(0), false);
        }
        if now.since(self.moved_at) >= STARVED_AFTER {
            self.moved_at = now;
            if self.under_way.is_empty() {
                self.help_yourself(1);
            }
        }
    }

    /// Tells the scheduler of the last blocks, so that others are sent here for them. It is heard or not.
    async fn say_goodbye(&mut self) {
        let scheduler = self.scheduler.and_then(|it| self.order.schedulers.get(it));
        if let Some(scheduler) = scheduler
            && self.joined
        {
            let mut next = NextRequest::new(self.order.blob);
            (next.done, next.failed) =
                (mem::take(&mut self.report.done), mem::take(&mut self.report.failed));
            let _heard = self.fetcher.client.next(scheduler, &next, &self.token()).await;
        }
    }

    fn want(&self) -> u16 {
        let (least, most) = AHEAD;
        let ahead = (MOST_UNDER_WAY / self.order.blob.block_size()).clamp(least, most);
        u16::try_from(ahead)
            .unwrap_or(0)
            .saturating_sub(u16::try_from(self.under_way.len()).unwrap_or(u16::MAX))
    }

    fn stall(&self) -> Duration {
        self.usual.map_or(FIRST_STALL, |it| (it * 4).max(STALL))
    }

    fn token(&self) -> String {
        self.order.token.borrow().clone()
    }

    fn now(&self) -> Timestamp {
        self.fetcher.clock.now()
    }
}

/// Checks a block and writes it, away from what else goes on.
async fn keep(file: Arc<BlobFile>, number: u32, bytes: Vec<u8>, now: Timestamp) -> Came {
    let length = bytes.len() as u64;
    let kept = spawn_blocking(move || file.put(number, &bytes, now)).await;
    match kept {
        Ok(Ok(_new)) => Came::Right(length),
        Ok(Err(BlobFileError::WrongBlock { .. })) => Came::Wrong(length),
        Ok(Err(err)) => Came::Broken(err),
        Err(_lost) => Came::Not(Failure::Stalled),
    }
}
