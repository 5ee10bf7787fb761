//! The one place that talks to a database: connections, statements and transactions, for both dialects.
use crate::{
    fault::{Fault, Phase},
    row::{Place, Row},
};
use deploy_core::error::{BackendError, BackendResult, ErrorKind};
use sqlx::{
    Arguments as _, AssertSqlSafe, Executor as _, PgPool, Postgres, SqlSafeStr, Sqlite, SqlitePool,
    pool::PoolConnection, postgres::PgArguments, sqlite::SqliteArguments,
};
use std::{fmt, fmt::Write as _, sync::Arc, time::Duration};

/// How long a statement may take on PostgreSQL. Without a limit a server whose machine is gone would hold a caller for
/// as long as TCP waits.
const STATEMENT_DEADLINE: Duration = Duration::from_secs(30);

/// The most rows that one `INSERT` brings: 256 times the widest table stays far below the limits on parameters.
const ROWS_PER_INSERT: u32 = 256;

/// A database, for any number of concurrent callers.
#[derive(Clone, Debug)]
pub(crate) enum Store {
    Postgres(Arc<PostgresStore>),
    Sqlite(Arc<SqliteStore>),
}

pub(crate) struct PostgresStore {
    /// Host and database, without user or password.
    pub(crate) label: String,
    pub(crate) pool: PgPool,
    pub(crate) commit_deadline: Duration,
}

pub(crate) struct SqliteStore {
    /// The path of the file.
    pub(crate) label: String,
    /// One connection: within a process writers queue here, and only processes contend for the file.
    pub(crate) writer: SqlitePool,
    pub(crate) readers: SqlitePool,
}

/// A parameter of a statement.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Arg<'a> {
    Bytes(&'a [u8]),
    Int(i64),
    MaybeInt(Option<i64>),
    MaybeText(Option<&'a str>),
    Text(&'a str),
}

impl Store {
    /// What messages call this database.
    pub(crate) fn label(&self) -> &str {
        match self {
            Self::Postgres(store) => &store.label,
            Self::Sqlite(store) => &store.label,
        }
    }

    pub(crate) fn place<'a>(&'a self, operation: &'static str, table: &'static str) -> Place<'a> {
        Place { operation, database: self.label(), table }
    }

    /// An error that names this database.
    pub(crate) fn error(&self, kind: ErrorKind, operation: &'static str) -> BackendError {
        BackendError::new(kind, operation).with("database", self.label())
    }

    /// Reads outside a transaction.
    pub(crate) async fn fetch(
        &self,
        operation: &'static str,
        sql: impl SqlSafeStr + Send,
        args: &[Arg<'_>],
    ) -> BackendResult<Vec<Row>> {
        let rows = async {
            let mut connection = match self {
                Self::Postgres(store) => Connection::Postgres(store.pool.acquire().await?),
                Self::Sqlite(store) => Connection::Sqlite(store.readers.acquire().await?),
            };
            connection.fetch(sql, args).await
        };
        rows.await.map_err(|fault| fault.into_error(operation, self.label(), Phase::Statement))
    }

    /// Reads at most one row outside a transaction.
    pub(crate) async fn fetch_optional(
        &self,
        operation: &'static str,
        sql: impl SqlSafeStr + Send,
        args: &[Arg<'_>],
    ) -> BackendResult<Option<Row>> {
        Ok(self.fetch(operation, sql, args).await?.into_iter().next())
    }

    /// Begins a transaction that may write.
    pub(crate) async fn begin(&self, operation: &'static str) -> BackendResult<Transaction> {
        let begun = async {
            let connection = match self {
                Self::Postgres(store) => Connection::Postgres(store.pool.acquire().await?),
                Self::Sqlite(store) => Connection::Sqlite(store.writer.acquire().await?),
            };
            // Made before the statement is sent, so that a caller who stops waiting in between leaves nothing open.
            let store = self.clone();
            let mut transaction = Transaction { connection, operation, store, open: true };
            transaction.connection.run(self.begin_sql(), STATEMENT_DEADLINE).await?;
            Ok(transaction)
        };
        begun
            .await
            .map_err(|fault: Fault| fault.into_error(operation, self.label(), Phase::Statement))
    }

    /// On SQLite the write lock is taken at once: a transaction that began by reading could not wait for it.
    const fn begin_sql(&self) -> &'static str {
        match self {
            Self::Postgres(_) => "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE",
            Self::Sqlite(_) => "BEGIN IMMEDIATE",
        }
    }

    fn commit_deadline(&self) -> Duration {
        match self {
            Self::Postgres(store) => store.commit_deadline,
            Self::Sqlite(_) => Duration::MAX,
        }
    }

    /// Closes all connections once they are idle.
    pub(crate) async fn close(&self) {
        match self {
            Self::Postgres(store) => store.pool.close().await,
            Self::Sqlite(store) => {
                store.readers.close().await;
                store.writer.close().await;
            }
        }
    }
}

/// A transaction. Unless it is finished its connection is closed, which undoes it.
#[derive(Debug)]
pub(crate) struct Transaction {
    connection: Connection,
    operation: &'static str,
    store: Store,
    open: bool,
}

impl Transaction {
    pub(crate) async fn fetch(
        &mut self,
        sql: impl SqlSafeStr + Send,
        args: &[Arg<'_>],
    ) -> BackendResult<Vec<Row>> {
        let rows = self.connection.fetch(sql, args).await;
        rows.map_err(|fault| fault.into_error(self.operation, self.store.label(), Phase::Statement))
    }

    pub(crate) async fn fetch_optional(
        &mut self,
        sql: impl SqlSafeStr + Send,
        args: &[Arg<'_>],
    ) -> BackendResult<Option<Row>> {
        Ok(self.fetch(sql, args).await?.into_iter().next())
    }

    /// Gives the number of rows that were written.
    pub(crate) async fn execute(
        &mut self,
        sql: impl SqlSafeStr + Send,
        args: &[Arg<'_>],
    ) -> BackendResult<u64> {
        let rows = self.connection.execute(sql, args).await;
        rows.map_err(|fault| fault.into_error(self.operation, self.store.label(), Phase::Statement))
    }

    /// Runs statements that take no parameters.
    pub(crate) async fn run(&mut self, sql: &'static str) -> BackendResult<()> {
        let ran = self.connection.run(sql, STATEMENT_DEADLINE).await;
        ran.map_err(|fault| fault.into_error(self.operation, self.store.label(), Phase::Statement))
    }

    /// Adds rows of `width` columns each with as few statements as fit: `insert` is all up to `VALUES`.
    ///
    /// Numbers of rows are powers of two, so that a handful of prepared statements serves any number.
    pub(crate) async fn insert(
        &mut self,
        insert: &str,
        width: usize,
        args: &[Arg<'_>],
    ) -> BackendResult<()> {
        let mut rest = args;
        while let Some(power) =
            u32::try_from(rest.len() / width).unwrap_or(u32::MAX).checked_ilog2()
        {
            let rows = 1_usize << power.min(ROWS_PER_INSERT.ilog2());
            let Some((now, later)) = rest.split_at_checked(rows * width) else {
                break;
            };
            let sql = format!("{insert} VALUES {}", placeholders(rows, width));
            self.execute(AssertSqlSafe(sql), now).await?;
            rest = later;
        }
        Ok(())
    }

    /// Commits what went well, and undoes what did not.
    pub(crate) async fn finish<T, E: From<BackendError>>(
        mut self,
        outcome: Result<T, E>,
    ) -> Result<T, E> {
        match outcome {
            Ok(value) => {
                self.commit().await?;
                Ok(value)
            }
            Err(err) => {
                self.roll_back().await;
                Err(err)
            }
        }
    }

    async fn commit(&mut self) -> BackendResult<()> {
        let deadline = self.store.commit_deadline();
        match self.connection.run("COMMIT", deadline).await {
            Ok(()) => {
                self.open = false;
                Ok(())
            }
            Err(fault) => {
                let err = fault.into_error(self.operation, self.store.label(), Phase::Commit);
                if err.kind() == ErrorKind::OutcomeUnknown {
                    tracing::warn!(
                        target: "deploy::backend",
                        operation = self.operation,
                        database = self.store.label(),
                        "outcome of a commit is unknown"
                    );
                } else {
                    self.roll_back().await;
                }
                Err(err)
            }
        }
    }

    /// What fails here is undone by closing the connection.
    async fn roll_back(&mut self) {
        if self.connection.run("ROLLBACK", STATEMENT_DEADLINE).await.is_ok() {
            self.open = false;
        }
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        if self.open {
            self.connection.give_up();
        }
    }
}

enum Connection {
    Postgres(PoolConnection<Postgres>),
    Sqlite(PoolConnection<Sqlite>),
}

impl Connection {
    async fn fetch(
        &mut self,
        sql: impl SqlSafeStr + Send,
        args: &[Arg<'_>],
    ) -> Result<Vec<Row>, Fault> {
        match self {
            Self::Postgres(connection) => {
                let query = sqlx::query_with(sql, postgres_args(args)?);
                let rows = within(STATEMENT_DEADLINE, query.fetch_all(&mut **connection)).await;
                let rows = rows.inspect_err(|fault| close_if_late(connection, fault))?;
                Ok(rows.into_iter().map(Row::Postgres).collect())
            }
            Self::Sqlite(connection) => {
                let query = sqlx::query_with(sql, sqlite_args(args)?);
                let rows = query.fetch_all(&mut **connection).await?;
                Ok(rows.into_iter().map(Row::Sqlite).collect())
            }
        }
    }

    async fn execute(
        &mut self,
        sql: impl SqlSafeStr + Send,
        args: &[Arg<'_>],
    ) -> Result<u64, Fault> {
        match self {
            Self::Postgres(connection) => {
                let query = sqlx::query_with(sql, postgres_args(args)?);
                let done = within(STATEMENT_DEADLINE, query.execute(&mut **connection)).await;
                Ok(done.inspect_err(|fault| close_if_late(connection, fault))?.rows_affected())
            }
            Self::Sqlite(connection) => {
                let query = sqlx::query_with(sql, sqlite_args(args)?);
                Ok(query.execute(&mut **connection).await?.rows_affected())
            }
        }
    }

    async fn run(&mut self, sql: &'static str, deadline: Duration) -> Result<(), Fault> {
        match self {
            Self::Postgres(connection) => {
                let done = within(deadline, connection.execute(sqlx::raw_sql(sql))).await;
                done.inspect_err(|fault| close_if_late(connection, fault))?;
            }
            Self::Sqlite(connection) => {
                connection.execute(sqlx::raw_sql(sql)).await?;
            }
        }
        Ok(())
    }

    /// Closes the connection when it is dropped, where it would go back into the pool.
    fn give_up(&mut self) {
        match self {
            Self::Postgres(connection) => connection.close_on_drop(),
            Self::Sqlite(connection) => connection.close_on_drop(),
        }
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Postgres(_) => "Postgres",
            Self::Sqlite(_) => "Sqlite",
        })
    }
}

async fn within<T>(
    deadline: Duration,
    work: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, Fault> {
    match tokio::time::timeout(deadline, work).await {
        Ok(done) => Ok(done?),
        Err(_) => Err(Fault::Late(deadline)),
    }
}

/// A connection that is still busy with a statement nobody waits for is of no use to the next caller.
fn close_if_late(connection: &mut PoolConnection<Postgres>, fault: &Fault) {
    if matches!(fault, Fault::Late(_)) {
        connection.close_on_drop();
    }
}

/// `($1, $2), ($3, $4)` for two rows of two columns.
fn placeholders(rows: usize, width: usize) -> String {
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

fn postgres_args(args: &[Arg<'_>]) -> Result<PgArguments, Fault> {
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

fn sqlite_args(args: &[Arg<'_>]) -> Result<SqliteArguments, Fault> {
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

impl fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresStore").field("label", &self.label).finish_non_exhaustive()
    }
}

impl fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteStore").field("label", &self.label).finish_non_exhaustive()
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_count_on() {
        assert_eq!(placeholders(1, 1), "($1)");
        assert_eq!(placeholders(2, 3), "($1, $2, $3), ($4, $5, $6)");
    }
}
