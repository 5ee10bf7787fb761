//! Why a host could not be reached: one text, told to everybody who waits for the same connection.
use deploy_core::error::{BackendError, ErrorKind};
use std::fmt;

/// How much of a text from the other side is repeated.
const LONGEST: usize = 300;

/// A failure to open a connection or a process. It never holds a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    kind: ErrorKind,
    message: String,
}

impl Failure {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::InvalidInput, message)
    }

    pub(crate) fn unauthenticated(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unauthenticated, message)
    }

    pub(crate) fn unavailable(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unavailable, message)
    }

    pub(crate) fn unknown(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::OutcomeUnknown, message)
    }

    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// The same failure, seen from a host that is behind the one that failed.
    pub(crate) fn behind(&self, jump: &impl fmt::Display) -> Self {
        Self::new(self.kind, format!("the jump host {jump} cannot be used: {}", self.message))
    }

    /// As the error of `operation` on `host`, reached at `address`.
    pub(crate) fn at(
        self,
        operation: &'static str,
        host: &impl fmt::Display,
        address: &impl fmt::Display,
    ) -> BackendError {
        BackendError::new(self.kind, operation)
            .with("host", host)
            .with("address", address)
            .because(self.message)
    }
}

/// What the other side said, fit for a message: one line, no control characters, not too long.
pub(crate) fn quoted(text: &str) -> String {
    let plain = text.trim().chars().map(|it| if it.is_control() { ' ' } else { it });
    plain.take(LONGEST).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::error::Error as _;

    #[test]
    fn says_what_and_where() {
        let err = Failure::unavailable("connection refused").at("ssh.open", &"web-1", &"10.0.0.1");
        assert_eq!(err.kind(), ErrorKind::Unavailable);
        assert_eq!(err.to_string(), "ssh.open: unavailable (host=`web-1`, address=`10.0.0.1`)");
        assert_eq!(err.source().map(ToString::to_string).as_deref(), Some("connection refused"));
    }

    #[test]
    fn cleans_what_the_other_side_said() {
        assert_eq!(quoted(" a\x1b[2Jb\r\n"), "a [2Jb");
        assert_eq!(quoted(&"x".repeat(1000)).len(), LONGEST);
    }
}
