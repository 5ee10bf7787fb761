//! A data centre on virtual time: the real scheduler, and links that are only reckoned.
//!
//! A source sends one block after another at the rate of its link, and a host takes in one after another at the rate of its own: a
//! block is there when both are through with it. Every link carries a block in [`BLOCK`].
use deploy_core::time::Timestamp;
use deploy_distribution::{
    Bits,
    schedule::{Assignment, Failure, Newcomer, Policy, Role, Seat, Swarm},
};
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap},
    time::Duration,
};

/// What a link needs for a block.
pub(crate) const BLOCK: Duration = Duration::from_millis(40);
/// What a host needs to notice that a source is gone.
const STALL: Duration = Duration::from_secs(2);

/// What happens in a simulation, and to whom.
#[derive(Clone, Debug)]
pub(crate) struct Scenario {
    pub(crate) hosts: u32,
    pub(crate) blocks: u32,
    pub(crate) zones: u32,
    pub(crate) slots: u16,
    /// How many blocks a host wants to be on their way to it.
    pub(crate) ahead: u16,
    pub(crate) seed: u64,
    /// Hosts that die, by number, and when.
    pub(crate) deaths: BTreeMap<u32, Duration>,
    /// Hosts that serve nothing right.
    pub(crate) liars: BTreeSet<u32>,
    /// When the scheduler forgets everything.
    pub(crate) restarts: Vec<Duration>,
}

impl Scenario {
    pub(crate) fn new(hosts: u32, blocks: u32, seed: u64) -> Self {
        Self {
            hosts,
            blocks,
            zones: 1,
            slots: 4,
            ahead: 6,
            seed,
            deaths: BTreeMap::new(),
            liars: BTreeSet::new(),
            restarts: Vec::new(),
        }
    }

    /// The least that any way of distribution takes where all links are equal.
    pub(crate) fn ideal(&self) -> Duration {
        BLOCK * self.blocks
    }
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outcome {
    /// When the last host had all of it.
    pub(crate) last: Duration,
    /// How many did not get there.
    pub(crate) unfinished: usize,
    /// How many blocks the seed gave.
    pub(crate) from_seed: u32,
    /// How many blocks crossed from one zone to another, the seed's left out.
    pub(crate) across: u32,
    pub(crate) delivered: u32,
    /// The most that one host has had that was wrong from one source.
    pub(crate) most_wrong: u32,
    /// The most blocks that one source had to give at a time.
    pub(crate) most_lent: u16,
    /// How often somebody was sent to a source that was in quarantine.
    pub(crate) from_quarantine: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    Arrives { host: u32, block: u32, source: u32 },
    Breaks { host: u32, block: u32, source: u32 },
    Dies(u32),
    Restarts,
    Wakes,
}

struct Machine {
    had: Bits,
    coming: BTreeMap<u32, u32>,
    sends_until: Timestamp,
    takes_until: Timestamp,
    lent: u16,
    alive: bool,
    done: bool,
}

/// Runs a scenario to its end, or gives up after 20 times as long as it should take.
pub(crate) fn run(scenario: &Scenario) -> Outcome {
    let mut sim = Sim::new(scenario);
    sim.begin();
    sim.go();
    sim.outcome
}

struct Sim<'a> {
    scenario: &'a Scenario,
    swarm: Swarm,
    seats: Vec<Seat>,
    numbers: BTreeMap<Seat, u32>,
    /// Hosts, and the seed after them.
    machines: Vec<Machine>,
    queue: BinaryHeap<Reverse<(Timestamp, u64, What)>>,
    count: u64,
    now: Timestamp,
    wakes_at: Option<Timestamp>,
    wrong: BTreeMap<(u32, u32), u32>,
    outcome: Outcome,
}

impl<'a> Sim<'a> {
    fn new(scenario: &'a Scenario) -> Self {
        let now = Timestamp::from_millis(0);
        let machine = |had| Machine {
            had,
            coming: BTreeMap::new(),
            sends_until: now,
            takes_until: now,
            lent: 0,
            alive: true,
            done: false,
        };
        let hosts = (0..scenario.hosts).map(|_| machine(Bits::none(scenario.blocks)));
        let seed = machine(Bits::all(scenario.blocks));
        Self {
            scenario,
            swarm: Swarm::new(scenario.blocks, scenario.seed, Policy::default()),
            seats: Vec::new(),
            numbers: BTreeMap::new(),
            machines: hosts.chain([seed]).collect(),
            queue: BinaryHeap::new(),
            count: 0,
            now,
            wakes_at: None,
            wrong: BTreeMap::new(),
            outcome: Outcome { unfinished: scenario.hosts as usize, ..Outcome::default() },
        }
    }

    fn at(&mut self, at: Timestamp, what: What) {
        self.count += 1;
        self.queue.push(Reverse((at, self.count, what)));
    }

    fn number(&self, seat: Seat) -> u32 {
        self.numbers[&seat]
    }

    fn begin(&mut self) {
        for (host, at) in self.scenario.deaths.clone() {
            self.at(self.now.after(at), What::Dies(host));
        }
        for at in self.scenario.restarts.clone() {
            self.at(self.now.after(at), What::Restarts);
        }
        self.everybody_joins();
    }

    fn everybody_joins(&mut self) {
        (self.seats, self.numbers) = (Vec::new(), BTreeMap::new());
        let had = Bits::all(self.scenario.blocks);
        let seed = Newcomer::new("seed".parse().unwrap(), Role::Seed, had);
        let seed = self.swarm.join(seed.with_slots(self.scenario.slots), self.now);
        self.numbers.insert(seed, self.scenario.hosts);
        for host in 0..self.scenario.hosts {
            let machine = &self.machines[host as usize];
            let zone = format!("z{}", host % self.scenario.zones);
            let name = format!("h{host}").parse().unwrap();
            let newcomer = Newcomer::new(name, Role::Host, machine.had.clone())
                .with_zone(Some(zone.parse().unwrap()))
                .with_under_way(machine.coming.keys().copied().collect())
                .with_slots(self.scenario.slots);
            let alive = machine.alive;
            let seat = self.swarm.join(newcomer, self.now);
            self.seats.push(seat);
            self.numbers.insert(seat, host);
            if alive {
                self.ask(host, seat);
            } else {
                self.swarm.leave(seat);
            }
        }
        self.seats.push(seed);
        self.hand_out();
    }

    fn go(&mut self) {
        let end = Timestamp::from_millis(0).after(self.scenario.ideal() * 20);
        while self.outcome.unfinished > 0
            && let Some(Reverse((at, _, what))) = self.queue.pop()
            && at <= end
        {
            self.now = at;
            self.happens(what);
            self.hand_out();
        }
    }

    fn happens(&mut self, what: What) {
        match what {
            What::Arrives { host, block, source } => self.arrives(host, block, source),
            What::Breaks { host, block, source } => self.breaks(host, block, source),
            What::Dies(host) => self.dies(host),
            What::Restarts => {
                let seed = self.scenario.seed.wrapping_add(self.now.as_millis());
                self.swarm = Swarm::new(self.scenario.blocks, seed, Policy::default());
                self.everybody_joins();
            }
            What::Wakes => {
                self.wakes_at = None;
                self.swarm.wake(self.now);
            }
        }
    }

    fn arrives(&mut self, host: u32, block: u32, source: u32) {
        let giver = &mut self.machines[source as usize];
        giver.lent = giver.lent.saturating_sub(1);
        let is_broken = !self.machines[source as usize].alive;
        if !self.machines[host as usize].alive || is_broken {
            return;
        }
        let Some(seat) = self.seat(host) else { return };
        self.machines[host as usize].coming.remove(&block);
        if self.scenario.liars.contains(&source) {
            let wrong = self.wrong.entry((host, source)).or_default();
            *wrong += 1;
            self.outcome.most_wrong = self.outcome.most_wrong.max(*wrong);
            if let Some(from) = self.seat(source) {
                self.swarm.failed(seat, block, from, Failure::Corrupt, self.now);
            }
        } else {
            self.outcome.delivered += 1;
            self.machines[host as usize].had.insert(block);
            self.swarm.done(seat, block, self.now);
        }
        let machine = &mut self.machines[host as usize];
        if machine.had.is_full() && !std::mem::replace(&mut machine.done, true) {
            self.outcome.unfinished -= 1;
            self.outcome.last = self.now.since(Timestamp::from_millis(0));
        }
        self.ask(host, seat);
    }

    fn breaks(&mut self, host: u32, block: u32, source: u32) {
        let machine = &mut self.machines[host as usize];
        if !machine.alive || machine.coming.get(&block) != Some(&source) {
            return;
        }
        machine.coming.remove(&block);
        let Some(seat) = self.seat(host) else { return };
        if let Some(from) = self.seat(source) {
            self.swarm.failed(seat, block, from, Failure::Unreachable, self.now);
        }
        self.ask(host, seat);
    }

    fn dies(&mut self, host: u32) {
        let machine = &mut self.machines[host as usize];
        if std::mem::replace(&mut machine.alive, false) && !machine.done {
            self.outcome.unfinished -= 1;
        }
        for other in 0..self.scenario.hosts {
            let coming = &self.machines[other as usize].coming;
            let from_it = coming.iter().filter(|it| *it.1 == host).map(|it| *it.0);
            for block in from_it.collect::<Vec<_>>() {
                let what = What::Breaks { host: other, block, source: host };
                self.at(self.now.after(STALL), what);
            }
        }
    }

    fn seat(&self, host: u32) -> Option<Seat> {
        self.seats.get(host as usize).copied()
    }

    fn ask(&mut self, host: u32, seat: Seat) {
        let under_way = self.machines[host as usize].coming.len() as u16;
        let want = self.scenario.ahead.saturating_sub(under_way);
        for given in self.swarm.ask(seat, want, self.now) {
            self.send(host, given);
        }
    }

    fn hand_out(&mut self) {
        for (seat, given) in self.swarm.take_offers() {
            let host = self.number(seat);
            self.send(host, given);
        }
        if let Some(at) = self.swarm.wake_at()
            && self.wakes_at.is_none_or(|it| at < it)
        {
            self.wakes_at = Some(at);
            self.at(at.max(self.now), What::Wakes);
        }
    }

    fn send(&mut self, host: u32, given: Assignment) {
        let source = self.number(given.source);
        self.outcome.from_quarantine += u32::from(self.swarm.is_quarantined(given.source));
        let is_seed = source == self.scenario.hosts;
        self.outcome.from_seed += u32::from(is_seed);
        let across = !is_seed && source % self.scenario.zones != host % self.scenario.zones;
        self.outcome.across += u32::from(across);
        let (block, now) = (given.block, self.now);
        self.machines[host as usize].coming.insert(block, source);
        let giver = &mut self.machines[source as usize];
        if !giver.alive {
            self.at(now.after(STALL), What::Breaks { host, block, source });
            return;
        }
        giver.lent += 1;
        self.outcome.most_lent = self.outcome.most_lent.max(self.swarm.lent(given.source));
        giver.sends_until = giver.sends_until.max(now).after(BLOCK);
        let sent = giver.sends_until;
        let taker = &mut self.machines[host as usize];
        taker.takes_until = taker.takes_until.after(BLOCK).max(sent);
        let at = taker.takes_until;
        self.at(at, What::Arrives { host, block, source });
    }
}
