//! What nobody needs goes.
use crate::{catalogue, fault, layout, store::ObjectArtifactStore};
use deploy_core::{
    access::{Action, Permit, Resource},
    backend::{ArtifactEntry, ArtifactKind, BackendResult, ListArtifacts, ObsoleteHolds},
    digest::Digest,
    id::RepositoryName,
    time::Timestamp,
};
use futures_util::TryStreamExt as _;
use object_store::ObjectStore as _;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

const OPERATION: &str = "artifact.collect";

/// What to keep.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CollectGarbage {
    /// How many of the newest versions of each repository and kind stay.
    pub keep: usize,
    /// How long each version stays, however many newer ones there are.
    pub older_than: Duration,
    /// What time it is.
    pub now: Timestamp,
    /// How long what is not listed anywhere stays: interrupted puts, and bytes that a crash left behind.
    pub min_age: Duration,
    /// What stays besides what somebody holds.
    pub needed: BTreeSet<Digest>,
    /// Holds that count no more, and go as well.
    pub obsolete: ObsoleteHolds,
    /// Says what would go, and leaves it there.
    pub dry_run: bool,
}

impl CollectGarbage {
    /// Keeps the `keep` newest versions of each repository and kind, and a day's worth of interrupted puts.
    #[must_use]
    pub fn new(keep: usize, now: Timestamp) -> Self {
        let min_age = Duration::from_hours(24);
        let older_than = Duration::ZERO;
        Self {
            keep,
            older_than,
            now,
            min_age,
            needed: BTreeSet::new(),
            obsolete: ObsoleteHolds::default(),
            dry_run: false,
        }
    }

    /// Keeps what was put within `age`, however many newer versions there are.
    #[must_use]
    pub const fn with_older_than(mut self, age: Duration) -> Self {
        self.older_than = age;
        self
    }

    /// Keeps what is not listed anywhere for `min_age`.
    #[must_use]
    pub const fn with_min_age(mut self, min_age: Duration) -> Self {
        self.min_age = min_age;
        self
    }

    /// Keeps `needed` besides what somebody holds: what is at work, and held by nobody.
    #[must_use]
    pub fn with_needed(mut self, needed: BTreeSet<Digest>) -> Self {
        self.needed = needed;
        self
    }

    /// Lets go of what these hold.
    #[must_use]
    pub fn with_obsolete(mut self, obsolete: ObsoleteHolds) -> Self {
        self.obsolete = obsolete;
        self
    }

    /// Says what would go, and leaves it there.
    #[must_use]
    pub const fn with_dry_run(mut self, dry_run: bool) -> Self {
        self.dry_run = dry_run;
        self
    }
}

/// What was collected, or would be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct GarbageReport {
    /// The versions that are no longer listed.
    pub entries: Vec<ArtifactEntry>,
    /// The versions that would have gone, had nobody held them.
    pub held: Vec<ArtifactEntry>,
    /// The artifacts that are gone.
    pub artifacts: BTreeSet<Digest>,
    /// How many bytes they had.
    pub bytes: u64,
    /// How many interrupted puts are gone.
    pub partials: u64,
}

impl ObjectArtifactStore {
    /// Removes old versions, and what no version names any more. What somebody holds stays, and so does its version.
    ///
    /// Puts and reads go on meanwhile; a put that ends, a hold and a deletion wait. Needs a permit for
    /// [`ArtifactWrite`](deploy_core::access::Action::ArtifactWrite) on the system.
    ///
    /// # Errors
    /// As the operations of [`ArtifactStore`](deploy_core::backend::ArtifactStore). It can be called again after any of
    /// them.
    pub async fn collect(
        &self,
        permit: &Permit,
        request: CollectGarbage,
    ) -> BackendResult<GarbageReport> {
        permit.demand(Action::ArtifactWrite, &Resource::System, OPERATION)?;
        let before = request.now.as_millis();
        let before = before.saturating_sub(Timestamp::default().after(request.min_age).as_millis());
        let _entered = self.gate.enter(OPERATION).await?;
        let mut report = GarbageReport::default();
        let needed = self.needed(&request).await?;
        self.collect_entries(&request, &needed, &mut report).await?;
        self.collect_artifacts(before, &request, needed, &mut report).await?;
        let swept = self.in_folder(OPERATION, 0, move |folder| {
            if request.dry_run {
                return folder.count_kept(before);
            }
            folder.sweep_staged()?;
            folder.sweep_kept(before)
        });
        report.partials = swept.await?;
        Ok(report)
    }

    /// What has to stay, once what holds it for no reason has let go.
    async fn needed(&self, request: &CollectGarbage) -> BackendResult<BTreeSet<Digest>> {
        let mut needed = request.needed.clone();
        let mut gone = Vec::new();
        for (digest, holder) in self.holds.all(OPERATION).await? {
            match holder {
                Some(holder) if request.obsolete.covers(&digest, &holder) => {
                    if !request.dry_run {
                        self.holds.remove(&digest, &holder).await?;
                    }
                    gone.push(layout::hold(&digest, &holder));
                }
                _ => {
                    needed.insert(digest);
                }
            }
        }
        if !request.dry_run {
            self.sync_removal(OPERATION, gone).await?;
        }
        Ok(needed)
    }

    async fn collect_entries(
        &self,
        request: &CollectGarbage,
        needed: &BTreeSet<Digest>,
        report: &mut GarbageReport,
    ) -> BackendResult<()> {
        let entries = self.catalogue.list(OPERATION, &ListArtifacts::new()).await?;
        for entry in beyond(request.keep, entries) {
            if entry.put_at.after(request.older_than) > request.now {
                continue;
            }
            if needed.contains(&entry.meta.digest) {
                report.held.push(entry);
                continue;
            }
            if !request.dry_run {
                self.catalogue.remove(OPERATION, &entry).await?;
            }
            report.entries.push(entry);
        }
        if request.dry_run {
            return Ok(());
        }
        let gone = report.entries.iter().map(catalogue::path_of).collect();
        self.sync_removal(OPERATION, gone).await
    }

    /// Removes artifacts that nothing names: those that just lost their last version now, others when they are old.
    async fn collect_artifacts(
        &self,
        before: u64,
        request: &CollectGarbage,
        mut needed: BTreeSet<Digest>,
        report: &mut GarbageReport,
    ) -> BackendResult<()> {
        let entries = self.catalogue.list(OPERATION, &ListArtifacts::new()).await?;
        let unlisted: BTreeSet<_> = report.entries.iter().map(catalogue::path_of).collect();
        let listed = entries.iter().filter(|entry| !unlisted.contains(&catalogue::path_of(entry)));
        needed.extend(listed.map(|entry| entry.meta.digest));
        let dropped: BTreeSet<_> = report.entries.iter().map(|it| it.meta.digest).collect();
        let blobs = self.store.list(Some(&layout::blobs())).try_collect::<Vec<_>>().await;
        let mut gone = Vec::new();
        for blob in blobs.map_err(|err| fault::reading(OPERATION, layout::blobs(), err))? {
            let Some(digest) = layout::blob_digest(&blob.location) else { continue };
            let old = u64::try_from(blob.last_modified.timestamp_millis()).unwrap_or(0) <= before;
            if !needed.contains(&digest) && (old || dropped.contains(&digest)) {
                if !request.dry_run {
                    gone.push(self.remove_bytes(OPERATION, &digest).await?);
                }
                report.artifacts.insert(digest);
                report.bytes = report.bytes.saturating_add(blob.size);
            }
        }
        self.sync_removal(OPERATION, gone).await
    }
}

/// All but the `keep` newest of each repository and kind; `entries` are ordered with the newest first.
fn beyond(keep: usize, entries: Vec<ArtifactEntry>) -> impl Iterator<Item = ArtifactEntry> {
    let mut seen: BTreeMap<(RepositoryName, ArtifactKind), usize> = BTreeMap::new();
    entries.into_iter().filter(move |entry| {
        let count = seen.entry((entry.repository.clone(), entry.kind)).or_default();
        *count = count.saturating_add(1);
        *count > keep
    })
}
