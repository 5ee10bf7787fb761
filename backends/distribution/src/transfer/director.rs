//! The scheduler as others reach it: one swarm a blob, and hosts that wait to be sent somewhere.
use super::wire::{Endpoint, GivenBlock, Joining, NextAnswer, NextRequest};
use crate::{
    block::{Bits, Blob},
    schedule::{Assignment, Event, Newcomer, Policy, Role, Seat, Swarm},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use deploy_core::{backend::Clock, id::HostName, telemetry::TARGET_BACKEND, time::Timestamp};
use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{select, sync::Notify};

/// How many blobs are scheduled at a time. A swarm that nobody is in any more makes room for another.
const MOST_SWARMS: usize = 256;
/// How long anybody may wait for the next block in one request.
const LONGEST_WAIT: Duration = Duration::from_secs(20);

/// Sends hosts to each other. All it knows it has from them: after a restart it knows everything again after one round.
pub struct Director {
    seeds: Vec<Endpoint>,
    slots: u16,
    policy: Policy,
    seed: u64,
    clock: Arc<dyn Clock>,
    swarms: Mutex<BTreeMap<Blob, Arc<Mutex<Room>>>>,
}

impl fmt::Debug for Director {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Director").field("seeds", &self.seeds).finish_non_exhaustive()
    }
}

/// One swarm, and what is to be said to those in it.
struct Room {
    swarm: Swarm,
    addresses: BTreeMap<Seat, String>,
    outboxes: BTreeMap<Seat, Outbox>,
}

#[derive(Default)]
struct Outbox {
    given: Vec<Assignment>,
    filled: Arc<Notify>,
}

impl Director {
    /// For hosts that have these seeds, which give blocks to so many hosts at a time. What it chooses it chooses by `seed`.
    #[must_use]
    pub fn new(
        seeds: Vec<Endpoint>,
        slots: u16,
        policy: Policy,
        seed: u64,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { seeds, slots, policy, seed, clock, swarms: Mutex::default() }
    }

    /// Takes in what `host` says, and tells it what to fetch: at once if there is something, or else as soon as there is.
    pub async fn next(&self, host: &HostName, request: NextRequest) -> NextAnswer {
        if self.seeds.iter().any(|it| it.name == *host) {
            return NextAnswer::default();
        }
        let room = self.room(request.blob);
        let wait = Duration::from_millis(request.wait_ms.into()).min(LONGEST_WAIT);
        let until = self.clock.now().after(wait);
        let Some((seat, filled)) = lock(&room).take_in(host, request, self.clock.now()) else {
            return NextAnswer::default();
        };
        loop {
            let now = self.clock.now();
            let wake_at = {
                let mut room = lock(&room);
                let answer = room.answer(seat, now);
                if !answer.get.is_empty() || now >= until {
                    return answer;
                }
                room.swarm.wake_at()
            };
            let wake_at = wake_at.map_or(until, |it| it.min(until));
            select! {
                biased;
                () = filled.notified() => {}
                () = self.clock.sleep_until(wake_at) => {}
            }
        }
    }

    fn room(&self, blob: Blob) -> Arc<Mutex<Room>> {
        let mut swarms = self.swarms.lock().unwrap_or_else(PoisonError::into_inner);
        if swarms.len() >= MOST_SWARMS && !swarms.contains_key(&blob) {
            self.make_room(&mut swarms);
        }
        let room = swarms.entry(blob).or_insert_with(|| Arc::new(Mutex::new(self.open(blob))));
        Arc::clone(room)
    }

    /// Swarms are soft: hosts of one that is closed too early join again.
    fn make_room(&self, swarms: &mut BTreeMap<Blob, Arc<Mutex<Room>>>) {
        let seeds = self.seeds.len();
        swarms.retain(|_, it| Arc::strong_count(it) > 1 || lock(it).swarm.present() > seeds);
        while swarms.len() >= MOST_SWARMS {
            swarms.pop_first();
        }
    }

    fn open(&self, blob: Blob) -> Room {
        let (blocks, now) = (blob.blocks(), self.clock.now());
        let seed = self.seed ^ u64::from(blocks) ^ now.as_millis().rotate_left(32);
        let mut room = Room {
            swarm: Swarm::new(blocks, seed, self.policy.clone()),
            addresses: BTreeMap::new(),
            outboxes: BTreeMap::new(),
        };
        for seed in &self.seeds {
            let newcomer = Newcomer::new(seed.name.clone(), Role::Seed, Bits::all(blocks));
            let seat = room.swarm.join(newcomer.with_slots(self.slots), now);
            room.addresses.insert(seat, seed.address.clone());
        }
        room
    }
}

impl Room {
    /// `None` if the host has to join first.
    fn take_in(
        &mut self,
        host: &HostName,
        request: NextRequest,
        now: Timestamp,
    ) -> Option<(Seat, Arc<Notify>)> {
        let NextRequest { blob, joining, done, failed, want, .. } = request;
        let seat = match joining {
            Some(joining) => self.join(host, blob, joining, now)?,
            None => self.swarm.seat(host)?,
        };
        for it in failed {
            if let Some(source) = self.swarm.seat(&it.source) {
                self.swarm.failed(seat, it.block, source, it.why, now);
            }
        }
        for block in done {
            self.swarm.done(seat, block, now);
        }
        let given = self.swarm.ask(seat, want, now);
        let outbox = self.outboxes.entry(seat).or_default();
        outbox.given.extend(given);
        Some((seat, Arc::clone(&outbox.filled)))
    }

    /// A seed is told here and joins nowhere.
    fn join(
        &mut self,
        host: &HostName,
        blob: Blob,
        joining: Joining,
        now: Timestamp,
    ) -> Option<Seat> {
        let had = STANDARD.decode(&joining.had).ok();
        let had = had.and_then(|it| Bits::from_bytes(blob.blocks(), &it))?;
        let newcomer = Newcomer::new(host.clone(), Role::Host, had)
            .with_zone(joining.zone)
            .with_rack(joining.rack)
            .with_under_way(joining.under_way)
            .with_slots(joining.slots);
        let seat = self.swarm.join(newcomer, now);
        self.addresses.insert(seat, joining.address);
        self.outboxes.remove(&seat);
        Some(seat)
    }

    fn answer(&mut self, seat: Seat, now: Timestamp) -> NextAnswer {
        if self.swarm.wake_at().is_some_and(|it| it <= now) {
            self.swarm.wake(now);
        }
        for (taker, assignment) in self.swarm.take_offers() {
            let outbox = self.outboxes.entry(taker).or_default();
            outbox.given.push(assignment);
            outbox.filled.notify_one();
        }
        self.swarm.take_events().iter().for_each(tell);
        let given = self.outboxes.get_mut(&seat).map(|it| std::mem::take(&mut it.given));
        let get = given.unwrap_or_default().into_iter().filter_map(|it| self.named(it)).collect();
        NextAnswer { known: true, get }
    }

    fn named(&self, assignment: Assignment) -> Option<GivenBlock> {
        let address = self.addresses.get(&assignment.source)?.clone();
        let name = self.swarm.name(assignment.source)?.clone();
        Some(GivenBlock { block: assignment.block, source: Endpoint::new(name, address) })
    }
}

fn lock(room: &Mutex<Room>) -> MutexGuard<'_, Room> {
    room.lock().unwrap_or_else(PoisonError::into_inner)
}

fn tell(event: &Event) {
    match event {
        Event::Accused { source, by, block } => {
            tracing::warn!(
                target: TARGET_BACKEND,
                source = %source, found_by = %by, block,
                "a seed served corrupt data, as a host says"
            );
        }
        Event::Quarantined { source, by, block } => {
            tracing::warn!(
                target: TARGET_BACKEND,
                source = %source, found_by = %by, block,
                "a host served corrupt data"
            );
        }
        Event::Distrusted { host } => {
            tracing::warn!(target: TARGET_BACKEND, host = %host, "a host accuses too many others");
        }
        Event::Lost { host } => {
            tracing::debug!(target: TARGET_BACKEND, host = %host, "a host is gone from a swarm");
        }
    }
}
