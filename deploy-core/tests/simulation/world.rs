//! The world around the machine.
use crate::{
    checker::Checker,
    host::{Answer, Fate, Order, SimHost},
    rng::Rng,
    scenario::{START, parse, scenario},
};
use deploy_core::{
    id::{HostName, ReleaseId, Seq},
    plan::Plan,
    rollout::{
        AttemptEnd, Effect, EffectKind, Event, Input, Outcome, Record, Reply, Rollout, SkipKind,
        TaskState,
    },
    spec::{Direction, Effect as StepEffect, Limit, StepName},
    time::Timestamp,
};
use std::collections::{BTreeMap, BTreeSet};

/// What is wrong on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mutant {
    None,
    BudgetOffByOne,
    DispatchBeforeJournal,
    NoFence,
    ProbeDoesNotFence,
    UnknownIsFailed,
    WaveOverlap,
}

impl Mutant {
    pub(crate) const ALL: [Self; 6] = [
        Self::BudgetOffByOne,
        Self::DispatchBeforeJournal,
        Self::NoFence,
        Self::ProbeDoesNotFence,
        Self::UnknownIsFailed,
        Self::WaveOverlap,
    ];
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Stats {
    pub(crate) aborted: u64,
    pub(crate) commands: u64,
    pub(crate) crashes: u64,
    pub(crate) doubled: u64,
    pub(crate) failed: u64,
    pub(crate) lost_replies: u64,
    pub(crate) reboots: u64,
    pub(crate) records: u64,
    pub(crate) resolved: u64,
    pub(crate) rolled_back: u64,
    pub(crate) succeeded: u64,
    pub(crate) unknown: u64,
    pub(crate) with_debt: u64,
    pub(crate) zombies: u64,
}

impl Stats {
    pub(crate) fn add(&mut self, other: &Self) {
        self.aborted += other.aborted;
        self.commands += other.commands;
        self.crashes += other.crashes;
        self.doubled += other.doubled;
        self.failed += other.failed;
        self.lost_replies += other.lost_replies;
        self.reboots += other.reboots;
        self.records += other.records;
        self.resolved += other.resolved;
        self.rolled_back += other.rolled_back;
        self.succeeded += other.succeeded;
        self.unknown += other.unknown;
        self.with_debt += other.with_debt;
        self.zombies += other.zombies;
    }

    /// A simulation in which something never happens proves nothing about it.
    pub(crate) fn assert_covers_everything(&self, seeds: u64) {
        let all = [
            ("aborted", self.aborted),
            ("commands", self.commands),
            ("crashes", self.crashes),
            ("doubled", self.doubled),
            ("failed", self.failed),
            ("lost replies", self.lost_replies),
            ("reboots", self.reboots),
            ("resolved", self.resolved),
            ("rolled back", self.rolled_back),
            ("succeeded", self.succeeded),
            ("unknown", self.unknown),
            ("with debt", self.with_debt),
            ("zombies", self.zombies),
        ];
        for (what, count) in all {
            assert!(count * 100 >= seeds, "`{what}` happened only {count} times in {seeds} seeds");
        }
    }
}

#[derive(Clone, Debug)]
enum Message {
    Again { effect: Effect, incarnation: u32 },
    ToDriver { effect: Effect, reply: Reply, incarnation: u32 },
    ToHost { effect: Effect, incarnation: u32 },
    Wake { incarnation: u32 },
}

pub(crate) struct World {
    rng: Rng,
    mutant: Mutant,
    now: u64,
    incarnation: u32,
    faults: bool,
    plan: Plan,
    before: BTreeMap<HostName, Option<ReleaseId>>,
    hosts: BTreeMap<HostName, SimHost>,
    queue: BTreeMap<(u64, u64), Message>,
    ticket: u64,
    followers: Vec<(Effect, u32)>,
    journal: Vec<Record>,
    checker: Checker,
    live: Option<Rollout>,
    flights: BTreeMap<HostName, Effect>,
    healing: u32,
    stats: Stats,
    log: Vec<String>,
}

type Checked = Result<(), String>;

impl World {
    pub(crate) fn new(seed: u64, mutant: Mutant) -> Self {
        let mut rng = Rng::new(seed);
        let (plan, before) = scenario(&mut rng);
        let mut given = plan.clone();
        match mutant {
            Mutant::BudgetOffByOne => raise_budget(&mut given),
            Mutant::WaveOverlap => overlap(&mut given),
            _ => {}
        }
        let hosts = before
            .iter()
            .map(|(name, release)| (name.clone(), SimHost::new(release.clone(), &mut rng)))
            .collect();
        let accepted = Event::Accepted { plan: Box::new(given), by: parse("ann") };
        let at = Timestamp::from_millis(START);
        // Rollouts before this one have left their records.
        let first = Seq::new(1 + rng.below(5));
        let journal = vec![Record::new(first, at, parse("web-1"), accepted)];
        Self {
            rng,
            mutant,
            now: START,
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
            healing: 0,
            stats: Stats::default(),
            log: Vec::new(),
        }
    }

    pub(crate) fn story(&self) -> String {
        self.log.join("\n")
    }

    pub(crate) fn run(&mut self) -> Result<Stats, String> {
        if self.plan.waves.is_empty() {
            return Ok(self.stats);
        }
        self.decide(&[Input::Tick])?;
        for turn in 0..6_000 {
            if turn == 250 {
                self.heal();
            }
            if let Some(outcome) = self.live.as_ref().and_then(Rollout::outcome) {
                return self.finish(outcome);
            }
            self.turn()?;
        }
        Err(format!("it did not end: {:?}", self.live.as_ref().map(Rollout::state)))
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

    fn turn(&mut self) -> Checked {
        if self.faults && self.rng.one_in(50) {
            self.command_at_random()?;
        }
        if self.faults && self.rng.one_in(80) {
            self.reboot_one();
        }
        if self.faults && self.rng.one_in(150) {
            self.now += self.rng.below(7_200_000); // the clock jumps
        }
        if self.live().waits_for_person() && (!self.faults || self.rng.one_in(4)) {
            self.help()?;
        }
        let host_at = self.hosts.values().filter_map(SimHost::next_at).min();
        let message_at = self.queue.first_key_value().map(|((at, _), _)| *at);
        match (host_at, message_at) {
            (Some(host_at), at) if at.is_none_or(|it| host_at < it) => {
                self.now = self.now.max(host_at);
                self.advance_hosts();
                Ok(())
            }
            (_, Some(at)) => {
                self.now = self.now.max(at);
                let (_, message) = self.queue.pop_first().expect("there is a message");
                self.deliver(message)
            }
            (_, None) => {
                self.now += 1_000;
                self.decide(&[Input::Tick])
            }
        }
    }

    fn send(&mut self, after: u64, message: Message) {
        self.ticket += 1;
        self.queue.insert((self.now + after, self.ticket), message);
    }

    fn advance_hosts(&mut self) {
        let names: Vec<HostName> = self.hosts.keys().cloned().collect();
        for name in names {
            let host = self.hosts.get_mut(&name).unwrap();
            if let Some(generation) = host.advance(self.now, &mut self.rng) {
                self.tell_followers(&name, generation);
            }
        }
    }

    fn reboot_one(&mut self) {
        let names: Vec<HostName> = self.hosts.keys().cloned().collect();
        let name = self.rng.pick(&names).clone();
        let cut = self.hosts.get_mut(&name).unwrap().reboot(&mut self.rng);
        if let Some(generation) = cut {
            self.stats.reboots += 1;
            self.log.push(format!("{} {name} reboots in attempt {generation}", self.now));
            self.tell_followers(&name, generation);
        }
    }

    fn tell_followers(&mut self, name: &HostName, generation: Seq) {
        let Some(Fate::Ended(end)) = self.hosts[name].attempts.get(&generation).cloned() else {
            return;
        };
        let (tell, keep): (Vec<_>, Vec<_>) = std::mem::take(&mut self.followers)
            .into_iter()
            .partition(|(effect, _)| effect.host == *name && effect.generation == generation);
        self.followers = keep;
        for (effect, incarnation) in tell {
            self.answer(effect, Reply::Ended(end.clone()), incarnation);
        }
    }

    /// An answer on its way to the driver: late, lost or doubled.
    fn answer(&mut self, effect: Effect, reply: Reply, incarnation: u32) {
        let after = 1 + self.rng.below(40);
        let reply = if self.faults && self.rng.one_in(12) {
            self.stats.lost_replies += 1;
            self.unknown()
        } else {
            reply
        };
        if self.faults && self.rng.one_in(10) {
            self.stats.doubled += 1;
            let later = after + self.rng.below(5_000);
            let (effect, reply) = (effect.clone(), reply.clone());
            self.send(later, Message::ToDriver { effect, reply, incarnation });
        }
        self.send(after, Message::ToDriver { effect, reply, incarnation });
    }

    fn unknown(&mut self) -> Reply {
        self.stats.unknown += 1;
        let reason = "the connection was lost".to_owned();
        if self.mutant == Mutant::UnknownIsFailed {
            return Reply::Ended(AttemptEnd::Failed { step: None, code: None, reason });
        }
        Reply::Unknown { reason }
    }

    fn deliver(&mut self, message: Message) -> Checked {
        match message {
            Message::ToHost { effect, incarnation } => {
                self.reach(effect, incarnation);
                Ok(())
            }
            Message::Again { effect, incarnation } if incarnation == self.incarnation => {
                if self.flights.get(&effect.host) == Some(&effect) {
                    self.perform(effect, false);
                }
                Ok(())
            }
            Message::ToDriver { effect, reply, incarnation } if incarnation == self.incarnation => {
                if self.faults && self.rng.one_in(60) {
                    return self.crash();
                }
                let (host, generation) = (effect.host.clone(), effect.generation);
                self.log.push(format!("{} {host} answers {generation}: {reply:?}", self.now));
                self.decide(&[Input::Replied { host, generation, reply }])?;
                if self.flights.get(&effect.host) == Some(&effect) {
                    let incarnation = self.incarnation;
                    let after = 500 + self.rng.below(500);
                    self.send(after, Message::Again { effect, incarnation });
                }
                Ok(())
            }
            Message::Wake { incarnation } if incarnation == self.incarnation => {
                self.decide(&[Input::Tick])
            }
            // To a driver that is gone.
            Message::Again { .. } | Message::ToDriver { .. } | Message::Wake { .. } => Ok(()),
        }
    }

    fn crash(&mut self) -> Checked {
        self.stats.crashes += 1;
        self.log.push(format!("{} the driver crashes", self.now));
        self.incarnation += 1;
        self.flights.clear();
        self.reload()?;
        self.decide(&[Input::Tick])
    }

    fn reload(&mut self) -> Checked {
        let rollout = Rollout::replay(&self.journal).map_err(|err| err.to_string())?;
        let agenda = rollout.agenda();
        self.live = Some(rollout);
        let hosts: BTreeSet<HostName> = agenda.iter().map(|it| it.host.clone()).collect();
        self.flights.retain(|host, _| hosts.contains(host));
        for effect in agenda {
            self.set_flight(effect.host.clone(), Some(effect), false);
        }
        Ok(())
    }

    fn decide(&mut self, inputs: &[Input]) -> Checked {
        let now = Timestamp::from_millis(self.now);
        let rollout = self.live.take().expect("the driver has a rollout");
        let early = (self.mutant == Mutant::DispatchBeforeJournal).then(|| rollout.clone());
        let pending =
            inputs.iter().fold(rollout.decide(&Input::Tick, now), |it, input| it.and(input, now));
        if let Some(early) = early {
            let early =
                inputs.iter().fold(early.decide(&Input::Tick, now), |it, input| it.and(input, now));
            for (host, effect) in early.commit().1 {
                self.set_flight(host, effect, true);
            }
        }
        if self.faults && !pending.records().is_empty() && self.rng.one_in(60) {
            return self.crash(); // before the append
        }
        let known = pending.expected();
        for record in pending.records() {
            self.log.push(format!("{} {} {:?}", self.now, record.seq, brief(&record.event)));
            self.checker.see(record)?;
        }
        self.journal.extend_from_slice(pending.records());
        let appended = !pending.records().is_empty();
        if self.faults && appended && self.rng.one_in(60) {
            return self.crash(); // after it, before any effect
        }
        let (rollout, changed) = pending.commit();
        for (host, effect) in changed {
            let fresh = effect.as_ref().is_some_and(|it| it.generation > known);
            self.set_flight(host, effect, fresh);
        }
        if let Some(at) = rollout.wake_at(now) {
            let after = at.as_millis().saturating_sub(self.now).max(1);
            let incarnation = self.incarnation;
            if appended || self.queue.is_empty() {
                self.send(after, Message::Wake { incarnation });
            }
        }
        self.live = Some(rollout);
        if appended { self.compare() } else { Ok(()) }
    }

    /// What the driver knows step by step is what it would know after a crash.
    fn compare(&mut self) -> Checked {
        let live = self.live();
        let flights: Vec<&Effect> = self.flights.values().collect();
        let mut agenda = live.agenda();
        agenda.sort();
        if self.mutant == Mutant::None && agenda.iter().collect::<Vec<_>>() != flights {
            return Err(format!("the agenda is {agenda:?}, and under way are {flights:?}"));
        }
        if self.journal.len().is_multiple_of(8) {
            let replayed = Rollout::replay(&self.journal).map_err(|err| err.to_string())?;
            if replayed != *live {
                return Err("replaying gives another state".into());
            }
        }
        Ok(())
    }

    fn set_flight(&mut self, host: HostName, effect: Option<Effect>, fresh: bool) {
        match effect {
            Some(effect) if self.flights.get(&host) == Some(&effect) => {}
            Some(effect) => {
                self.flights.insert(host, effect.clone());
                self.perform(effect, fresh);
            }
            None => {
                self.flights.remove(&host);
            }
        }
    }

    fn perform(&mut self, effect: Effect, fresh: bool) {
        let incarnation = self.incarnation;
        let after = 1 + self.rng.below(40);
        if let EffectKind::Watch { until } = effect.kind {
            let left = until.as_millis().saturating_sub(self.now);
            let (after, reply) = if self.rng.one_in(15) {
                (self.rng.below(left + 1), Reply::Unhealthy { reason: "503".to_owned() })
            } else {
                (left, Reply::Healthy)
            };
            self.send(after, Message::ToDriver { effect, reply, incarnation });
            return;
        }
        if self.hosts[&effect.host].unreachable {
            let reason = "no route to host".to_owned();
            let reply = if fresh && effect.kind == EffectKind::Run {
                Reply::Ended(AttemptEnd::Unreachable { reason })
            } else {
                self.unknown()
            };
            self.send(after, Message::ToDriver { effect, reply, incarnation });
            return;
        }
        if self.faults && self.rng.one_in(10) {
            // The request times out for the driver, and may still arrive: a zombie.
            let reply = self.unknown();
            self.send(after, Message::ToDriver { effect: effect.clone(), reply, incarnation });
            if self.rng.one_in(2) {
                self.stats.zombies += 1;
                let later = after + self.rng.below(20_000);
                self.send(later, Message::ToHost { effect, incarnation: u32::MAX });
            }
            return;
        }
        self.send(after, Message::ToHost { effect, incarnation });
    }

    /// A request arrives at its host.
    fn reach(&mut self, effect: Effect, incarnation: u32) {
        let fences = self.mutant != Mutant::NoFence;
        let (name, generation) = (effect.host.clone(), effect.generation);
        match effect.kind {
            EffectKind::Run => {
                let order = self.order(&effect);
                let now = self.now;
                let host = self.hosts.get_mut(&name).unwrap();
                let reason = String::new();
                match host.start(order, now, fences, &mut self.rng) {
                    Answer::Busy => {
                        let end = AttemptEnd::Unreachable { reason };
                        self.refuse(effect, end, incarnation);
                    }
                    Answer::Fenced => {
                        let end = AttemptEnd::Failed { step: None, code: None, reason };
                        self.refuse(effect, end, incarnation);
                    }
                    Answer::Attached | Answer::Started => {
                        self.followers.push((effect, incarnation));
                        self.tell_followers(&name, generation);
                    }
                }
            }
            EffectKind::Probe => {
                let host = self.hosts.get_mut(&name).unwrap();
                if fences && self.mutant != Mutant::ProbeDoesNotFence {
                    host.fence = host.fence.max(generation);
                }
                let reply = match host.attempts.get(&generation) {
                    None => Reply::NeverStarted,
                    Some(Fate::Ended(end)) => Reply::Ended(end.clone()),
                    Some(Fate::Running { .. }) => Reply::StillRunning,
                };
                self.answer(effect, reply, incarnation);
            }
            EffectKind::Kill => {
                let end = self.hosts.get_mut(&name).unwrap().kill(generation, &mut self.rng);
                self.answer(effect, Reply::Ended(end), incarnation);
                self.tell_followers(&name, generation);
            }
            EffectKind::Resolve { step } => {
                let goal = self.order(&effect).goal;
                let switches = matches!(step, StepName::Install | StepName::Rollback);
                let reply = match (self.rng.one_in(3), switches) {
                    (true, _) => Reply::CannotTell,
                    (false, true) if self.hosts[&name].release == goal => {
                        Reply::Ended(AttemptEnd::ResolvedDone { step })
                    }
                    (false, _) => Reply::Ended(AttemptEnd::ResolvedNotDone { step }),
                };
                self.stats.resolved += 1;
                self.answer(effect, reply, incarnation);
            }
            EffectKind::Watch { .. } => {}
        }
    }

    /// The host starts nothing. That is the whole truth only if nobody asked before.
    fn refuse(&mut self, effect: Effect, end: AttemptEnd, incarnation: u32) {
        let reply = if self.rng.one_in(2) { Reply::Ended(end) } else { self.unknown() };
        self.answer(effect, reply, incarnation);
    }

    fn order(&self, effect: &Effect) -> Order {
        let target = self.plan.targets().find(|it| it.host.name == effect.host).unwrap();
        let moved = self.plan.movement(target, effect.direction).unwrap();
        let steps = moved.steps().map(|it| it.name).filter(|it| *it >= effect.first_step);
        Order {
            generation: effect.generation,
            direction: effect.direction,
            steps: steps.collect(),
            goal: moved.keeps_release.then(|| moved.release.id.clone()),
        }
    }

    fn command_at_random(&mut self) -> Checked {
        let hosts: Vec<HostName> = self.hosts.keys().cloned().collect();
        let host = self.rng.pick(&hosts).clone();
        let (by, note) = (parse("ann"), String::new());
        let command = match self.rng.below(12) {
            0 => Input::Abort { by, note, kill: self.rng.one_in(2) },
            1 | 2 => Input::Confirm { by },
            3 => Input::Kill { host, by },
            4 => Input::Pause { by, note },
            5 | 6 => Input::Resume { by },
            7 => Input::Retry { host: Some(host), by },
            8 => Input::Retry { host: None, by },
            9 => Input::Rollback { by, note },
            10 => Input::Skip { host, kind: SkipKind::Skip, by },
            _ => Input::Skip { host, kind: SkipKind::Exclude, by },
        };
        self.command(&command)
    }

    /// Half of the commands come from another process, behind the driver's back.
    fn command(&mut self, command: &Input) -> Checked {
        self.stats.commands += u64::from(self.live().admits(command).is_ok());
        if self.rng.one_in(2) {
            return self.decide(std::slice::from_ref(command));
        }
        let rollout = Rollout::replay(&self.journal).map_err(|err| err.to_string())?;
        let pending = rollout.instruct(command, Timestamp::from_millis(self.now));
        for record in pending.records() {
            self.log.push(format!(
                "{} {} by another: {:?}",
                self.now,
                record.seq,
                brief(&record.event)
            ));
            self.checker.see(record)?;
        }
        self.journal.extend_from_slice(pending.records());
        self.reload()?;
        self.decide(&[Input::Tick])
    }

    /// A person does what a rollout that stands still waits for.
    fn help(&mut self) -> Checked {
        self.healing += 1;
        let (by, note) = (parse("ann"), String::new());
        let stuck = self.healing > 20;
        let command = match self.rng.below(6) {
            _ if stuck => Input::Abort { by, note, kill: true },
            0 => Input::Retry { host: None, by },
            1 if self.healing > 5 => Input::Rollback { by, note },
            2 => Input::Confirm { by },
            3 if self.healing > 8 => Input::Abort { by, note, kill: false },
            _ => Input::Resume { by },
        };
        self.command(&command)?;
        let by = parse("ann");
        self.command(&Input::Confirm { by })
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
        self.drain();
        self.check_hosts(outcome)?;
        self.check_executions()?;
        Ok(self.stats)
    }

    /// Zombies may still arrive after the end, and must change nothing.
    fn drain(&mut self) {
        self.incarnation += 1;
        while let Some(((at, _), message)) = self.queue.pop_first() {
            self.now = self.now.max(at);
            if let Message::ToHost { effect, .. } = message {
                self.reach(effect, u32::MAX);
            }
        }
        while let Some(at) = self.hosts.values().filter_map(SimHost::next_at).min() {
            self.now = self.now.max(at);
            self.advance_hosts();
        }
    }

    fn check_hosts(&self, outcome: Outcome) -> Checked {
        for target in self.plan.targets() {
            let name = &target.host.name;
            let runs = &self.hosts[name].release;
            let back = self.live().task(name, Direction::Back);
            let forward = self.live().task(name, Direction::Forward).expect("a target has a task");
            let newest = back.filter(|it| it.state != TaskState::Skipped || it.attempts > 0);
            let want = match (newest, forward.state) {
                (Some(task), _) if task.state == TaskState::Succeeded => &target.from,
                (Some(_), _) => continue,
                (None, TaskState::Succeeded) => &target.to,
                (None, _) if !forward.touched => &self.before[name],
                (None, _) => continue,
            };
            if runs != want {
                return Err(format!("{outcome:?}: {name} runs {runs:?}, and should run {want:?}"));
            }
        }
        let state = |it: &HostName| self.live().task(it, Direction::Forward).map(|it| it.state);
        let undone = self.plan.targets().find(|it| {
            let well = [TaskState::Succeeded, TaskState::Skipped, TaskState::Excluded].map(Some);
            !well.contains(&state(&it.host.name))
        });
        match undone {
            Some(target) if outcome == Outcome::Succeeded => {
                Err(format!("it succeeded, and {} did not", target.host.name))
            }
            _ => Ok(()),
        }
    }

    /// What ran on hosts is what the journal asked for, and what must not run twice did not.
    fn check_executions(&self) -> Checked {
        for (name, host) in &self.hosts {
            let mut runs: BTreeMap<(Direction, StepName), u32> = BTreeMap::new();
            let mut seen = BTreeSet::new();
            for (generation, direction, step) in &host.executions {
                if self.checker.starts.get(generation) != Some(name) {
                    return Err(format!(
                        "{name} ran attempt {generation}, which the journal does not know"
                    ));
                }
                if !seen.insert((*generation, *step)) {
                    return Err(format!("{name} ran {step} twice in attempt {generation}"));
                }
                *runs.entry((*direction, *step)).or_default() += 1;
            }
            for ((direction, step), count) in runs {
                let allowed = 1 + self.reasons_to_repeat(name, direction, step);
                if count > allowed {
                    return Err(format!(
                        "{name} ran {step} {count} times, and {allowed} were allowed"
                    ));
                }
            }
        }
        Ok(())
    }

    /// How often a step that may have run was let run again, for a reason that the journal has.
    fn reasons_to_repeat(&self, name: &HostName, direction: Direction, step: StepName) -> u32 {
        let target = self.plan.targets().find(|it| it.host.name == *name).unwrap();
        let moved = self.plan.movement(target, direction).unwrap();
        let effect = moved.steps().find(|it| it.name == step).map(|it| it.effect);
        let reasons = self.journal.iter().filter(|record| match &record.event {
            Event::TargetRetried { host, .. } => host == name,
            Event::AttemptEnded { host, end, .. } if host == name => match end {
                AttemptEnd::Failed { step: Some(at), .. } | AttemptEnd::TimedOut { step: at } => {
                    *at == step
                }
                AttemptEnd::ResolvedNotDone { step: at } => {
                    *at == step && effect.is_some_and(|it| it != StepEffect::Once)
                }
                _ => false,
            },
            _ => false,
        });
        u32::try_from(reasons.count()).unwrap()
    }
}

fn raise_budget(plan: &mut Plan) {
    let budget = &mut plan.strategy.failure_budget;
    let total = u32::try_from(plan.waves.iter().map(Vec::len).sum::<usize>()).unwrap();
    for budget in [Some(&mut budget.rollout), budget.wave.as_mut()].into_iter().flatten() {
        budget.max_failed = Limit::Count(budget.max_failed.of(total) + 1);
        budget.max_timed_out = Limit::Count(budget.max_timed_out.of(total) + 1);
        budget.max_unreachable = Limit::Count(budget.max_unreachable.of(total) + 1);
    }
}

fn overlap(plan: &mut Plan) {
    if plan.waves.len() > 1 && plan.waves[1].len() > 1 {
        let early = plan.waves[1].remove(0);
        plan.waves[0].push(early);
    }
}

fn brief(event: &Event) -> String {
    match event {
        Event::Accepted { .. } => "Accepted".to_owned(),
        other => format!("{other:?}"),
    }
}
