use crate::{
    arg::int,
    database::Database,
    row::{Damage, Row},
    store::Store,
};
use async_trait::async_trait;
use deploy_core::{
    backend::{AcquireLease, Lease, LeaseStore},
    error::{BackendError, BackendResult, ErrorKind},
    time::Timestamp,
};

const ACQUIRE: &str = "lease.acquire";

/// Keeps leases in SQL, by the clock of the database: of PostgreSQL's server, or of this machine for SQLite.
#[derive(Clone, Debug)]
pub struct SqlLeaseStore {
    store: Store,
}

impl SqlLeaseStore {
    /// The leases in `database`.
    #[must_use]
    pub fn new(database: &Database) -> Self {
        Self { store: database.main().clone() }
    }

    /// Takes or renews in one statement; `None` if another holds the lease.
    async fn try_acquire(&self, request: &AcquireLease) -> BackendResult<Option<Lease>> {
        let ttl = int(ACQUIRE, "ttl", u64::try_from(request.ttl.as_millis()).unwrap_or(u64::MAX))?;
        let args = [
            request.name.as_str().into(),
            request.holder.as_str().into(),
            ttl.into(),
            request.dead.as_deref().into(),
        ];
        let mut transaction = self.store.begin(ACQUIRE).await?;
        let rows = transaction.fetch(acquire_sql(&self.store), &args).await;
        let rows = transaction.finish(rows).await?;
        self.decode(ACQUIRE, &rows)
    }

    async fn held(&self, operation: &'static str, name: &str) -> BackendResult<Option<Lease>> {
        const SQL: &str = "SELECT name, holder, epoch, expires_at FROM leases \
             WHERE name = $1 AND holder IS NOT NULL";
        let rows = self.store.fetch(operation, SQL, &[name.into()]).await?;
        self.decode(operation, &rows)
    }

    fn decode(&self, operation: &'static str, rows: &[Row]) -> BackendResult<Option<Lease>> {
        let leases = self.store.place(operation, "leases").decode_all(rows, decode_lease)?;
        Ok(leases.into_iter().next())
    }
}

#[async_trait]
impl LeaseStore for SqlLeaseStore {
    async fn acquire(&self, request: &AcquireLease) -> BackendResult<Lease> {
        check(request)?;
        if let Some(lease) = self.try_acquire(request).await? {
            return Ok(lease);
        }
        let error = BackendError::new(ErrorKind::Conflict, ACQUIRE).with("lease", &request.name);
        match self.held(ACQUIRE, &request.name).await? {
            Some(theirs) => Err(error.with("holder", theirs.holder)),
            None => Err(error.with("holder", "somebody who has just released it")),
        }
    }

    async fn release(&self, lease: &Lease) -> BackendResult<()> {
        const RELEASE: &str = "lease.release";
        const SQL: &str =
            "UPDATE leases SET holder = NULL WHERE name = $1 AND holder = $2 AND epoch = $3";
        // An epoch that no column can hold is none that is there.
        let epoch = i64::try_from(lease.epoch).unwrap_or(i64::MAX);
        let args = [lease.name.as_str().into(), lease.holder.as_str().into(), epoch.into()];
        let mut transaction = self.store.begin(RELEASE).await?;
        let released = transaction.execute(SQL, &args).await;
        transaction.finish(released).await?;
        Ok(())
    }

    async fn current(&self, name: &str) -> BackendResult<Option<Lease>> {
        self.held("lease.current", name).await
    }
}

/// The statement with the database's own clock in it, in milliseconds since the epoch.
///
/// On PostgreSQL that is not `now()`, which stands still while a transaction waits for another taker of the same row.
macro_rules! acquire {
    ($now:literal) => {
        concat!(
            "INSERT INTO leases (name, holder, epoch, expires_at) VALUES ($1, $2, 1, ",
            $now,
            " + $3) ",
            "ON CONFLICT (name) DO UPDATE SET holder = $2, ",
            "epoch = CASE WHEN leases.holder = $2 AND leases.expires_at > ",
            $now,
            " ",
            "THEN leases.epoch ELSE leases.epoch + 1 END, ",
            "expires_at = CASE WHEN leases.holder = $2 AND leases.expires_at > ",
            $now,
            " + $3 ",
            "THEN leases.expires_at ELSE ",
            $now,
            " + $3 END ",
            "WHERE leases.holder IS NULL OR leases.holder = $2 OR leases.holder = $4 ",
            "OR leases.expires_at <= ",
            $now,
            " ",
            "RETURNING name, holder, epoch, expires_at",
        )
    };
}

const fn acquire_sql(store: &Store) -> &'static str {
    match store {
        Store::Postgres(_) => {
            acquire!("CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT)")
        }
        Store::Sqlite(_) => acquire!("CAST(unixepoch('subsec') * 1000 AS INTEGER)"),
    }
}

fn check(request: &AcquireLease) -> BackendResult<()> {
    let refused = |key, value: &str| {
        Err(BackendError::new(ErrorKind::InvalidInput, ACQUIRE).with(key, value.escape_debug()))
    };
    let unusable = |text: &str| text.is_empty() || text.contains('\0');
    if unusable(&request.name) {
        return refused("name", &request.name);
    }
    if unusable(&request.holder) {
        return refused("holder", &request.holder);
    }
    if request.ttl.as_millis() == 0 {
        return refused("ttl", "less than a millisecond");
    }
    Ok(())
}

fn decode_lease(row: &Row) -> Result<Lease, Damage> {
    let expires_at = Timestamp::from_millis(row.number(3)?);
    Ok(Lease::new(row.text(0)?, row.text(1)?, row.number(2)?, expires_at))
}
