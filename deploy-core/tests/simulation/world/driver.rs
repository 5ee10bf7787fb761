//! A driver: it journals what the machine decides, and makes its effects be under way. It crashes now and then.
use super::{Checked, Message, World};
use crate::mutant::Mutant;
use deploy_core::{
    id::HostName,
    rollout::{AttemptEnd, Effect, EffectKind, Event, Input, Record, Reply, Rollout},
};
use std::collections::BTreeSet;

impl World {
    pub(super) fn landed(&mut self, effect: Effect, reply: Reply) -> Checked {
        if self.faults && self.rng.one_in(60) {
            return self.crash();
        }
        let (host, generation) = (effect.host.clone(), effect.generation);
        if self.mutant == Mutant::ConfirmsUnasked && reply == Reply::AwaitsConfirm {
            let mut effect = effect.clone();
            effect.kind = EffectKind::Confirm;
            self.send(0, Message::ToHost { effect, incarnation: u32::MAX });
        }
        self.misread_staging(&effect, &reply);
        self.tell(format_args!("{host} answers {generation}: {reply:?}"));
        self.decide(&[Input::Replied { host, generation, reply }])?;
        if self.flights.get(&effect.host) == Some(&effect) {
            let incarnation = self.incarnation;
            let after = 500 + self.rng.below(3_000);
            self.send(after, Message::Again { effect, incarnation });
        }
        Ok(())
    }

    fn crash(&mut self) -> Checked {
        self.stats.crashes += 1;
        self.tell(format_args!("the driver crashes"));
        self.incarnation += 1;
        self.flights.clear();
        self.reload()?;
        self.decide(&[Input::Tick])
    }

    pub(super) fn reload(&mut self) -> Checked {
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

    pub(super) fn decide(&mut self, inputs: &[Input]) -> Checked {
        let now = self.clock();
        let rollout = self.live.take().expect("the driver has a rollout");
        if self.mutant == Mutant::DispatchBeforeJournal {
            self.dispatch_early(rollout.clone(), inputs);
        }
        let pending =
            inputs.iter().fold(rollout.decide(&Input::Tick, now), |it, input| it.and(input, now));
        let appended = !pending.records().is_empty();
        if self.faults && appended && self.rng.one_in(60) {
            return self.crash(); // before the append
        }
        let known = pending.expected();
        self.append(pending.records(), "")?;
        if self.faults && appended && self.rng.one_in(60) {
            return self.crash(); // after it, before any effect
        }
        let (rollout, changed) = pending.commit();
        for (host, effect) in changed {
            let fresh = effect.as_ref().is_some_and(|it| it.generation > known);
            self.set_flight(host, effect, fresh);
        }
        if rollout.wake_at(now).is_some_and(|it| it <= now) {
            return Err("it would wake up at once, and again and again".to_owned());
        }
        self.live = Some(rollout);
        if appended { self.compare() } else { Ok(()) }
    }

    fn dispatch_early(&mut self, rollout: Rollout, inputs: &[Input]) {
        let now = self.clock();
        let pending =
            inputs.iter().fold(rollout.decide(&Input::Tick, now), |it, input| it.and(input, now));
        for (host, effect) in pending.commit().1 {
            self.set_flight(host, effect, true);
        }
    }

    pub(super) fn append(&mut self, records: &[Record], by: &str) -> Checked {
        for record in records {
            self.tell(format_args!("{} {by}{}", record.seq, brief(&record.event)));
            self.count(&record.event);
            if let Event::TargetStaged { host } = &record.event {
                self.check_staged(host)?;
            }
            self.checker.see(record)?;
        }
        self.journal.extend_from_slice(records);
        Ok(())
    }

    fn count(&mut self, event: &Event) {
        self.stats.staged += u64::from(matches!(event, Event::TargetStaged { .. }));
        self.stats.not_staged += u64::from(matches!(event, Event::TargetNotStaged { .. }));
        self.stats.confirmed += u64::from(matches!(event, Event::AttemptConfirmed { .. }));
        let Event::AttemptEnded { host, generation, end, .. } = event else {
            return;
        };
        let is_reverted = matches!(end, AttemptEnd::SelfReverted { .. });
        self.stats.self_reverted += u64::from(is_reverted);
        let is_stuck = matches!(end, AttemptEnd::RevertFailed { .. });
        self.stats.revert_failed += u64::from(is_stuck);
        if matches!(end, AttemptEnd::NoAnswer { .. }) {
            self.stats.unanswered += 1;
            // Some come back just after they were given up.
            let comes_back = self.rng.one_in(2);
            self.hosts.get_mut(host).unwrap().unreachable &= !comes_back;
        }
        let known = |record: &&Record| match &record.event {
            Event::AttemptEnded { host: on, generation: of, .. } => on == host && of == generation,
            _ => false,
        };
        self.stats.late_answers += u64::from(self.journal.iter().any(|it| known(&it)));
    }

    /// What the driver knows step by step is what it would know after a crash.
    fn compare(&mut self) -> Checked {
        self.check_staging()?;
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
            None if self.mutant == Mutant::ForgetsToStopStaging
                && self.flights.get(&host).is_some_and(|it| it.kind == EffectKind::Stage) => {}
            None => {
                self.flights.remove(&host);
            }
        }
    }

    pub(super) fn perform(&mut self, effect: Effect, fresh: bool) {
        let incarnation = self.incarnation;
        let after = 1 + self.rng.below(40);
        if let EffectKind::Watch { until } = effect.kind {
            let left = until.since(self.clock()).as_millis();
            let left = u64::try_from(left).unwrap();
            let (after, reply) = if self.rng.one_in(15) {
                (self.rng.below(left + 1), Reply::Unhealthy { reason: "503".to_owned() })
            } else {
                (left + self.rng.below(3_000), Reply::Healthy)
            };
            self.send(after, Message::ToDriver { effect, reply, incarnation });
            return;
        }
        if self.mutant == Mutant::DecidesForTheHost && effect.kind == EffectKind::Confirm {
            let (effect, reply) = (effect.clone(), Reply::Ended(AttemptEnd::Succeeded));
            self.send(after, Message::ToDriver { effect, reply, incarnation });
        }
        if self.mutant == Mutant::TrustsThatItIsStaged && effect.kind == EffectKind::Stage {
            let (effect, reply) = (effect.clone(), Reply::Staged);
            self.send(after, Message::ToDriver { effect, reply, incarnation });
        }
        if self.hosts[&effect.host].unreachable {
            let reason = "no route to host".to_owned();
            let reply = if fresh && effect.kind == EffectKind::Run {
                Reply::Ended(AttemptEnd::Unreachable { reason })
            } else if effect.kind == EffectKind::Stage && self.rng.one_in(4) {
                Reply::NotStaged { reason }
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
}

fn brief(event: &Event) -> String {
    match event {
        Event::Accepted { .. } => "Accepted".to_owned(),
        other => format!("{other:?}"),
    }
}
