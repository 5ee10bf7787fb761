//! Who gets what from whom.
use super::{
    Assignment, Seat, Swarm,
    dice::Dice,
    member::{Flight, MOST_ACCUSED, Member},
    roll::Groups,
};
use deploy_core::time::Timestamp;

/// Of how many blocks that two hosts could exchange the rarest is looked for: more make no difference, and take longer.
const CANDIDATES: usize = 24;

impl Swarm {
    /// Somebody wants so many blocks more than are on their way to it: what can be found now. The rest comes as offers.
    ///
    /// It says anew how many; 0 ends the waiting, and is a sign of life all the same.
    pub fn ask(&mut self, seat: Seat, want: u16, now: Timestamp) -> Vec<Assignment> {
        let most = self.policy.most_flights;
        let Some(member) = self.member_mut(seat.0).filter(|it| it.present) else {
            return Vec::new();
        };
        member.seen = now;
        let room = usize::from(most).saturating_sub(member.flights.len());
        member.want = want.min(u16::try_from(room).unwrap_or(0));
        let given = self.satisfy(seat.0, now);
        if self.wants(seat.0) > 0 {
            self.wait(seat.0, now);
        } else {
            self.stop_waiting(seat.0);
        }
        given
    }

    /// Finds what it can for somebody.
    pub(super) fn satisfy(&mut self, host: u32, now: Timestamp) -> Vec<Assignment> {
        let mut given = Vec::new();
        while self.wants(host) > 0
            && let Some(found) = self.find(host, now)
        {
            given.push(self.assign(host, found, now));
        }
        given
    }

    /// Somebody has something to give: to those that wait, the near ones first, but who has waited too long before all others.
    pub(super) fn serve(&mut self, source: u32, now: Timestamp) {
        while self.can_lend(source)
            && let Some((host, found)) = self.find_taker(source, now)
        {
            let assignment = self.assign(host, found, now);
            self.offers.push((Seat(host), assignment));
            if self.wants(host) == 0 {
                self.stop_waiting(host);
            }
        }
    }

    fn find_taker(&mut self, source: u32, now: Timestamp) -> Option<(u32, (u32, u32))> {
        let groups = self.member(source)?.groups;
        let is_seed = self.member(source)?.is_seed();
        for group in if is_seed { vec![0] } else { self.waiting.distinct(groups) } {
            for _ in 0..self.policy.probes {
                let waiting = self.waiting.of(group);
                let Some(host) = draw(&mut self.dice, waiting, source) else { break };
                let block = if is_seed {
                    self.seeded(host, source, now)
                } else {
                    self.rarest(host, source, now)
                };
                if let Some(block) = block {
                    return Some((host, (block, source)));
                }
            }
        }
        None
    }

    /// A block for `host`, and who gives it.
    fn find(&mut self, host: u32, now: Timestamp) -> Option<(u32, u32)> {
        if let Some(seed) = self.free_seed(host)
            && let Some(block) = self.fresh_block()
        {
            return Some((block, seed));
        }
        let groups = self.member(host)?.groups;
        self.find_near(host, groups, now).or_else(|| {
            let seed = self.free_seed(host)?;
            Some((self.seeded(host, seed, now)?, seed))
        })
    }

    fn find_near(&mut self, host: u32, groups: Groups, now: Timestamp) -> Option<(u32, u32)> {
        for group in self.free.distinct(groups) {
            let mut best: Option<(u32, u32, u32)> = None;
            for _ in 0..self.policy.probes {
                let Some(source) = draw(&mut self.dice, self.free.of(group), host) else { break };
                if let Some(block) = self.rarest(host, source, now) {
                    let copies = self.tally.expected(block);
                    if best.is_none_or(|it| copies < it.0) {
                        best = Some((copies, block, source));
                    }
                }
            }
            if let Some((_, block, source)) = best {
                return Some((block, source));
            }
        }
        None
    }

    fn free_seed(&self, host: u32) -> Option<u32> {
        let accused = &self.member(host)?.accused;
        self.seeds.iter().copied().find(|it| self.can_lend(*it) && !accused.contains(it))
    }

    fn can_lend(&self, at: u32) -> bool {
        self.member(at).is_some_and(|it| it.can_lend(self.depth))
    }

    /// A block that nobody has and that is not on its way.
    fn fresh_block(&mut self) -> Option<u32> {
        while let Some(block) = self.fresh.draw(&mut self.dice) {
            if self.tally.expected(block) == 0 {
                return Some(block);
            }
        }
        None
    }

    /// What a seed gives `host`: what nobody has, or if it has waited long enough, what somebody has but did not give.
    fn seeded(&mut self, host: u32, seed: u32, now: Timestamp) -> Option<u32> {
        if self.member(host)?.accused.contains(&seed) {
            return None;
        }
        if let Some(block) = self.fresh_block() {
            return Some(block);
        }
        if !self.has_waited(host, now) {
            return None;
        }
        self.rarest(host, seed, now).filter(|block| self.tally.is_had(*block))
    }

    fn has_waited(&self, host: u32, now: Timestamp) -> bool {
        let since = self.member(host).map(|it| it.waiting_since);
        self.waiting.contains(host) && since.is_some_and(|it| now.since(it) >= self.policy.patience)
    }

    /// The rarest block that `source` has and `host` does not. From another zone only what is new to its own, unless it has waited.
    fn rarest(&mut self, host: u32, source: u32, now: Timestamp) -> Option<u32> {
        let words = (self.blocks as usize).div_ceil(64);
        let from = u32::try_from(self.dice.throw(words)).unwrap_or(0);
        let (member, giver) = (self.member(host)?, self.member(source)?);
        if host == source || !may_ask(member, giver, source) {
            return None;
        }
        let zone = member.zone();
        let is_near = giver.is_seed() || zone == giver.zone() || self.has_waited(host, now);
        let missing = giver.had.without(&member.had, &member.coming, from);
        let useful = missing.filter(|it| is_near || self.tally.is_new_to(zone, *it));
        useful.take(CANDIDATES).min_by_key(|block| self.tally.expected(*block))
    }

    fn assign(&mut self, host: u32, (block, source): (u32, u32), now: Timestamp) -> Assignment {
        let until = now.after(self.patience_for_a_block());
        if let Some(member) = self.member_mut(host) {
            member.want = member.want.saturating_sub(1);
            member.coming.insert(block);
            member.waiting_since = now;
            member.flights.push(Flight { block, source, since: now, until });
        }
        if let Some(giver) = self.member_mut(source) {
            giver.lend();
        }
        let zone = self.member(host).map_or(0, Member::zone);
        self.tally.coming(zone, block, 1);
        self.offer_if_free(source);
        self.set_timer(host, until);
        Assignment { block, source: Seat(source) }
    }

    /// Whether somebody is among those that are asked follows from what it has and gives.
    pub(super) fn offer_if_free(&mut self, at: u32) {
        let Some(member) = self.member(at) else { return };
        let groups = member.groups;
        if member.can_lend(self.depth) && !member.is_seed() {
            self.free.enter(at, groups);
        } else {
            self.free.leave(at, groups);
        }
    }

    pub(super) fn wants(&self, at: u32) -> u16 {
        let member = self.member(at).filter(|it| it.present && !it.is_seed());
        member.map_or(0, |it| {
            // What is on its way counts as had: nothing else is left to want.
            let left = self.blocks.saturating_sub(it.had.count());
            let left = left.saturating_sub(it.coming.count());
            it.want.min(u16::try_from(left).unwrap_or(u16::MAX))
        })
    }

    fn wait(&mut self, at: u32, now: Timestamp) {
        let Some(groups) = self.member(at).map(|it| it.groups) else { return };
        if !self.waiting.contains(at) {
            self.waiting.enter(at, groups);
            if let Some(member) = self.member_mut(at) {
                member.waiting_since = now;
            }
        }
        let sweep_at = now.after(self.policy.patience);
        self.sweep_at.get_or_insert(sweep_at);
    }

    pub(super) fn stop_waiting(&mut self, at: u32) {
        if let Some(groups) = self.member(at).map(|it| it.groups) {
            self.waiting.leave(at, groups);
        }
    }
}

/// One of a group, but `other`.
fn draw(dice: &mut Dice, group: &[u32], other: u32) -> Option<u32> {
    let at = dice.throw(group.len());
    let after = group.get(at..)?.iter().chain(group.iter().take(at));
    after.copied().find(|it| *it != other)
}

/// Whether a host may be sent to a source: not to one that it has had what is wrong from, and only once at a time to one that nobody
/// has had anything right from yet. Who finds everybody wrong is sent to seeds alone.
fn may_ask(member: &Member, giver: &Member, source: u32) -> bool {
    let is_known = giver.proven || giver.is_seed();
    let accuses_all = member.accused.len() > MOST_ACCUSED && !giver.is_seed();
    (is_known || !member.has_from(source)) && !accuses_all && !member.accused.contains(&source)
}
