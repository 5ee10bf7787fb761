//! What the host's records mean.
use super::failure::invalid;
use crate::control::{DeathCause, ExitRecord, Outcome};
use deploy_core::{
    backend::AttemptReport,
    error::{BackendError, BackendResult, ErrorKind},
    id::Seq,
    spec::StepName,
};

/// The attempt that a record has to be about.
#[derive(Clone, Copy, Debug)]
pub(super) struct Identity<'a> {
    pub(super) generation: Seq,
    pub(super) token: &'a str,
}

impl Identity<'_> {
    /// A token is 32 hexadecimal digits: it stands in command lines and in every step's environment.
    pub(super) fn check(&self, operation: &'static str) -> BackendResult<()> {
        let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        if self.token.len() == 32 && self.token.bytes().all(hex) {
            return Ok(());
        }
        Err(invalid(operation).because("a token must be 32 lower-case hexadecimal digits"))
    }

    /// The report of an exit record, if it is this attempt's.
    pub(super) fn report(
        &self,
        record: &ExitRecord,
        operation: &'static str,
    ) -> BackendResult<AttemptReport> {
        if record.token != self.token || record.generation != self.generation.get() {
            return Err(BackendError::new(ErrorKind::OutcomeUnknown, operation)
                .with("generation", self.generation)
                .with("recorded_generation", record.generation)
                .because("the host's exit record is not of this attempt: its token or generation is another"));
        }
        Ok(match (record.outcome, record.step) {
            (Outcome::Succeeded, _) => AttemptReport::Succeeded,
            (Outcome::Killed, _) => AttemptReport::Killed,
            (Outcome::KillFailed, _) => {
                AttemptReport::KillFailed { survivors: record.survivors.clone() }
            }
            (Outcome::Failed, Some(step)) => AttemptReport::Failed {
                step,
                code: record.code,
                reason: recorded_reason(&record.reason),
            },
            (Outcome::TimedOut, Some(step)) => AttemptReport::TimedOut { step },
            (Outcome::Failed | Outcome::TimedOut, None) => {
                lost(None, "the exit record names no step".to_owned())
            }
        })
    }
}

/// The report of an attempt that left no exit record.
pub(super) fn died(
    cause: DeathCause,
    step: Option<StepName>,
    survivors: &[String],
) -> AttemptReport {
    let mut reason = cause.text().to_owned();
    if !survivors.is_empty() {
        reason.push_str("; still there: ");
        reason.push_str(&survivors.join(", "));
    }
    lost(step, reason)
}

/// The host had begun the attempt, and knows nothing of it any more.
pub(super) fn forgotten() -> AttemptReport {
    let reason =
        "it had begun, and then the host knew nothing of it: does a step remove `.deploy`?";
    lost(None, reason.to_owned())
}

const fn lost(step: Option<StepName>, reason: String) -> AttemptReport {
    AttemptReport::Lost { step, reason }
}

/// What the reason in an exit record tells a person; nothing where the exit code says it all.
#[must_use]
pub fn recorded_reason(recorded: &str) -> String {
    match recorded {
        "exit_code" => "",
        "log_limit" => "it printed more than an attempt may",
        "not_durable" => "the host could not write down that the step begins",
        other => other,
    }
    .to_owned()
}
