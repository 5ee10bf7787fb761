//! What the agents' answers mean.
use deploy_agent_protocol::v1::{self, Outcome, Refusal};
use deploy_core::{
    backend::AttemptReport,
    error::{BackendError, BackendResult, ErrorKind},
    id::{HostName, Seq},
    spec::StepName,
};
use deploy_host::executor::recorded_reason;

/// The attempt that an answer has to be about.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Identity<'a> {
    pub(crate) host: &'a HostName,
    pub(crate) generation: Seq,
    pub(crate) token: &'a str,
    pub(crate) operation: &'static str,
}

impl Identity<'_> {
    pub(crate) fn error(&self, kind: ErrorKind) -> BackendError {
        BackendError::new(kind, self.operation)
            .with("host", self.host)
            .with("generation", self.generation)
    }

    /// The report of an exit record, if it is this attempt's.
    pub(crate) fn ended(&self, record: v1::Ended) -> BackendResult<AttemptReport> {
        if record.token != self.token || record.generation != self.generation.get() {
            return Err(self.error(ErrorKind::OutcomeUnknown).because(
                "the host's exit record is not of this attempt: its token or generation is another",
            ));
        }
        let step = step(&record.step);
        Ok(match (record.outcome(), step) {
            (Outcome::Succeeded, _) => AttemptReport::Succeeded,
            (Outcome::Killed, _) => AttemptReport::Killed,
            (Outcome::KillFailed, _) => AttemptReport::KillFailed { survivors: record.survivors },
            (Outcome::SelfReverted, _) => {
                AttemptReport::SelfReverted { reason: went_back(&record.reason).to_owned() }
            }
            (Outcome::RevertFailed, step) => AttemptReport::RevertFailed {
                step,
                code: Some(record.code),
                reason: recorded_reason(&record.reason),
            },
            (Outcome::Failed, Some(step)) => AttemptReport::Failed {
                step,
                code: record.code,
                reason: recorded_reason(&record.reason),
            },
            (Outcome::TimedOut, Some(step)) => AttemptReport::TimedOut { step },
            (Outcome::Failed | Outcome::TimedOut, None) => {
                lost(None, "the exit record names no step".to_owned())
            }
            (Outcome::Unspecified, _) => {
                return Err(self
                    .error(ErrorKind::OutcomeUnknown)
                    .because("the host's agent is newer than this server: it tells an end that is not known here"));
            }
        })
    }

    /// What a refusal promises: nothing was started by this order.
    pub(crate) fn refused(&self, refused: v1::Refused) -> BackendError {
        let kind = match refused.code() {
            Refusal::Invalid => ErrorKind::InvalidInput,
            Refusal::NotTrusted | Refusal::NotAllowed => ErrorKind::PermissionDenied,
            Refusal::Fenced => ErrorKind::Fenced,
            Refusal::Busy => ErrorKind::Conflict,
            Refusal::NoSpace => ErrorKind::NoSpace,
            Refusal::NoAccount => ErrorKind::NotFound,
            Refusal::Artifact | Refusal::Failing | Refusal::Unspecified => ErrorKind::Unavailable,
        };
        let mut err = self.error(kind);
        match refused.code() {
            Refusal::Fenced => err = err.with("seen", refused.generation),
            Refusal::Busy => err = err.with("alive", refused.generation),
            _ => {}
        }
        let silent = || "the host's agent refuses, and does not say why".to_owned();
        let why = Some(refused.message).filter(|it| !it.is_empty());
        err.because(why.unwrap_or_else(silent))
    }

    /// An answer to something else than what was asked.
    pub(crate) fn unexpected(&self) -> BackendError {
        self.error(ErrorKind::OutcomeUnknown)
            .because("the host's agent gave an answer to another question")
    }
}

/// The report of an attempt that left no exit record.
pub(crate) fn died(died: &v1::Died) -> AttemptReport {
    let mut reason = match died.reason.as_str() {
        "rebooted" => "the host was restarted".to_owned(),
        "shim_lost" => "the process that watched over it was killed".to_owned(),
        other => other.to_owned(),
    };
    if !died.survivors.is_empty() {
        reason.push_str("; still there: ");
        reason.push_str(&died.survivors.join(", "));
    }
    let step = step(&died.step);
    if died.reverting {
        // Where a way back was cut, no step may be taken up again as if it had gone forward.
        return AttemptReport::RevertFailed { step, code: None, reason };
    }
    lost(step, reason)
}

/// Why a host went back, for people.
fn went_back(reason: &str) -> &str {
    match reason {
        "confirm_timeout" => "nobody confirmed it in time",
        "kill_request" => "somebody asked for it",
        "not_durable" => "the host could not write down that it waits",
        "rebooted" => "the host was restarted while it waited",
        other => other,
    }
}

/// The host had begun the attempt, and knows nothing of it any more.
pub(crate) fn forgotten() -> AttemptReport {
    lost(None, "it had begun, and then the host knew nothing of it".to_owned())
}

/// A step, if it is one.
pub(crate) fn step(name: &str) -> Option<StepName> {
    StepName::ALL.into_iter().find(|it| it.as_str() == name)
}

const fn lost(step: Option<StepName>, reason: String) -> AttemptReport {
    AttemptReport::Lost { step, reason }
}
