use crate::{
    open::{ConnectPostgres, OpenError, OpenSqlite, postgres, sqlite},
    store::Store,
};
use std::path::Path;

/// An open database. Cheap to clone; all clones share its connections.
///
/// Any number of processes may have the same database open.
#[derive(Clone, Debug)]
pub struct Database {
    main: Store,
    logs: Store,
}

impl Database {
    /// Opens the SQLite file at `path`, and makes it if it is missing; logs lie in a second file beside it.
    ///
    /// `deploy.db` has its logs in `deploy.logs.db`. Both belong on a local disk: SQLite does not work over a network.
    ///
    /// # Errors
    /// If the file cannot be used; the reason says why and what to do.
    pub async fn open_sqlite(path: impl AsRef<Path> + Send) -> Result<Self, OpenError> {
        Self::open_sqlite_with(&OpenSqlite::new(path.as_ref())).await
    }

    /// As [`open_sqlite`](Self::open_sqlite), with other settings.
    ///
    /// # Errors
    /// If the file cannot be used; the reason says why and what to do.
    pub async fn open_sqlite_with(request: &OpenSqlite) -> Result<Self, OpenError> {
        sqlite::not_emptied(request)?;
        let main = sqlite::open(request, &sqlite::MAIN).await?;
        let logs = sqlite::open(request, &sqlite::LOGS).await?;
        Ok(Self { main, logs })
    }

    /// Connects to PostgreSQL, such as `postgres://deploy@db.example.com/deploy?sslmode=verify-full`.
    ///
    /// All tables lie in the schema `deploy` of that database. What the address leaves out comes from the standard
    /// variables (`PGHOST`, …) and from `~/.pgpass`, which is where a password belongs.
    ///
    /// # Errors
    /// If the server cannot be reached, or would lose what it has confirmed; the reason says why and what to do.
    pub async fn connect_postgres(url: &str) -> Result<Self, OpenError> {
        Self::connect_postgres_with(&ConnectPostgres::new(url)).await
    }

    /// As [`connect_postgres`](Self::connect_postgres), with other settings.
    ///
    /// # Errors
    /// If the server cannot be reached, or would lose what it has confirmed; the reason says why and what to do.
    pub async fn connect_postgres_with(request: &ConnectPostgres) -> Result<Self, OpenError> {
        let main = postgres::connect(request).await?;
        Ok(Self { logs: main.clone(), main })
    }

    /// Closes all connections once they are idle. Calls that come later fail.
    pub async fn close(&self) {
        self.main.close().await;
        self.logs.close().await;
    }

    pub(crate) const fn main(&self) -> &Store {
        &self.main
    }

    pub(crate) const fn logs(&self) -> &Store {
        &self.logs
    }
}
