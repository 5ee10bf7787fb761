//! Rows of either database, and what can be wrong with one.
use deploy_core::{
    error::{BackendError, BackendResult, ErrorKind},
    id::ParseNameError,
    time::Timestamp,
};
use sqlx::{Row as _, postgres::PgRow, sqlite::SqliteRow};
use std::{fmt, num::TryFromIntError};

/// A row of either database.
pub(crate) enum Row {
    Postgres(PgRow),
    Sqlite(SqliteRow),
}

macro_rules! cell {
    ($(#[$meta:meta])* $name:ident: $T:ty) => {
        $(#[$meta])*
        pub(crate) fn $name(&self, at: usize) -> Result<$T, Damage> {
            Ok(match self {
                Self::Postgres(row) => row.try_get(at)?,
                Self::Sqlite(row) => row.try_get(at)?,
            })
        }
    };
}

impl Row {
    cell!(bytes: Vec<u8>);
    cell!(int: i64);
    cell!(maybe_int: Option<i64>);
    cell!(maybe_text: Option<String>);
    cell!(text: String);

    /// A number that is never negative.
    pub(crate) fn number(&self, at: usize) -> Result<u64, Damage> {
        Ok(u64::try_from(self.int(at)?)?)
    }

    /// An instant, if there is one.
    pub(crate) fn maybe_time(&self, at: usize) -> Result<Option<Timestamp>, Damage> {
        let millis = self.maybe_int(at)?.map(u64::try_from).transpose()?;
        Ok(millis.map(Timestamp::from_millis))
    }
}

impl fmt::Debug for Row {
    /// Without the values: rows hold what users wrote.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Row").finish_non_exhaustive()
    }
}

/// Why a row cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Damage {
    #[error("a column has another type than it should have")]
    Column(#[from] sqlx::Error),
    #[error(
        "its content does not match its checksum: it was damaged or changed by hand; restore a backup"
    )]
    Checksum,
    #[error("it contradicts the rest of the database: {0}")]
    Contradiction(&'static str),
    #[error("it is not what it should be")]
    Json(#[from] serde_json::Error),
    #[error("it holds no valid name")]
    Name(#[from] ParseNameError),
    #[error(
        "it has format {found}, and this program knows formats up to {known}: use a newer program"
    )]
    NewerFormat { found: i64, known: u32 },
    #[error("a number in it is negative")]
    Number(#[from] TryFromIntError),
}

/// Where a damaged row lies.
pub(crate) struct Place<'a> {
    pub(crate) operation: &'static str,
    pub(crate) database: &'a str,
    pub(crate) table: &'static str,
}

impl Place<'_> {
    /// Decodes rows, naming table and key of the first that cannot be. The key of a row is in its first column.
    pub(crate) fn decode_all<T>(
        &self,
        rows: &[Row],
        decode: impl Fn(&Row) -> Result<T, Damage>,
    ) -> BackendResult<Vec<T>> {
        let decode_one = |row| decode(row).map_err(|damage| self.error(&key_of(row), damage));
        rows.iter().map(decode_one).collect()
    }

    pub(crate) fn error(&self, key: &str, damage: Damage) -> BackendError {
        let kind = match damage {
            Damage::NewerFormat { .. } => ErrorKind::Unsupported,
            _ => ErrorKind::Corrupt,
        };
        BackendError::new(kind, self.operation)
            .with("database", self.database)
            .with("table", self.table)
            .with("key", key)
            .because(damage)
    }
}

fn key_of(row: &Row) -> String {
    row.text(0)
        .or_else(|_| row.int(0).map(|it| it.to_string()))
        .unwrap_or_else(|_| "unreadable".to_owned())
}
