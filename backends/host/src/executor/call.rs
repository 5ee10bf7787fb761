//! One call of the launcher: its output taken apart into log and control lines.
use crate::{
    control::{BadControl, Control, ControlReader},
    transport::{HostOutput, HostProcess},
};
use bytes::Bytes;
use deploy_core::{
    backend::Clock,
    error::{BackendError, BackendResult, ErrorKind},
    time::Timestamp,
};
use std::{
    collections::VecDeque,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};
use tokio::select;

/// What a call gives, one after another.
#[derive(Debug)]
pub(super) enum Heard {
    Control(Control),
    Log(Bytes),
}

/// A running call.
#[derive(Debug)]
pub(super) struct Call<'a> {
    process: Box<dyn HostProcess>,
    clock: &'a dyn Clock,
    reader: ControlReader,
    ready: VecDeque<Control>,
    operation: &'static str,
}

impl<'a> Call<'a> {
    pub(super) fn new(
        process: Box<dyn HostProcess>,
        clock: &'a dyn Clock,
        operation: &'static str,
    ) -> Self {
        Self { process, clock, reader: ControlReader::default(), ready: VecDeque::new(), operation }
    }

    /// The next thing that is heard; `None` at the end. Gives up when `patience` says so.
    pub(super) async fn next(&mut self, patience: &Patience) -> BackendResult<Option<Heard>> {
        loop {
            if let Some(control) = self.ready.pop_front() {
                return Ok(Some(Heard::Control(control)));
            }
            let output = {
                let mut next = self.process.next();
                loop {
                    select! {
                        biased;
                        output = &mut next => break output?,
                        () = self.clock.sleep_until(patience.ends()) => {
                            if self.clock.now() >= patience.ends() {
                                return Err(impatient(self.operation));
                            }
                        }
                    }
                }
            };
            patience.renew(self.clock.now());
            match output {
                Some(HostOutput::Stdout(bytes)) => return Ok(Some(Heard::Log(bytes))),
                Some(HostOutput::Stderr(bytes)) => {
                    let found = self.reader.push(&bytes).map_err(|err| self.babble(err))?;
                    self.ready.extend(found);
                }
                None => return Ok(None),
            }
        }
    }

    fn babble(&self, err: BadControl) -> BackendError {
        BackendError::new(ErrorKind::Corrupt, self.operation).because(err)
    }

    /// Whether any control line was heard.
    pub(super) const fn was_heard(&self) -> bool {
        self.reader.heard()
    }

    /// What was said beside control lines.
    pub(super) fn noise(&self) -> String {
        self.reader.noise()
    }
}

fn impatient(operation: &'static str) -> BackendError {
    BackendError::new(ErrorKind::OutcomeUnknown, operation)
        .because("the host is silent for too long")
}

/// Signs of life make no difference.
const FIXED: u64 = u64::MAX;

/// How long a silence may last. Shared, because bytes that go out are a sign of life as well.
#[derive(Debug)]
pub(super) struct Patience {
    ends: AtomicU64,
    lasts: AtomicU64,
}

impl Patience {
    pub(super) fn new(now: Timestamp, lasts: Duration) -> Self {
        let patience = Self { ends: AtomicU64::new(0), lasts: AtomicU64::new(0) };
        patience.change(now, lasts);
        patience
    }

    /// From now on a silence may last so long.
    pub(super) fn change(&self, now: Timestamp, lasts: Duration) {
        self.lasts.store(u64::try_from(lasts.as_millis()).unwrap_or(FIXED - 1), Ordering::Relaxed);
        self.renew(now);
    }

    /// From now on it is over then, whatever is heard.
    pub(super) fn fix(&self, ends: Timestamp) {
        self.lasts.store(FIXED, Ordering::Relaxed);
        self.ends.store(ends.as_millis(), Ordering::Relaxed);
    }

    /// There was a sign of life.
    pub(super) fn renew(&self, now: Timestamp) {
        let lasts = self.lasts.load(Ordering::Relaxed);
        if lasts == FIXED {
            return;
        }
        self.ends.store(now.as_millis().saturating_add(lasts), Ordering::Relaxed);
    }

    fn ends(&self) -> Timestamp {
        Timestamp::from_millis(self.ends.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_of_life_lengthen_a_patience_until_it_is_fixed() {
        let (at, minute) = (Timestamp::from_millis, Duration::from_secs(60));
        let patience = Patience::new(at(0), minute);
        patience.renew(at(30_000));
        assert_eq!(patience.ends(), at(90_000));
        patience.fix(at(100_000));
        patience.renew(at(99_000));
        assert_eq!(patience.ends(), at(100_000));
        patience.change(at(99_000), minute);
        patience.renew(at(100_000));
        assert_eq!(patience.ends(), at(160_000));
    }
}
