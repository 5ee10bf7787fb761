//! One error type for all backends: what the engine branches on is its [`ErrorKind`].
use std::{error::Error as StdError, fmt};

/// What went wrong, as far as a caller can act on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The thing exists already.
    AlreadyExists,
    /// A precondition on the current state did not hold.
    Conflict,
    /// Stored data contradicts itself.
    Corrupt,
    /// A newer generation or lease has been seen.
    Fenced,
    /// A bug in the backend.
    Internal,
    /// The request can never succeed as it is.
    InvalidInput,
    /// There is no room left on a disk, or a quota is used up.
    NoSpace,
    /// There is no such thing.
    NotFound,
    /// The request may or may not have taken effect.
    OutcomeUnknown,
    /// The caller is known and may not do this.
    PermissionDenied,
    /// Slow down.
    RateLimited,
    /// The other side is not who it should be, or does not know the caller.
    Unauthenticated,
    /// The other side cannot be reached; the request did not take effect.
    Unavailable,
    /// The backend does not offer this.
    Unsupported,
}

/// Whether trying again can help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Retry {
    /// Look first: it may have happened.
    AfterProbe,
    /// It cannot help.
    Never,
    /// The same request may be sent again.
    Safe,
}

impl ErrorKind {
    /// A stable, lower-case name: for logs, metrics and machine output.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AlreadyExists => "already_exists",
            Self::Conflict => "conflict",
            Self::Corrupt => "corrupt",
            Self::Fenced => "fenced",
            Self::Internal => "internal",
            Self::InvalidInput => "invalid_input",
            Self::NoSpace => "no_space",
            Self::NotFound => "not_found",
            Self::OutcomeUnknown => "outcome_unknown",
            Self::PermissionDenied => "permission_denied",
            Self::RateLimited => "rate_limited",
            Self::Unauthenticated => "unauthenticated",
            Self::Unavailable => "unavailable",
            Self::Unsupported => "unsupported",
        }
    }

    /// Whether trying again can help.
    #[must_use]
    pub const fn retry(self) -> Retry {
        match self {
            Self::RateLimited | Self::Unavailable => Retry::Safe,
            Self::OutcomeUnknown => Retry::AfterProbe,
            Self::AlreadyExists
            | Self::Conflict
            | Self::Corrupt
            | Self::Fenced
            | Self::Internal
            | Self::InvalidInput
            | Self::NoSpace
            | Self::NotFound
            | Self::PermissionDenied
            | Self::Unauthenticated
            | Self::Unsupported => Retry::Never,
        }
    }
}

/// What a backend call gives.
pub type BackendResult<T> = Result<T, BackendError>;

/// An error from a backend.
///
/// `Display` leaves the cause out; whoever reports the error walks [`source`](StdError::source).
///
/// ```
/// use deploy_core::error::{BackendError, ErrorKind};
///
/// let err = BackendError::new(ErrorKind::NotFound, "artifact.head")
///     .with("digest", "sha256:00ff")
///     .because(std::io::Error::other("no such file"));
/// assert_eq!(err.kind(), ErrorKind::NotFound);
/// assert_eq!(err.to_string(), "artifact.head: not_found (digest=`sha256:00ff`)");
/// ```
#[derive(Debug)]
pub struct BackendError {
    kind: ErrorKind,
    operation: &'static str,
    context: Vec<(&'static str, String)>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl BackendError {
    /// An error of `kind` in `operation`, such as `"artifact.put"`.
    #[must_use]
    pub const fn new(kind: ErrorKind, operation: &'static str) -> Self {
        Self { kind, operation, context: Vec::new(), source: None }
    }

    /// Adds a fact that whoever reads the error will want.
    #[must_use]
    pub fn with(mut self, key: &'static str, value: impl fmt::Display) -> Self {
        self.context.push((key, value.to_string()));
        self
    }

    /// Sets the cause.
    #[must_use]
    pub fn because(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// What a caller can act on.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// What was being done, such as `"artifact.put"`.
    #[must_use]
    pub const fn operation(&self) -> &'static str {
        self.operation
    }

    /// The facts added by [`with`](Self::with).
    #[must_use]
    pub fn context(&self) -> &[(&'static str, String)] {
        &self.context
    }

    /// The error and all its causes on one line, for a reason field of a journal record.
    #[must_use]
    pub fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut cause = self.source();
        while let Some(err) = cause {
            text.push_str(": ");
            text.push_str(&err.to_string());
            cause = err.source();
        }
        text
    }
}

impl fmt::Display for BackendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.operation, self.kind.as_str())?;
        for (at, (key, value)) in self.context.iter().enumerate() {
            write!(f, "{}{key}=`{value}`", if at == 0 { " (" } else { ", " })?;
        }
        if self.context.is_empty() { Ok(()) } else { f.write_str(")") }
    }
}

impl StdError for BackendError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|it| it as _)
    }
}
