//! Takes one rollout from wherever its journal ends to its end.
use super::{
    Parts,
    flight::{Flights, Landed},
    log::LogWriter,
    perform::Performer,
};
use crate::{
    access::Permit,
    backend::{AcquireLease, AppendError, JournalExt as _, Lease, Notification, RolloutRef},
    error::{BackendError, ErrorKind},
    id::Principal,
    rollout::{Event, Input, Outcome, Pending, Record, RecordError, Rollout},
    telemetry::{ERROR_KIND, ROLLOUT_ID, STREAM, TARGET_BACKEND, TARGET_JOURNAL},
    time::Timestamp,
};
use std::{fmt, sync::Arc, time::Duration};
use tokio::sync::mpsc;

/// How often the journal is read for what others have written.
const POLL: Duration = Duration::from_millis(250);
/// Replies that are decided on together, and cost one append.
const BATCH: usize = 1_024;
/// How long the journal may be unavailable before the driver gives up. The rollout can be driven again from where it is.
const PATIENCE: Duration = Duration::from_secs(30);

/// Why a driver stopped before its rollout did.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DriveError {
    /// The journal could not be read or written.
    #[error("the journal cannot be used")]
    Backend(#[from] BackendError),
    /// The journal contradicts itself.
    #[error("the journal could not be replayed")]
    Record(#[from] RecordError),
    /// Somebody else drives the rollout.
    #[error("somebody else drives the rollout")]
    TakenOver(#[source] BackendError),
}

/// Why a driver stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "complete by definition")]
pub enum DriveEnd {
    /// Nothing happens until a person does something.
    NeedsPerson,
    /// The rollout is over.
    Over(Outcome),
}

/// Sees a rollout after every change. Called between two appends: it must not take long.
///
/// ```
/// use deploy_core::{engine::Observer, rollout::Rollout};
/// use std::sync::atomic::{AtomicU32, Ordering};
///
/// /// Knows how many targets are done.
/// #[derive(Debug, Default)]
/// struct Progress(AtomicU32);
///
/// impl Observer for Progress {
///     fn changed(&self, rollout: &Rollout) {
///         let done = rollout.view().waves.iter().map(|wave| wave.settled).sum();
///         self.0.store(done, Ordering::Relaxed);
///     }
/// }
/// ```
pub trait Observer: fmt::Debug + Send + Sync {
    /// The rollout has changed.
    fn changed(&self, rollout: &Rollout);
}

/// Sees nothing.
#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::exhaustive_structs, reason = "complete by definition")]
pub struct NoObserver;

impl Observer for NoObserver {
    fn changed(&self, _rollout: &Rollout) {}
}

/// How to drive.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DriveOptions {
    /// Who drives; never the same for two processes.
    pub holder: String,
    /// A holder whose process is known to be gone.
    pub dead_holder: Option<String>,
    /// Whether to go on waiting while nothing happens until a person does something.
    pub wait_for_person: bool,
    /// How long the right to drive lasts without being renewed.
    pub lease_ttl: Duration,
}

impl DriveOptions {
    /// Driven by `holder`, to the end or to where a person is needed.
    #[must_use]
    pub fn new(holder: impl Into<String>) -> Self {
        Self {
            holder: holder.into(),
            dead_holder: None,
            wait_for_person: false,
            lease_ttl: Duration::from_secs(15),
        }
    }

    /// Knowing that the process of `holder` is gone.
    #[must_use]
    pub fn with_dead_holder(mut self, holder: Option<String>) -> Self {
        self.dead_holder = holder;
        self
    }

    /// Waiting for people, too.
    #[must_use]
    pub const fn with_wait_for_person(mut self, wait: bool) -> Self {
        self.wait_for_person = wait;
        self
    }
}

/// Drives one rollout.
#[derive(Debug)]
pub struct Driver<'a> {
    parts: Parts,
    permit: Permit,
    at: RolloutRef,
    options: DriveOptions,
    observer: &'a dyn Observer,
}

impl<'a> Driver<'a> {
    /// Drives the rollout at `at` for whoever `permit` was given to.
    #[must_use]
    pub fn new(
        parts: Parts,
        permit: Permit,
        at: RolloutRef,
        options: DriveOptions,
        observer: &'a dyn Observer,
    ) -> Self {
        Self { parts, permit, at, options, observer }
    }

    /// Drives to the end, or to where a person is needed.
    ///
    /// Dropping the future stops driving at once; the rollout can be driven again from where it is.
    ///
    /// # Errors
    /// If the journal fails, or somebody else drives the rollout.
    #[tracing::instrument(
        level = "info",
        name = "rollout",
        skip_all,
        fields({ ROLLOUT_ID } = %self.at.rollout, { STREAM } = %self.at.stream)
    )]
    pub async fn drive(self) -> Result<DriveEnd, DriveError> {
        let lease = self.acquire(self.options.dead_holder.clone()).await?;
        let driven = self.drive_under(lease.clone()).await;
        if let Err(err) = self.parts.leases.release(&lease).await {
            tracing::warn!(target: TARGET_BACKEND, { { ERROR_KIND } = err.kind().as_str() }, "the lease was not released");
        }
        driven
    }

    async fn drive_under(&self, lease: Lease) -> Result<DriveEnd, DriveError> {
        let rollout = self.load().await?;
        let (landed, inbox) = mpsc::unbounded_channel();
        let principal = self.permit.principal().clone();
        let flights = Flights::new(self.performer(&rollout, principal), landed);
        let renew_at = self.renew_at();
        Loop { driver: self, lease, renew_at, inbox, flights, patience_until: None }
            .run(rollout)
            .await
    }

    fn performer(&self, rollout: &Rollout, principal: Principal) -> Arc<Performer> {
        Arc::new(Performer {
            parts: self.parts.clone(),
            principal,
            rollout: rollout.id().clone(),
            plan: rollout.shared_plan(),
            logs: LogWriter::start(Arc::clone(&self.parts.logs)),
        })
    }

    async fn load(&self) -> Result<Rollout, DriveError> {
        // Read first: every record up to there is among those read next.
        let head = self.parts.journal.head(&self.at.stream).await?;
        let records = self.parts.journal.records(&self.at).await?;
        Ok(Rollout::replay(&records)?.at_head(head))
    }

    async fn acquire(&self, dead: Option<String>) -> Result<Lease, DriveError> {
        let mut request =
            AcquireLease::new(self.at.stream.to_string(), self.options.holder.clone())
                .with_ttl(self.options.lease_ttl);
        request.dead = dead;
        self.parts.leases.acquire(&request).await.map_err(|err| match err.kind() {
            ErrorKind::Conflict => DriveError::TakenOver(err),
            _ => DriveError::Backend(err),
        })
    }

    fn renew_at(&self) -> Timestamp {
        self.parts.clock.now().after(self.options.lease_ttl / 3)
    }
}

/// One run of a driver.
struct Loop<'a> {
    driver: &'a Driver<'a>,
    lease: Lease,
    renew_at: Timestamp,
    inbox: mpsc::UnboundedReceiver<Landed>,
    flights: Flights,
    patience_until: Option<Timestamp>,
}

impl Loop<'_> {
    async fn run(mut self, mut rollout: Rollout) -> Result<DriveEnd, DriveError> {
        let mut landed: Vec<Landed> = Vec::new();
        let mut resync = true;
        loop {
            let head = rollout.head();
            rollout = self.decide(rollout, &landed, &mut resync).await?;
            if rollout.head() != head || resync {
                self.driver.observer.changed(&rollout);
            }
            resync = false;
            if let Some(outcome) = rollout.outcome() {
                return Ok(DriveEnd::Over(outcome));
            }
            if rollout.waits_for_person() && !self.driver.options.wait_for_person {
                return Ok(DriveEnd::NeedsPerson);
            }
            landed.clear();
            self.wait(&rollout, &mut landed).await;
            if landed.is_empty() {
                self.renew().await?;
                (rollout, resync) = self.catch_up(rollout).await?;
            }
        }
    }

    /// Waits for effects to come back, for the time to come, or for the next look at the journal.
    async fn wait(&mut self, rollout: &Rollout, landed: &mut Vec<Landed>) {
        let clock = &self.driver.parts.clock;
        let now = clock.now();
        let poll = now.after(POLL);
        let wake = rollout.wake_at(now).map_or(poll, |it| it.min(poll)).min(self.renew_at);
        tokio::select! {
            biased;
            _count = self.inbox.recv_many(landed, BATCH) => {}
            () = clock.sleep_until(wake) => {}
        }
    }

    /// Decides on what came back, journals it, and lets the world follow.
    async fn decide(
        &mut self,
        rollout: Rollout,
        landed: &[Landed],
        resync: &mut bool,
    ) -> Result<Rollout, DriveError> {
        for it in landed {
            self.flights.land(&it.effect);
        }
        let mut rollout = rollout;
        loop {
            let now = self.driver.parts.clock.now();
            let inputs = landed.iter().map(Landed::input);
            let pending =
                inputs.fold(rollout.decide(&Input::Tick, now), |it, input| it.and(&input, now));
            match self.append(&pending).await? {
                Appended::Done => {
                    self.notify(&pending).await;
                    let known = pending.expected();
                    let (rollout, changed) = pending.commit();
                    for (host, effect) in changed {
                        let fresh = effect.as_ref().is_some_and(|it| it.generation > known);
                        self.flights.set(&rollout, &host, effect, fresh);
                    }
                    if *resync {
                        self.flights.set_all(&rollout);
                    }
                    self.relaunch(&rollout, landed);
                    return Ok(rollout);
                }
                Appended::Stale => {
                    rollout = self.driver.load().await?;
                    *resync = true;
                }
            }
        }
    }

    /// An effect that came back and is still wanted came to nothing: it is tried again later.
    fn relaunch(&mut self, rollout: &Rollout, landed: &[Landed]) {
        for it in landed {
            let host = &it.effect.host;
            self.flights.set(rollout, host, rollout.effect_on(host), false);
        }
    }

    async fn append(&mut self, pending: &Pending) -> Result<Appended, DriveError> {
        let driver = self.driver;
        if pending.records().is_empty() {
            return Ok(Appended::Done);
        }
        let journal = &driver.parts.journal;
        let expected = pending.expected();
        loop {
            let done = journal
                .append(&driver.permit, &driver.at.stream, expected, pending.records())
                .await;
            match done {
                Ok(_head) => {
                    self.patience_until = None;
                    return Ok(Appended::Done);
                }
                Err(AppendError::Conflict { .. }) => return Ok(Appended::Stale),
                Err(AppendError::Backend(err)) => match err.kind() {
                    ErrorKind::OutcomeUnknown => return Ok(Appended::Stale),
                    ErrorKind::RateLimited | ErrorKind::Unavailable => self.be_patient(err).await?,
                    _ => return Err(err.into()),
                },
            }
        }
    }

    /// Waits a little for a journal that cannot be written; hosts finish meanwhile what they were told.
    async fn be_patient(&mut self, err: BackendError) -> Result<(), DriveError> {
        let clock = &self.driver.parts.clock;
        let now = clock.now();
        let until = *self.patience_until.get_or_insert_with(|| now.after(PATIENCE));
        if now >= until {
            return Err(err.into());
        }
        tracing::warn!(target: TARGET_JOURNAL, { { ERROR_KIND } = err.kind().as_str() }, "the journal cannot be written");
        clock.sleep_until(now.after(POLL)).await;
        Ok(())
    }

    async fn renew(&mut self) -> Result<(), DriveError> {
        if self.driver.parts.clock.now() < self.renew_at {
            return Ok(());
        }
        let lease = self.driver.acquire(None).await?;
        if lease.epoch != self.lease.epoch {
            tracing::warn!(target: TARGET_JOURNAL, "the lease had run out and was taken again");
        }
        self.lease = lease;
        self.renew_at = self.driver.renew_at();
        Ok(())
    }

    /// Takes in what others have written: commands of people, from other processes.
    async fn catch_up(&self, mut rollout: Rollout) -> Result<(Rollout, bool), DriveError> {
        const PAGE: usize = 4_096;
        let driver = self.driver;
        let head = driver.parts.journal.head(&driver.at.stream).await?;
        if head == rollout.expected() {
            return Ok((rollout, false));
        }
        let mut records =
            driver.parts.journal.read(&driver.at.stream, rollout.head(), PAGE).await?;
        let whole = records.len() < PAGE;
        records.retain(|it| it.rollout == *rollout.id());
        for record in &records {
            rollout.apply(record)?;
        }
        Ok((if whole { rollout.at_head(head) } else { rollout }, true))
    }

    async fn notify(&self, pending: &Pending) {
        for record in pending.records() {
            let Some(notification) = notification(record) else {
                continue;
            };
            if let Err(err) = self.driver.parts.notifier.notify(&notification).await {
                tracing::warn!(
                    target: TARGET_BACKEND,
                    { { ERROR_KIND } = err.kind().as_str() }, "nobody could be told"
                );
            }
        }
    }
}

enum Appended {
    Done,
    /// Others have written, or nobody knows whether this was written: the journal has to be read again.
    Stale,
}

/// What people want to be told.
fn notification(record: &Record) -> Option<Notification> {
    let rollout = &record.rollout;
    let (subject, body) = match &record.event {
        Event::AbortStarted { reason } => {
            (format!("rollout {rollout} is aborted"), reason.to_string())
        }
        Event::ConfirmRequested { wave } => (
            format!("rollout {rollout} waits to be confirmed"),
            format!("wave {} is in place; confirm to let the next one go", wave + 1),
        ),
        Event::Finished { outcome } => {
            (format!("rollout {rollout} is over: {}", outcome.as_str()), String::new())
        }
        Event::PauseStarted { reason } => (format!("rollout {rollout} pauses"), reason.to_string()),
        Event::RollbackStarted { reason } => {
            (format!("rollout {rollout} turns back"), reason.to_string())
        }
        _ => return None,
    };
    Some(Notification::new(format!("{rollout}/{}", record.seq), subject, body))
}
