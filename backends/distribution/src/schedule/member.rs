//! What is known of one host in a swarm.
use super::{Newcomer, Role, roll::Groups};
use crate::block::Bits;
use deploy_core::{id::HostName, time::Timestamp};

/// After so many blocks in a row that came in time, a halved source has its slots back, one halving at a time.
const REDEEMED: u8 = 8;
/// A source that failed so often in a row is taken for gone. If it is not, it says so with its next request.
const GONE_AFTER: u8 = 4;
/// A seed keeps a quarter of its slots at least: it cannot be done without, and it takes long to earn many halvings back.
const SEED_HALVINGS: u8 = 2;
/// How many sources of a host are remembered that served it what was wrong, as it says. Who has more is sent to seeds alone.
pub(super) const MOST_ACCUSED: usize = 64;

/// The source of what was on its way before anybody here knew.
pub(super) const ELSEWHERE: u32 = u32::MAX;

/// A block on its way to a host.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flight {
    pub(super) block: u32,
    pub(super) source: u32,
    pub(super) since: Timestamp,
    /// When it is given up.
    pub(super) until: Timestamp,
}

#[derive(Debug)]
pub(super) struct Member {
    pub(super) name: HostName,
    pub(super) role: Role,
    pub(super) groups: Groups,
    pub(super) had: Bits,
    pub(super) coming: Bits,
    pub(super) flights: Vec<Flight>,
    pub(super) present: bool,
    /// It served what was wrong: nobody is sent to it again.
    pub(super) quarantined: bool,
    /// Somebody has had a right block from it.
    pub(super) proven: bool,
    /// From whom it has had what is wrong, as it says. It is not sent to these again.
    pub(super) accused: Vec<u32>,
    /// How many more blocks it would take now.
    pub(super) want: u16,
    pub(super) waiting_since: Timestamp,
    pub(super) seen: Timestamp,
    /// Its entry among the timers that counts.
    pub(super) timer: Option<Timestamp>,
    slots: u16,
    lent: u16,
    halvings: u8,
    streak: u8,
    /// Who had its slots halved last.
    blamed_by: Option<u32>,
}

impl Member {
    pub(super) fn new(newcomer: Newcomer, groups: Groups, most_slots: u16, now: Timestamp) -> Self {
        let blocks = newcomer.had.length();
        Self {
            name: newcomer.name,
            role: newcomer.role,
            groups,
            had: newcomer.had,
            coming: Bits::none(blocks),
            flights: Vec::new(),
            present: true,
            quarantined: false,
            proven: false,
            accused: Vec::new(),
            want: 0,
            waiting_since: now,
            seen: now,
            timer: None,
            slots: newcomer.slots.min(most_slots),
            lent: 0,
            halvings: 0,
            streak: 0,
            blamed_by: None,
        }
    }

    /// Blocks that are on their way to it already, from wherever: it is not given these.
    pub(super) fn expect(&mut self, blocks: &[u32], now: Timestamp, until: Timestamp) {
        for block in blocks.iter().copied() {
            if !self.had.contains(block) && self.coming.insert(block) {
                self.flights.push(Flight { block, source: ELSEWHERE, since: now, until });
            }
        }
    }

    /// It is here again, and says anew what it has. What was found out about it stays.
    ///
    /// It stays where it was first: hosts do not move while they fetch, and who came from somewhere else each time would fill the
    /// groups up.
    pub(super) fn return_as(&mut self, newcomer: Newcomer, most_slots: u16, now: Timestamp) {
        self.seen = now;
        self.role = newcomer.role;
        self.coming = Bits::none(newcomer.had.length());
        self.had = newcomer.had;
        self.slots = newcomer.slots.min(most_slots);
        self.present = true;
        self.want = 0;
        (self.halvings, self.streak, self.blamed_by) = (0, 0, None);
    }

    /// Whether it may be asked for one more block, where `depth` is the most that anybody is asked for at a time.
    pub(super) fn can_lend(&self, depth: u16) -> bool {
        let allowed = (self.slots.min(depth) >> self.halvings.min(15)).max(1);
        let gives = self.present && self.slots > 0 && !self.quarantined;
        gives && self.had.count() > 0 && self.lent < allowed
    }

    pub(super) const fn is_seed(&self) -> bool {
        matches!(self.role, Role::Seed)
    }

    /// Whether what it has is a copy that others can get.
    pub(super) const fn counts(&self) -> bool {
        !self.is_seed() && !self.quarantined && self.slots > 0
    }

    pub(super) const fn lend(&mut self) {
        self.lent = self.lent.saturating_add(1);
    }

    pub(super) const fn take_back(&mut self) {
        self.lent = self.lent.saturating_sub(1);
    }

    pub(super) const fn lent(&self) -> u16 {
        self.lent
    }

    pub(super) const fn praise(&mut self) {
        self.proven = true;
        self.streak = self.streak.saturating_add(1);
        if self.streak >= REDEEMED {
            (self.streak, self.blamed_by) = (0, None);
            self.halvings = self.halvings.saturating_sub(1);
        }
    }

    /// Halves its slots; whether it is to be taken for gone. Of a seed, which all others need, one host is not believed twice in a row.
    pub(super) fn blame(&mut self, by: u32) -> bool {
        let again = self.blamed_by.replace(by) == Some(by);
        if self.is_seed() && again {
            return false;
        }
        self.streak = 0;
        let most = if self.is_seed() { SEED_HALVINGS } else { GONE_AFTER };
        self.halvings = self.halvings.saturating_add(1).min(most);
        self.halvings >= GONE_AFTER
    }

    /// It gives nothing more, until it comes anew.
    pub(super) const fn only_take(&mut self) {
        self.slots = 0;
    }

    /// The zone, as the number of its group.
    pub(super) const fn zone(&self) -> u32 {
        let [_, zone, _] = self.groups;
        zone
    }

    pub(super) fn has_from(&self, source: u32) -> bool {
        self.flights.iter().any(|it| it.source == source)
    }
}
