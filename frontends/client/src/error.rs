use deploy_wire::{Problem, ProblemCode, ProblemDetails};
use std::io;

/// Why the server did not do what it was asked for, as far as the client knows.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// What was to be uploaded cannot be read.
    #[error("what is uploaded cannot be read")]
    Input(#[from] io::Error),
    /// The client cannot be set up like this.
    #[error("{0}")]
    Invalid(String),
    /// The server has said what is wrong.
    #[error("{}", .0.detail)]
    Problem(Box<ProblemDetails>),
    /// The answer is not one of this API.
    #[error("{place} gives an answer that is none of this API: {what}")]
    Unexpected {
        /// Who answers.
        place: String,
        /// What is wrong with it.
        what: String,
    },
    /// Who answers is not who should: their certificate is not good.
    #[error("{place} does not prove who it is: {reason}")]
    Untrusted {
        /// Who was asked.
        place: String,
        /// What is wrong with the certificate.
        reason: String,
    },
    /// There was no answer: the request may have been done, or not.
    #[error("{place} does not answer: {reason}")]
    Unreachable {
        /// Who was asked.
        place: String,
        /// Why there is no answer.
        reason: String,
    },
}

impl ClientError {
    /// The stable code of the problem that it is.
    #[must_use]
    pub fn code(&self) -> ProblemCode {
        match self {
            Self::Input(_) | Self::Invalid(_) => ProblemCode::InvalidInput,
            Self::Problem(details) => details.code,
            Self::Unexpected { .. } => ProblemCode::Internal,
            Self::Unreachable { .. } => ProblemCode::Unavailable,
            Self::Untrusted { .. } => ProblemCode::Unauthenticated,
        }
    }
}

impl From<ClientError> for Problem {
    fn from(err: ClientError) -> Self {
        match err {
            ClientError::Problem(details) => (*details).into(),
            err => Self::new(err.code(), err.to_string()),
        }
    }
}
