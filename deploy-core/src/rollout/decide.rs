//! What an input means: facts to journal.
use super::{
    AttemptEnd, Event, Input, Reason, Record, Reply, Rollout, TaskState,
    agenda::Effect,
    apply::Touched,
    state::{Hold, LOST_AFTER, TargetIx},
};
use crate::{
    id::{HostName, Seq},
    spec::{Direction, Effect as StepEffect, StepName},
    time::Timestamp,
};
use std::collections::BTreeSet;

/// A rollout that has decided, and waits for its facts to be journaled.
///
/// It has no agenda: what follows from the facts can be asked for only once they are durable and [`commit`](Self::commit)
/// has given the rollout back. If they cannot be journaled, drop it and replay the journal.
#[derive(Debug)]
#[must_use = "the facts have to be journaled, and the rollout taken back"]
pub struct Pending {
    rollout: Rollout,
    expected: Seq,
    records: Vec<Record>,
    touched: BTreeSet<TargetIx>,
}

impl Rollout {
    /// What `input` means, as facts to journal.
    ///
    /// Stale and repeated inputs, and such as [`admits`](Self::admits) refuses, mean nothing and give no fact.
    pub fn decide(self, input: &Input, now: Timestamp) -> Pending {
        self.pend().and(input, now)
    }

    /// What a command means, without what follows from it: that is for whoever drives the rollout, when they do.
    pub fn instruct(self, command: &Input, now: Timestamp) -> Pending {
        let mut pending = self.pend();
        pending.react(command, now);
        pending
    }

    const fn pend(self) -> Pending {
        let expected = self.expected;
        Pending { rollout: self, expected, records: Vec::new(), touched: BTreeSet::new() }
    }
}

impl Pending {
    /// What a further input means, on top: so that many inputs cost one append.
    pub fn and(mut self, input: &Input, now: Timestamp) -> Self {
        if self.rollout.outcome.is_none() {
            self.react(input, now);
            while let Some(event) = self.rollout.advance(now) {
                self.emit(event, now);
            }
        }
        self
    }

    /// The facts, in order; they follow on from [`expected`](Self::expected).
    #[must_use]
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// The position at which the journal has to be for the facts to be appended.
    #[must_use]
    pub const fn expected(&self) -> Seq {
        self.expected
    }

    /// Takes the rollout back once the facts are durable, with every target whose effect may have changed, and what that
    /// effect is now.
    #[must_use]
    pub fn commit(self) -> (Rollout, Vec<(HostName, Option<Effect>)>) {
        let Self { rollout, touched, .. } = self;
        let changed = touched
            .into_iter()
            .filter_map(|ix| Some((rollout.name(ix)?.clone(), rollout.effect_of(ix))))
            .collect();
        (rollout, changed)
    }

    fn emit(&mut self, event: Event, now: Timestamp) {
        let seq = self.rollout.expected.next();
        let record = Record::new(seq, now, self.rollout.id.clone(), event);
        let record = record.behind(self.rollout.head);
        match self.rollout.take(&record) {
            Ok(Touched::Many(many)) => self.touched.extend(many),
            Ok(Touched::Nothing) => {}
            Ok(Touched::One(one)) => {
                self.touched.insert(one);
            }
            Err(err) => debug_assert!(false, "the machine decides only what it can apply: {err}"),
        }
        self.records.push(record);
    }

    fn react(&mut self, input: &Input, now: Timestamp) {
        if self.rollout.admits(input).is_err() {
            return;
        }
        match input {
            Input::Replied { host, generation, reply } => {
                self.replied(host, *generation, reply, now);
            }
            Input::Tick => {}
            Input::Abort { kill, .. } => {
                self.command(input, now);
                if *kill {
                    self.kill_all(input, now);
                }
            }
            Input::Retry { host: None, by } => {
                for host in self.rollout.in_trouble() {
                    self.emit(Event::TargetRetried { host, by: by.clone() }, now);
                }
            }
            Input::Confirm { .. }
            | Input::Kill { .. }
            | Input::Pause { .. }
            | Input::Resume { .. }
            | Input::Retry { .. }
            | Input::Rollback { .. }
            | Input::Skip { .. } => self.command(input, now),
        }
    }

    fn command(&mut self, input: &Input, now: Timestamp) {
        if let Some(event) = self.rollout.commanded(input) {
            self.emit(event, now);
        }
    }

    fn kill_all(&mut self, input: &Input, now: Timestamp) {
        let Input::Abort { by, .. } = input else {
            return;
        };
        let running: Vec<TargetIx> = self.rollout.in_flight.iter().copied().collect();
        for ix in running {
            if let Some(event) = self.rollout.kill(ix, by) {
                self.emit(event, now);
            }
        }
    }

    fn replied(&mut self, host: &HostName, generation: Seq, reply: &Reply, now: Timestamp) {
        let Some(&ix) = self.rollout.frame.index.get(host) else {
            return;
        };
        let event = match reply {
            Reply::NotStaged { .. } | Reply::Staged => self.rollout.staging_replied(ix, reply),
            Reply::Healthy if self.rollout.watching.contains(&ix) => {
                Some(Event::TargetHealthy { host: host.clone() })
            }
            Reply::Unhealthy { reason } if self.rollout.watching.contains(&ix) => {
                Some(Event::TargetUnhealthy { host: host.clone(), reason: reason.clone() })
            }
            Reply::Healthy | Reply::Unhealthy { .. } => None,
            other => self
                .rollout
                .direction_of(ix, generation)
                .and_then(|it| self.rollout.attempt_replied(ix, it, other, now)),
        };
        let Some(event) = event else { return };
        self.emit(event, now);
        self.stop_if_over_budget(ix, now);
    }

    fn stop_if_over_budget(&mut self, ix: TargetIx, now: Timestamp) {
        if let Some(reason) = self.rollout.over_budget(ix) {
            let event = self.rollout.stop(reason);
            self.emit(event, now);
        }
    }
}

impl Rollout {
    fn commanded(&self, input: &Input) -> Option<Event> {
        let operator = |by: &crate::id::Principal, note: &String| Reason::Operator {
            by: by.clone(),
            note: note.clone(),
        };
        Some(match input {
            Input::Abort { by, note, .. } => Event::AbortStarted { reason: operator(by, note) },
            Input::Confirm { by } => Event::Confirmed { wave: self.wave?, by: by.clone() },
            Input::Kill { host, by } => return self.kill(*self.frame.index.get(host)?, by),
            Input::Pause { by, note } => Event::PauseStarted { reason: operator(by, note) },
            Input::Resume { by } => Event::Resumed { by: by.clone() },
            Input::Retry { host, by } => {
                Event::TargetRetried { host: host.clone()?, by: by.clone() }
            }
            Input::Rollback { by, note } => Event::RollbackStarted { reason: operator(by, note) },
            Input::Skip { host, kind, by } => {
                Event::TargetSkipped { host: host.clone(), kind: *kind, by: by.clone() }
            }
            Input::Replied { .. } | Input::Tick => return None,
        })
    }

    fn kill(&self, ix: TargetIx, by: &crate::id::Principal) -> Option<Event> {
        let task = self.in_flight_or_unanswered(ix)?;
        let (host, generation) = (self.name(ix)?.clone(), task.generation);
        let killing = task.state == TaskState::Killing;
        (!killing).then(|| Event::KillRequested { host, generation, by: by.clone() })
    }

    fn in_flight_or_unanswered(&self, ix: TargetIx) -> Option<&super::Task> {
        if self.unanswered.contains(&ix) {
            return self.slot(self.direction, ix);
        }
        self.under_way(ix).map(|(_, task)| task)
    }

    fn in_trouble(&self) -> Vec<HostName> {
        let tasks = match self.direction {
            Direction::Back => &self.back,
            Direction::Forward => &self.forward,
        };
        let troubled = (0..).zip(tasks).filter(|(_, task)| task.state.is_trouble());
        troubled.filter_map(|(ix, _)| self.name(ix).cloned()).collect()
    }

    fn attempt_replied(
        &self,
        ix: TargetIx,
        direction: Direction,
        reply: &Reply,
        now: Timestamp,
    ) -> Option<Event> {
        let task = self.slot(direction, ix)?;
        let (host, generation) = (self.name(ix)?.clone(), task.generation);
        let in_flight = task.state.is_in_flight();
        match reply {
            Reply::AwaitsConfirm if direction == Direction::Forward => self.awaits_confirm(ix),
            Reply::Ended(end) if in_flight => self.ended(ix, direction, end.clone(), now),
            Reply::NeverStarted if in_flight => self.ended(ix, direction, never_started(), now),
            // What comes late is still the truth.
            Reply::Ended(end) if task.state == TaskState::Unknown => {
                let known =
                    matches!(end, AttemptEnd::Lost { .. }) && !self.unanswered.contains(&ix);
                let end = cut_short(end.clone());
                (!known).then_some(Event::AttemptEnded { host, generation, end, retry_at: None })
            }
            Reply::NeverStarted if task.state == TaskState::Unknown => {
                let end = never_started();
                Some(Event::AttemptEnded { host, generation, end, retry_at: None })
            }
            Reply::CannotTell if task.state == TaskState::Resolving => {
                let reason = "its check cannot tell either".to_owned();
                let end = AttemptEnd::Lost { step: task.unresolved, reason };
                Some(Event::AttemptEnded { host, generation, end, retry_at: None })
            }
            Reply::StillRunning
                if matches!(task.state, TaskState::AwaitingConfirm | TaskState::Uncertain) =>
            {
                Some(Event::AttemptFound { host, generation })
            }
            Reply::Unknown { reason } if task.state == TaskState::Running => {
                Some(Event::AttemptUncertain { host, generation, reason: reason.clone() })
            }
            Reply::Unknown { reason } if in_flight && now >= task.at.after(LOST_AFTER) => {
                let end = AttemptEnd::NoAnswer { step: task.unresolved, reason: reason.clone() };
                Some(Event::AttemptEnded { host, generation, end, retry_at: None })
            }
            Reply::Unknown { reason } if in_flight && task.doubt.as_deref() != Some(reason) => {
                Some(Event::AttemptUnanswered { host, generation, reason: reason.clone() })
            }
            _ => None,
        }
    }

    fn ended(
        &self,
        ix: TargetIx,
        direction: Direction,
        end: AttemptEnd,
        now: Timestamp,
    ) -> Option<Event> {
        let task = self.slot(direction, ix)?;
        let host = self.name(ix)?.clone();
        let generation = task.generation;
        let killing = task.state == TaskState::Killing;
        let effect = self.effect_of_step(direction, ix, &end);
        Some(match (end, effect) {
            (AttemptEnd::Lost { step: Some(step), reason }, Some(StepEffect::Check))
                if task.state != TaskState::Resolving && !killing =>
            {
                Event::StepUnresolved { host, generation, step, reason }
            }
            (AttemptEnd::Lost { step: Some(step), reason }, Some(StepEffect::Idempotent)) => {
                let end = AttemptEnd::ResolvedNotDone { step };
                match self.retry_at(ix, direction, &end, now) {
                    Some(at) => Event::AttemptEnded { host, generation, end, retry_at: Some(at) },
                    None => {
                        let end = AttemptEnd::Lost { step: Some(step), reason };
                        Event::AttemptEnded { host, generation, end, retry_at: None }
                    }
                }
            }
            (AttemptEnd::ResolvedDone { step }, _) if self.is_last(direction, ix, step) => {
                Event::AttemptEnded { host, generation, end: AttemptEnd::Succeeded, retry_at: None }
            }
            (end, _) => {
                let retry_at = self.retry_at(ix, direction, &end, now);
                let end = if retry_at.is_none() { cut_short(end) } else { end };
                Event::AttemptEnded { host, generation, end, retry_at }
            }
        })
    }

    fn effect_of_step(
        &self,
        direction: Direction,
        ix: TargetIx,
        end: &AttemptEnd,
    ) -> Option<StepEffect> {
        let name = end.step()?;
        self.frame.steps(direction, ix).find(|it| it.name == name).map(|it| it.effect)
    }

    fn is_last(&self, direction: Direction, ix: TargetIx, step: StepName) -> bool {
        self.frame.steps(direction, ix).all(|it| it.name <= step)
    }

    /// The fact that stops starts, for `reason`, as the strategy has it.
    pub(super) fn stop(&self, reason: Reason) -> Event {
        if self.restored {
            return Event::PauseStarted { reason };
        }
        match self.plan().strategy.on_failure {
            crate::spec::OnFailure::Abort => Event::AbortStarted { reason },
            crate::spec::OnFailure::Rollback if self.can_turn_back() => {
                Event::RollbackStarted { reason }
            }
            crate::spec::OnFailure::Pause | crate::spec::OnFailure::Rollback => {
                Event::PauseStarted { reason }
            }
        }
    }

    pub(super) const fn is_held(&self) -> bool {
        !matches!(self.hold, Hold::None)
    }
}

fn never_started() -> AttemptEnd {
    AttemptEnd::Unreachable { reason: "the attempt never started".to_owned() }
}

/// How an attempt has ended that was cut, and is not gone on with.
fn cut_short(end: AttemptEnd) -> AttemptEnd {
    let (step, reason) = match end {
        AttemptEnd::ResolvedDone { step } => {
            (step, "the attempt was cut after the step had taken effect")
        }
        AttemptEnd::ResolvedNotDone { step } => {
            (step, "the attempt was cut before the step took effect")
        }
        other => return other,
    };
    AttemptEnd::Failed { step: Some(step), code: None, reason: reason.to_owned() }
}
