//! What hosts do with what reaches them, and what becomes of their answers.
use super::{Checked, Message, World};
use crate::{
    host::{Answer, Fate, Order, SimHost},
    mutant::Mutant,
};
use deploy_core::{
    id::{HostName, Seq},
    rollout::{AttemptEnd, Effect, EffectKind, Reply},
    spec::{Direction, StepName},
};

impl World {
    pub(super) fn advance_hosts(&mut self) {
        let names: Vec<HostName> = self.hosts.keys().cloned().collect();
        for name in names {
            let host = self.hosts.get_mut(&name).unwrap();
            if let Some(generation) = host.advance(self.now, &mut self.rng) {
                self.tell_followers(&name, generation);
            }
        }
    }

    pub(super) fn reboot_one(&mut self) {
        let deciding = self.hosts.iter().filter(|(_, it)| it.is_deciding());
        let mut names: Vec<HostName> = deciding.map(|(name, _)| name.clone()).collect();
        if names.is_empty() || self.rng.one_in(3) {
            names = self.hosts.keys().cloned().collect();
        }
        let name = self.rng.pick(&names).clone();
        let host = self.hosts.get_mut(&name).unwrap();
        let cut = host.reboot(self.mutant, self.now, &mut self.rng);
        if let Some(generation) = cut {
            self.stats.reboots += 1;
            self.tell(format_args!("{name} reboots in attempt {generation}"));
            self.tell_followers(&name, generation);
        }
    }

    /// A host goes out of reach, or comes back.
    pub(super) fn lose_or_find_one(&mut self) {
        let lost = self.hosts.iter().filter(|(_, it)| it.unreachable).map(|(name, _)| name);
        let mut names: Vec<HostName> = lost.cloned().collect();
        if names.is_empty() || self.rng.one_in(2) {
            names = self.hosts.keys().cloned().collect();
        }
        let name = self.rng.pick(&names).clone();
        let host = self.hosts.get_mut(&name).unwrap();
        host.unreachable = !host.unreachable;
        let now = if host.unreachable { "out of reach" } else { "back" };
        self.tell(format_args!("{name} is {now}"));
    }

    fn tell_followers(&mut self, name: &HostName, generation: Seq) {
        let reply = match self.hosts[name].attempts.get(&generation) {
            Some(Fate::Awaiting { .. }) => Reply::AwaitsConfirm,
            Some(Fate::Ended(end)) => Reply::Ended(end.clone()),
            Some(Fate::Reverting { .. } | Fate::Running { .. }) | None => return,
        };
        let (tell, keep): (Vec<_>, Vec<_>) = std::mem::take(&mut self.followers)
            .into_iter()
            .partition(|(effect, _)| effect.host == *name && effect.generation == generation);
        self.followers = keep;
        for (effect, incarnation) in tell {
            self.answer(effect, reply.clone(), incarnation);
        }
    }

    /// An answer on its way to the driver: late, lost or doubled.
    fn answer(&mut self, effect: Effect, reply: Reply, incarnation: u32) {
        self.answer_after(0, effect, reply, incarnation);
    }

    pub(super) fn answer_after(
        &mut self,
        takes: u64,
        effect: Effect,
        reply: Reply,
        incarnation: u32,
    ) {
        let after = takes + 1 + self.rng.below(40);
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

    pub(super) fn unknown(&mut self) -> Reply {
        self.stats.unknown += 1;
        let reason = "the connection was lost".to_owned();
        if self.mutant == Mutant::UnknownIsFailed {
            return Reply::Ended(AttemptEnd::Failed { step: None, code: None, reason });
        }
        Reply::Unknown { reason }
    }

    /// A request arrives at its host.
    pub(super) fn reach(&mut self, effect: Effect, incarnation: u32) -> Checked {
        match effect.kind {
            EffectKind::Confirm => return self.reach_confirm(effect, incarnation),
            EffectKind::Kill => {
                let (name, generation) = (effect.host.clone(), effect.generation);
                let host = self.hosts.get_mut(&name).unwrap();
                let end = host.kill(generation, self.now, &mut self.rng);
                let reply = end.map_or(Reply::StillRunning, Reply::Ended);
                self.answer(effect, reply, incarnation);
                self.tell_followers(&name, generation);
            }
            EffectKind::Probe => self.reach_probe(effect, incarnation),
            EffectKind::Resolve { step } => self.reach_resolve(effect, step, incarnation),
            EffectKind::Run => self.reach_run(effect, incarnation),
            EffectKind::Stage => self.reach_stage(effect, incarnation),
            EffectKind::Watch { .. } => {}
        }
        Ok(())
    }

    /// A host may keep only what the journal has asked it to keep, and in time.
    fn reach_confirm(&mut self, effect: Effect, incarnation: u32) -> Checked {
        let (name, generation) = (effect.host.clone(), effect.generation);
        let host = self.hosts.get_mut(&name).unwrap();
        let before = host.kept.len();
        let reply = host.confirm(generation, self.now, self.mutant, &mut self.rng);
        if let Some((_, waited)) = host.kept.get(before).copied() {
            self.check_kept(&name, generation, waited)?;
        }
        self.answer(effect, reply, incarnation);
        self.tell_followers(&name, generation);
        Ok(())
    }

    fn reach_run(&mut self, effect: Effect, incarnation: u32) {
        let fences = self.mutant != Mutant::NoFence;
        let order = self.order(&effect);
        let (name, generation, now) = (effect.host.clone(), effect.generation, self.now);
        let host: &mut SimHost = self.hosts.get_mut(&name).unwrap();
        let reason = String::new();
        match host.start(order, now, fences, &mut self.rng) {
            Answer::Busy => self.refuse(effect, AttemptEnd::Unreachable { reason }, incarnation),
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

    /// The host starts nothing. That is the whole truth only if nobody asked before.
    fn refuse(&mut self, effect: Effect, end: AttemptEnd, incarnation: u32) {
        let reply = if self.rng.one_in(2) { Reply::Ended(end) } else { self.unknown() };
        self.answer(effect, reply, incarnation);
    }

    fn reach_probe(&mut self, effect: Effect, incarnation: u32) {
        let fences = !matches!(self.mutant, Mutant::NoFence | Mutant::ProbeDoesNotFence);
        let host = self.hosts.get_mut(&effect.host).unwrap();
        if fences {
            host.fence = host.fence.max(effect.generation);
        }
        let reply = match host.attempts.get(&effect.generation) {
            None => Reply::NeverStarted,
            Some(Fate::Ended(end)) => Reply::Ended(end.clone()),
            Some(Fate::Awaiting { .. }) => Reply::AwaitsConfirm,
            Some(Fate::Reverting { .. } | Fate::Running { .. }) => Reply::StillRunning,
        };
        self.answer(effect, reply, incarnation);
    }

    fn reach_resolve(&mut self, effect: Effect, step: StepName, incarnation: u32) {
        let goal = self.order(&effect).goal;
        let switches = matches!(step, StepName::Install | StepName::Rollback);
        let reply = match (self.rng.one_in(3), switches) {
            (true, _) => Reply::CannotTell,
            (false, true) if self.hosts[&effect.host].release == goal => {
                Reply::Ended(AttemptEnd::ResolvedDone { step })
            }
            (false, _) => Reply::Ended(AttemptEnd::ResolvedNotDone { step }),
        };
        self.stats.resolved += 1;
        self.answer(effect, reply, incarnation);
    }

    fn order(&self, effect: &Effect) -> Order {
        let target = self.plan.targets().find(|it| it.host.name == effect.host).unwrap();
        let moved = self.plan.movement(target, effect.direction).unwrap();
        let steps = moved.steps().map(|it| it.name).filter(|it| *it >= effect.first_step);
        let wait = self.plan.strategy.health.confirm_timeout;
        let wait = wait.filter(|_| effect.direction == Direction::Forward);
        let wait = wait.map(|it| match self.mutant {
            Mutant::ForgetsTheTimer => u64::MAX / 4,
            _ => u64::try_from(it.as_millis()).unwrap(),
        });
        Order {
            confirm: wait.map(|it| (target.from.clone(), it)),
            generation: effect.generation,
            direction: effect.direction,
            steps: steps.collect(),
            goal: moved.keeps_release.then(|| moved.release.id.clone()),
        }
    }
}
