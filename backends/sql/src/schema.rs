//! Migrations: numbered, in the program, applied once, in one transaction, by one process at a time.
use crate::{
    arg::int,
    open::{OPEN, OpenError, OpenReason},
    row::Row,
    store::{Store, Transaction},
};
use deploy_core::{
    error::{BackendError, BackendResult, ErrorKind},
    telemetry::TARGET_BACKEND,
};

/// One step from a schema to the next. Never changed once it was released.
#[derive(Debug)]
pub(crate) struct Migration {
    sql: &'static str,
}

macro_rules! migrations {
    ($($folder:literal: $($file:literal),+;)+) => {
        &[$($(Migration {
            sql: include_str!(concat!("../migrations/", $folder, "/", $file, ".sql")),
        }),+),+]
    };
}

/// In their order; the first makes version 1.
pub(crate) const POSTGRES: &[Migration] = migrations!("postgres": "0001_initial", "0002_identity", "0003_kept_out", "0004_floors", "0005_channels";);
pub(crate) const SQLITE: &[Migration] = migrations!("sqlite": "0001_initial", "0002_identity", "0003_kept_out", "0004_floors", "0005_channels";);
pub(crate) const SQLITE_LOGS: &[Migration] = migrations!("sqlite-logs": "0001_initial";);

/// Brings the schema to the newest version.
///
/// Also where nothing is to be done this begins a writing transaction: a file that cannot be written is found out when
/// it is opened, and not in the middle of a rollout.
pub(crate) async fn migrate(store: &Store, migrations: &[Migration]) -> Result<(), OpenError> {
    let error = |err: BackendError| OpenError::from_backend(store.label(), &err);
    let mut transaction = store.begin(OPEN).await.map_err(error)?;
    let outcome = apply(store, &mut transaction, migrations).await;
    match transaction.finish(outcome).await {
        Ok(()) => Ok(()),
        Err(Failure::Backend(err)) => Err(error(err)),
        Err(Failure::Refused(reason)) => Err(OpenError::new(store.label(), reason)),
    }
}

enum Failure {
    Backend(BackendError),
    Refused(OpenReason),
}

impl From<BackendError> for Failure {
    fn from(err: BackendError) -> Self {
        Self::Backend(err)
    }
}

async fn apply(
    store: &Store,
    transaction: &mut Transaction,
    migrations: &[Migration],
) -> Result<(), Failure> {
    let known = i64::try_from(migrations.len()).unwrap_or(i64::MAX);
    let found = match store {
        Store::Postgres(_) => enter_postgres(store, transaction).await?,
        Store::Sqlite(_) => enter_sqlite(store, transaction).await?,
    };
    if found > known {
        return Err(Failure::Refused(OpenReason::NewerSchema { found, known }));
    }
    let done = usize::try_from(found).unwrap_or(0);
    for (migration, version) in migrations.iter().zip(1..).skip(done) {
        transaction.migrate(migration.sql).await?;
        let version = int(OPEN, "version", version)?;
        transaction
            .execute("INSERT INTO deploy_schema (version) VALUES ($1)", &[version.into()])
            .await?;
        tracing::info!(
            target: TARGET_BACKEND,
            database = store.label(),
            version,
            "brought the database to a newer schema"
        );
    }
    Ok(())
}

/// Waits for other processes that are at the same, makes the PostgreSQL schema where it is missing, and gives its
/// version.
async fn enter_postgres(store: &Store, transaction: &mut Transaction) -> Result<i64, Failure> {
    /// Any number will do, as long as every version of this program has the same.
    const LOCK: &str = "SELECT pg_advisory_xact_lock(7234301958113485)";
    // Asked first: `CREATE SCHEMA IF NOT EXISTS` needs the right to create also where it does nothing.
    const SCHEMA: &str = "SELECT count(*) FROM pg_namespace WHERE nspname = 'deploy'";
    const TABLES: &str = "SELECT count(*), count(*) FILTER (WHERE tablename = 'deploy_schema') \
         FROM pg_tables WHERE schemaname = 'deploy'";
    const CREATE: &str = "CREATE TABLE deploy_schema (\
         version BIGINT NOT NULL PRIMARY KEY, applied_at TIMESTAMPTZ NOT NULL DEFAULT now())";
    transaction.migrate(LOCK).await?;
    if number(store, &transaction.fetch(SCHEMA, &[]).await?, 0)? == 0 {
        transaction.migrate("CREATE SCHEMA deploy").await?;
    }
    version(store, transaction, TABLES, CREATE).await
}

/// As for PostgreSQL; here the transaction itself is the lock.
async fn enter_sqlite(store: &Store, transaction: &mut Transaction) -> Result<i64, Failure> {
    const TABLES: &str = "SELECT count(*), count(*) FILTER (WHERE name = 'deploy_schema') \
         FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%'";
    const CREATE: &str = "CREATE TABLE deploy_schema (version INTEGER NOT NULL PRIMARY KEY, \
         applied_at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP) STRICT";
    version(store, transaction, TABLES, CREATE).await
}

async fn version(
    store: &Store,
    transaction: &mut Transaction,
    tables: &'static str,
    create: &'static str,
) -> Result<i64, Failure> {
    let tables = transaction.fetch(tables, &[]).await?;
    match (number(store, &tables, 0)?, number(store, &tables, 1)?) {
        (0, _) => {
            transaction.migrate(create).await?;
            Ok(0)
        }
        (_, 0) => Err(Failure::Refused(OpenReason::Foreign)),
        _ => {
            const SQL: &str = "SELECT COALESCE(MAX(version), 0) FROM deploy_schema";
            Ok(number(store, &transaction.fetch(SQL, &[]).await?, 0)?)
        }
    }
}

/// The number in a column of the only row.
fn number(store: &Store, rows: &[Row], at: usize) -> BackendResult<i64> {
    let numbers = store.place(OPEN, "deploy_schema").decode_all(rows, |row| row.int(at))?;
    let missing = || BackendError::new(ErrorKind::Internal, OPEN).with("database", store.label());
    numbers.into_iter().next().ok_or_else(missing)
}
