//! Which releases have to stay installable.
//!
//! A release is never removed: what it was is told for ever. But the store keeps the artifacts of a release only while something may
//! need them, and this says which releases that is.
//!
//! ```
//! use deploy_core::{retention::{KeepReleases, retired}, spec::Release, time::Timestamp};
//! use std::collections::BTreeSet;
//!
//! # fn example(newest_first: &[Release], in_use: &BTreeSet<deploy_core::id::ReleaseId>, now: Timestamp) {
//! let keep = KeepReleases::new(5, now);
//! for release in retired(newest_first, &keep, in_use) {
//!     println!("nothing needs {}", release.id);
//! }
//! # }
//! ```
use crate::{
    host::Installed,
    id::{HostName, ReleaseId},
    rollout::{Rollout, TaskState},
    spec::{Direction, Release},
    time::Timestamp,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// Which releases stay, whether anything uses them or not.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeepReleases {
    /// How many of the newest of each service.
    pub newest: usize,
    /// How long each, however many newer ones there are.
    pub younger_than: Duration,
    /// What time it is.
    pub now: Timestamp,
}

impl KeepReleases {
    /// The `newest` of each service.
    #[must_use]
    pub const fn new(newest: usize, now: Timestamp) -> Self {
        Self { newest, younger_than: Duration::ZERO, now }
    }

    /// Those as well that were made within `age`.
    #[must_use]
    pub const fn with_younger_than(mut self, age: Duration) -> Self {
        self.younger_than = age;
        self
    }
}

/// The releases of a service, newest first, that neither `keep` nor anything `in_use` needs.
pub fn retired<'a>(
    releases: &'a [Release],
    keep: &KeepReleases,
    in_use: &'a BTreeSet<ReleaseId>,
) -> impl Iterator<Item = &'a Release> {
    let KeepReleases { newest, younger_than, now } = *keep;
    let old = releases.iter().skip(newest);
    old.filter(move |it| it.created_at.after(younger_than) <= now && !in_use.contains(&it.id))
}

/// What rollouts did to hosts, read from the newest one back.
///
/// In use is what a host runs, what it ran before that, and all that a rollout still works with. Older rollouts say nothing more once
/// [`is_known`](Self::is_known).
#[derive(Clone, Debug)]
pub struct Uses {
    releases: BTreeSet<ReleaseId>,
    /// The hosts of which it is not known yet how they came to what they run.
    unknown: BTreeSet<HostName>,
    /// Whether the rollout was read that says what hosts are owed: the newest that is no repair.
    settled: bool,
}

impl Uses {
    /// Of a service that is `installed` on these hosts.
    #[must_use]
    pub fn new(installed: &BTreeMap<HostName, Installed>) -> Self {
        let releases = installed.values().filter_map(|it| it.release.clone()).collect();
        Self { releases, unknown: installed.keys().cloned().collect(), settled: false }
    }

    /// Whether no older rollout can add anything.
    #[must_use]
    pub fn is_known(&self) -> bool {
        self.settled && self.unknown.is_empty()
    }

    /// Takes in the next older rollout.
    pub fn add(&mut self, rollout: &Rollout) {
        let plan = rollout.plan();
        let changed = |host: &HostName| {
            let back = rollout.task(host, Direction::Back);
            let undone = back.is_some_and(|it| it.state == TaskState::Succeeded);
            !undone && rollout.task(host, Direction::Forward).is_some_and(|it| it.touched)
        };
        let hosts = plan.targets().map(|it| &it.host.name);
        self.add_past(&PastRollout {
            open: rollout.outcome().is_none(),
            repair: plan.repairs.is_some(),
            releases: plan.releases.keys().cloned().collect(),
            changed: hosts.filter(|it| changed(it)).cloned().collect(),
        });
    }

    fn add_past(&mut self, past: &PastRollout) {
        let tells = past.changed.iter().any(|it| self.unknown.contains(it));
        // What hosts are owed is what the newest rollout wanted, also on those that it never came to.
        if tells || past.open || !self.settled {
            self.releases.extend(past.releases.iter().cloned());
        }
        self.unknown.retain(|it| !past.changed.contains(it));
        self.settled |= !past.repair;
    }

    /// The releases that are in use.
    #[must_use]
    pub fn into_releases(self) -> BTreeSet<ReleaseId> {
        self.releases
    }
}

/// What of a rollout matters here.
#[derive(Clone, Debug)]
struct PastRollout {
    /// Whether it is not over.
    open: bool,
    /// Whether it only makes good what another one left.
    repair: bool,
    /// All that it brings, takes away and goes back to.
    releases: BTreeSet<ReleaseId>,
    /// The hosts that it left otherwise than it found them, or may have. One that it took back is as an older rollout left it.
    changed: BTreeSet<HostName>,
}

#[cfg(test)]
mod tests;
