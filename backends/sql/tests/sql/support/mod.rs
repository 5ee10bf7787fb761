//! Databases for tests.
#![expect(clippy::print_stderr, reason = "the output of a test")]
mod postgres;

pub(crate) use postgres::{Server, TestDatabase};

use deploy_sql::Database;
use tempfile::TempDir;

/// An SQLite database in a folder of its own, which goes with the guard.
pub(crate) async fn sqlite() -> (Database, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    (open_sqlite(&folder).await, folder)
}

/// The database of such a folder.
pub(crate) async fn open_sqlite(folder: &TempDir) -> Database {
    Database::open_sqlite(folder.path().join("deploy.db"))
        .await
        .unwrap()
}
