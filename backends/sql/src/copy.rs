//! Copies of SQLite files that are in use.
use crate::{
    database::Database,
    fault::{Fault, Phase},
    store::{SqliteStore, Store},
};
use deploy_core::error::{BackendError, BackendResult, ErrorKind};
use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

const COPY: &str = "database.copy";

impl Database {
    /// Copies the database as it is at one moment, and its logs as they are at another, into `folder`, under the names that they
    /// have. Others may go on writing. The copies are on disk when this returns.
    ///
    /// # Errors
    /// `Unsupported` on PostgreSQL, which has tools of its own for this. Otherwise if the database cannot be read, or the copy
    /// not be written; `folder` may then hold a part of it.
    pub async fn copy_into(&self, folder: &Path) -> BackendResult<()> {
        // The logs of a rollout that is not in the database do no harm; a rollout without its logs would miss something.
        for store in [self.main(), self.logs()] {
            match store {
                Store::Sqlite(store) => copy(store, folder).await?,
                Store::Postgres(_) => {
                    return Err(self
                        .main()
                        .error(ErrorKind::Unsupported, COPY)
                        .because("`pg_dump --schema=deploy` copies a PostgreSQL database"));
                }
            }
        }
        Ok(())
    }
}

async fn copy(store: &SqliteStore, folder: &Path) -> BackendResult<()> {
    let failed = |fault: Fault| fault.into_error(COPY, &store.label, Phase::Statement);
    let name = Path::new(&store.label).file_name().unwrap_or_default();
    let to = folder.join(name);
    let Some(target) = to.to_str() else {
        let err = BackendError::new(ErrorKind::InvalidInput, COPY).with("file", to.display());
        return Err(err.because("SQLite takes only paths that are UTF-8"));
    };
    private(&to).map_err(|err| unwritable(&to, err))?;
    let mut connection = store.writer.acquire().await.map_err(|err| failed(err.into()))?;
    let copied = sqlx::query("VACUUM INTO $1").bind(target);
    copied.execute(&mut *connection).await.map_err(|err| failed(err.into()))?;
    File::open(&to).and_then(|it| it.sync_all()).map_err(|err| unwritable(&to, err))
}

/// SQLite copies into a file that is empty, and leaves its permissions alone.
fn private(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

fn unwritable(path: &Path, err: io::Error) -> BackendError {
    let kind = match err.kind() {
        io::ErrorKind::AlreadyExists => ErrorKind::AlreadyExists,
        io::ErrorKind::PermissionDenied => ErrorKind::PermissionDenied,
        io::ErrorKind::QuotaExceeded | io::ErrorKind::StorageFull => ErrorKind::NoSpace,
        _ => ErrorKind::Internal,
    };
    BackendError::new(kind, COPY).with("file", path.display()).because(err)
}
