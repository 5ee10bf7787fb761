//! Databases for tests.
mod postgres;
pub(crate) mod sample;

pub(crate) use deploy_test_support::disk::{Disk, has_power};
pub(crate) use deploy_test_support::mounts::{Memory, ReadOnly, own_mounts};
pub(crate) use postgres::{Server, TestDatabase};

use deploy_core::{
    access::{Action, Permit, Resource},
    conformance::permit,
};
use deploy_sql::Database;
use std::error::Error;
use tempfile::TempDir;

/// An SQLite database in a folder of its own, which goes with the guard.
pub(crate) async fn sqlite() -> (Database, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    (open_sqlite(&folder).await, folder)
}

/// The database of such a folder.
pub(crate) async fn open_sqlite(folder: &TempDir) -> Database {
    Database::open_sqlite(folder.path().join("deploy.db")).await.unwrap()
}

/// A permit to do `action` to everything.
pub(crate) async fn may(action: Action) -> Permit {
    permit(action, Resource::System).await
}

/// An error and all its causes, as people see it.
pub(crate) fn told(err: &dyn Error) -> String {
    let mut text = err.to_string();
    let mut cause = err.source();
    while let Some(err) = cause {
        text = format!("{text}: {err}");
        cause = err.source();
    }
    text
}
