//! Opening a database, and refusing one that would not do.
mod error;
pub(crate) mod postgres;
pub(crate) mod sqlite;

pub(crate) use error::OPEN;
pub use error::{OpenError, OpenReason};
pub use postgres::ConnectPostgres;
pub use sqlite::OpenSqlite;
