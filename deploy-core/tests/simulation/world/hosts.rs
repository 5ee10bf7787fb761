//! What hosts do with what reaches them, and what becomes of their answers.
use super::{Message, World};
use crate::{
    host::{Answer, Fate, Order, SimHost},
    mutant::Mutant,
};
use deploy_core::{
    id::{HostName, Seq},
    rollout::{AttemptEnd, Effect, EffectKind, Reply},
    spec::StepName,
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
        let names: Vec<HostName> = self.hosts.keys().cloned().collect();
        let name = self.rng.pick(&names).clone();
        let cut = self.hosts.get_mut(&name).unwrap().reboot(&mut self.rng);
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

    pub(super) fn unknown(&mut self) -> Reply {
        self.stats.unknown += 1;
        let reason = "the connection was lost".to_owned();
        if self.mutant == Mutant::UnknownIsFailed {
            return Reply::Ended(AttemptEnd::Failed { step: None, code: None, reason });
        }
        Reply::Unknown { reason }
    }

    /// A request arrives at its host.
    pub(super) fn reach(&mut self, effect: Effect, incarnation: u32) {
        match effect.kind {
            EffectKind::Kill => {
                let (name, generation) = (effect.host.clone(), effect.generation);
                let end = self.hosts.get_mut(&name).unwrap().kill(generation, &mut self.rng);
                self.answer(effect, Reply::Ended(end), incarnation);
                self.tell_followers(&name, generation);
            }
            EffectKind::Probe => self.reach_probe(effect, incarnation),
            EffectKind::Resolve { step } => self.reach_resolve(effect, step, incarnation),
            EffectKind::Run => self.reach_run(effect, incarnation),
            EffectKind::Watch { .. } => {}
        }
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
            Some(Fate::Running { .. }) => Reply::StillRunning,
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
        Order {
            generation: effect.generation,
            direction: effect.direction,
            steps: steps.collect(),
            goal: moved.keeps_release.then(|| moved.release.id.clone()),
        }
    }
}
