//! Why work on a build stops before it is done.
use deploy_core::{
    backend::{BuildFailure, BuildFault, Clock},
    time::Timestamp,
};
use std::{fmt, io, path::PathBuf, sync::Arc, time::Duration};

/// Between two looks whether somebody has cancelled the build.
const PAUSE: Duration = Duration::from_millis(100);

/// The end of a build that did not succeed.
#[derive(Debug)]
pub(crate) enum Ended {
    Cancelled,
    Failed(BuildFailure),
    TimedOut,
}

impl From<BuildFailure> for Ended {
    fn from(failure: BuildFailure) -> Self {
        Self::Failed(failure)
    }
}

impl From<io::Error> for Ended {
    fn from(err: io::Error) -> Self {
        match err.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                let message = format!(
                    "there is no room left for the build: {err}; make some, and build again"
                );
                BuildFailure::new(BuildFault::NoSpace, message).into()
            }
            _ => internal(err),
        }
    }
}

/// What should not happen.
pub(crate) fn internal(err: impl fmt::Display) -> Ended {
    BuildFailure::new(BuildFault::Internal, format!("the machine that builds is in the way: {err}"))
        .into()
}

/// Says when work on a build has to stop.
#[derive(Clone, Debug)]
pub(crate) struct Halt {
    clock: Arc<dyn Clock>,
    /// The file whose being there means that somebody has cancelled the build.
    cancel: PathBuf,
}

impl Halt {
    pub(crate) const fn new(clock: Arc<dyn Clock>, cancel: PathBuf) -> Self {
        Self { clock, cancel }
    }

    pub(crate) fn clock(&self) -> &dyn Clock {
        &*self.clock
    }

    /// Fails if somebody has cancelled the build.
    pub(crate) fn check(&self) -> Result<(), Ended> {
        if self.cancel.exists() { Err(Ended::Cancelled) } else { Ok(()) }
    }

    /// Waits a little before the next look at something; fails once work has to stop.
    pub(crate) async fn pause(&self, deadline: Timestamp) -> Result<(), Ended> {
        self.check()?;
        let now = self.clock.now();
        if now >= deadline {
            return Err(Ended::TimedOut);
        }
        self.clock.sleep_until(now.after(PAUSE).min(deadline)).await;
        Ok(())
    }

    /// Waits until work has to stop.
    pub(crate) async fn until(&self, deadline: Timestamp) -> Ended {
        loop {
            if let Err(ended) = self.pause(deadline).await {
                return ended;
            }
        }
    }
}
