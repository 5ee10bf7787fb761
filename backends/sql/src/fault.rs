//! What drivers report, as kinds that callers can act on.
use deploy_core::error::{BackendError, ErrorKind};
use sqlx::{error::DatabaseError, postgres::PgDatabaseError, sqlite::SqliteError};
use std::{error::Error as StdError, fmt, time::Duration};

/// When something went wrong: at a commit, nobody may know whether it took effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Commit,
    Statement,
}

/// Why a statement failed.
#[derive(Debug)]
pub(crate) enum Fault {
    Driver(sqlx::Error),
    Late(Duration),
}

impl From<sqlx::Error> for Fault {
    fn from(err: sqlx::Error) -> Self {
        Self::Driver(err)
    }
}

impl Fault {
    pub(crate) fn into_error(
        self,
        operation: &'static str,
        database: &str,
        phase: Phase,
    ) -> BackendError {
        let (kind, cause) = self.explain(phase);
        BackendError::new(kind, operation).with("database", database).because(cause)
    }

    /// The kind, and a cause that says what to do.
    pub(crate) fn explain(self, phase: Phase) -> (ErrorKind, Cause) {
        let verdict = match &self {
            Self::Driver(err) => verdict(err),
            Self::Late(_) => verdict::LATE,
        };
        let cause = |advice| Cause { advice, source: self.into_source() };
        match phase {
            Phase::Commit if !verdict.definite => (
                ErrorKind::OutcomeUnknown,
                cause("the commit was not confirmed: read again to see whether it took effect"),
            ),
            Phase::Commit | Phase::Statement => (verdict.kind, cause(verdict.advice)),
        }
    }

    /// The innermost error: what sqlx wraps around it repeats it.
    fn into_source(self) -> Box<dyn StdError + Send + Sync> {
        match self {
            Self::Driver(sqlx::Error::Database(err)) => err.into_error(),
            Self::Driver(sqlx::Error::Io(err)) => Box::new(err),
            Self::Driver(
                sqlx::Error::Configuration(err)
                | sqlx::Error::Decode(err)
                | sqlx::Error::Encode(err)
                | sqlx::Error::Tls(err),
            ) => err,
            Self::Driver(other) => Box::new(other),
            Self::Late(deadline) => format!("no answer within {} s", deadline.as_secs_f32()).into(),
        }
    }
}

/// What happened in words that help, around what the driver said.
#[derive(Debug)]
pub(crate) struct Cause {
    advice: &'static str,
    source: Box<dyn StdError + Send + Sync>,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.advice)
    }
}

impl StdError for Cause {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(self.source.as_ref())
    }
}

struct Verdict {
    kind: ErrorKind,
    advice: &'static str,
    /// Whether it says for sure, even at a commit, that nothing took effect.
    definite: bool,
}

mod verdict {
    use super::{ErrorKind, Verdict};

    const fn definite(kind: ErrorKind, advice: &'static str) -> Verdict {
        Verdict { kind, advice, definite: true }
    }

    const fn doubtful(kind: ErrorKind, advice: &'static str) -> Verdict {
        Verdict { kind, advice, definite: false }
    }

    pub(super) const BUG: Verdict =
        doubtful(ErrorKind::Internal, "the database refused a statement of this program");
    pub(super) const BUSY: Verdict = definite(
        ErrorKind::Unavailable,
        "another process keeps the database locked: wait for it or end it, and try again",
    );
    pub(super) const CORRUPT: Verdict =
        doubtful(ErrorKind::Corrupt, "the database is damaged: restore it from a backup");
    pub(super) const INVALID: Verdict =
        definite(ErrorKind::InvalidInput, "the database cannot hold one of the values");
    pub(super) const IO: Verdict = doubtful(
        ErrorKind::Unavailable,
        "the database cannot be read or written: look at its disk and at the system's log",
    );
    pub(super) const LATE: Verdict =
        doubtful(ErrorKind::Unavailable, "the database did not answer in time");
    pub(super) const LOST: Verdict =
        doubtful(ErrorKind::Unavailable, "the database cannot be reached, or was lost on the way");
    pub(super) const NO_SPACE: Verdict = definite(
        ErrorKind::NoSpace,
        "there is no room left for the database: make room on its disk, and try again",
    );
    pub(super) const NOT_ALLOWED: Verdict =
        definite(ErrorKind::PermissionDenied, "the database does not let this account do that");
    pub(super) const NOT_DURABLE: Verdict = definite(
        ErrorKind::Unsupported,
        "the database server has settings with which it loses what it has confirmed",
    );
    pub(super) const READ_ONLY: Verdict = definite(
        ErrorKind::PermissionDenied,
        "the database is read-only: make it and its folder writable for this account",
    );
    pub(super) const ROLLED_BACK: Verdict =
        definite(ErrorKind::Unavailable, "the database undid the transaction: try again");
    pub(super) const STANDBY: Verdict = definite(
        ErrorKind::Unavailable,
        "the database server is a standby: connect to the primary",
    );
    pub(super) const STRANGER: Verdict = definite(
        ErrorKind::Unauthenticated,
        "the database server does not accept this account or its password",
    );
    pub(super) const UNAVAILABLE: Verdict = definite(
        ErrorKind::Unavailable,
        "the database has no connection free: try again, or allow more connections",
    );
    pub(super) const UNKNOWN_DATABASE: Verdict =
        definite(ErrorKind::NotFound, "there is no such database on the server: create it first");
    pub(super) const CONTRADICTION: Verdict =
        definite(ErrorKind::Conflict, "the rows contradict a rule of the database");
}

fn verdict(err: &sqlx::Error) -> Verdict {
    match err {
        sqlx::Error::Configuration(_) => verdict::NOT_DURABLE,
        sqlx::Error::Database(err) => of_database(err.as_ref()),
        sqlx::Error::Encode(_) => verdict::INVALID,
        sqlx::Error::Io(err) => of_io(err),
        sqlx::Error::PoolClosed | sqlx::Error::PoolTimedOut => verdict::UNAVAILABLE,
        sqlx::Error::Protocol(_) | sqlx::Error::Tls(_) | sqlx::Error::WorkerCrashed => {
            verdict::LOST
        }
        _ => verdict::BUG,
    }
}

fn of_io(err: &std::io::Error) -> Verdict {
    match err.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => verdict::NO_SPACE,
        _ => verdict::LOST,
    }
}

fn of_database(err: &dyn DatabaseError) -> Verdict {
    if let Some(err) = err.try_downcast_ref::<PgDatabaseError>() {
        return of_sqlstate(err.code());
    }
    match err.try_downcast_ref::<SqliteError>().and_then(sqlite_code) {
        Some(code) => of_sqlite_code(code),
        None => verdict::BUG,
    }
}

/// SQLite's extended result code.
pub(crate) fn sqlite_code(err: &SqliteError) -> Option<i32> {
    err.code()?.parse().ok()
}

/// `SQLITE_IOERR_SHMSIZE`: the index of the write-ahead log could not be made larger.
pub(crate) const INDEX_TOO_LARGE: i32 = 4_874;

/// <https://www.sqlite.org/rescode.html>
fn of_sqlite_code(code: i32) -> Verdict {
    match (code, code & 0xff) {
        (INDEX_TOO_LARGE, _) | (_, 13) => verdict::NO_SPACE,
        (_, 5 | 6) => verdict::BUSY,
        (_, 3 | 23) => verdict::NOT_ALLOWED,
        (_, 8) => verdict::READ_ONLY,
        (_, 10 | 14) => verdict::IO,
        (_, 11 | 26) => verdict::CORRUPT,
        (_, 18) => verdict::INVALID,
        (_, 19) => verdict::CONTRADICTION,
        _ => verdict::BUG,
    }
}

/// <https://www.postgresql.org/docs/current/errcodes-appendix.html>
fn of_sqlstate(code: &str) -> Verdict {
    match (code, code.get(..2).unwrap_or_default()) {
        ("25006", _) => verdict::STANDBY,
        ("3D000", _) => verdict::UNKNOWN_DATABASE,
        ("42501", _) => verdict::NOT_ALLOWED,
        ("53100", _) => verdict::NO_SPACE,
        ("55P03", _) => verdict::BUSY,
        ("58P01", _) | (_, "XX") if code != "XX000" => verdict::CORRUPT,
        (_, "08" | "57" | "58") => verdict::LOST,
        (_, "22") => verdict::INVALID,
        (_, "23") => verdict::CONTRADICTION,
        (_, "28") => verdict::STRANGER,
        (_, "40") => verdict::ROLLED_BACK,
        (_, "53") => verdict::UNAVAILABLE,
        _ => verdict::BUG,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_definite_no_is_one_at_a_commit() {
        for (code, kind, definite) in [
            ("08006", ErrorKind::Unavailable, false),
            ("40001", ErrorKind::Unavailable, true),
            ("53100", ErrorKind::NoSpace, true),
            ("57014", ErrorKind::Unavailable, false),
            ("57P01", ErrorKind::Unavailable, false),
            ("XX000", ErrorKind::Internal, false),
            ("XX001", ErrorKind::Corrupt, false),
        ] {
            let verdict = of_sqlstate(code);
            assert_eq!((verdict.kind, verdict.definite), (kind, definite), "{code}");
        }
        for (code, kind, definite) in [
            (5, ErrorKind::Unavailable, true),
            (13, ErrorKind::NoSpace, true),
            (1_034, ErrorKind::Unavailable, false), // fsync failed
            (4_874, ErrorKind::NoSpace, true),
            (26, ErrorKind::Corrupt, false),
        ] {
            let verdict = of_sqlite_code(code);
            assert_eq!((verdict.kind, verdict.definite), (kind, definite), "{code}");
        }
    }

    #[test]
    fn no_answer_to_a_commit_is_an_unknown_outcome() {
        let late = || Fault::Late(Duration::from_secs(10));
        assert_eq!(late().explain(Phase::Commit).0, ErrorKind::OutcomeUnknown);
        assert_eq!(late().explain(Phase::Statement).0, ErrorKind::Unavailable);
    }
}
