//! Plans: what will be done, with no choice left for the time it is done.
mod drift;
mod error;
mod input;
mod order;
mod planner;
mod report;
mod room;
mod warning;

use crate::{
    digest::Digest,
    host::{Host, Installed},
    id::{AccountName, HostName, Principal, ReleaseId, RolloutId, ServiceName, StreamId, Version},
    spec::{
        AbsolutePath, ArtifactRef, Direction, ParameterName, Release, Selector, Signed, Step,
        StepName, Strategy,
    },
    time::Timestamp,
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, time::Duration};

pub use drift::{InventoryChange, inventory_diff, inventory_digest};
pub use error::PlanError;
pub use input::PlanInput;
pub use planner::plan;
pub use report::{
    ChangeKind, HostReport, OutReason, PlanReport, TransferReport, TransferWay, Verdict,
};
pub use room::{DiskRoom, RoomReport, ShortHost, Unchecked, UncheckedHosts};
pub use warning::Warning;

/// The newest format of plans and journal records that this program reads and writes.
///
/// What is written has the oldest format that can say it: only what has to be confirmed, is staged, makes a rollout good, is signed by
/// publishers, or stands behind positions that were given up needs the second.
pub const FORMAT: u32 = 2;
/// The format of everything else.
pub(crate) const UNCONFIRMED: u32 = 1;

/// What a plan needs of a release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PlannedRelease {
    /// Its name.
    pub id: ReleaseId,
    /// The version people know it by.
    pub version: Version,
    /// What runs.
    pub package: Option<ArtifactRef>,
    /// How it is put there.
    pub descriptor: ArtifactRef,
    /// The steps of the descriptor, in order.
    pub steps: Vec<Step>,
    /// What scripts see as `P_<NAME>`.
    pub parameters: BTreeMap<ParameterName, String>,
    /// What its publishers have said of it, for hosts that ask for that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signed: Option<Signed>,
}

impl PlannedRelease {
    /// Whether a host that was seen like this runs it, with the very package it has.
    #[must_use]
    pub fn is_installed(&self, seen: Option<&Installed>) -> bool {
        let package = self.package.map(|it| it.digest);
        seen.is_some_and(|it| it.is_exactly(&self.id, package))
    }

    /// The steps that an attempt in `direction` runs, in order.
    pub fn steps_in(&self, direction: Direction) -> impl Iterator<Item = &Step> {
        self.steps.iter().filter(move |step| step.name.runs_in(direction))
    }
}

impl From<&Release> for PlannedRelease {
    fn from(release: &Release) -> Self {
        Self {
            id: release.id.clone(),
            version: release.version.clone(),
            package: release.package,
            descriptor: release.descriptor,
            steps: release.steps.clone(),
            parameters: release.parameters.clone(),
            signed: release.signed.clone(),
        }
    }
}

/// What is carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::exhaustive_enums, reason = "the engine must handle each")]
pub enum Work {
    /// A release of a service goes onto its hosts.
    Release,
    /// Hosts go back to what each of them ran before a rollout that is over.
    Rollback,
    /// A script runs once on each host; there is nothing to go back to.
    Run,
}

/// A host that a plan changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Target {
    /// The host, as it was when the plan was made.
    pub host: Host,
    /// What it ran then, and is to go back to: a key of [`Plan::releases`].
    pub from: Option<ReleaseId>,
    /// What it is to run: a key of [`Plan::releases`]; `None` takes the service off.
    pub to: Option<ReleaseId>,
    /// What it ran then, if that is a release nobody can describe: going back takes the service off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unregistered: Option<ReleaseId>,
}

impl Target {
    /// `host`, which ran `from` and is to run `to`.
    #[must_use]
    pub const fn new(host: Host, from: Option<ReleaseId>, to: Option<ReleaseId>) -> Self {
        Self { host, from, to, unregistered: None }
    }

    /// Which ran `release`, and nobody can describe that.
    #[must_use]
    pub fn with_unregistered(mut self, release: ReleaseId) -> Self {
        self.unregistered = Some(release);
        self
    }

    /// What it was seen to run, whether or not it can go back to that.
    #[must_use]
    pub fn ran(&self) -> Option<&ReleaseId> {
        self.from.as_ref().or(self.unregistered.as_ref())
    }
}

/// What an attempt on a target comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Move<'a> {
    /// Which way the steps run.
    pub direction: Direction,
    /// The release whose descriptor is run.
    pub release: &'a PlannedRelease,
    /// Whether the host is to run `release` afterwards; `false` takes the service off the host.
    pub keeps_release: bool,
    /// What the host ran before.
    pub previous: Option<&'a PlannedRelease>,
}

impl<'a> Move<'a> {
    /// The steps it runs, in order: none after `rollback` where nothing is left to run.
    pub fn steps(self) -> impl Iterator<Item = &'a Step> {
        let needed = move |step: &&Step| self.keeps_release || step.name <= StepName::Rollback;
        self.release.steps_in(self.direction).filter(needed)
    }
}

/// An immutable, hashed intention.
///
/// Invariants, checked by [`Plan::check`]: no host is in two waves, or in a wave and a no-op; no wave is empty; every
/// release that is named is in `releases`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Plan {
    /// The version of this format.
    pub format: u32,
    /// What is carried out.
    pub work: Work,
    /// Which service; an ad-hoc run has one of its own.
    pub service: ServiceName,
    /// Where the service lies on hosts.
    pub deploy_path: AbsolutePath,
    /// The account steps run as.
    pub account: Option<AccountName>,
    /// What is rolled out: a key of `releases`.
    pub release: ReleaseId,
    /// All releases the plan speaks of.
    pub releases: BTreeMap<ReleaseId, PlannedRelease>,
    /// What selected its hosts; `None` if they were chosen one by one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<Selector>,
    /// How it goes.
    pub strategy: Strategy,
    /// The targets, a wave at a time, each wave in the order in which its targets start.
    pub waves: Vec<Vec<Target>>,
    /// The selected hosts that run the release already.
    pub no_ops: Vec<HostName>,
    /// What the inventory looked like.
    pub inventory: Digest,
    /// Decides everything that is left to chance.
    pub seed: u64,
    /// The plan this one takes the place of.
    pub parent: Option<Digest>,
    /// The rollout that it makes good on some hosts; `None` for a rollout in its own right.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repairs: Option<RolloutId>,
    /// When it was made.
    pub created_at: Timestamp,
    /// By whom.
    pub created_by: Principal,
}

/// Why something is not a plan that can be carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidPlan {
    /// A wave has no target.
    #[error("wave {0} of the plan is empty")]
    EmptyWave(usize),
    /// It was written by a newer program.
    #[error(
        "the plan has format {0}, and this program knows formats up to {FORMAT}: use a newer one"
    )]
    Format(u32),
    /// A host is named twice.
    #[error("the plan names host `{0}` twice")]
    HostTwice(HostName),
    /// A release is not described.
    #[error("the plan names release `{0}` and does not describe it")]
    UnknownRelease(ReleaseId),
}

impl Plan {
    /// Its name: the SHA-256 of all it says.
    #[must_use]
    pub fn digest(&self) -> Digest {
        crate::digest::digest_of(self)
    }

    /// The stream its rollout is journaled in; an ad-hoc run's service name is its rollout's id.
    #[must_use]
    pub fn stream(&self) -> StreamId {
        match self.work {
            Work::Release | Work::Rollback => StreamId::Service(self.service.clone()),
            Work::Run => StreamId::Run(self.service.clone().into()),
        }
    }

    /// What an attempt in `direction` on `target` comes to; `None` if there is nothing the target could go to or lose.
    #[must_use]
    pub fn movement(&self, target: &Target, direction: Direction) -> Option<Move<'_>> {
        let described = |id: &Option<ReleaseId>| id.as_ref().and_then(|it| self.releases.get(it));
        let (goal, left) = match direction {
            Direction::Back => (described(&target.from), described(&target.to)),
            Direction::Forward => (described(&target.to), described(&target.from)),
        };
        let direction = match self.work {
            Work::Release | Work::Run => direction,
            Work::Rollback => Direction::Back,
        };
        let release = goal.or(left)?;
        Some(Move { direction, release, keeps_release: goal.is_some(), previous: left })
    }

    /// How long a host that was changed in `direction` waits to be told to keep that, before it goes back by itself; `None` if it
    /// need not be told. What puts a host back, or runs once, is never to be told.
    #[must_use]
    pub fn confirm_timeout(&self, direction: Direction) -> Option<Duration> {
        let asks = self.work == Work::Release && direction == Direction::Forward;
        self.strategy.health.confirm_timeout.filter(|_| asks)
    }

    /// The release it rolls out.
    #[must_use]
    pub fn planned(&self) -> Option<&PlannedRelease> {
        self.releases.get(&self.release)
    }

    /// All targets, in the order in which they start.
    pub fn targets(&self) -> impl Iterator<Item = &Target> {
        self.waves.iter().flatten()
    }

    /// How many targets it has.
    #[must_use]
    pub fn target_count(&self) -> u32 {
        u32::try_from(self.waves.iter().map(Vec::len).sum::<usize>()).unwrap_or(u32::MAX)
    }

    /// Checks the invariants.
    ///
    /// # Errors
    /// If one does not hold.
    pub fn check(&self) -> Result<(), InvalidPlan> {
        if self.format > FORMAT {
            return Err(InvalidPlan::Format(self.format));
        }
        if let Some(empty) = self.waves.iter().position(Vec::is_empty) {
            return Err(InvalidPlan::EmptyWave(empty + 1));
        }
        let mut seen = std::collections::BTreeSet::new();
        let hosts = self.targets().map(|it| &it.host.name).chain(&self.no_ops);
        for host in hosts {
            if !seen.insert(host) {
                return Err(InvalidPlan::HostTwice(host.clone()));
            }
        }
        let ends = self.targets().flat_map(|it| [&it.from, &it.to]).flatten();
        let named = ends.chain([&self.release]);
        match named.into_iter().find(|it| !self.releases.contains_key(*it)) {
            Some(unknown) => Err(InvalidPlan::UnknownRelease(unknown.clone())),
            None => Ok(()),
        }
    }
}
