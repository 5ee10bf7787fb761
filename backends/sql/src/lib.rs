//! Journal, registry, inventory, leases, logs, tokens and agents in SQL: in an SQLite file for one machine, in PostgreSQL beyond it.
//!
//! One set of repositories serves both databases. They write their SQL once, in what the two have in common (`$1`,
//! `ON CONFLICT`, `RETURNING`); what differs is kept in three places: the migrations, the `open` modules, and the few
//! arms of `store`.
//!
//! ```no_run
//! use deploy_sql::{Database, SqlJournal, SqlLeaseStore};
//!
//! # async fn example() -> Result<(), deploy_sql::OpenError> {
//! let database = Database::open_sqlite("/var/lib/deploy/deploy.db").await?;
//! let journal = SqlJournal::new(&database);
//! let leases = SqlLeaseStore::new(&database);
//! # Ok(())
//! # }
//! ```
//!
//! # What is promised
//! * What a call returned `Ok` for is on disk, and survives a crash of the process, the database server or the machine.
//!   Logs are the one exception: on SQLite a power cut may cost their newest part, which is fetched from the hosts again.
//! * Any number of processes may have the same database open.
//! * A database that would not keep the first promise (`fsync` off, say) is refused when it is opened.
mod agent;
mod answer;
mod arg;
mod body;
mod channel;
mod copy;
mod credential;
mod database;
mod fault;
mod inventory;
mod journal;
mod lease;
mod log;
mod open;
mod registry;
mod row;
mod schema;
mod store;

pub use agent::SqlAgentRegistry;
pub use answer::SqlAnswerStore;
pub use credential::SqlCredentialStore;
pub use database::Database;
pub use inventory::SqlHostInventory;
pub use journal::SqlJournal;
pub use lease::SqlLeaseStore;
pub use log::SqlLogStore;
pub use open::{ConnectPostgres, OpenError, OpenReason, OpenSqlite};
pub use registry::SqlServiceRegistry;
