//! The scheduler as others reach it: one swarm a blob, and hosts that wait to be sent somewhere.
use super::{
    found::Found,
    wire::{Endpoint, GivenBlock, Joining, NextAnswer, NextRequest, is_address},
};
use crate::{
    block::{Bits, Blob},
    schedule::{Assignment, Newcomer, Policy, Role, Seat, Swarm},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use deploy_core::{backend::Clock, id::HostName, telemetry::TARGET_BACKEND, time::Timestamp};
use std::{
    collections::BTreeMap,
    fmt,
    net::{IpAddr, SocketAddr},
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
    any_address: bool,
    clock: Arc<dyn Clock>,
    found: Arc<Found>,
    swarms: Mutex<BTreeMap<Blob, Arc<Mutex<Room>>>>,
}

impl fmt::Debug for Director {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Director").field("seeds", &self.seeds).finish_non_exhaustive()
    }
}

/// One swarm, and what is to be said to those in it.
struct Room {
    /// When somebody came in last.
    used_at: Timestamp,
    swarm: Swarm,
    any_address: bool,
    addresses: BTreeMap<Seat, String>,
    outboxes: BTreeMap<Seat, Outbox>,
    found: Arc<Found>,
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
        let (found, swarms) = (Arc::default(), Mutex::default());
        Self { seeds, slots, policy, seed, any_address: false, clock, found, swarms }
    }

    /// Sends hosts to each other at whatever `HOST:PORT` these announce.
    ///
    /// Otherwise the address has to be the one that a host connects from, with any port: one that could be chosen would have all
    /// others knock at somebody else's door. That is right wherever hosts and scheduler see each other as they are, as in a data
    /// centre with a relay. Where they do not, for a NAT or a second network lies between them, a host is sent nobody unless this is
    /// said; it gets its blocks all the same. Whatever is there, blocks are taken from a host alone that proves its name.
    #[must_use]
    pub const fn with_any_address(mut self) -> Self {
        self.any_address = true;
        self
    }

    /// How often hosts have found somebody whom they were sent to here to give what is wrong, by who that was. The first of them to find it
    /// out of a host is the last one sent there; a seed is found out by each.
    #[must_use]
    pub fn corrupt(&self) -> BTreeMap<HostName, u64> {
        self.found.all()
    }

    /// Takes in what `host` says, which connects from the address `from`, and tells it what to fetch: at once if there is something, or else as soon as there is.
    pub async fn next(&self, host: &HostName, from: IpAddr, request: NextRequest) -> NextAnswer {
        if self.seeds.iter().any(|it| it.name == *host) {
            return NextAnswer::default();
        }
        let room = self.room(request.blob);
        let wait = Duration::from_millis(request.wait_ms.into()).min(LONGEST_WAIT);
        let until = self.clock.now().after(wait);
        let Some((seat, filled)) = lock(&room).take_in(host, from, request, self.clock.now())
        else {
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
        let now = self.clock.now();
        let mut swarms = self.swarms.lock().unwrap_or_else(PoisonError::into_inner);
        if swarms.len() >= MOST_SWARMS && !swarms.contains_key(&blob) {
            self.make_room(&mut swarms, now);
        }
        let room = swarms.entry(blob).or_insert_with(|| Arc::new(Mutex::new(self.open(blob))));
        lock(room).used_at = now;
        Arc::clone(room)
    }

    /// Closes those that nobody is in any more, and if that is not enough whichever was used the longest time ago. Swarms are soft: hosts
    /// of one that is closed too early join again.
    fn make_room(&self, swarms: &mut BTreeMap<Blob, Arc<Mutex<Room>>>, now: Timestamp) {
        let seeds = self.seeds.len();
        swarms.retain(|_, it| {
            let mut room = lock(it);
            // Nobody who has gone asks, and then nobody else looks who has gone.
            room.swarm.wake(now);
            Arc::strong_count(it) > 1 || room.swarm.present() > seeds
        });
        while swarms.len() >= MOST_SWARMS {
            let oldest = swarms.iter().min_by_key(|it| lock(it.1).used_at).map(|it| *it.0);
            let Some(oldest) = oldest else { return };
            swarms.remove(&oldest);
        }
    }

    fn open(&self, blob: Blob) -> Room {
        let (blocks, now) = (blob.blocks(), self.clock.now());
        let seed = self.seed ^ u64::from(blocks) ^ now.as_millis().rotate_left(32);
        let mut room = Room {
            used_at: now,
            swarm: Swarm::new(blocks, seed, self.policy.clone()),
            any_address: self.any_address,
            addresses: BTreeMap::new(),
            outboxes: BTreeMap::new(),
            found: Arc::clone(&self.found),
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
        from: IpAddr,
        request: NextRequest,
        now: Timestamp,
    ) -> Option<(Seat, Arc<Notify>)> {
        let NextRequest { blob, joining, done, failed, want, .. } = request;
        let seat = match joining {
            Some(joining) => self.join(host, from, blob, joining, now)?,
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

    /// Nobody is sent to a host whose address will not do.
    fn join(
        &mut self,
        host: &HostName,
        from: IpAddr,
        blob: Blob,
        joining: Joining,
        now: Timestamp,
    ) -> Option<Seat> {
        let had = STANDARD.decode(&joining.had).ok();
        let had = had.and_then(|it| Bits::from_bytes(blob.blocks(), &it))?;
        let address = joining.address.as_str();
        let will_do = self.any_address && is_address(address) || is_address_at(address, from);
        let newcomer = Newcomer::new(host.clone(), Role::Host, had)
            .with_zone(joining.zone)
            .with_rack(joining.rack)
            .with_under_way(joining.under_way)
            .with_slots(if will_do { joining.slots } else { 0 });
        let seat = self.swarm.join(newcomer, now);
        let (address, is_new) = (joining.address, !self.addresses.contains_key(&seat));
        if !will_do && is_new {
            tracing::warn!(
                target: TARGET_BACKEND,
                host = %host, from = %from, address = %shown(&address),
                "nobody is sent to a host: it says it is at another address than it connects from"
            );
        }
        self.addresses.insert(seat, if will_do { address } else { String::new() });
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
        self.swarm.take_events().iter().for_each(|it| self.found.tell(it));
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

fn shown(address: &str) -> String {
    address.chars().take(80).flat_map(char::escape_debug).collect()
}

/// Whether somebody who connects from `from` can be at `address`.
fn is_address_at(address: &str, from: IpAddr) -> bool {
    let address = address.parse::<SocketAddr>().ok();
    address.is_some_and(|it| it.port() != 0 && it.ip().to_canonical() == from.to_canonical())
}

fn lock(room: &Mutex<Room>) -> MutexGuard<'_, Room> {
    room.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::BlobId;
    use deploy_core::memory::{SystemClock, TokioClock};

    #[test]
    fn an_address_is_ones_own() {
        let from = |it: &str| it.parse::<IpAddr>().unwrap();
        for (address, at) in
            [("10.0.0.1:7", "10.0.0.1"), ("10.0.0.1:7", "::ffff:10.0.0.1"), ("[::1]:65535", "::1")]
        {
            assert!(is_address_at(address, from(at)), "{address}");
        }
        for address in ["10.0.0.2:7", "10.0.0.1:0", "10.0.0.1", "", "localhost:7", "[::1]:7"] {
            assert!(!is_address_at(address, from("10.0.0.1")), "{address}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn swarms_of_hosts_that_have_gone_make_room_for_others() {
        let clock = TokioClock::at(Timestamp::from_millis(0));
        let seed = Endpoint::new("seed".parse().unwrap(), "10.0.0.9:7".to_owned());
        let director = Director::new(vec![seed], 1, Policy::default(), 1, Arc::new(clock));
        let blob = |it: usize| Blob::new(BlobId::of(&it.to_be_bytes()), 64 << 20).unwrap();
        let ask = async |blob: Blob, joins: bool| {
            let mut next = NextRequest::new(blob);
            let none = Bits::none(blob.blocks());
            next.joining = joins.then(|| Joining::new("10.0.0.1:7".to_owned(), &none, 4));
            let host = "h1".parse().unwrap();
            director.next(&host, "10.0.0.1".parse().unwrap(), next).await.known
        };
        for it in 0..MOST_SWARMS {
            assert!(ask(blob(it), true).await);
        }
        tokio::time::advance(Policy::default().silence * 2).await;
        let live = MOST_SWARMS..MOST_SWARMS + 8;
        for it in live.clone() {
            assert!(ask(blob(it), true).await);
        }
        for it in live {
            assert!(ask(blob(it), false).await, "the swarm {it} was closed for another one");
        }
        assert!(!ask(blob(0), false).await, "nobody was in it for a minute");

        // Where all are in use, the one that was left alone for longest goes.
        for it in 1_000..1_000 + MOST_SWARMS {
            tokio::time::advance(Duration::from_millis(1)).await;
            assert!(ask(blob(it), true).await);
        }
        assert!(ask(blob(1_000), false).await);
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(ask(blob(5_000), true).await);
        assert!(ask(blob(1_000), false).await, "it was used a moment ago");
        assert!(!ask(blob(1_001), false).await);
    }

    fn joining(had: &Bits, address: &str) -> Joining {
        Joining::new(address.to_owned(), had, 64)
    }

    #[tokio::test]
    async fn nobody_is_sent_to_a_host_that_says_it_is_elsewhere() {
        let clock = Arc::new(SystemClock::new());
        let seed = Endpoint::new("seed".parse().unwrap(), "10.0.0.9:7".to_owned());
        let blob = Blob::new(BlobId::of(b"x"), 64 << 20).unwrap();
        let (all, none) = (Bits::all(blob.blocks()), Bits::none(blob.blocks()));
        for (address, sent) in [("10.0.0.1:7", true), ("10.0.0.2:7", false), ("h1:7", false)] {
            let director =
                Director::new(vec![seed.clone()], 1, Policy::default(), 1, Arc::clone(&clock) as _);
            let ask = async |name: &str, from: &str, had: &Bits, address: &str| {
                let mut next = NextRequest::new(blob);
                (next.joining, next.want) = (Some(joining(had, address)), 8);
                let host = name.parse().unwrap();
                director.next(&host, from.parse().unwrap(), next).await.get
            };
            ask("first", "10.0.0.1", &all, address).await;
            let given = ask("second", "10.0.0.3", &none, "10.0.0.3:7").await;
            let of_first = given.iter().filter(|it| it.source.name.as_str() == "first").count();
            assert_eq!(of_first > 0, sent, "{address}: {given:?}");
        }
    }

    /// As hosts whose relays are all dead do of the server.
    #[tokio::test]
    async fn a_seed_is_sent_so_many_at_a_time_however_many_hosts_ask() {
        const SLOTS: usize = 6;
        let clock = Arc::new(SystemClock::new());
        let seed = Endpoint::new("server".parse().unwrap(), "10.0.0.9:7".to_owned());
        let seeds = vec![seed.clone()];
        let director = Director::new(seeds, 6, Policy::default(), 1, Arc::clone(&clock) as _);
        let blob = Blob::new(BlobId::of(b"x"), 64 << 20).unwrap();
        let hosts: Vec<HostName> = (1..=12).map(|it| format!("h{it}").parse().unwrap()).collect();
        let from: IpAddr = "10.0.0.1".parse().unwrap();
        let mut under_way = Vec::new();
        for (port, host) in (1..).zip(&hosts) {
            let mut next = NextRequest::new(blob);
            let mut joining = joining(&Bits::none(blob.blocks()), &format!("10.0.0.1:{port}"));
            joining.slots = 0;
            (next.joining, next.want) = (Some(joining), 8);
            let given = director.next(host, from, next).await.get;
            under_way.extend(given);
        }
        assert_eq!(under_way.len(), SLOTS);
        assert!(under_way.iter().all(|it| it.source == seed), "{under_way:?}");
    }
}
