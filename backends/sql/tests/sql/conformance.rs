//! The kit, over both databases.

use crate::support::{self, TestDatabase};
use deploy_core::{
    backend::{
        AgentRegistry, AnswerStore, CredentialStore, HostInventory, Journal, LeaseStore, LogStore,
        ServiceRegistry,
    },
    conformance::{
        ConcurrentHarness, DurableHarness, Harness, journal::JournalHarness,
        lease_store::LeaseStoreHarness,
    },
};
use deploy_sql::{
    Database, SqlAgentRegistry, SqlAnswerStore, SqlCredentialStore, SqlHostInventory, SqlJournal,
    SqlLeaseStore, SqlLogStore, SqlServiceRegistry,
};
use std::{sync::Arc, time::Duration};
use tempfile::TempDir;

struct Sqlite;
struct Postgres;

async fn connect(database: &TestDatabase<'static>) -> Database {
    Database::connect_postgres(&database.url()).await.unwrap()
}

macro_rules! harness {
    ($($Trait:ident: $Backend:ident),+ $(,)?) => { $(
        impl Harness<dyn $Trait> for Sqlite {
            type Guard = TempDir;

            async fn fresh(&self) -> (Arc<dyn $Trait>, TempDir) {
                let (database, folder) = support::sqlite().await;
                (Arc::new($Backend::new(&database)), folder)
            }
        }

        impl DurableHarness<dyn $Trait> for Sqlite {
            async fn reopen(&self, backend: Arc<dyn $Trait>, folder: &TempDir) -> Arc<dyn $Trait> {
                drop(backend);
                Arc::new($Backend::new(&support::open_sqlite(folder).await))
            }
        }

        impl ConcurrentHarness<dyn $Trait> for Sqlite {
            async fn another(&self, folder: &TempDir) -> Arc<dyn $Trait> {
                Arc::new($Backend::new(&support::open_sqlite(folder).await))
            }
        }

        impl Harness<dyn $Trait> for Postgres {
            type Guard = TestDatabase<'static>;

            async fn fresh(&self) -> (Arc<dyn $Trait>, TestDatabase<'static>) {
                let database = TestDatabase::new();
                (Arc::new($Backend::new(&connect(&database).await)), database)
            }
        }

        impl DurableHarness<dyn $Trait> for Postgres {
            async fn reopen(
                &self,
                backend: Arc<dyn $Trait>,
                database: &TestDatabase<'static>,
            ) -> Arc<dyn $Trait> {
                drop(backend);
                Arc::new($Backend::new(&connect(database).await))
            }
        }

        impl ConcurrentHarness<dyn $Trait> for Postgres {
            async fn another(&self, database: &TestDatabase<'static>) -> Arc<dyn $Trait> {
                Arc::new($Backend::new(&connect(database).await))
            }
        }
    )+ };
}

harness! {
    AgentRegistry: SqlAgentRegistry,
    AnswerStore: SqlAnswerStore,
    CredentialStore: SqlCredentialStore,
    HostInventory: SqlHostInventory,
    Journal: SqlJournal,
    LeaseStore: SqlLeaseStore,
    LogStore: SqlLogStore,
    ServiceRegistry: SqlServiceRegistry,
}

impl JournalHarness for Sqlite {}
impl JournalHarness for Postgres {}

impl LeaseStoreHarness for Sqlite {
    async fn pass(&self, _: &TempDir, by: Duration) {
        wait(by).await;
    }
}

impl LeaseStoreHarness for Postgres {
    async fn pass(&self, _: &TestDatabase<'static>, by: Duration) {
        wait(by).await;
    }
}

#[expect(clippy::disallowed_methods, reason = "the clock of a database cannot be set")]
async fn wait(by: Duration) {
    tokio::time::sleep(by).await;
}

macro_rules! all {
    ($($name:ident: $Harness:ident),+) => { $(
        mod $name {
            mod agent_registry {
                deploy_core::agent_registry_conformance!(crate::conformance::$Harness, core, durable, concurrent);
            }
            mod answer_store {
                deploy_core::answer_store_conformance!(crate::conformance::$Harness, core, durable, concurrent);
            }
            mod credential_store {
                deploy_core::credential_store_conformance!(crate::conformance::$Harness, core, durable, concurrent);
            }
            mod host_inventory {
                deploy_core::host_inventory_conformance!(crate::conformance::$Harness, core, durable, concurrent);
            }
            mod journal {
                deploy_core::journal_conformance!(crate::conformance::$Harness, core, durable, concurrent);
            }
            mod lease_store {
                deploy_core::lease_store_conformance!(crate::conformance::$Harness, core, durable, concurrent);
            }
            mod log_store {
                deploy_core::log_store_conformance!(crate::conformance::$Harness, core, durable, concurrent);
            }
            mod service_registry {
                deploy_core::service_registry_conformance!(crate::conformance::$Harness, core, durable, concurrent);
            }
        }
    )+ };
}

all!(sqlite: Sqlite, postgres: Postgres);
