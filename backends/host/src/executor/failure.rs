//! Errors, as the contract of `Executor` wants them: what kind promises that nothing was started, and when it may.
use crate::control::Control;
use deploy_core::error::{BackendError, ErrorKind};

pub(super) const fn invalid(operation: &'static str) -> BackendError {
    BackendError::new(ErrorKind::InvalidInput, operation)
}

/// What a host's `error` line means, if nothing else is known.
pub(super) fn of_host(operation: &'static str, code: &str, message: &str) -> BackendError {
    let kind = match code {
        "bad_digest" => ErrorKind::InvalidInput,
        "bad_stream" => ErrorKind::Unavailable,
        "missing_tool" => ErrorKind::NotFound,
        "no_space" => ErrorKind::NoSpace,
        "not_writable" => ErrorKind::PermissionDenied,
        _ => ErrorKind::Corrupt,
    };
    let why = match code {
        "missing_tool" => format!("the host has no `{message}`: install it there"),
        "no_space" => "there is no room left on the host: make room there".to_owned(),
        "not_writable" => format!("{message}: the account cannot write there"),
        _ if message.is_empty() => "the host does not say why".to_owned(),
        _ => message.to_owned(),
    };
    BackendError::new(kind, operation).with("code", code).because(why)
}

/// `err`, or what is left of it where something may have been started.
#[must_use]
pub fn doubtful(err: BackendError, maybe_started: bool) -> BackendError {
    if maybe_started && err.kind() != ErrorKind::OutcomeUnknown {
        BackendError::new(ErrorKind::OutcomeUnknown, err.operation()).because(err)
    } else {
        err
    }
}

/// `err`, where nothing can have been started: the loss of a connection is no doubt then.
#[must_use]
pub fn harmless(err: BackendError) -> BackendError {
    if err.kind() == ErrorKind::OutcomeUnknown {
        BackendError::new(ErrorKind::Unavailable, err.operation()).because(err)
    } else {
        err
    }
}

/// The process ended and never said what it should have.
pub(super) fn silent(operation: &'static str, noise: &str) -> BackendError {
    // `sudo -n` is how another account is taken on, and it says no in its own words.
    let refused = noise.contains("sudo: ");
    let kind = if refused { ErrorKind::PermissionDenied } else { ErrorKind::Unavailable };
    let silent = "the host ended the call without an answer";
    let why = if noise.is_empty() { silent.to_owned() } else { format!("{silent}: {noise}") };
    BackendError::new(kind, operation).because(why)
}

/// The host answered something that is no answer to what was asked.
pub(super) fn unexpected(operation: &'static str, control: &Control) -> BackendError {
    BackendError::new(ErrorKind::Corrupt, operation)
        .with("answer", format!("{control:?}"))
        .because("the host gave an answer to another question")
}
