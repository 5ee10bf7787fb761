//! What a failure means to a caller.
use deploy_core::error::{BackendError, ErrorKind};
use std::{error::Error, fmt, io};

type Cause = Box<dyn Error + Send + Sync>;

/// Reading `what` failed: nothing has changed.
pub(crate) fn reading(
    operation: &'static str,
    what: impl fmt::Display,
    cause: impl Into<Cause>,
) -> BackendError {
    fault(operation, ErrorKind::Unavailable, what, cause.into())
}

/// Changing `what` failed: it may have happened all the same.
pub(crate) fn writing(
    operation: &'static str,
    what: impl fmt::Display,
    cause: impl Into<Cause>,
) -> BackendError {
    fault(operation, ErrorKind::OutcomeUnknown, what, cause.into())
}

/// A task of this crate ended without a result.
pub(crate) fn lost(operation: &'static str, cause: tokio::task::JoinError) -> BackendError {
    BackendError::new(ErrorKind::Internal, operation).because(cause)
}

fn fault(
    operation: &'static str,
    otherwise: ErrorKind,
    what: impl fmt::Display,
    cause: Cause,
) -> BackendError {
    let kind = known_kind(cause.as_ref()).unwrap_or(otherwise);
    let err = BackendError::new(kind, operation).with("path", what);
    match hint(kind) {
        Some(hint) => err.with("hint", hint),
        None => err,
    }
    .because(cause)
}

fn hint(kind: ErrorKind) -> Option<&'static str> {
    match kind {
        ErrorKind::NoSpace => Some("free some room there, or remove artifacts that nobody needs"),
        ErrorKind::PermissionDenied => {
            Some("the account this runs as must be allowed to read and write there")
        }
        _ => None,
    }
}

fn known_kind(cause: &(dyn Error + 'static)) -> Option<ErrorKind> {
    let mut link = Some(cause);
    while let Some(err) = link {
        let kind = if let Some(err) = err.downcast_ref::<io::Error>() {
            kind_of_io(err.kind())
        } else {
            err.downcast_ref().and_then(kind_of_store)
        };
        if kind.is_some() {
            return kind;
        }
        link = err.source();
    }
    None
}

fn kind_of_io(kind: io::ErrorKind) -> Option<ErrorKind> {
    match kind {
        io::ErrorKind::FileTooLarge | io::ErrorKind::QuotaExceeded | io::ErrorKind::StorageFull => {
            Some(ErrorKind::NoSpace)
        }
        io::ErrorKind::NotADirectory => Some(ErrorKind::InvalidInput),
        io::ErrorKind::NotFound => Some(ErrorKind::NotFound),
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            Some(ErrorKind::PermissionDenied)
        }
        _ => None,
    }
}

fn kind_of_store(err: &object_store::Error) -> Option<ErrorKind> {
    match err {
        object_store::Error::AlreadyExists { .. } => Some(ErrorKind::AlreadyExists),
        object_store::Error::NotFound { .. } => Some(ErrorKind::NotFound),
        object_store::Error::PermissionDenied { .. } => Some(ErrorKind::PermissionDenied),
        object_store::Error::Unauthenticated { .. } => Some(ErrorKind::Unauthenticated),
        _ => None,
    }
}
