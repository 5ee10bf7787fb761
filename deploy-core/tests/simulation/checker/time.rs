//! What may happen when: windows, staggers, retries and the progress deadline.
use super::{Checked, Checker};
use deploy_core::{
    id::HostName,
    plan::Plan,
    rollout::{AttemptEnd, Event, Reason, Record},
    spec::{Direction, StepName},
    time::Timestamp,
};
use std::{collections::BTreeMap, time::Duration};

/// When what happened last.
#[derive(Debug, Default)]
pub(super) struct Pace {
    start: Option<Timestamp>,
    /// Since when the rollout has made no progress though it could have.
    progress: Timestamp,
    /// How often a step of a host was tried again after it failed, since a person last looked.
    failures: BTreeMap<(HostName, Option<StepName>), u32>,
}

impl Pace {
    pub(super) fn see(&mut self, record: &Record, plan: &Plan) -> Checked {
        match &record.event {
            Event::AttemptStarted { .. } => self.started(record.at, plan),
            Event::AttemptEnded { host, end, retry_at, .. } => {
                if *end == AttemptEnd::Succeeded {
                    self.progress = record.at;
                }
                self.ended(host, end, retry_at.is_some(), plan)
            }
            Event::TargetRetried { host, .. } => {
                self.failures.retain(|(it, _), _| it != host);
                // It may begin the time anew, and by a clock that was set back.
                self.progress = self.progress.min(record.at);
                Ok(())
            }
            Event::RollbackStarted { .. } => {
                self.failures.clear();
                Ok(())
            }
            Event::Resumed { .. } | Event::WaveStarted { .. } => {
                self.progress = record.at;
                Ok(())
            }
            Event::PauseStarted { reason } | Event::AbortStarted { reason }
                if *reason == Reason::ProgressDeadline =>
            {
                self.late(record.at, plan)
            }
            _ => Ok(()),
        }
    }

    fn started(&mut self, at: Timestamp, plan: &Plan) -> Checked {
        let wait = plan.strategy.stagger.fixed;
        match self.start.replace(at) {
            // A clock may be set back between two starts; then nobody knows how long it was.
            Some(before) if before <= at && at.since(before) < wait => Err(format!(
                "two starts within {:?}, and {wait:?} have to lie between",
                at.since(before)
            )),
            _ => Ok(()),
        }
    }

    fn ended(&mut self, host: &HostName, end: &AttemptEnd, again: bool, plan: &Plan) -> Checked {
        let failed = matches!(
            end,
            AttemptEnd::Failed { .. }
                | AttemptEnd::TimedOut { .. }
                | AttemptEnd::Unreachable { .. }
        );
        if end.step().is_some() {
            // The next try begins with another step, or with one that counts by itself.
            self.failures.remove(&(host.clone(), None));
        }
        if !failed || !again {
            return Ok(());
        }
        let retries = self.failures.entry((host.clone(), end.step())).or_default();
        *retries += 1;
        let allowed = plan.strategy.retries.retries;
        if *retries > allowed {
            return Err(format!(
                "{host} is tried again {retries} times, and {allowed} are allowed"
            ));
        }
        Ok(())
    }

    fn late(&self, at: Timestamp, plan: &Plan) -> Checked {
        let waited = at.since(self.progress);
        let deadline = plan.strategy.progress_deadline;
        if waited + Duration::from_millis(1) <= deadline && at >= self.progress {
            return Err(format!("given up after {waited:?}, and the deadline is {deadline:?}"));
        }
        Ok(())
    }
}

impl Checker {
    pub(super) fn check_schedule(&self, at: Timestamp, direction: Direction) -> Checked {
        let allowed = direction == Direction::Back || self.plan.strategy.schedule.allows(at);
        if allowed { Ok(()) } else { Err(format!("a start at {at}, when none is allowed")) }
    }
}
