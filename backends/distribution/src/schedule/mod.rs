//! Which host fetches which block from whom: the pure half of a swarm. It reads no clock, does nothing, and chooses by a seed.
//!
//! A [`Swarm`] knows what every host of a data centre has of one blob, and every block on its way. So it decides block by block:
//!
//! * A block that nobody has comes from a seed, to whoever waits.
//! * Any other comes from a host that is free: two of the same rack are drawn, then two of the zone, then two of all, and what is
//!   taken is the rarest block that they have. Near is preferred and never demanded: who has waited is served from anywhere.
//! * A seed gives what others have as well only to hosts that have waited in vain.
//! * Who is late has its slots halved; who serves what is wrong is in quarantine, but for seeds: a host that accuses one has to do
//!   without it, and others do not.
//!
//! All of it is soft: hosts say what they have when they come, so a scheduler that starts anew knows everything after one round.
//!
//! ```
//! use deploy_core::time::Timestamp;
//! use deploy_distribution::{Bits, schedule::{Newcomer, Policy, Role, Swarm}};
//!
//! let now = Timestamp::from_millis(0);
//! let mut swarm = Swarm::new(4, 7, Policy::default());
//! let seed = swarm.join(Newcomer::new("relay".parse()?, Role::Seed, Bits::all(4)), now);
//! let host = swarm.join(Newcomer::new("h1".parse()?, Role::Host, Bits::none(4)), now);
//! let given = swarm.ask(host, 2, now);
//! assert!(given.len() == 2 && given.iter().all(|it| it.source == seed));
//! swarm.done(host, given[0].block, now);
//! assert!(swarm.has(host, given[0].block));
//! # Ok::<_, deploy_core::id::ParseNameError>(())
//! ```
mod deadline;
mod dice;
mod fresh;
mod member;
mod pick;
mod report;
mod roll;
mod tally;

use crate::block::Bits;
use deploy_core::{
    id::{HostName, LabelValue},
    time::Timestamp,
};
pub(crate) use dice::Dice;
use fresh::Fresh;
use member::Member;
use roll::{Groups, Roll};
use serde::{Deserialize, Serialize};
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    time::Duration,
};
use tally::Tally;

/// Racks and zones that are told apart. Whoever comes with another one counts as being nowhere.
const MOST_PLACES: u32 = 4_096;

/// A source is asked for so many blocks at a time at least, if it has the slots.
const SHALLOWEST: u16 = 4;

/// A host's place in a swarm. It keeps it for as long as the swarm lasts, also if it leaves and comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seat(u32);

/// What somebody is in a swarm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Role {
    /// It wants the blob, and gives what it has.
    Host,
    /// It has all of it, or gets it from elsewhere: a relay, or the store.
    Seed,
}

/// Why a block did not come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Failure {
    /// The source has too much to do.
    Busy,
    /// What came was something else.
    Corrupt,
    /// The source does not have it.
    Missing,
    /// It took too long.
    Stalled,
    /// There is no connection to the source, or it broke.
    Unreachable,
}

/// Somebody who comes, and what is to be known of it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Newcomer {
    /// Its name.
    pub name: HostName,
    /// What it is.
    pub role: Role,
    /// Its zone, if it has one.
    pub zone: Option<LabelValue>,
    /// Its rack, if it has one.
    pub rack: Option<LabelValue>,
    /// What it has.
    pub had: Bits,
    /// Blocks that are on their way to it already, as a scheduler before this one said. 64 at most are looked at.
    pub under_way: Vec<u32>,
    /// To how many it gives blocks at a time: at most as many as the policy says, and with 0 it only takes. 4 unless said otherwise.
    pub slots: u16,
}

impl Newcomer {
    /// One without zone and rack, and with 4 slots.
    #[must_use]
    pub const fn new(name: HostName, role: Role, had: Bits) -> Self {
        Self { name, role, zone: None, rack: None, had, under_way: Vec::new(), slots: 4 }
    }

    /// In that zone.
    #[must_use]
    pub fn with_zone(mut self, zone: Option<LabelValue>) -> Self {
        self.zone = zone;
        self
    }

    /// In that rack.
    #[must_use]
    pub fn with_rack(mut self, rack: Option<LabelValue>) -> Self {
        self.rack = rack;
        self
    }

    /// With blocks on their way already.
    #[must_use]
    pub fn with_under_way(mut self, under_way: Vec<u32>) -> Self {
        self.under_way = under_way;
        self
    }

    /// With so many slots.
    #[must_use]
    pub const fn with_slots(mut self, slots: u16) -> Self {
        self.slots = slots;
        self
    }
}

/// What a swarm goes by.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Policy {
    /// How many are drawn in each group. Two are as good as eight.
    pub probes: usize,
    /// How long somebody waits before near sources are no longer preferred, and seeds give what others have.
    pub patience: Duration,
    /// A block is given up after four times the usual time, and after no less than this.
    pub stall: Duration,
    /// The same before anybody knows what is usual.
    pub first_stall: Duration,
    /// Who is not heard of for so long is gone.
    pub silence: Duration,
    /// The most slots that anybody has.
    pub most_slots: u16,
    /// The most blocks that are on their way to one host.
    pub most_flights: u16,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            probes: 2,
            patience: Duration::from_millis(250),
            stall: Duration::from_secs(4),
            first_stall: Duration::from_secs(15),
            silence: Duration::from_secs(30),
            most_slots: 64,
            most_flights: 64,
        }
    }
}

/// A block to fetch, and from whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Assignment {
    /// The block.
    pub block: u32,
    /// Who has it.
    pub source: Seat,
}

/// Something that a person may want to know.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A seed served what was wrong, as a host says. That host is not sent to it again; others are.
    Accused {
        /// The seed.
        source: HostName,
        /// Who says so.
        by: HostName,
        /// Of which block.
        block: u32,
    },
    /// A source served what was wrong, and is not asked again.
    Quarantined {
        /// The source.
        source: HostName,
        /// Who found it out.
        by: HostName,
        /// In which block.
        block: u32,
    },
    /// A host accuses so many that it is not believed any more.
    Distrusted {
        /// The host.
        host: HostName,
    },
    /// Somebody was not heard of for too long, or failed too often.
    Lost {
        /// Who.
        host: HostName,
    },
}

/// All hosts of a data centre that have, or want, one blob.
#[derive(Debug)]
pub struct Swarm {
    policy: Policy,
    dice: Dice,
    blocks: u32,
    members: Vec<Member>,
    names: BTreeMap<HostName, u32>,
    groups: BTreeMap<(Option<LabelValue>, Option<LabelValue>), u32>,
    seeds: Vec<u32>,
    /// Hosts, without the seeds, that could give a block.
    free: Roll,
    /// Hosts that want more than could be found for them.
    waiting: Roll,
    tally: Tally,
    /// Blocks that nobody has and that are not on their way; some that are may still be among them.
    fresh: Fresh,
    offers: Vec<(Seat, Assignment)>,
    events: Vec<Event>,
    timers: BinaryHeap<Reverse<(Timestamp, u32)>>,
    sweep_at: Option<Timestamp>,
    /// The most blocks that anybody is asked for at a time, however many slots it has.
    depth: u16,
    here: usize,
    /// What a block usually takes, in milliseconds; 0 while nobody knows.
    usual: u64,
}

impl Swarm {
    /// One for a blob of so many blocks, in which nobody is yet.
    #[must_use]
    pub fn new(blocks: u32, seed: u64, policy: Policy) -> Self {
        Self {
            policy,
            dice: Dice::new(seed),
            blocks,
            members: Vec::new(),
            names: BTreeMap::new(),
            groups: BTreeMap::from([((None, None), 0)]),
            seeds: Vec::new(),
            free: Roll::default(),
            waiting: Roll::default(),
            tally: Tally::new(blocks),
            fresh: Fresh::all(blocks),
            offers: Vec::new(),
            events: Vec::new(),
            timers: BinaryHeap::new(),
            sweep_at: None,
            depth: SHALLOWEST,
            here: 0,
            usual: 0,
        }
    }

    /// Takes somebody in, or in again: then what was on its way to it is not any more.
    ///
    /// A set of another number of blocks counts as none.
    pub fn join(&mut self, mut newcomer: Newcomer, now: Timestamp) -> Seat {
        if newcomer.had.length() != self.blocks {
            newcomer.had = Bits::none(self.blocks);
        }
        let under_way = std::mem::take(&mut newcomer.under_way);
        let known = self.names.get(&newcomer.name).copied();
        let at = known.unwrap_or_else(|| u32::try_from(self.members.len()).unwrap_or(u32::MAX));
        let most_slots = self.policy.most_slots;
        if known.is_some() {
            self.leave(Seat(at));
            if let Some(member) = self.member_mut(at) {
                member.return_as(newcomer, most_slots, now);
            }
        } else {
            let groups = self.groups_of(&newcomer);
            self.names.insert(newcomer.name.clone(), at);
            self.members.push(Member::new(newcomer, groups, most_slots, now));
        }
        let groups = self.groups.len() * 2 + 1;
        self.free.grow(self.members.len(), groups);
        self.waiting.grow(self.members.len(), groups);
        self.settle_in(at, &under_way, now);
        Seat(at)
    }

    fn settle_in(&mut self, at: u32, under_way: &[u32], now: Timestamp) {
        let Some(member) = self.member(at) else { return };
        let member_zone = member.zone();
        if member.is_seed() {
            self.seeds.retain(|it| *it != at);
            self.seeds.push(at);
        } else if member.counts() {
            for block in member.had.clone().iter() {
                self.tally.copies(member_zone, block, 1);
            }
        }
        self.here += 1;
        self.set_depth();
        self.expect(at, under_way, now);
        self.set_timer(at, now.after(self.policy.silence));
        self.offer_if_free(at);
        self.serve(at, now);
    }

    fn expect(&mut self, at: u32, under_way: &[u32], now: Timestamp) {
        const MOST: usize = 64;
        let until = now.after(self.policy.first_stall);
        let under_way = under_way.get(..MOST).unwrap_or(under_way);
        let Some(member) = self.member_mut(at) else { return };
        member.expect(under_way, now, until);
        let (zone, blocks) = (member.zone(), member.flights.iter().map(|it| it.block));
        for block in blocks.collect::<Vec<_>>() {
            self.tally.coming(zone, block, 1);
        }
    }

    /// Blocks in queues make the last host wait for as long as they take, as often as a block has to be passed on to reach everybody.
    /// So queues are as deep as costs a tenth of it all: deep enough for few hosts to be never idle, and shallow for many.
    fn set_depth(&mut self) {
        let hops = self.here.max(1).ilog2() + 2;
        let depth = u16::try_from(self.blocks / hops / 10).unwrap_or(u16::MAX);
        self.depth = depth.max(SHALLOWEST);
    }

    /// The seat of somebody who is here.
    #[must_use]
    pub fn seat(&self, name: &HostName) -> Option<Seat> {
        let at = *self.names.get(name)?;
        self.member(at).filter(|it| it.present).map(|_| Seat(at))
    }

    /// Whose seat it is.
    #[must_use]
    pub fn name(&self, seat: Seat) -> Option<&HostName> {
        self.member(seat.0).map(|it| &it.name)
    }

    /// Whether somebody is known to have a block.
    #[must_use]
    pub fn has(&self, seat: Seat, block: u32) -> bool {
        self.member(seat.0).is_some_and(|it| it.had.contains(block))
    }

    /// How many blocks somebody is known to have.
    #[must_use]
    pub fn count(&self, seat: Seat) -> u32 {
        self.member(seat.0).map_or(0, |it| it.had.count())
    }

    /// From how many blocks of somebody others are fetching.
    #[must_use]
    pub fn lent(&self, seat: Seat) -> u16 {
        self.member(seat.0).map_or(0, Member::lent)
    }

    /// Whether somebody is in quarantine.
    #[must_use]
    pub fn is_quarantined(&self, seat: Seat) -> bool {
        self.member(seat.0).is_some_and(|it| it.quarantined)
    }

    /// How many are here, seeds included.
    #[must_use]
    pub fn present(&self) -> usize {
        self.here
    }

    /// What was found for hosts that wait. They do not wait for that any more.
    pub fn take_offers(&mut self) -> Vec<(Seat, Assignment)> {
        std::mem::take(&mut self.offers)
    }

    /// What happened since the last call.
    pub fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    /// The rack, the zone and the whole: numbers that grow as places come up. A rack is one within its zone.
    fn groups_of(&mut self, newcomer: &Newcomer) -> Groups {
        let (zone, rack) = (newcomer.zone.clone(), newcomer.rack.clone());
        let mut number = |key| {
            if let Some(known) = self.groups.get(&key) {
                return *known;
            }
            let next = u32::try_from(self.groups.len()).unwrap_or(u32::MAX);
            if next >= MOST_PLACES {
                return 0;
            }
            self.groups.insert(key, next);
            next
        };
        let of_zone = number((zone.clone(), None));
        let of_rack = number((zone, rack));
        // All have the number 0, whoever has no zone is in zone 1 at the latest, and no group is two levels at once.
        [of_rack * 2 + 1, of_zone * 2 + 2, 0]
    }

    fn member(&self, at: u32) -> Option<&Member> {
        self.members.get(at as usize)
    }

    fn member_mut(&mut self, at: u32) -> Option<&mut Member> {
        self.members.get_mut(at as usize)
    }
}

#[cfg(test)]
mod tests;
