//! Attempts as the host knows them: a pure state machine, fed by the records of the journal.
//!
//! `accepted → starting → exited → closed`. That an attempt is *executing* is said by its shim, in the attempt's folder, because the agent may be
//! dead by then; see [`recovery`]. Nothing here reads a clock, a file or a process.
pub(crate) mod recovery;

use crate::journal::record::Record;
use deploy_agent_protocol::v1;
use deploy_core::id::ServiceName;
use std::{collections::BTreeMap, fmt};
use thiserror::Error;

/// How many attempts of a service are remembered once their ends are confirmed.
pub(crate) const KEPT_ATTEMPTS: usize = 20;

/// Which attempt.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct AttemptKey {
    pub(crate) service: ServiceName,
    pub(crate) generation: u64,
}

impl AttemptKey {
    /// As it goes over the wire.
    pub(crate) fn id(&self) -> v1::AttemptId {
        v1::AttemptId { service: self.service.to_string(), generation: self.generation }
    }

    /// From the wire; `None` if that cannot be an attempt.
    pub(crate) fn of(id: &v1::AttemptId) -> Option<Self> {
        let service = id.service.parse().ok()?;
        (id.generation > 0).then_some(Self { service, generation: id.generation })
    }
}

impl fmt::Display for AttemptKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.service, self.generation)
    }
}

/// How an attempt that was started ended.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum End {
    /// Without an exit record.
    Died(v1::Died),
    /// With this exit record.
    Ended(v1::Ended),
}

/// Where an attempt stands.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum State {
    /// It may be started. `stalled` when nobody is about to: the agent was restarted since.
    Accepted { stalled: bool },
    /// Its shim may have been started, in this boot of the host and with this cgroup.
    Starting { boot_id: String, cgroup: String },
    /// It has ended. `closed` when that was confirmed, `log_stored` when its whole log was.
    Exited { end: End, closed: bool, log_stored: bool },
}

/// An attempt.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Attempt {
    /// What its result has to come back with.
    pub(crate) token: String,
    /// Where it stands.
    pub(crate) state: State,
}

/// What is known of one service: the newest generation seen, and attempts not newer than that.
#[derive(Clone, Debug, Default, PartialEq)]
struct Service {
    fence: u64,
    attempts: BTreeMap<u64, Attempt>,
}

/// All that the host knows of attempts.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Attempts {
    services: BTreeMap<ServiceName, Service>,
}

/// What follows from an order to start.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Acceptance {
    /// It is there already: nothing is to be started.
    Known,
    /// It is new once these records are written.
    New(Vec<Record>),
    /// It was accepted and never started, and may be started now.
    Unstarted,
}

/// Why an attempt is not accepted.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum NotAccepted {
    #[error("the attempt {generation} of the service is alive")]
    Busy { generation: u64 },
    #[error("generation {seen} was seen")]
    Fenced { seen: u64 },
    #[error("an attempt of that generation has another token")]
    OtherToken,
}

/// A record that cannot follow on those before it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("`{what}` of {attempt} does not follow on what was written before")]
pub(crate) struct Illegal {
    what: &'static str,
    attempt: AttemptKey,
}

impl Attempts {
    /// Whether `key` may be started, and what to write first. Comparing with the fence and raising it is one act, because accepting raises it.
    pub(crate) fn accept(&self, key: &AttemptKey, token: &str) -> Result<Acceptance, NotAccepted> {
        if let Some(known) = self.attempt(key) {
            return match &known.state {
                _ if known.token != token => Err(NotAccepted::OtherToken),
                State::Accepted { stalled: true } => Ok(Acceptance::Unstarted),
                State::Accepted { stalled: false }
                | State::Exited { .. }
                | State::Starting { .. } => Ok(Acceptance::Known),
            };
        }
        if let Some(generation) = self.running(&key.service) {
            return Err(NotAccepted::Busy { generation });
        }
        let seen = self.fence(&key.service);
        if key.generation <= seen {
            return Err(NotAccepted::Fenced { seen });
        }
        let stalled = self.of(&key.service).filter(|(_, it)| !it.is_over());
        let stalled = stalled.map(|(generation, _)| Record::Withdrawn {
            attempt: AttemptKey { service: key.service.clone(), generation },
        });
        let accepted = Record::Accepted { attempt: key.clone(), token: token.to_owned() };
        Ok(Acceptance::New(stalled.chain([accepted]).collect()))
    }

    /// What to write so that nothing up to `key` is accepted any more, if it is not there yet.
    pub(crate) fn fence_off(&self, key: &AttemptKey) -> Vec<Record> {
        let mut records = Vec::new();
        if self.fence(&key.service) < key.generation {
            records
                .push(Record::Fence { service: key.service.clone(), generation: key.generation });
        }
        if matches!(self.attempt(key), Some(it) if it.state == State::Accepted { stalled: true }) {
            records.push(Record::Withdrawn { attempt: key.clone() });
        }
        records
    }

    /// Takes in what was written.
    pub(crate) fn apply(&mut self, record: &Record) -> Result<(), Illegal> {
        match record {
            Record::Accepted { attempt, token } => self.accepted(attempt, token),
            Record::Starting { attempt, boot_id, cgroup } => {
                self.change(attempt, "starting", |state| match state {
                    State::Accepted { .. } => {
                        Some(State::Starting { boot_id: boot_id.clone(), cgroup: cgroup.clone() })
                    }
                    State::Exited { .. } | State::Starting { .. } => None,
                })
            }
            Record::Exited { attempt, end } => {
                self.change(attempt, "exited", |state| match state {
                    State::Starting { .. } => {
                        Some(State::Exited { end: end.clone(), closed: false, log_stored: false })
                    }
                    State::Accepted { .. } | State::Exited { .. } => None,
                })
            }
            Record::Closed { attempt } => self.change(attempt, "closed", |state| match state {
                State::Exited { end, log_stored, .. } => {
                    let (end, log_stored) = (end.clone(), *log_stored);
                    Some(State::Exited { end, closed: true, log_stored })
                }
                State::Accepted { .. } | State::Starting { .. } => None,
            }),
            Record::LogStored { attempt } => {
                self.change(attempt, "log_stored", |state| match state {
                    State::Exited { end, closed, .. } => {
                        let (end, closed) = (end.clone(), *closed);
                        Some(State::Exited { end, closed, log_stored: true })
                    }
                    State::Accepted { .. } | State::Starting { .. } => None,
                })
            }
            Record::Withdrawn { attempt } => self.withdrawn(attempt),
            Record::Fence { service, generation } => {
                let service = self.services.entry(service.clone()).or_default();
                service.fence = service.fence.max(*generation);
                Ok(())
            }
        }
    }

    fn accepted(&mut self, attempt: &AttemptKey, token: &str) -> Result<(), Illegal> {
        let service = self.services.entry(attempt.service.clone()).or_default();
        if service.fence > attempt.generation || service.attempts.contains_key(&attempt.generation)
        {
            return Err(Illegal { what: "accepted", attempt: attempt.clone() });
        }
        service.fence = attempt.generation;
        let state = State::Accepted { stalled: false };
        service.attempts.insert(attempt.generation, Attempt { token: token.to_owned(), state });
        Ok(())
    }

    /// An attempt that never started is forgotten. The fence stays, so it never will be started.
    fn withdrawn(&mut self, attempt: &AttemptKey) -> Result<(), Illegal> {
        if self.attempt(attempt).is_none_or(Attempt::is_over) {
            return Err(Illegal { what: "withdrawn", attempt: attempt.clone() });
        }
        let service = self.services.get_mut(&attempt.service);
        service.and_then(|it| it.attempts.remove(&attempt.generation));
        Ok(())
    }

    fn change(
        &mut self,
        attempt: &AttemptKey,
        what: &'static str,
        next: impl FnOnce(&State) -> Option<State>,
    ) -> Result<(), Illegal> {
        let service = self.services.get_mut(&attempt.service);
        let known = service.and_then(|it| it.attempts.get_mut(&attempt.generation));
        let changed = known.and_then(|it| next(&it.state).map(|state| it.state = state));
        changed.ok_or_else(|| Illegal { what, attempt: attempt.clone() })
    }

    /// The agent begins anew: what was only accepted is started by nobody, unless an order to start it comes again.
    pub(crate) fn restart(&mut self) {
        for attempt in self.services.values_mut().flat_map(|it| it.attempts.values_mut()) {
            if let State::Accepted { stalled } = &mut attempt.state {
                *stalled = true;
            }
        }
    }

    /// The order to start came again, so somebody is about to.
    pub(crate) fn resume(&mut self, key: &AttemptKey) {
        let service = self.services.get_mut(&key.service);
        if let Some(attempt) = service.and_then(|it| it.attempts.get_mut(&key.generation))
            && let State::Accepted { stalled } = &mut attempt.state
        {
            *stalled = false;
        }
    }

    /// The records that say what is known.
    pub(crate) fn snapshot(&self) -> Vec<Record> {
        let mut records = Vec::new();
        for (name, service) in &self.services {
            for (generation, attempt) in &service.attempts {
                let attempt_key = AttemptKey { service: name.clone(), generation: *generation };
                attempt.write(&attempt_key, &mut records);
            }
            records.push(Record::Fence { service: name.clone(), generation: service.fence });
        }
        records
    }

    /// Forgets what nobody waits for, but for the newest [`KEPT_ATTEMPTS`]. The fence stays, so that none of it can be run again.
    pub(crate) fn forget(&mut self) {
        for service in self.services.values_mut() {
            let kept: Vec<u64> = service.kept().map(|(generation, _)| *generation).collect();
            service.attempts.retain(|generation, _| kept.contains(generation));
        }
    }

    pub(crate) fn attempt(&self, key: &AttemptKey) -> Option<&Attempt> {
        self.services.get(&key.service)?.attempts.get(&key.generation)
    }

    /// The newest generation seen of a service; 0 if none was.
    pub(crate) fn fence(&self, service: &ServiceName) -> u64 {
        self.services.get(service).map_or(0, |it| it.fence)
    }

    /// The attempt of a service that is under way.
    pub(crate) fn running(&self, service: &ServiceName) -> Option<u64> {
        self.of(service).find(|(_, it)| it.is_under_way()).map(|(generation, _)| generation)
    }

    /// The attempts of a service, the oldest first.
    pub(crate) fn of(
        &self,
        service: &ServiceName,
    ) -> impl DoubleEndedIterator<Item = (u64, &Attempt)> {
        let service = self.services.get(service).into_iter();
        service.flat_map(|it| it.attempts.iter().map(|(generation, it)| (*generation, it)))
    }

    /// All attempts.
    pub(crate) fn all(&self) -> impl Iterator<Item = (AttemptKey, &Attempt)> {
        self.services.iter().flat_map(|(service, it)| {
            it.attempts.iter().map(|(generation, attempt)| {
                (AttemptKey { service: service.clone(), generation: *generation }, attempt)
            })
        })
    }
}

impl Service {
    /// What must not be forgotten: what is under way or was not confirmed, and the newest of the rest.
    fn kept(&self) -> impl Iterator<Item = (&u64, &Attempt)> {
        let mut left = KEPT_ATTEMPTS;
        let kept = self.attempts.iter().rev().filter(move |(_, it)| {
            let settled = it.is_settled();
            let room = left > 0;
            left = left.saturating_sub(usize::from(settled));
            !settled || room
        });
        let mut kept: Vec<_> = kept.collect();
        kept.reverse();
        kept.into_iter()
    }
}

impl Attempt {
    /// Whether it is being started, or was.
    pub(crate) const fn is_under_way(&self) -> bool {
        matches!(self.state, State::Accepted { stalled: false } | State::Starting { .. })
    }

    /// Whether it has ended.
    pub(crate) const fn is_over(&self) -> bool {
        matches!(self.state, State::Exited { .. })
    }

    /// Whether something of it could not be ended.
    pub(crate) const fn has_survivors(&self) -> bool {
        match &self.state {
            State::Exited { end: End::Died(died), .. } => !died.survivors.is_empty(),
            State::Exited { end: End::Ended(ended), .. } => !ended.survivors.is_empty(),
            State::Accepted { .. } | State::Starting { .. } => false,
        }
    }

    /// Whether nobody waits for anything of it any more.
    const fn is_settled(&self) -> bool {
        matches!(self.state, State::Exited { closed: true, log_stored: true, .. })
    }

    fn write(&self, key: &AttemptKey, records: &mut Vec<Record>) {
        let attempt = || key.clone();
        records.push(Record::Accepted { attempt: attempt(), token: self.token.clone() });
        match &self.state {
            State::Accepted { .. } => {}
            State::Starting { boot_id, cgroup } => records.push(Record::Starting {
                attempt: attempt(),
                boot_id: boot_id.clone(),
                cgroup: cgroup.clone(),
            }),
            State::Exited { end, closed, log_stored } => {
                let (boot_id, cgroup) = (String::new(), String::new());
                records.push(Record::Starting { attempt: attempt(), boot_id, cgroup });
                records.push(Record::Exited { attempt: attempt(), end: end.clone() });
                if *closed {
                    records.push(Record::Closed { attempt: attempt() });
                }
                if *log_stored {
                    records.push(Record::LogStored { attempt: attempt() });
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
