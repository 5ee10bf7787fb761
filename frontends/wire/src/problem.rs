use crate::Exit;
use deploy_core::error::ErrorKind;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt};

macro_rules! codes {
    ($($(#[$meta:meta])* $Name:ident = $text:literal => $exit:ident,)*) => {
        /// What kind of problem it is: stable, for programs.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
        #[serde(rename_all = "snake_case")]
        #[non_exhaustive]
        pub enum ProblemCode {
            $($(#[$meta])* $Name,)*
        }

        impl ProblemCode {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$Name,)*];

            /// Its stable name.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$Name => $text,)*
                }
            }

            /// What a process ends with because of it.
            #[must_use]
            pub const fn exit(self) -> Exit {
                match self {
                    $(Self::$Name => Exit::$exit,)*
                }
            }
        }
    };
}

codes! {
    /// Nobody allows this.
    AccessDenied = "access_denied" => Denied,
    /// There is something else under this name.
    AlreadyExists = "already_exists" => Conflict,
    /// A build did not succeed; `context` has `build` and `fault`.
    BuildFailed = "build_failed" => Other,
    /// It has changed since it was read, or somebody holds it.
    Conflict = "conflict" => Conflict,
    /// Stored data contradicts itself, or has rotted.
    Corrupt = "corrupt" => Other,
    /// The data folder cannot be used as it is.
    DataDir = "data_dir" => Other,
    /// The data was written by a newer version of this program.
    DataTooNew = "data_too_new" => Other,
    /// A selector selects nothing.
    EmptySelection = "empty_selection" => Other,
    /// A newer command has been seen.
    Fenced = "fenced" => Conflict,
    /// The same request is being answered at this moment.
    InProgress = "in_progress" => Conflict,
    /// A bug.
    Internal = "internal" => Other,
    /// Somebody ended the command.
    Interrupted = "interrupted" => Other,
    /// An archive is not one, or holds what may not be in it.
    InvalidArchive = "invalid_archive" => Other,
    /// A file says something impossible; `context` has `file`, `line` and `column`.
    InvalidFile = "invalid_file" => Other,
    /// What was asked for can never work as it is.
    InvalidInput = "invalid_input" => Other,
    /// The hosts have changed since the plan was made.
    InventoryChanged = "inventory_changed" => Conflict,
    /// An idempotency key was used for another request before.
    KeyReused = "key_reused" => Conflict,
    /// A resource does not know this method.
    MethodNotAllowed = "method_not_allowed" => Other,
    /// There is no room left on a disk.
    NoSpace = "no_space" => Other,
    /// There is no such thing.
    NotFound = "not_found" => Other,
    /// It may or may not have happened.
    OutcomeUnknown = "outcome_unknown" => Other,
    /// It is no longer at the revision that the caller has seen.
    PreconditionFailed = "precondition_failed" => Conflict,
    /// A change has to name the revision it is for.
    PreconditionRequired = "precondition_required" => Other,
    /// Too many requests in too short a time; `context` has `retry_after_secs`.
    RateLimited = "rate_limited" => Other,
    /// The service has an active rollout already; `context` names it.
    RolloutActive = "rollout_active" => Conflict,
    /// A request took too long.
    TimedOut = "timed_out" => Other,
    /// A request is larger than it may be; `context` has `limit`.
    TooLarge = "too_large" => Other,
    /// The other side is not who it should be, or does not know us.
    Unauthenticated = "unauthenticated" => Other,
    /// The other side cannot be reached.
    Unavailable = "unavailable" => Other,
    /// A check found something wrong.
    Unhealthy = "unhealthy" => Other,
    /// This is not offered.
    Unsupported = "unsupported" => Other,
    /// A request is written in a way that is not understood.
    UnsupportedMediaType = "unsupported_media_type" => Other,
    /// The command line is wrong.
    Usage = "usage" => Usage,
}

impl fmt::Display for ProblemCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl From<ErrorKind> for ProblemCode {
    fn from(kind: ErrorKind) -> Self {
        match kind {
            ErrorKind::AlreadyExists => Self::AlreadyExists,
            ErrorKind::Conflict => Self::Conflict,
            ErrorKind::Corrupt => Self::Corrupt,
            ErrorKind::Fenced => Self::Fenced,
            ErrorKind::InvalidInput => Self::InvalidInput,
            ErrorKind::NoSpace => Self::NoSpace,
            ErrorKind::NotFound => Self::NotFound,
            ErrorKind::OutcomeUnknown => Self::OutcomeUnknown,
            ErrorKind::PermissionDenied => Self::AccessDenied,
            ErrorKind::RateLimited | ErrorKind::Unavailable => Self::Unavailable,
            ErrorKind::Unauthenticated => Self::Unauthenticated,
            ErrorKind::Unsupported => Self::Unsupported,
            _ => Self::Internal,
        }
    }
}

/// What went wrong: for people to read, and for programs to act on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Problem {
    /// What kind it is.
    pub code: ProblemCode,
    /// What is wrong, and where.
    pub message: String,
    /// What to do about it, where that is known.
    pub hint: Option<String>,
    /// Facts by name, such as `file` and `line`.
    pub context: BTreeMap<String, String>,
}

impl Problem {
    /// A problem without hint and context.
    #[must_use]
    pub fn new(code: ProblemCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), hint: None, context: BTreeMap::new() }
    }

    /// With what to do about it.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// With one more fact.
    #[must_use]
    pub fn with_context(mut self, key: impl Into<String>, value: impl fmt::Display) -> Self {
        self.context.insert(key.into(), value.to_string());
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Problem {}

/// How a problem is printed under `--output json`: on one line of its own, on standard error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ProblemDocument {
    /// The problem.
    pub problem: Problem,
}

impl From<Problem> for ProblemDocument {
    fn from(problem: Problem) -> Self {
        Self { problem }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_written_as_its_name() {
        for code in ProblemCode::ALL {
            let written = serde_json::to_string(code).unwrap();
            assert_eq!(written, format!("\"{}\"", code.as_str()));
        }
    }

    #[test]
    fn a_problem_is_one_json_document() {
        let problem = Problem::new(ProblemCode::InvalidFile, "no").with_context("line", 3);
        let written = serde_json::to_string(&ProblemDocument::from(problem)).unwrap();
        assert_eq!(
            written,
            r#"{"problem":{"code":"invalid_file","message":"no","hint":null,"context":{"line":"3"}}}"#
        );
    }
}
