//! How far an attempt has come, and what follows from what its host says.
use super::{
    attempt::AttemptParts,
    failure,
    reports::{self, Identity},
};
use crate::control::{Control, Way};
use deploy_core::{
    backend::{AttemptLog, AttemptReport, HostRequest},
    digest::Digest,
    error::{BackendError, BackendResult, ErrorKind, Retry},
    telemetry::{HOST, TARGET_BACKEND},
    time::Timestamp,
};
use std::time::Duration;

pub(super) const OPERATION: &str = "executor.run";
/// The wait before the first try to connect again.
pub(super) const FIRST_WAIT: Duration = Duration::from_millis(200);
/// How often a log that ends early is asked for again.
const SHORT_LOGS: u32 = 5;

/// What an attempt needs on each of its connections.
pub(super) struct Attempt<'a> {
    pub(super) on: &'a HostRequest,
    pub(super) identity: Identity<'a>,
    pub(super) control_folder: String,
    pub(super) parts: AttemptParts,
    pub(super) log: &'a dyn AttemptLog,
}

/// How far an attempt has come.
pub(super) struct Progress {
    /// The next byte of the log.
    pub(super) offset: u64,
    /// The host has said that the attempt runs or has ended.
    pub(super) attached: bool,
    /// Something may have been started by a call that nothing more was heard of.
    pub(super) maybe_started: bool,
    /// A package on the host was damaged, and is sent anew.
    resent: bool,
    /// Why no patch is sent, where one could not be used.
    pub(super) refused: Option<String>,
    /// What the host has wanted of the package.
    pub(super) way: Way,
    /// How much of the package the host had.
    pub(super) have: u64,
    /// How often the whole log did not come although nothing was cut.
    short_logs: u32,
    /// Since when nothing has come of connecting.
    pub(super) trouble_since: Option<Timestamp>,
    /// How long to wait before the next try.
    pub(super) wait: Duration,
}

impl Progress {
    pub(super) const fn new(offset: u64) -> Self {
        Self {
            offset,
            attached: false,
            maybe_started: false,
            resent: false,
            refused: None,
            way: Way::Whole,
            have: 0,
            short_logs: 0,
            trouble_since: None,
            wait: FIRST_WAIT,
        }
    }

    /// Something may run on the host.
    pub(super) const fn doubt(&self) -> bool {
        self.attached || self.maybe_started
    }

    /// After a connection that ended once everything had gone to the host, and of which nothing came: if that was a patch, applying it
    /// may be what ended it, and it is not sent again.
    pub(super) fn give_up_patch(&mut self) {
        if self.way == Way::Patch && !self.attached {
            self.have = 0;
            self.refused
                .get_or_insert_with(|| "the connection ended while it was applied".to_owned());
        }
    }

    /// What tells two states apart between which something came of connecting.
    pub(super) const fn mark(&self) -> (u64, bool, u64) {
        (self.offset, self.attached, self.have)
    }
}

/// What follows from an answer.
pub(super) enum Next {
    Again(BackendError),
    Done(BackendResult<AttemptReport>),
}

pub(super) fn conclude(control: Control, attempt: &Attempt<'_>, progress: &mut Progress) -> Next {
    let identity = attempt.identity;
    let fact = |kind| BackendError::new(kind, OPERATION).with("host", &attempt.on.host.name);
    Next::Done(match control {
        Control::Exit(record) => {
            progress.attached = true;
            let report = identity.report(&record, OPERATION);
            if report.is_ok() && progress.offset < record.log_length {
                progress.short_logs += 1;
                if progress.short_logs <= SHORT_LOGS {
                    let why = fact(ErrorKind::OutcomeUnknown).because("the log ended early");
                    return Next::Again(why);
                }
                tracing::warn!(
                    target: TARGET_BACKEND,
                    { { HOST } = %attempt.on.host.name, missing = record.log_length - progress.offset },
                    "the host has lost a part of the log"
                );
            }
            report
        }
        Control::Died { cause, step, survivors } => Ok(reports::died(cause, step, &survivors)),
        Control::Fenced { seen } => {
            Err(fact(ErrorKind::Fenced).with("generation", identity.generation).with("seen", seen))
        }
        Control::Busy { generation } => Err(fact(ErrorKind::Conflict)
            .with("generation", generation)
            .because("another attempt of the service is alive on the host")),
        // It was there before: whatever has removed what the host knew of it, something ran.
        Control::NeverStarted if progress.attached => Ok(reports::forgotten()),
        Control::NeverStarted => Err(fact(ErrorKind::Unavailable)
            .because("the attempt ended on the host before anything was started")),
        Control::Error { code, message } if code == "bad_digest" && !progress.resent => {
            progress.resent = true;
            return Next::Again(failure::of_host(OPERATION, &code, &message));
        }
        // Nothing has come of the patch, and the whole package can still come.
        Control::Error { code, message } if code == "bad_patch" && progress.refused.is_none() => {
            progress.have = 0;
            let why = failure::of_host(OPERATION, &code, &message);
            progress.refused = Some(message);
            return Next::Again(why);
        }
        // What was sent was cut on its way, so nothing has come of it.
        Control::Error { code, message } if code == "bad_stream" => {
            return Next::Again(failure::of_host(OPERATION, &code, &message));
        }
        Control::Error { code, message } => {
            let err =
                failure::of_host(OPERATION, &code, &message).with("host", &attempt.on.host.name);
            Err(failure::doubtful(err, progress.doubt()))
        }
        other => Err(failure::doubtful(failure::unexpected(OPERATION, &other), true)),
    })
}

/// What to do about a connection that ended without an answer: try again because of the one error, or end with the other.
///
/// It ends where connecting again cannot help, or where nothing has begun and trying again is the caller's to decide.
pub(super) fn give_up(
    why: BackendError,
    connected: bool,
    progress: &Progress,
) -> Result<BackendError, BackendError> {
    let doubt = progress.doubt();
    let begun = doubt || connected || progress.have > 0;
    match (begun, why.kind().retry()) {
        (true, Retry::AfterProbe | Retry::Safe) => Ok(why),
        _ if doubt => Err(failure::doubtful(why, true)),
        _ => Err(failure::harmless(why)),
    }
}

/// Up to a quarter less than `wait`, by host, so that a fleet does not come back all at once.
pub(super) fn spread(wait: Duration, attempt: &Attempt<'_>) -> Duration {
    let hash = Digest::of(attempt.on.host.name.as_str().as_bytes());
    let part = hash.as_bytes().first().copied().unwrap_or(0);
    wait - wait * u32::from(part) / 1024
}
