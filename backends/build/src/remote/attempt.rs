//! The attempt on a host that a build is.
use super::work::{End, Job, RETRY, Work, unusable};
use crate::{ended::Ended, log::Log, records::failed};
use async_trait::async_trait;
use deploy_core::{
    backend::{
        AttemptLog, AttemptReport, BackendError, BackendResult, BuildState, Clock as _, ErrorKind,
        Executor as _, KillRequest,
    },
    spec::StepName,
};
use rustix::rand::{GetRandomFlags, getrandom};
use std::{fs, path::Path, sync::Arc, time::Duration};
use tokio::sync::Notify;

/// How long a host may take to end an attempt, which it asks to end before it kills it.
const GRACE: Duration = Duration::from_secs(60);

/// What came of an attempt.
#[derive(Debug)]
pub(super) enum Attempted {
    Ended(AttemptReport),
    /// Nothing has run, and nothing will.
    NotStarted(BackendError),
}

impl Work {
    /// Starts an attempt, or follows one that was started, to its end. One of which nobody knows how it goes is looked for again: there is never a second
    /// one beside it.
    pub(super) async fn attempt(&mut self, job: &Job) -> Result<Attempted, End> {
        let clock = Arc::clone(&self.shared.clock);
        let ending = self.end(job);
        tokio::pin!(ending);
        let mut last = String::new();
        let lost =
            |why: &str, last: &str| End::Lost(format!("host `{}` {why}{last}", job.placement.host));
        loop {
            let followed = tokio::select! {
                followed = self.follow(job) => followed?,
                why = &mut ending => return Err(lost(why, &last)),
            };
            let why = match followed {
                Ok(report) => return Ok(Attempted::Ended(report)),
                Err(err) if promises_nothing_ran(err.kind(), self.doubt) => {
                    return Ok(Attempted::NotStarted(err));
                }
                Err(err) => err,
            };
            self.doubt = true;
            last = format!(": {}", why.chain());
            tokio::select! {
                () = clock.sleep_until(clock.now().after(RETRY)) => {}
                why = &mut ending => return Err(lost(why, &last)),
            }
        }
    }

    /// One call of the executor.
    async fn follow(&mut self, job: &Job) -> Result<BackendResult<AttemptReport>, End> {
        let log = self.host_log().map_err(unusable)?;
        let mut request = job.request.clone();
        request.log_offset = log.begin;
        let executor = Arc::clone(&self.shared.hosts.executor);
        let run = executor.run(&job.permit, &request, &log);
        tokio::pin!(run);
        let mut begun = false;
        loop {
            tokio::select! {
                done = &mut run => return Ok(done),
                () = log.begun.notified(), if !begun => {
                    self.refusals.seen();
                    // What cannot be written down now is when it prints next.
                    begun = self.enter(BuildState::Building).is_ok();
                }
            }
        }
    }

    /// Has the host end the attempt once somebody has cancelled the build, or it has had all its time; however often that takes, within bounds. That it has ended is for
    /// whoever follows it to see. Gives why it is followed no longer.
    fn end(&self, job: &Job) -> impl Future<Output = &'static str> + Send + use<> {
        let (clock, halt) = (Arc::clone(&self.shared.clock), self.halt.clone());
        let executor = Arc::clone(&self.shared.hosts.executor);
        let (on, permit) = (job.request.on.clone(), job.permit.clone());
        let kill = KillRequest::new(on, job.placement.generation, job.placement.token.clone());
        let patience = self.shared.patience;
        let until = clock.now().after(self.longest()).after(patience);
        async move {
            let why = match halt.until(until).await {
                Ended::Cancelled => "does not say that it has ended what was cancelled",
                _ => "does not say how it goes",
            };
            let until = clock.now().after(GRACE).after(patience);
            while clock.now() < until {
                // What it has come to is asked of the attempt.
                tokio::select! {
                    killed = executor.kill(&permit, &kill) => drop(killed),
                    () = clock.sleep_until(until) => {}
                }
                clock.sleep_until(clock.now().after(RETRY)).await;
            }
            why
        }
    }
}

/// Whether an error of `Executor::run` promises that nothing was started; where an earlier call may have started something (`doubt`), nor by that.
const fn promises_nothing_ran(kind: ErrorKind, doubt: bool) -> bool {
    match kind {
        // The host knows its attempts, and this is none of them.
        ErrorKind::Conflict | ErrorKind::Fenced => true,
        ErrorKind::Corrupt | ErrorKind::Internal | ErrorKind::OutcomeUnknown => false,
        _ => !doubt,
    }
}

/// 32 hexadecimal digits, by chance.
pub(super) fn token() -> BackendResult<String> {
    let mut bytes = [0_u8; 16];
    let drawn = getrandom(&mut bytes, GetRandomFlags::empty());
    drawn.map_err(|err| failed("build.place", err.into()))?;
    Ok(format!("{:032x}", u128::from_le_bytes(bytes)))
}

/// The log of a build, as the log of its attempt.
#[derive(Debug)]
pub(super) struct HostLog {
    log: Log,
    /// How much of it is there.
    begin: u64,
    /// Says that the attempt has begun.
    begun: Notify,
}

impl HostLog {
    pub(super) fn open(log: Log, path: &Path) -> BackendResult<Self> {
        let begin = fs::metadata(path).map_err(|err| failed("build.log", err))?.len();
        Ok(Self { log, begin, begun: Notify::new() })
    }
}

#[async_trait]
impl AttemptLog for HostLog {
    async fn write(&self, _offset: u64, bytes: &[u8]) -> BackendResult<()> {
        self.begun.notify_one();
        self.log.append(bytes);
        Ok(())
    }

    fn step(&self, _step: StepName) {
        self.begun.notify_one();
    }
}
