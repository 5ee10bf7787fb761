//! What hosts say became of blocks.
use super::{
    Event, Failure, Seat, Swarm,
    member::{ELSEWHERE, Flight, MOST_ACCUSED},
};
use crate::block::Bits;
use deploy_core::time::Timestamp;

/// As many sources may one host accuse. Who finds more than that wrong is more likely wrong itself.
const ACCUSATIONS: usize = 3;
/// How much a new figure moves what is usual: an eighth.
const WEIGHT: u64 = 8;

impl Swarm {
    /// A host has a block, as it was told or in another way, and gives it on from now on.
    pub fn done(&mut self, seat: Seat, block: u32, now: Timestamp) {
        let flight = self.land(seat.0, block);
        let Some(member) = self.member_mut(seat.0).filter(|it| it.present) else { return };
        member.seen = now;
        let zone = member.zone();
        if member.had.insert(block) && member.counts() {
            self.tally.copies(zone, block, 1);
        }
        self.offer_if_free(seat.0);
        if let Some(flight) = flight {
            let took = u64::try_from(now.since(flight.since).as_millis()).unwrap_or(u64::MAX);
            let took = took.max(1);
            self.usual = match self.usual {
                0 => took,
                usual => usual.saturating_mul(WEIGHT - 1).saturating_add(took) / WEIGHT,
            };
            if let Some(source) = self.member_mut(flight.source) {
                source.praise();
            }
            self.offer_if_free(flight.source);
            self.serve(flight.source, now);
        }
        self.serve(seat.0, now);
    }

    /// A block did not come to a host. If it still wants it, it asks.
    pub fn failed(&mut self, seat: Seat, block: u32, source: Seat, why: Failure, now: Timestamp) {
        if let Some(member) = self.member_mut(seat.0) {
            member.seen = now;
        }
        let sent = |it: &Flight| it.block == block && [source.0, ELSEWHERE].contains(&it.source);
        let flights = self.member(seat.0).map_or(&[][..], |it| it.flights.as_slice());
        let Some(flight) = flights.iter().copied().find(sent) else { return };
        self.land(seat.0, block);
        // Only whoever was sent to a source from here has something to say about it: who sent the others nobody here knows.
        if flight.source != source.0 {
            return;
        }
        match why {
            Failure::Corrupt => self.accuse(seat.0, source.0, block),
            Failure::Missing => self.forget(seat.0, source.0, block),
            Failure::Busy | Failure::Stalled | Failure::Unreachable => self.blame(seat.0, source.0),
        }
        self.offer_if_free(source.0);
        self.serve(source.0, now);
    }

    /// Somebody is gone. What is on its way from it is given up by those that wait for it.
    pub fn leave(&mut self, seat: Seat) {
        let Some(member) = self.member_mut(seat.0) else { return };
        if !std::mem::replace(&mut member.present, false) {
            return;
        }
        let flights: Vec<u32> = member.flights.iter().map(|it| it.block).collect();
        let (groups, counts, had) = (member.groups, member.counts(), member.had.clone());
        let zone = member.zone();
        for block in flights {
            self.land(seat.0, block);
        }
        self.here = self.here.saturating_sub(1);
        self.set_depth();
        self.free.leave(seat.0, groups);
        self.waiting.leave(seat.0, groups);
        self.seeds.retain(|it| *it != seat.0);
        if counts {
            self.discount(zone, &had);
        }
    }

    /// A block is not on its way to a host any more.
    pub(super) fn land(&mut self, host: u32, block: u32) -> Option<Flight> {
        let member = self.member_mut(host)?;
        let at = member.flights.iter().position(|it| it.block == block)?;
        let flight = member.flights.swap_remove(at);
        member.coming.remove(block);
        let zone = member.zone();
        self.tally.coming(zone, block, -1);
        if let Some(source) = self.member_mut(flight.source) {
            source.take_back();
        }
        self.offer_if_free(flight.source);
        self.refresh(block);
        Some(flight)
    }

    /// A block that nobody has any more has to come from a seed again.
    fn refresh(&mut self, block: u32) {
        if self.tally.expected(block) == 0 {
            self.fresh.add(block);
        }
    }

    /// What serves something wrong is in quarantine, unless it is a seed: one liar would then take from all others what only seeds
    /// have. From a seed that is wrong each host has one block at most, as nobody is sent again to whom it accuses.
    fn accuse(&mut self, host: u32, source: u32, block: u32) {
        let Some(member) = self.member_mut(host) else { return };
        let by = member.name.clone();
        let earlier = member.accused.len();
        if !member.accused.contains(&source) && earlier <= MOST_ACCUSED {
            member.accused.push(source);
        }
        if earlier >= ACCUSATIONS {
            if earlier == ACCUSATIONS {
                self.events.push(Event::Distrusted { host: by });
            }
            return;
        }
        let Some(accused) = self.member_mut(source) else { return };
        if accused.is_seed() {
            let source = accused.name.clone();
            return self.events.push(Event::Accused { source, by, block });
        }
        let (counted, zone) = (accused.counts(), accused.zone());
        if !std::mem::replace(&mut accused.quarantined, true) {
            let (source, had) = (accused.name.clone(), accused.had.clone());
            self.events.push(Event::Quarantined { source, by, block });
            if counted {
                self.discount(zone, &had);
            }
        }
    }

    /// What somebody has does not count any more: others have to get it from elsewhere.
    fn discount(&mut self, zone: u32, had: &Bits) {
        for block in had.iter() {
            self.tally.copies(zone, block, -1);
            self.refresh(block);
        }
    }

    fn forget(&mut self, host: u32, source: u32, block: u32) {
        let Some(member) = self.member_mut(source) else { return };
        if member.is_seed() {
            return self.blame(host, source);
        }
        let zone = member.zone();
        if member.had.remove(block) && member.counts() {
            self.tally.copies(zone, block, -1);
            self.refresh(block);
        }
    }

    fn blame(&mut self, host: u32, source: u32) {
        let Some(member) = self.member_mut(source) else { return };
        if !member.blame(host) || !member.present {
            return;
        }
        if member.proven || member.is_seed() {
            let host = member.name.clone();
            self.events.push(Event::Lost { host });
            return self.leave(Seat(source));
        }
        // Nobody has ever reached it. It may all the same be there, and want what others have.
        let (counted, zone, had) = (member.counts(), member.zone(), member.had.clone());
        member.only_take();
        if counted {
            self.discount(zone, &had);
        }
    }
}
