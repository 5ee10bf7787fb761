//! Errors from everywhere, as what people and programs are told.
use crate::reason::{os_error, sentence, without_numbers};
use deploy_core::{
    backend::{AccessError, AppendError},
    engine::PlatformError,
    error::{BackendError, ErrorKind},
    plan::PlanError,
    rollout::Refusal,
};
use deploy_wire::{Problem, ProblemCode};
use std::{error::Error as StdError, fmt};

/// Something that people can be told about.
pub trait IntoProblem {
    /// What they are told.
    fn into_problem(self) -> Problem;
}

/// Tells people about the errors of a result.
pub trait OrProblem<T> {
    /// What there is, or what people are told instead.
    ///
    /// # Errors
    /// If there was an error.
    fn or_problem(self) -> Result<T, Problem>;
}

impl<T, E: IntoProblem> OrProblem<T> for Result<T, E> {
    fn or_problem(self) -> Result<T, Problem> {
        self.map_err(IntoProblem::into_problem)
    }
}

/// What the command line, or something it names, cannot mean.
#[must_use]
pub fn usage(message: impl fmt::Display) -> Problem {
    Problem::new(ProblemCode::Usage, message.to_string())
}

/// What cannot be done as it was asked for.
#[must_use]
pub fn invalid(message: impl fmt::Display) -> Problem {
    Problem::new(ProblemCode::InvalidInput, message.to_string())
}

/// An error of the operating system about `what`.
#[must_use]
pub fn io_problem(what: impl fmt::Display, err: &std::io::Error) -> Problem {
    let code = match err.kind() {
        std::io::ErrorKind::NotFound => ProblemCode::NotFound,
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => ProblemCode::NoSpace,
        std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::ReadOnlyFilesystem => {
            ProblemCode::InvalidInput
        }
        _ => ProblemCode::Internal,
    };
    Problem::new(code, format!("{what}: {}", os_error(err)))
}

/// An error and all its causes on one line.
#[must_use]
pub fn chain(err: &dyn StdError) -> String {
    let mut text = err.to_string();
    let mut cause = err.source();
    while let Some(err) = cause {
        let next = err.to_string();
        if !text.ends_with(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        cause = err.source();
    }
    without_numbers(&text)
}

/// The fact of a backend error that says what to do.
const HINT: &str = "hint";

/// What errors are about, the most telling first.
const THINGS: [&str; 7] = ["build", "service", "release", "rollout", "host", "artifact", "digest"];

/// What an error is about.
fn named(err: &BackendError) -> Option<&(&'static str, String)> {
    let fact = |thing: &&str| err.context().iter().find(|(key, _)| key == thing);
    THINGS.iter().find_map(fact).or_else(|| err.context().first())
}

impl IntoProblem for BackendError {
    fn into_problem(self) -> Problem {
        let code = ProblemCode::from(self.kind());
        let named = named(&self);
        let message = match (self.kind(), named) {
            (ErrorKind::NotFound, Some((what, name))) => {
                let what = if *what == "digest" { "artifact" } else { *what };
                format!("there is no {what} `{name}`")
            }
            (ErrorKind::AlreadyExists, Some((what, name))) => {
                let mut message =
                    format!("{what} `{name}` is there already, and is something else");
                append_cause(&mut message, &self);
                message
            }
            _ => match (self.source(), named) {
                (Some(cause), Some(("path", path))) => format!("{path}: {}", chain(cause)),
                (Some(cause), Some((what, name))) => format!("{what} `{name}`: {}", chain(cause)),
                _ => sentence(&chain(&self)),
            },
        };
        let mut problem = Problem::new(code, message).with_context("operation", self.operation());
        for (key, value) in self.context().iter().filter(|(key, _)| *key != HINT) {
            problem = problem.with_context(*key, value);
        }
        let given = self.context().iter().find(|(key, _)| *key == HINT);
        match given.map(|(_, it)| it.as_str()).or_else(|| hint(&self)) {
            Some(hint) => problem.with_hint(hint),
            None => problem,
        }
    }
}

fn append_cause(message: &mut String, err: &BackendError) {
    if let Some(cause) = err.source() {
        message.push_str(": ");
        message.push_str(&chain(cause));
    }
}

fn hint(err: &BackendError) -> Option<&'static str> {
    match err.kind() {
        ErrorKind::Conflict => {
            Some("somebody else was faster: look at it again, and repeat the command")
        }
        ErrorKind::Corrupt => Some(
            "restore the data folder from a backup; `deploy doctor` shows what can still be read",
        ),
        ErrorKind::NoSpace => Some("make room, then repeat the command: nothing is half done"),
        ErrorKind::NotFound => match named(err).map(|(what, _)| *what) {
            Some("service") => Some("`deploy service list` shows all services"),
            Some("host") => Some("`deploy host list` shows all hosts"),
            Some("release") => {
                Some("`deploy release list SERVICE` shows the releases of a service")
            }
            Some("rollout") => Some("`deploy rollout list` shows all rollouts"),
            Some("digest" | "artifact") => Some("`deploy artifact list` shows all artifacts"),
            _ => None,
        },
        ErrorKind::OutcomeUnknown => {
            Some("it may have happened: look before repeating the command")
        }
        _ => None,
    }
}

impl IntoProblem for PlatformError {
    fn into_problem(self) -> Problem {
        let message = chain(&self);
        let detail = self.code();
        let problem = match self {
            Self::Backend(err) | Self::Journal(AppendError::Backend(err)) => err.into_problem(),
            Self::Access(AccessError::Denied { .. } | AccessError::Unchecked(_)) => {
                Problem::new(ProblemCode::AccessDenied, message)
            }
            Self::ActiveRollout { service, rollout, by, at, plan } => {
                Problem::new(ProblemCode::RolloutActive, message)
                    .with_context("service", service)
                    .with_context("rollout", &rollout)
                    .with_context("by", by)
                    .with_context("at", at)
                    .with_context("plan", plan)
                    .with_hint(format!(
                        "`deploy rollout watch {rollout}` follows it, `deploy rollout abort {rollout}` ends it"
                    ))
            }
            Self::CannotConfirm(_) | Self::CannotStage(_) => Problem::new(ProblemCode::Unsupported, message),
            Self::InventoryChanged(changes) => {
                let problem = Problem::new(ProblemCode::InventoryChanged, message)
                    .with_hint("`deploy plan` makes a new one");
                changes.iter().enumerate().fold(problem, |problem, (at, change)| {
                    problem.with_context(format!("change.{}", at + 1), change)
                })
            }
            Self::Journal(_) => Problem::new(ProblemCode::Conflict, message),
            Self::Plan(PlanError::EmptySelection { .. }) => {
                Problem::new(ProblemCode::EmptySelection, message)
                    .with_hint("`deploy host list SELECTOR` shows what a selector selects")
            }
            Self::NothingOwed(service) => Problem::new(ProblemCode::InvalidInput, message)
                .with_context("service", &service)
                .with_hint(format!("`deploy status {service} --refresh` looks what hosts run")),
            Self::Record { .. } => Problem::new(ProblemCode::Corrupt, message),
            Self::Refused(Refusal::NotTarget(host)) => {
                Problem::new(ProblemCode::NotFound, message).with_context("host", host)
            }
            Self::Refused(_) | Self::RepairHeld { .. } | Self::Superseded { .. } => {
                Problem::new(ProblemCode::Conflict, message)
            }
            _ => Problem::new(ProblemCode::InvalidInput, message),
        };
        problem.with_context("reason", detail)
    }
}
