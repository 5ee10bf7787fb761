//! What the planner goes by.
use super::Work;
use crate::{
    digest::Digest,
    host::{Host, Installed},
    id::{HostName, Principal, ReleaseId, RolloutId},
    spec::{Release, Service},
    time::Timestamp,
};
use std::collections::{BTreeMap, BTreeSet};

/// All that a plan depends on.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PlanInput {
    /// What is to be carried out.
    pub work: Work,
    /// The service; for an ad-hoc run, one made for it alone and named as its rollout.
    pub service: Service,
    /// The release to roll out; for a rollback, the one to leave.
    pub release: Release,
    /// The other releases of the service, to go back to.
    pub releases: Vec<Release>,
    /// All hosts of the inventory, in any order.
    pub hosts: Vec<Host>,
    /// What each of them was last seen to run of the service.
    pub installed: BTreeMap<HostName, Installed>,
    /// The hosts that a scheduler chose of those selected; needed if the service wants a number of hosts.
    pub placed: Option<BTreeSet<HostName>>,
    /// For a rollback: the hosts that go back, each to its own release or (`None`) to not having the service.
    pub back_to: BTreeMap<HostName, Option<ReleaseId>>,
    /// Decides everything that is left to chance.
    pub seed: u64,
    /// The plan that this one takes the place of.
    pub parent: Option<Digest>,
    /// The rollout that is made good.
    pub repairs: Option<RolloutId>,
    /// When the plan is made: how old knowledge is counts from here.
    pub created_at: Timestamp,
    /// By whom.
    pub created_by: Principal,
}

impl PlanInput {
    /// `release` goes onto those of `hosts` that `service` belongs on.
    #[must_use]
    pub const fn new(
        service: Service,
        release: Release,
        hosts: Vec<Host>,
        created_at: Timestamp,
        created_by: Principal,
    ) -> Self {
        Self {
            work: Work::Release,
            service,
            release,
            releases: Vec::new(),
            hosts,
            installed: BTreeMap::new(),
            placed: None,
            back_to: BTreeMap::new(),
            seed: 0,
            parent: None,
            repairs: None,
            created_at,
            created_by,
        }
    }

    /// For an ad-hoc run of the one step of the release, on every selected host.
    #[must_use]
    pub const fn as_run(mut self) -> Self {
        self.work = Work::Run;
        self
    }

    /// For a rollback of `hosts` from the release, each to its own, or (`None`) to not having the service.
    #[must_use]
    pub fn as_rollback(mut self, hosts: BTreeMap<HostName, Option<ReleaseId>>) -> Self {
        self.work = Work::Rollback;
        self.back_to = hosts;
        self
    }

    /// With other releases of the service, to go back to.
    #[must_use]
    pub fn with_releases(mut self, releases: Vec<Release>) -> Self {
        self.releases = releases;
        self
    }

    /// With what hosts were last seen to run.
    #[must_use]
    pub fn with_installed(mut self, installed: BTreeMap<HostName, Installed>) -> Self {
        self.installed = installed;
        self
    }

    /// On no more than these of the selected hosts.
    #[must_use]
    pub fn with_placed(mut self, placed: BTreeSet<HostName>) -> Self {
        self.placed = Some(placed);
        self
    }

    /// To make `rollout` good on `hosts` and no others.
    #[must_use]
    pub fn as_repair(mut self, rollout: RolloutId, hosts: BTreeSet<HostName>) -> Self {
        self.repairs = Some(rollout);
        self.placed = Some(hosts);
        self
    }

    /// With another seed.
    #[must_use]
    pub const fn with_seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// In the place of the plan `parent`.
    #[must_use]
    pub const fn with_parent(mut self, parent: Digest) -> Self {
        self.parent = Some(parent);
        self
    }
}
