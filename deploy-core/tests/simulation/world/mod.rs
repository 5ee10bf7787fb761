//! The world around the machine: its time, its messages, and who acts in it.
mod driver;
mod hosts;
mod people;
mod staging;
mod verdict;

use crate::{
    checker::{Checked, Checker},
    host::SimHost,
    mutant::Mutant,
    rng::Rng,
    scenario::{START, parse, scenario},
    stats::Stats,
};
use deploy_core::{
    id::{HostName, ReleaseId, Seq},
    plan::Plan,
    rollout::{Effect, Event, Input, Outcome, Record, Reply, Rollout},
    time::Timestamp,
};
use std::collections::BTreeMap;

/// Turns in which things go wrong; then the world heals.
const FAULTY_TURNS: u32 = 250;
/// Turns in which every rollout has to end.
const TURNS: u32 = 6_000;

#[derive(Clone, Debug)]
enum Message {
    /// An effect that came to nothing is tried again.
    Again {
        effect: Effect,
        incarnation: u32,
    },
    ToDriver {
        effect: Effect,
        reply: Reply,
        incarnation: u32,
    },
    ToHost {
        effect: Effect,
        incarnation: u32,
    },
}

pub(crate) struct World {
    rng: Rng,
    mutant: Mutant,
    /// Milliseconds that have really passed.
    now: u64,
    /// What the driver's clock shows more than that.
    skew: i64,
    /// Which of all drivers it is.
    incarnation: u32,
    faults: bool,
    plan: Plan,
    /// What each host ran before the rollout.
    before: BTreeMap<HostName, Option<ReleaseId>>,
    hosts: BTreeMap<HostName, SimHost>,
    queue: BTreeMap<(u64, u64), Message>,
    ticket: u64,
    /// Who waits for the end of an attempt.
    followers: Vec<(Effect, u32)>,
    journal: Vec<Record>,
    checker: Checker,
    live: Option<Rollout>,
    flights: BTreeMap<HostName, Effect>,
    /// How often a person has helped.
    helped: u32,
    stats: Stats,
    log: Vec<String>,
}

impl World {
    pub(crate) fn new(seed: u64, mutant: Mutant) -> Self {
        let mut rng = Rng::new(seed);
        let (plan, before) = scenario(&mut rng);
        let given = Box::new(mutant.plan(&plan));
        let hosts = before
            .iter()
            .map(|(name, release)| (name.clone(), SimHost::new(release.clone(), &mut rng)))
            .collect();
        let accepted = Event::Accepted { plan: given, by: parse("ann"), request: None };
        let at = Timestamp::from_millis(START);
        // Rollouts before this one have left their records.
        let first = Seq::new(1 + rng.below(5));
        let journal = vec![Record::new(first, at, parse("web-1"), accepted)];
        Self {
            rng,
            mutant,
            now: START,
            skew: 0,
            incarnation: 0,
            faults: true,
            checker: Checker::new(&plan),
            plan,
            before,
            hosts,
            queue: BTreeMap::new(),
            ticket: 0,
            followers: Vec::new(),
            live: Rollout::replay(&journal).ok(),
            journal,
            flights: BTreeMap::new(),
            helped: 0,
            stats: Stats::default(),
            log: Vec::new(),
        }
    }

    /// What happened, a line each.
    pub(crate) fn story(&self) -> String {
        self.log.join("\n")
    }

    pub(crate) fn run(&mut self) -> Result<Stats, String> {
        if self.plan.waves.is_empty() {
            return Ok(self.stats);
        }
        self.reload()?;
        self.decide(&[Input::Tick])?;
        for turn in 0..TURNS {
            if turn == FAULTY_TURNS {
                self.heal();
            }
            if let Some(outcome) = self.live().outcome() {
                return self.finish(outcome);
            }
            self.turn()?;
        }
        Err(format!("it did not end: {:?}", self.live().state()))
    }

    fn heal(&mut self) {
        self.faults = false;
        for host in self.hosts.values_mut() {
            host.unreachable = false;
        }
    }

    fn live(&self) -> &Rollout {
        self.live.as_ref().expect("the driver has a rollout between two decisions")
    }

    /// What the driver's clock shows.
    fn clock(&self) -> Timestamp {
        Timestamp::from_millis(self.now.saturating_add_signed(self.skew))
    }

    fn tell(&mut self, what: std::fmt::Arguments<'_>) {
        self.log.push(format!("{} {what}", self.now));
    }

    fn turn(&mut self) -> Checked {
        self.disturb()?;
        if self.live().waits_for_person() && (!self.faults || self.rng.one_in(8)) {
            self.help()?;
        }
        if self.live().outcome().is_some() {
            return Ok(());
        }
        let host_at = self.hosts.values().filter_map(SimHost::next_at).min();
        let message_at = self.queue.first_key_value().map(|((at, _), _)| *at);
        let wake_at = self.live().wake_at(self.clock());
        let wake_at = wake_at.map(|it| it.as_millis().saturating_add_signed(-self.skew));
        let Some(at) = [host_at, message_at, wake_at].into_iter().flatten().min() else {
            return self.idle();
        };
        self.now = self.now.max(at);
        if host_at == Some(at) {
            self.advance_hosts();
            return Ok(());
        }
        if message_at == Some(at) {
            let (_, message) = self.queue.pop_first().expect("there is a message");
            return self.deliver(message);
        }
        self.decide(&[Input::Tick])
    }

    /// What nobody asked for.
    fn disturb(&mut self) -> Checked {
        if !self.faults {
            return Ok(());
        }
        // What a host does by itself is short, and so is cut more often.
        let deciding = self.hosts.values().any(SimHost::is_deciding);
        if self.rng.one_in(if deciding { 20 } else { 80 }) {
            self.reboot_one();
        }
        if self.rng.one_in(40) {
            self.lose_or_find_one();
        }
        if self.rng.one_in(70) {
            self.now += self.rng.below(7_200_000); // the machine was suspended
        }
        if self.rng.one_in(150) {
            self.stats.clock_jumps += 1;
            self.skew = i64::try_from(self.rng.below(1_200_000)).unwrap() - 600_000;
            let skew = self.skew;
            self.tell(format_args!("the driver's clock is off by {skew} ms"));
        }
        if self.rng.one_in(50) { self.command_at_random() } else { Ok(()) }
    }

    /// Nothing will ever happen by itself.
    fn idle(&mut self) -> Checked {
        if !self.live().waits_for_person() {
            return Err(format!("nothing will ever happen again: {:?}", self.live().view()));
        }
        self.now += 1_000;
        Ok(())
    }

    fn send(&mut self, after: u64, message: Message) {
        self.ticket += 1;
        self.queue.insert((self.now + after, self.ticket), message);
    }

    fn deliver(&mut self, message: Message) -> Checked {
        match message {
            Message::ToHost { effect, incarnation } => self.reach(effect, incarnation),
            Message::Again { effect, incarnation } if incarnation == self.incarnation => {
                if self.flights.get(&effect.host) == Some(&effect) {
                    self.perform(effect, false);
                }
                Ok(())
            }
            Message::ToDriver { effect, reply, incarnation } if incarnation == self.incarnation => {
                self.landed(effect, reply)
            }
            // To a driver that is gone.
            Message::Again { .. } | Message::ToDriver { .. } => Ok(()),
        }
    }

    fn finish(&mut self, outcome: Outcome) -> Result<Stats, String> {
        match outcome {
            Outcome::Aborted => self.stats.aborted += 1,
            Outcome::Failed => self.stats.failed += 1,
            Outcome::RolledBack => self.stats.rolled_back += 1,
            Outcome::Succeeded => self.stats.succeeded += 1,
            _ => self.stats.with_debt += 1,
        }
        self.stats.records += self.journal.len() as u64;
        self.drain()?;
        self.check_hosts(outcome)?;
        self.check_executions()?;
        Ok(self.stats)
    }

    /// Zombies may still arrive after the end, and must change nothing.
    fn drain(&mut self) -> Checked {
        self.incarnation += 1;
        while let Some(((at, _), message)) = self.queue.pop_first() {
            self.now = self.now.max(at);
            if let Message::ToHost { effect, .. } = message {
                self.reach(effect, u32::MAX)?;
            }
        }
        while let Some(at) = self.hosts.values().filter_map(SimHost::next_at).min() {
            self.now = self.now.max(at);
            self.advance_hosts();
        }
        Ok(())
    }
}
