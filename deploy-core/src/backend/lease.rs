use crate::{error::BackendResult, time::Timestamp};
use async_trait::async_trait;
use std::{fmt, time::Duration};

/// The right to own something for a while.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Lease {
    /// What is owned, such as `service/web`.
    pub name: String,
    /// Who owns it.
    pub holder: String,
    /// Grows by one whenever the owner changes or comes back after losing it.
    pub epoch: u64,
    /// Until when.
    pub expires_at: Timestamp,
}

impl Lease {
    /// A lease.
    #[must_use]
    pub fn new(
        name: impl Into<String>,
        holder: impl Into<String>,
        epoch: u64,
        expires_at: Timestamp,
    ) -> Self {
        Self { name: name.into(), holder: holder.into(), epoch, expires_at }
    }
}

/// What to own.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct AcquireLease {
    /// What, such as `service/web`.
    pub name: String,
    /// Who wants it. Never the same for two processes.
    pub holder: String,
    /// For how long.
    pub ttl: Duration,
    /// The holder whose process is known to be gone: its lease may be taken before it has expired.
    pub dead: Option<String>,
}

impl AcquireLease {
    /// `name` for `holder`, for fifteen seconds.
    #[must_use]
    pub fn new(name: impl Into<String>, holder: impl Into<String>) -> Self {
        Self { name: name.into(), holder: holder.into(), ttl: Duration::from_secs(15), dead: None }
    }

    /// For another time.
    #[must_use]
    pub const fn with_ttl(mut self, ttl: Duration) -> Self {
        self.ttl = ttl;
        self
    }

    /// Knowing that the process of `holder` is gone.
    #[must_use]
    pub fn with_dead(mut self, holder: impl Into<String>) -> Self {
        self.dead = Some(holder.into());
        self
    }
}

/// Keeps leases: who drives what. Safety comes from the journal; a lease keeps two drivers from fighting.
///
/// # Contract
/// * `acquire` of a free or expired lease succeeds, with an epoch one higher than the last one.
/// * `acquire` by the holder renews: the same epoch, a later end.
/// * `acquire` of what another holds is `Conflict` and names the holder, unless `dead` names that very holder.
/// * Of any number of takers of a free lease, one wins.
/// * `release` frees a lease of that holder and epoch; one that has moved on stays as it is, which is no error.
/// * `current` gives the lease as it is, expired or not; `None` if it was never taken or was released.
/// * Expiry goes by the store's own clock.
///
/// ```
/// use deploy_core::{
///     backend::{AcquireLease, ErrorKind, LeaseStore},
///     memory::{ManualClock, MemoryLeaseStore},
///     time::Timestamp,
/// };
/// use std::{sync::Arc, time::Duration};
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let clock = Arc::new(ManualClock::at(Timestamp::from_millis(0)));
/// let leases = MemoryLeaseStore::new(clock.clone());
/// let mine = leases.acquire(&AcquireLease::new("service/web", "ann")).await?;
/// let theirs = AcquireLease::new("service/web", "bob");
/// assert_eq!(leases.acquire(&theirs).await.unwrap_err().kind(), ErrorKind::Conflict);
/// clock.advance(Duration::from_secs(15));
/// assert_eq!(leases.acquire(&theirs).await?.epoch, mine.epoch + 1);
/// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
/// ```
#[async_trait]
pub trait LeaseStore: fmt::Debug + Send + Sync + 'static {
    /// Takes or renews a lease.
    async fn acquire(&self, request: &AcquireLease) -> BackendResult<Lease>;

    /// Gives a lease up.
    async fn release(&self, lease: &Lease) -> BackendResult<()>;

    /// Who holds it.
    async fn current(&self, name: &str) -> BackendResult<Option<Lease>>;
}
