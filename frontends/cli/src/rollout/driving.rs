//! Driving a rollout in this process, where no server does it.
use super::{hand_over, how_to_go_on};
use crate::{
    app::{App, Embedded},
    embedded::{gone, own_name},
    output::Output,
    problem::OrProblem as _,
};
use deploy_core::{
    engine::{DriveEnd, DriveOptions, NoObserver, PlatformError},
    error::ErrorKind,
    id::RolloutId,
    time::Timestamp,
};
use deploy_wire::{Problem, Rollout};
use std::{path::PathBuf, time::Duration};
use tokio::task::JoinHandle;

/// How often it is looked whether anybody drives.
const DRIVER_CHECK: Duration = Duration::from_secs(2);

/// Who drives a rollout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum DriverNow {
    /// A process that may be alive.
    Alive(String),
    /// A process that is known to be gone, and whose lease still stands.
    Gone(String),
    Nobody,
}

/// Who drives a rollout, apart from this process.
pub(crate) async fn driver_of(
    embedded: &Embedded,
    rollout: &RolloutId,
) -> Result<DriverNow, Problem> {
    let lease = embedded.platform.driver_of(rollout).await.or_problem()?;
    let now = embedded.parts().clock.now();
    Ok(match lease.filter(|it| it.expires_at > now) {
        None => DriverNow::Nobody,
        Some(lease) if lease.holder == own_name() => DriverNow::Nobody,
        Some(lease) if gone(&lease.holder) => DriverNow::Gone(lease.holder),
        Some(lease) => DriverNow::Alive(lease.holder),
    })
}

/// What this process has to do with a rollout over its own data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// It drives. As long as another process does, it watches; when that one is gone, it steps in.
    Drive,
    /// It watches.
    Watch,
}

/// The driver in this process, if there is one, and what is known of others.
#[derive(Debug)]
pub(super) struct Driving<'a> {
    embedded: &'a Embedded,
    id: RolloutId,
    role: Role,
    /// Whether to go on where a person is needed.
    wait: bool,
    task: Option<JoinHandle<Result<DriveEnd, PlatformError>>>,
    /// Whether another process drives.
    by_another: bool,
    looked_at: Timestamp,
}

impl<'a> Driving<'a> {
    pub(super) fn new(embedded: &'a Embedded, id: RolloutId, role: Role, wait: bool) -> Self {
        let looked_at = Timestamp::default();
        Self { embedded, id, role, wait, task: None, by_another: false, looked_at }
    }

    /// Whether this process drives.
    pub(super) const fn is_here(&self) -> bool {
        self.task.is_some()
    }

    /// Whether any process drives, as far as is known.
    pub(super) const fn is_anywhere(&self) -> bool {
        self.is_here() || self.by_another
    }

    /// Whether the driver of this process still has something to do.
    pub(super) fn is_at_work(&self) -> bool {
        self.task.as_ref().is_some_and(|it| !it.is_finished())
    }

    /// Looks now and then whether another process drives. Where none does, this one begins to, if that is its role.
    pub(super) async fn stand_by(
        &mut self,
        output: &Output,
        rollout: &Rollout,
    ) -> Result<(), Problem> {
        let now = self.embedded.parts().clock.now();
        if self.is_here() || now.since(self.looked_at) < DRIVER_CHECK {
            return Ok(());
        }
        let first = self.looked_at == Timestamp::default();
        self.looked_at = now;
        let driver = driver_of(self.embedded, &self.id).await?;
        let another = matches!(driver, DriverNow::Alive(_));
        let changed = std::mem::replace(&mut self.by_another, another) != another;
        match (self.role, driver) {
            (Role::Drive, DriverNow::Alive(_)) if changed => {
                output.note("another process drives this rollout: watching");
            }
            (_, DriverNow::Alive(_)) => {}
            (Role::Drive, DriverNow::Gone(dead)) => {
                // The lease is the service's: before the first wave, who is gone has driven another rollout.
                if rollout.wave > 0 {
                    output.note("the process that drove this rollout is gone: taking over");
                }
                self.begin(Some(dead));
            }
            (Role::Drive, DriverNow::Nobody) => self.begin(None),
            (Role::Watch, DriverNow::Gone(_) | DriverNow::Nobody) => {
                if (changed || first) && !output.is_live() {
                    let how = how_to_go_on(self.id.as_str());
                    output.warn(format_args!("nobody drives this rollout: {how}"));
                }
            }
        }
        Ok(())
    }

    /// Starts to drive, in the place of a process that is gone.
    fn begin(&mut self, dead: Option<String>) {
        let options =
            DriveOptions::new(own_name()).with_dead_holder(dead).with_wait_for_person(self.wait);
        let platform = self.embedded.platform.clone();
        let (principal, id) = (self.embedded.principal.clone(), self.id.clone());
        self.task = Some(tokio::spawn(async move {
            platform.drive(&principal, &id, options, &NoObserver).await
        }));
    }

    /// Waits until the driver of this process has ended; for ever if there is none.
    ///
    /// One that ended well leaves the journal to say how; for one that did not get its lease, or lost it, another drives.
    pub(super) async fn ended(&mut self) -> Result<(), Problem> {
        let Some(task) = &mut self.task else { return std::future::pending().await };
        let ended = match task.await {
            Ok(ended) => ended,
            Err(err) => std::panic::resume_unwind(err.into_panic()),
        };
        self.task = None;
        self.looked_at = self.embedded.parts().clock.now();
        match ended {
            Ok(DriveEnd::NeedsPerson | DriveEnd::Over(_)) => Ok(()),
            Err(PlatformError::Backend(err)) if err.kind() == ErrorKind::Conflict => Ok(()),
            Err(err) => {
                Err(err).or_problem().map_err(|it| it.with_hint(how_to_go_on(self.id.as_str())))
            }
        }
    }

    /// Has a process in the background drive on, if this one does. Gives the file it writes to.
    pub(super) async fn detach(&mut self, app: &App) -> Result<Option<PathBuf>, Problem> {
        let Some(task) = self.task.take() else { return Ok(None) };
        task.abort();
        // Whatever it ended with, it no longer drives.
        drop(task.await);
        hand_over(app, self.embedded, &self.id).await.map(Some)
    }
}
