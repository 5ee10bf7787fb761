use super::{OpenError, OpenReason};
use crate::{
    fault::{Fault, sqlite_code},
    schema::{self, Migration},
    store::{SqliteStore, Store},
};
use rustix::{fs::Access, io::Errno};
use sqlx::{
    ConnectOptions as _, SqliteConnection, SqlitePool,
    sqlite::{
        SqliteConnectOptions, SqliteError, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous,
    },
};
use std::{
    fs::OpenOptions,
    io::ErrorKind as IoErrorKind,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

/// How to open an SQLite file.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct OpenSqlite {
    /// The file.
    pub path: PathBuf,
    /// How long to wait while another process writes.
    pub busy_timeout: Duration,
}

impl OpenSqlite {
    /// The file at `path`, waiting ten seconds for other processes.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), busy_timeout: Duration::from_secs(10) }
    }

    /// Waiting `busy_timeout` for other processes.
    #[must_use]
    pub const fn with_busy_timeout(mut self, busy_timeout: Duration) -> Self {
        self.busy_timeout = busy_timeout;
        self
    }
}

/// What one of the two files is for.
pub(crate) struct Role {
    /// What takes the place of the file's extension.
    extension: Option<&'static str>,
    synchronous: SqliteSynchronous,
    /// How large its pages are where it is made anew.
    page_size: u32,
    migrations: &'static [Migration],
}

/// `FULL`: with anything less a power cut loses what was confirmed.
pub(crate) const MAIN: Role = Role {
    extension: None,
    synchronous: SqliteSynchronous::Full,
    page_size: 4 << 10,
    migrations: schema::SQLITE,
};

/// `NORMAL`: a killed process loses nothing, a power cut the newest chunks. Those are fetched again, by offset, from
/// the host that keeps them; waiting for the disk after every piece of output would buy nothing. What is kept comes in pieces of up to 64 KiB: in
/// small pages each is cut in many, written twice by a system call a page.
pub(crate) const LOGS: Role = Role {
    extension: Some("logs.db"),
    synchronous: SqliteSynchronous::Normal,
    page_size: 16 << 10,
    migrations: schema::SQLITE_LOGS,
};

/// Readers that may run at the same time.
const READERS: u32 = 4;
/// How often a file is tried that another process is just making.
const RETRY_EVERY: Duration = Duration::from_millis(20);
/// A write-ahead log that grew over this is cut back once it has been taken in.
const WAL_LIMIT: u32 = 64 << 20;

pub(crate) async fn open(request: &OpenSqlite, role: &Role) -> Result<Store, OpenError> {
    let path = role.path(&request.path)?;
    let label = path.display().to_string();
    create_private(&path, &label)?;
    can_be_written(&path)?;
    let options = role.options(&path, request.busy_timeout);
    let store = Store::Sqlite(Arc::new(SqliteStore {
        writer: pool(1, options.clone(), role.synchronous),
        readers: pool(READERS, options.pragma("query_only", "ON"), role.synchronous),
        label,
    }));
    wait_until_made(&store, request.busy_timeout)
        .await
        .map_err(|fault| explain(&path, &store, fault))?;
    schema::migrate(&store, role.migrations).await?;
    Ok(store)
}

/// Refuses to make a new database where one was: to SQLite an empty file is one that nobody has written to yet. The logs
/// are made only after the database, so that none can be without the other.
pub(crate) fn not_emptied(request: &OpenSqlite) -> Result<(), OpenError> {
    let empty = |path: &Path| path.metadata().map_or(true, |it| it.len() == 0);
    let (main, logs) = (MAIN.path(&request.path)?, LOGS.path(&request.path)?);
    if empty(&main) && !empty(&logs) {
        return Err(OpenError::new(main.display().to_string(), OpenReason::Emptied));
    }
    Ok(())
}

/// SQLite opens what it can only read, and says so at the first write: in the middle of a rollout.
fn can_be_written(path: &Path) -> Result<(), OpenError> {
    let denied = |path: &Path| {
        let access = rustix::fs::access(path, Access::WRITE_OK);
        matches!(access, Err(Errno::ACCESS | Errno::PERM | Errno::ROFS))
    };
    if path.parent().is_some_and(denied) {
        return Err(OpenError::new(path.display().to_string(), OpenReason::FolderReadOnly));
    }
    for beside in ["", "-wal", "-shm"] {
        let mut file = path.as_os_str().to_owned();
        file.push(beside);
        let file = PathBuf::from(file);
        if denied(&file) {
            return Err(OpenError::new(file.display().to_string(), OpenReason::ReadOnly));
        }
    }
    Ok(())
}

impl Role {
    fn path(&self, main: &Path) -> Result<PathBuf, OpenError> {
        let label = || main.display().to_string();
        // Absolute, so that it means the same for ever, and so that SQLite never takes it for a URI.
        let path = std::path::absolute(main)
            .map_err(|err| OpenError::new(label(), OpenReason::NotADatabase).because(err))?;
        if path.file_name().is_none() || path.to_str().is_none() {
            return Err(
                OpenError::new(label(), OpenReason::NotADatabase).because("its path is not usable")
            );
        }
        Ok(self.extension.map_or_else(|| path.clone(), |extension| path.with_extension(extension)))
    }

    fn options(&self, path: &Path, busy_timeout: Duration) -> SqliteConnectOptions {
        SqliteConnectOptions::new()
            .filename(path)
            .busy_timeout(busy_timeout)
            .page_size(self.page_size)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(self.synchronous)
            .foreign_keys(true)
            // Where there is no such thing (all but macOS) it changes nothing.
            .pragma("fullfsync", "ON")
            .pragma("journal_size_limit", WAL_LIMIT.to_string())
            // Values do not belong in a log.
            .disable_statement_logging()
    }
}

fn pool(size: u32, options: SqliteConnectOptions, synchronous: SqliteSynchronous) -> SqlitePool {
    SqlitePoolOptions::new()
        .max_connections(size)
        // A writer that queues behind others in this process waits for them; only what hangs ends in an error.
        .acquire_timeout(Duration::from_secs(60))
        .test_before_acquire(false)
        .idle_timeout(None)
        .max_lifetime(None)
        .after_connect(move |connection, _| Box::pin(check(connection, synchronous)))
        .connect_lazy_with(options)
}

/// Reads the settings back: SQLite ignores what it cannot do.
async fn check(
    connection: &mut SqliteConnection,
    synchronous: SqliteSynchronous,
) -> Result<(), sqlx::Error> {
    let (number, name) = match synchronous {
        SqliteSynchronous::Normal => (1, "NORMAL"),
        _ => (2, "FULL"),
    };
    let refuse = |setting: &str, value: String, needed| {
        Err(OpenReason::NotDurable { setting: setting.to_owned(), value, needed }.into())
    };
    let mode: String =
        sqlx::query_scalar("PRAGMA journal_mode").fetch_one(&mut *connection).await?;
    if mode != "wal" {
        return refuse("journal_mode", mode, "wal");
    }
    let found: i64 = sqlx::query_scalar("PRAGMA synchronous").fetch_one(&mut *connection).await?;
    if found != number {
        return refuse("synchronous", found.to_string(), name);
    }
    let keys: i64 = sqlx::query_scalar("PRAGMA foreign_keys").fetch_one(&mut *connection).await?;
    if keys != 1 {
        return refuse("foreign_keys", keys.to_string(), "ON");
    }
    Ok(())
}

/// Makes the file if it is missing, for this account alone; SQLite gives its companions the same permissions.
fn create_private(path: &Path, label: &str) -> Result<(), OpenError> {
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let Err(err) = made else { return Ok(()) };
    let reason = match err.kind() {
        IoErrorKind::AlreadyExists if path.is_dir() => OpenReason::NotADatabase,
        IoErrorKind::AlreadyExists => return Ok(()),
        IoErrorKind::NotADirectory | IoErrorKind::NotFound => OpenReason::FolderMissing,
        IoErrorKind::PermissionDenied | IoErrorKind::ReadOnlyFilesystem => {
            OpenReason::FolderReadOnly
        }
        IoErrorKind::QuotaExceeded | IoErrorKind::StorageFull => OpenReason::NoSpace,
        _ => OpenReason::Failed {
            kind: deploy_core::error::ErrorKind::Internal,
            why: "it cannot be made".to_owned(),
        },
    };
    Err(OpenError::new(label, reason).because(err))
}

/// Connects. A process that is just turning the file into a database holds it in a way that no busy timeout waits for.
async fn wait_until_made(store: &Store, at_most: Duration) -> Result<(), Fault> {
    let Store::Sqlite(sqlite) = store else {
        return Ok(());
    };
    let mut ticks = tokio::time::interval(RETRY_EVERY);
    let attempts = async {
        loop {
            ticks.tick().await;
            match sqlite.writer.acquire().await {
                Err(err) if is_busy(&err) => {}
                Err(err) => return Err(err),
                Ok(_) => return Ok(()),
            }
        }
    };
    match tokio::time::timeout(at_most.max(RETRY_EVERY * 2), attempts).await {
        Ok(done) => Ok(done?),
        Err(_) => Err(Fault::Late(at_most)),
    }
}

fn is_busy(err: &sqlx::Error) -> bool {
    let err = err.as_database_error().and_then(|it| it.try_downcast_ref::<SqliteError>());
    err.and_then(sqlite_code).is_some_and(|code| matches!(code & 0xff, 5 | 6))
}

/// SQLite says "unable to open database file" of a folder that it cannot write.
fn explain(path: &Path, store: &Store, fault: Fault) -> OpenError {
    if matches!(fault, Fault::Late(_)) {
        return OpenError::new(store.label(), OpenReason::Locked);
    }
    let err = OpenError::from_fault(store.label(), fault);
    let folder = path.parent().unwrap_or(path);
    match (err.reason(), rustix::fs::access(folder, Access::WRITE_OK)) {
        (OpenReason::Failed { .. } | OpenReason::ReadOnly, Err(Errno::ACCESS | Errno::ROFS)) => {
            OpenError::new(store.label(), OpenReason::FolderReadOnly).because(err)
        }
        _ => err,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sqlx::{Connection as _, Executor as _};

    /// SQLite does not say so when it keeps a setting as it was.
    #[tokio::test]
    async fn a_connection_that_is_not_durable_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let options = MAIN.options(&folder.path().join("deploy.db"), Duration::ZERO);
        let options = options.create_if_missing(true);
        let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
        let ask = MAIN.synchronous;
        check(&mut connection, ask).await.unwrap();
        for (setting, weak, strong) in [
            ("synchronous", "NORMAL", "FULL"),
            ("foreign_keys", "OFF", "ON"),
            ("journal_mode", "DELETE", "WAL"),
        ] {
            let mut set = async |value: &str| {
                let pragma = format!("PRAGMA {setting} = {value}");
                connection.execute(sqlx::AssertSqlSafe(pragma)).await.unwrap();
                check(&mut connection, ask).await
            };
            let err = set(weak).await.unwrap_err();
            assert!(format!("{err:?}").contains(setting), "{err:?}");
            set(strong).await.unwrap();
        }
    }
}
