use async_trait::async_trait;
use deploy_core::{
    access::Permit,
    backend::{ArtifactEntry, Expect, ObsoleteHolds},
    digest::Digest,
    error::BackendResult,
    host::Host,
    id::HostName,
    time::Timestamp,
};
use std::{collections::BTreeSet, fmt, time::Duration};

/// What some backends can do beyond the traits that all of them have.
///
/// Whoever puts the backends together knows what they are, and hands this to the [`Operations`](crate::Operations) over them.
/// Without it, what only it can do is refused as `unsupported`, and many hosts are written one after another.
#[async_trait]
pub trait Upkeep: fmt::Debug + Send + Sync + 'static {
    /// Removes old versions that nobody holds, and what interrupted uploads have left. The permit is for `ArtifactWrite` on
    /// the system.
    async fn collect(&self, permit: &Permit, request: &Collect) -> BackendResult<Collected>;

    /// The programs that steps need and `host` does not have. The permit is for `HostObserve` on it.
    async fn lacking(&self, permit: &Permit, host: &Host) -> BackendResult<Vec<String>>;

    /// Puts all of these records, or none. Each needs a permit for `HostWrite` on it.
    async fn put_hosts(&self, permits: &[Permit], hosts: Vec<(Host, Expect)>) -> BackendResult<()>;

    /// Removes all of these records, or none. Each needs a permit for `HostWrite` on it.
    async fn remove_hosts(
        &self,
        permits: &[Permit],
        names: &BTreeSet<HostName>,
    ) -> BackendResult<()>;
}

/// What may go.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Collect {
    /// How many of the newest versions of each repository and kind stay.
    pub keep: usize,
    /// How long each version stays, however many newer ones there are.
    pub older_than: Duration,
    /// What time it is.
    pub now: Timestamp,
    /// What stays besides what somebody holds.
    pub needed: BTreeSet<Digest>,
    /// Holds that count no more, and go as well.
    pub obsolete: ObsoleteHolds,
    /// Whether nothing is really removed.
    pub dry_run: bool,
}

/// What went.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "whoever collects says all of it")]
pub struct Collected {
    /// The versions that are no longer listed.
    pub entries: Vec<ArtifactEntry>,
    /// The versions that would have gone, had nobody held them.
    pub held: Vec<ArtifactEntry>,
    /// The artifacts that are gone.
    pub artifacts: BTreeSet<Digest>,
    /// How many bytes they had.
    pub bytes: u64,
    /// How many interrupted uploads are gone.
    pub partials: u64,
}
