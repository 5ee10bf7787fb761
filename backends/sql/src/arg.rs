//! Parameters of statements.
use crate::fault::Fault;
use deploy_core::error::{BackendError, BackendResult, ErrorKind};
use sqlx::{Arguments as _, postgres::PgArguments, sqlite::SqliteArguments};
use std::fmt::Write as _;

/// A parameter of a statement.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Arg<'a> {
    Bytes(&'a [u8]),
    Int(i64),
    MaybeInt(Option<i64>),
    MaybeText(Option<&'a str>),
    Text(&'a str),
}

impl<'a> From<&'a [u8]> for Arg<'a> {
    fn from(value: &'a [u8]) -> Self {
        Self::Bytes(value)
    }
}

impl From<i64> for Arg<'_> {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<Option<i64>> for Arg<'_> {
    fn from(value: Option<i64>) -> Self {
        Self::MaybeInt(value)
    }
}

impl<'a> From<Option<&'a str>> for Arg<'a> {
    fn from(value: Option<&'a str>) -> Self {
        Self::MaybeText(value)
    }
}

impl<'a> From<&'a str> for Arg<'a> {
    fn from(value: &'a str) -> Self {
        Self::Text(value)
    }
}

/// A number as a column holds it.
pub(crate) fn int(operation: &'static str, what: &'static str, number: u64) -> BackendResult<i64> {
    i64::try_from(number).map_err(|err| {
        BackendError::new(ErrorKind::InvalidInput, operation).with(what, number).because(err)
    })
}

/// A limit as SQL has it.
pub(crate) fn limit(number: usize) -> Arg<'static> {
    Arg::Int(i64::try_from(number).unwrap_or(i64::MAX))
}

/// `($1, $2), ($3, $4)` for two rows of two columns.
pub(crate) fn placeholders(rows: usize, width: usize) -> String {
    let mut sql = String::with_capacity(rows * width * 7);
    for at in 0..rows * width {
        let before = match (at, at % width) {
            (0, _) => "(",
            (_, 0) => "), (",
            _ => ", ",
        };
        // Writing to a string cannot fail.
        let _infallible = write!(sql, "{before}${}", at + 1);
    }
    sql.push(')');
    sql
}

pub(crate) fn postgres_args(args: &[Arg<'_>]) -> Result<PgArguments, Fault> {
    let mut all = PgArguments::default();
    for arg in args {
        match *arg {
            Arg::Bytes(value) => all.add(value),
            Arg::Int(value) => all.add(value),
            Arg::MaybeInt(value) => all.add(value),
            Arg::MaybeText(value) => all.add(value),
            Arg::Text(value) => all.add(value),
        }
        .map_err(sqlx::Error::Encode)?;
    }
    Ok(all)
}

pub(crate) fn sqlite_args(args: &[Arg<'_>]) -> Result<SqliteArguments, Fault> {
    let mut all = SqliteArguments::default();
    for arg in args {
        match *arg {
            Arg::Bytes(value) => sqlx::Arguments::add(&mut all, value),
            Arg::Int(value) => sqlx::Arguments::add(&mut all, value),
            Arg::MaybeInt(value) => sqlx::Arguments::add(&mut all, value),
            Arg::MaybeText(value) => sqlx::Arguments::add(&mut all, value),
            Arg::Text(value) => sqlx::Arguments::add(&mut all, value),
        }
        .map_err(sqlx::Error::Encode)?;
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_count_on() {
        assert_eq!(placeholders(1, 1), "($1)");
        assert_eq!(placeholders(2, 3), "($1, $2, $3), ($4, $5, $6)");
    }
}
