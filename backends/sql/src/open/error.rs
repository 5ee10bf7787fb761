use crate::fault::{Fault, INDEX_TOO_LARGE, Phase, sqlite_code};
use deploy_core::error::{BackendError, ErrorKind};
use sqlx::{postgres::PgDatabaseError, sqlite::SqliteError};
use std::{error::Error as StdError, fmt};

pub(crate) const OPEN: &str = "database.open";

/// Why a database cannot be used.
///
/// `Display` leaves the cause out; whoever reports the error walks [`source`](StdError::source).
#[derive(Debug)]
pub struct OpenError {
    database: String,
    reason: OpenReason,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// What is wrong with a database.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OpenReason {
    /// It is empty or missing, and its logs are not: what was in it is lost.
    Emptied,
    /// Something that has no reason of its own here.
    Failed {
        /// What a caller can act on.
        kind: ErrorKind,
        /// What happened, for people.
        why: String,
    },
    /// There is no folder to hold the file.
    FolderMissing,
    /// The folder of the file cannot be written, which SQLite has to.
    FolderReadOnly,
    /// It belongs to another program.
    Foreign,
    /// The address of the server cannot be understood.
    InvalidUrl,
    /// Another process keeps it locked.
    Locked,
    /// A newer program has written it.
    NewerSchema {
        /// The version of its schema.
        found: i64,
        /// The newest version that this program knows.
        known: i64,
    },
    /// There is no room left on the disk.
    NoSpace,
    /// It is a folder, or a file that no SQLite wrote, or a damaged one.
    NotADatabase,
    /// It would lose what it has confirmed.
    NotDurable {
        /// The setting.
        setting: String,
        /// Its value.
        value: String,
        /// What it has to be.
        needed: &'static str,
    },
    /// It cannot be written.
    ReadOnly,
    /// The server is a standby, which cannot be written.
    Standby,
}

impl OpenError {
    pub(crate) fn new(database: impl Into<String>, reason: OpenReason) -> Self {
        Self { database: database.into(), reason, source: None }
    }

    pub(crate) fn because(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// From what a driver says.
    pub(crate) fn from_fault(database: &str, fault: Fault) -> Self {
        Self::from_backend(database, &fault.into_error(OPEN, database, Phase::Statement))
    }

    /// From what a statement met while the database was being opened. Of its causes only the last adds to the reason.
    pub(crate) fn from_backend(database: &str, err: &BackendError) -> Self {
        let mut root: &(dyn StdError + 'static) = err;
        while let Some(cause) = root.source() {
            root = cause;
        }
        let failed = || OpenReason::Failed {
            kind: err.kind(),
            why: err.source().map_or_else(|| err.to_string(), ToString::to_string),
        };
        let reason = reason_of(root).unwrap_or_else(failed);
        Self::new(database, reason).because(root.to_string())
    }

    /// What is wrong.
    #[must_use]
    pub const fn reason(&self) -> &OpenReason {
        &self.reason
    }

    /// What a caller can act on.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        match &self.reason {
            OpenReason::Failed { kind, .. } => *kind,
            OpenReason::FolderMissing => ErrorKind::NotFound,
            OpenReason::FolderReadOnly | OpenReason::ReadOnly => ErrorKind::PermissionDenied,
            OpenReason::Foreign | OpenReason::InvalidUrl => ErrorKind::InvalidInput,
            OpenReason::Locked | OpenReason::Standby => ErrorKind::Unavailable,
            OpenReason::NewerSchema { .. } | OpenReason::NotDurable { .. } => {
                ErrorKind::Unsupported
            }
            OpenReason::NoSpace => ErrorKind::NoSpace,
            OpenReason::Emptied | OpenReason::NotADatabase => ErrorKind::Corrupt,
        }
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the database `{}` cannot be used: {}", self.database, self.reason)
    }
}

impl fmt::Display for OpenReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Emptied => {
                "it is empty or missing, and the file of its logs is not, so that what was in it is lost: restore it from \
                 a backup, or move the logs away to begin anew"
            }
            Self::Failed { why, .. } => why,
            Self::FolderMissing => "its folder does not exist: make it first",
            Self::FolderReadOnly => {
                "its folder cannot be written, and SQLite keeps files beside the database: make the folder writable for \
                 this account"
            }
            Self::Foreign => "it belongs to another program: choose another file or another schema",
            Self::InvalidUrl => {
                "its address cannot be understood: write `postgres://USER@HOST:PORT/DATABASE`, and keep the password in \
                 `~/.pgpass`"
            }
            Self::Locked => {
                "another process keeps it locked: wait for it or end it (`fuser -v` with this file names it), and try again"
            }
            Self::NewerSchema { found, known } => {
                return write!(
                    f,
                    "a newer program has written it (its schema has version {found}, and this program knows versions up to \
                     {known}): use that program, or restore a backup from before the upgrade"
                );
            }
            Self::NoSpace => "there is no room left on its disk: make room, and try again",
            Self::NotADatabase => {
                "it is no SQLite database, or a damaged one: choose another file, or restore it from a backup"
            }
            Self::NotDurable { setting, value, needed } => {
                return write!(
                    f,
                    "with `{setting}` set to `{value}` it may lose what it has confirmed: set it to `{needed}`"
                );
            }
            Self::ReadOnly => "it cannot be written: make the file writable for this account",
            Self::Standby => "the server is a standby, which cannot be written: connect to the primary",
        })
    }
}

impl StdError for OpenError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|it| it as _)
    }
}

fn reason_of(root: &(dyn StdError + 'static)) -> Option<OpenReason> {
    if let Some(err) = root.downcast_ref::<PgDatabaseError>() {
        return (err.code() == "25006").then_some(OpenReason::Standby);
    }
    if let Some(refused) = root.downcast_ref::<Refused>() {
        return Some(refused.0.clone());
    }
    let code = root.downcast_ref::<SqliteError>().and_then(sqlite_code)?;
    match (code, code & 0xff) {
        (INDEX_TOO_LARGE, _) | (_, 13) => Some(OpenReason::NoSpace),
        (_, 5 | 6) => Some(OpenReason::Locked),
        (_, 8) => Some(OpenReason::ReadOnly),
        (_, 11 | 26) => Some(OpenReason::NotADatabase),
        _ => None,
    }
}

/// Carries a reason through a connection pool, which knows the errors of drivers only.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Refused(pub(crate) OpenReason);

impl From<OpenReason> for sqlx::Error {
    fn from(reason: OpenReason) -> Self {
        Self::Configuration(Refused(reason).into())
    }
}

impl From<OpenError> for BackendError {
    fn from(err: OpenError) -> Self {
        Self::new(err.kind(), OPEN).with("database", &err.database).because(err)
    }
}
