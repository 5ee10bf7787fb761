//! One blob being fetched: blocks under way, one request that waits for the next ones, and one that reports those that came.
//!
//! What came is reported at once, and never behind the request that waits: it is what others wait for.
use super::{
    Endpoint, FailedBlock, FetchError, FetchOrder, Fetched, Fetcher, LinkError, NextAnswer,
    NextRequest,
    alone::{DIRECT, FIRST_AGAIN_AFTER},
    client::BlockAsk,
    fetch::{AGAIN_AFTER, POLL},
    keep::{Came, keep},
    pace::Pace,
};
use crate::{
    block::BlobFile,
    schedule::{Dice, Failure},
};
use deploy_core::{id::HostName, time::Timestamp};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    mem,
    sync::Arc,
    time::Duration,
};
use tokio::{
    select,
    task::{AbortHandle, JoinSet},
};

/// How much of a blob may be under way to a host: it is in memory until it was checked.
const MOST_UNDER_WAY: u64 = 24 << 20;
/// How many blocks may be under way: at least, so that a link is never idle, and at most.
const AHEAD: (u64, u64) = (2, 16);
/// How much may be under way where a limit of ours holds, in milliseconds of it: enough that nobody is waited for. A block lies in the buffers of
/// its connection as soon as it is asked for, so more at a time come in bursts; and whoever gives them does not wait for ever.
const SLOWED_MS: u64 = 300;
/// How many blocks are taken of one answer, and how many may wait until others have come: more than a scheduler that knows its
/// business gives to two requests at once.
const MOST_GIVEN: usize = 64;
/// After so many tries in vain, and nothing that came, the scheduler is taken for one that cannot help.
pub(super) const IN_VAIN: u32 = 4;

/// Something that was under way has ended.
pub(super) enum Landed {
    Block {
        number: u32,
        from: Endpoint,
        came: Came,
        took: Duration,
    },
    Answer {
        lane: Lane,
        scheduler: usize,
        answer: Result<NextAnswer, LinkError>,
    },
    /// Whether the first scheduler answers again.
    First {
        answers: bool,
    },
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Lane {
    Poll,
    Report,
}

/// What a scheduler has not been told yet.
#[derive(Clone, Default)]
pub(super) struct Report {
    done: Vec<u32>,
    failed: Vec<FailedBlock>,
}

pub(super) struct Lanes<'a> {
    pub(super) fetcher: &'a Fetcher,
    pub(super) order: &'a FetchOrder,
    pub(super) file: Arc<BlobFile>,
    pub(super) under_way: BTreeMap<u32, (Endpoint, AbortHandle)>,
    /// Where to go once there is room.
    queued: VecDeque<(u32, Endpoint)>,
    pub(super) tasks: JoinSet<Landed>,
    report: Report,
    /// The requests to the scheduler that are under way.
    polling: Option<AbortHandle>,
    reporting: Option<AbortHandle>,
    /// Whether the scheduler that is asked knows this host.
    pub(super) joined: bool,
    /// The one that is asked, by its place in the order; `None` while none answers.
    pub(super) scheduler: Option<usize>,
    /// When it is looked whether the first one answers again, where another is asked; `None` while that is being looked.
    pub(super) first_again_at: Option<Timestamp>,
    /// Whether none has answered since the last one did not.
    alone: bool,
    /// When those that could not be reached are tried again.
    pub(super) scheduler_again_at: Timestamp,
    pub(super) seeds_again_at: Timestamp,
    /// The seed that is asked where no scheduler is.
    pub(super) seed: usize,
    /// When something came last, or it was looked why nothing does.
    pub(super) moved_at: Timestamp,
    /// How many have given nothing since.
    pub(super) in_vain: u32,
    pub(super) banned: BTreeSet<HostName>,
    pace: Pace,
    pub(super) dice: Dice,
    pub(super) fetched: Fetched,
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
            queued: VecDeque::new(),
            tasks: JoinSet::new(),
            report: Report::default(),
            polling: None,
            reporting: None,
            joined: false,
            scheduler: (!order.schedulers.is_empty()).then_some(0),
            first_again_at: Some(now),
            alone: order.schedulers.is_empty(),
            scheduler_again_at: now,
            seeds_again_at: now,
            seed: 0,
            moved_at: now,
            in_vain: 0,
            banned: BTreeSet::new(),
            pace: Pace::default(),
            dice: Dice::new(seed_of(&order.address, now)),
            fetched: Fetched { kept: sizes.sum(), ..Fetched::default() },
            file,
        }
    }

    pub(super) async fn run(mut self) -> Result<Fetched, FetchError> {
        self.tell_progress();
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
        while self.room() > 0
            && let Some((number, from)) = self.queued.pop_front()
        {
            self.take_up(number, from);
        }
        if self.alone {
            self.help_yourself(DIRECT);
        }
        if self.scheduler.is_none() {
            return;
        }
        self.look_for_first();
        if !self.joined {
            if self.polling.is_none() && self.reporting.is_none() {
                self.ask(Lane::Report);
            }
            return;
        }
        let has_news = !self.report.done.is_empty() || !self.report.failed.is_empty();
        if has_news && self.reporting.is_none() {
            self.ask(Lane::Report);
        }
        if self.polling.is_none() && self.want() > 0 {
            self.ask(Lane::Poll);
        }
    }

    fn ask(&mut self, lane: Lane) {
        let Some(at) = self.scheduler else { return };
        let Some(scheduler) = self.order.schedulers.get(at).cloned() else { return };
        let mut next = NextRequest::new(self.order.blob);
        if !self.joined {
            // All that is to be reported follows from what is had and under way now.
            self.report = Report::default();
            let queued = self.queued.iter().map(|it| it.0);
            let under_way = self.under_way.keys().copied().chain(queued).collect();
            next.joining = Some(self.order.joining(&self.file.had(), under_way));
        }
        let sent = mem::take(&mut self.report);
        (next.done, next.failed) = (sent.done, sent.failed);
        next.want = self.want();
        let wait = if lane == Lane::Poll { POLL } else { Duration::ZERO };
        next.wait_ms = u32::try_from(wait.as_millis()).unwrap_or(0);
        let (client, token) = (Arc::clone(&self.fetcher.client), self.token());
        let asking = self.tasks.spawn(async move {
            let answer = client.next(&scheduler, &next, &token).await;
            Landed::Answer { lane, scheduler: at, answer }
        });
        match lane {
            Lane::Poll => self.polling = Some(asking),
            Lane::Report => self.reporting = Some(asking),
        }
    }

    fn landed(&mut self, landed: Landed) -> Result<(), FetchError> {
        match landed {
            // One that is asked no longer had answered before it was left.
            Landed::Answer { scheduler, .. } if self.scheduler != Some(scheduler) => Ok(()),
            Landed::Answer { lane, scheduler, answer } => {
                match lane {
                    Lane::Poll => self.polling = None,
                    Lane::Report => self.reporting = None,
                }
                self.answered(scheduler, answer);
                Ok(())
            }
            Landed::First { answers } => {
                self.looked_for_first(answers);
                Ok(())
            }
            Landed::Block { number, from, came, took } => {
                self.under_way.remove(&number);
                self.came(number, from, came, took)
            }
        }
    }

    fn answered(&mut self, at: usize, answer: Result<NextAnswer, LinkError>) {
        match answer {
            Ok(NextAnswer { known: true, get }) => {
                (self.joined, self.alone) = (true, false);
                for given in get.into_iter().take(MOST_GIVEN) {
                    self.take_up(given.block, self.order.as_known(given.source));
                }
            }
            // It was started anew, or has not heard of this host for too long: what it was told it hears again by the joining.
            Ok(NextAnswer { known: false, .. }) => self.joined = false,
            Err(_) => {
                let next = at + 1;
                self.turn_to((next < self.order.schedulers.len()).then_some(next));
                self.first_again_at = Some(self.now().after(FIRST_AGAIN_AFTER));
                if self.scheduler.is_none() {
                    self.alone = true;
                    self.scheduler_again_at = self.now().after(AGAIN_AFTER);
                }
            }
        }
    }

    /// Asks that scheduler from now on, and hears nothing more of the one before. What is to be told of follows from what is had.
    pub(super) fn turn_to(&mut self, scheduler: Option<usize>) {
        (self.scheduler, self.joined) = (scheduler, false);
        for asking in [self.polling.take(), self.reporting.take()].into_iter().flatten() {
            asking.abort();
        }
    }

    /// Goes where a scheduler said, at once or when there is room: what it says takes no more memory than this host gives.
    fn take_up(&mut self, number: u32, from: Endpoint) {
        let is_queued = self.queued.iter().any(|it| it.0 == number);
        if self.file.has(number) {
            self.done(number);
        } else if self.banned.contains(&from.name) {
            self.not_had(number, from.name, Failure::Corrupt);
        } else if self.under_way.contains_key(&number) || is_queued {
        } else if self.room() > 0 {
            self.send_for(number, from, true);
        } else if self.queued.len() < MOST_GIVEN {
            self.queued.push_back((number, from));
        }
    }

    /// What others wait for; where no scheduler is, nobody.
    fn done(&mut self, number: u32) {
        if self.scheduler.is_some() {
            self.report.done.push(number);
        }
    }

    fn not_had(&mut self, number: u32, source: HostName, why: Failure) {
        if self.scheduler.is_some() {
            self.report.failed.push(FailedBlock::new(number, source, why));
        }
    }

    pub(super) fn send_for(&mut self, number: u32, from: Endpoint, assigned: bool) {
        let Some(block) = self.order.blob.block(number) else { return };
        let (client, clock) = (Arc::clone(&self.fetcher.client), Arc::clone(&self.fetcher.clock));
        let gauge = self.fetcher.limits.gauge(self.order.blob, &from.name);
        let gauge = gauge.and(self.order.throttle.clone());
        let (file, token) = (Arc::clone(&self.file), self.token());
        let (stall, within) = (self.pace.stall(), self.pace.within());
        let (blob, source) = (self.order.blob, from.clone());
        let task = self.tasks.spawn(async move {
            let began = clock.now();
            let ask = BlockAsk { blob, block, token: &token, assigned, stall, within, gauge };
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
                (self.moved_at, self.in_vain) = (self.now(), 0);
                self.pace.came_in(took);
                *self.fetched.bytes.entry(name).or_default() += bytes;
                self.tell_progress();
                self.done(number);
            }
            Came::Late => self.done(number),
            Came::Wrong(bytes) => {
                *self.fetched.wrong.entry(name.clone()).or_default() += bytes;
                self.not_had(number, name.clone(), Failure::Corrupt);
                self.ban(&name);
            }
            Came::Not(why) => {
                self.in_vain = self.in_vain.saturating_add(1);
                if self.alone || self.seed_asked().is_some_and(|it| it.name == name) {
                    self.try_another_seed();
                }
                if why == Failure::Stalled {
                    self.pace.was_late(took, self.now());
                }
                self.not_had(number, name, why);
            }
            Came::Broken(err) => return Err(err.into()),
        }
        Ok(())
    }

    fn tell_progress(&self) {
        self.order.progress.send_modify(|it| it.clone_from(&self.fetched));
    }

    /// Whoever served what was wrong is not asked again, and what is under way from it is given up.
    fn ban(&mut self, name: &HostName) {
        let others = self.under_way.iter().filter(|(_, (from, _))| from.name == *name);
        for number in others.map(|it| *it.0).collect::<Vec<_>>() {
            if let Some((_, task)) = self.under_way.remove(&number) {
                task.abort();
                self.not_had(number, name.clone(), Failure::Busy);
            }
        }
        self.banned.insert(name.clone());
        self.leave_liar();
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

    /// How many blocks may be under way.
    fn ahead(&self) -> usize {
        let (least, most) = AHEAD;
        let block = self.order.blob.block_size();
        let ahead = (MOST_UNDER_WAY / block).clamp(least, most);
        let own = self.order.throttle.as_ref().and_then(|it| it.rate());
        let rate = self.fetcher.limits.rate_of(self.order.blob);
        let slowed = rate
            .into_iter()
            .chain(own)
            .min()
            .map_or(most, |it| (it.get().saturating_mul(SLOWED_MS) / 1_000 / block).max(1));
        usize::try_from(ahead.min(slowed)).unwrap_or(1)
    }

    pub(super) fn room(&self) -> usize {
        self.ahead().saturating_sub(self.under_way.len())
    }

    fn want(&self) -> u16 {
        u16::try_from(self.room().saturating_sub(self.queued.len())).unwrap_or(0)
    }

    pub(super) fn token(&self) -> String {
        self.order.token.borrow().clone()
    }

    pub(super) fn now(&self) -> Timestamp {
        self.fetcher.clock.now()
    }
}

/// Two hosts have two addresses, and one host two times.
fn seed_of(address: &str, now: Timestamp) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = *blake3::hash(address.as_bytes()).as_bytes();
    u64::from_le_bytes([a, b, c, d, e, f, g, h]) ^ now.as_millis()
}
