//! The one place that talks to a database: connections, statements and transactions, for both dialects.
use crate::{
    arg::{Arg, placeholders, postgres_args, sqlite_args},
    fault::{Fault, Phase},
    row::{Place, Row},
};
use deploy_core::{
    error::{BackendError, BackendResult, ErrorKind},
    telemetry,
};
use sqlx::{
    AssertSqlSafe, Executor as _, PgPool, Postgres, SqlSafeStr, Sqlite, SqlitePool,
    pool::PoolConnection,
};
use std::{fmt, sync::Arc, time::Duration};

/// How long a statement may take on PostgreSQL. Without a limit a server whose machine is gone would hold a caller for
/// as long as TCP waits.
const STATEMENT_DEADLINE: Duration = Duration::from_secs(30);

/// How long the statements of a migration may take, and the wait for another process that is at the same.
const MIGRATION_DEADLINE: Duration = Duration::from_secs(600);

/// How long to wait for a transaction to be undone. Closing the connection does it too.
const ROLLBACK_DEADLINE: Duration = Duration::from_secs(2);

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

    /// Runs statements of a migration.
    pub(crate) async fn migrate(&mut self, sql: &'static str) -> BackendResult<()> {
        let ran = self.connection.run(sql, MIGRATION_DEADLINE).await;
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
                        target: telemetry::TARGET_BACKEND,
                        { { telemetry::OPERATION } = self.operation, database = self.store.label() },
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
        if self.connection.run("ROLLBACK", ROLLBACK_DEADLINE).await.is_ok() {
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

    /// Runs statements without parameters. The deadline is for PostgreSQL: no network lies before SQLite.
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
