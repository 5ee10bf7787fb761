//! Plans, from what the backends know now.
use super::Platform;
use crate::{
    backend::{ExecutorCapabilities, HostInventoryExt as _, PlacementRequest},
    engine::PlatformError,
    host::{Host, Installed},
    id::{HostName, Principal, ReleaseId, RolloutId, ServiceName},
    plan::{Plan, PlanInput, PlanReport, Warning, inventory_diff, plan},
    rollout::{Rollout, TaskState},
    spec::{Confirm, Direction, OnFailure, Order, Release, Schedule, Service},
    time::Timestamp,
};
use std::collections::{BTreeMap, BTreeSet};

/// How many releases of a service a plan may go back to.
pub(super) const KNOWN_RELEASES: usize = 1_000;

/// What to plan.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PlanRelease {
    /// Which service.
    pub service: ServiceName,
    /// Which of its releases.
    pub release: ReleaseId,
    /// Decides everything that is left to chance.
    pub seed: u64,
    /// When a plan was made that is to be made again; `None` is now.
    pub created_at: Option<Timestamp>,
}

impl PlanRelease {
    /// `release` of `service`.
    #[must_use]
    pub const fn new(service: ServiceName, release: ReleaseId, seed: u64) -> Self {
        Self { service, release, seed, created_at: None }
    }

    /// As it was planned at `at`: with the same inventory, the same principal and the same seed it is the same plan.
    #[must_use]
    pub const fn made_at(mut self, at: Timestamp) -> Self {
        self.created_at = Some(at);
        self
    }
}

/// An ad-hoc run to plan.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PlanRun {
    /// A service made for the run alone, whose name becomes the rollout's id.
    pub service: Service,
    /// What runs: its descriptor has the one step `run`.
    pub release: Release,
    /// Decides everything that is left to chance.
    pub seed: u64,
    /// When a plan was made that is to be made again; `None` is now.
    pub created_at: Option<Timestamp>,
}

impl PlanRun {
    /// A run of `release` as `service` has it.
    #[must_use]
    pub const fn new(service: Service, release: Release, seed: u64) -> Self {
        Self { service, release, seed, created_at: None }
    }

    /// As it was planned at `at`.
    #[must_use]
    pub const fn made_at(mut self, at: Timestamp) -> Self {
        self.created_at = Some(at);
        self
    }
}

/// What a rollout did, to be taken back.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PlanRollback {
    /// Which rollout. It is over.
    pub rollout: RolloutId,
    /// Decides everything that is left to chance.
    pub seed: u64,
    /// When a plan was made that is to be made again; `None` is now.
    pub created_at: Option<Timestamp>,
}

impl PlanRollback {
    /// All that `rollout` did.
    #[must_use]
    pub const fn new(rollout: RolloutId, seed: u64) -> Self {
        Self { rollout, seed, created_at: None }
    }

    /// As it was planned at `at`.
    #[must_use]
    pub const fn made_at(mut self, at: Timestamp) -> Self {
        self.created_at = Some(at);
        self
    }
}

impl Platform {
    /// Plans a release onto the hosts of its service.
    ///
    /// # Errors
    /// If there is no such service or release, or no plan can be made.
    pub async fn plan(
        &self,
        principal: &Principal,
        request: PlanRelease,
    ) -> Result<(Plan, PlanReport), PlatformError> {
        let registry = &self.parts.registry;
        let service = registry.service(&request.service).await?.value;
        let release = registry.release(&request.release).await?;
        let releases = registry.releases(&service.name, KNOWN_RELEASES).await?;
        let hosts = self.parts.inventory.all_hosts().await?;
        let installed = self.parts.inventory.installed(&service.name).await?;
        let placed = self.place(&service, &hosts, &installed, request.seed).await?;
        let now = request.created_at.unwrap_or_else(|| self.parts.clock.now());
        let mut input = PlanInput::new(service, release, hosts, now, principal.clone())
            .with_releases(releases)
            .with_installed(installed)
            .with_seed(request.seed);
        input.placed = placed;
        let (plan, mut report) = plan(&input)?;
        self.check_capabilities(&plan)?;
        report.warnings.extend(self.warn_of_staging(&plan));
        self.weigh(&plan, &mut report).await;
        Ok((plan, report))
    }

    /// Plans an ad-hoc run.
    ///
    /// # Errors
    /// If no plan can be made.
    pub async fn plan_run(
        &self,
        principal: &Principal,
        request: PlanRun,
    ) -> Result<(Plan, PlanReport), PlatformError> {
        let hosts = self.parts.inventory.all_hosts().await?;
        let now = request.created_at.unwrap_or_else(|| self.parts.clock.now());
        let input = PlanInput::new(request.service, request.release, hosts, now, principal.clone())
            .as_run()
            .with_seed(request.seed);
        Ok(plan(&input)?)
    }

    /// Plans every host that a rollout changed back to what it ran before. For a rollout that is over; one that is
    /// not turns back by itself with [`Command::Rollback`](super::Command::Rollback).
    ///
    /// # Errors
    /// If the rollout changed no host, or no plan can be made.
    pub async fn plan_rollback(
        &self,
        principal: &Principal,
        request: PlanRollback,
    ) -> Result<(Plan, PlanReport), PlatformError> {
        let undone = self.load(&request.rollout).await?;
        let back_to = changed_hosts(&undone);
        if back_to.is_empty() || undone.plan().work == crate::plan::Work::Run {
            return Err(PlatformError::NothingToGoBackTo(request.rollout));
        }
        let name = &undone.plan().service;
        let registry = &self.parts.registry;
        let mut service = registry.service(name).await?.value;
        // A person wants it undone now: nobody is asked again, and no window keeps it waiting. What fails on the way is for
        // that person too: to turn back would be to put there again what they want gone.
        service.strategy.confirm = Confirm::Never;
        service.strategy.schedule = Schedule::default();
        service.strategy.health.confirm_timeout = None;
        if service.strategy.on_failure == OnFailure::Rollback {
            service.strategy.on_failure = OnFailure::Pause;
        }
        let release = registry.release(&undone.plan().release).await?;
        let releases = registry.releases(name, KNOWN_RELEASES).await?;
        let hosts = self.parts.inventory.all_hosts().await?;
        let installed = self.parts.inventory.installed(name).await?;
        let now = request.created_at.unwrap_or_else(|| self.parts.clock.now());
        let input = PlanInput::new(service, release, hosts, now, principal.clone())
            .as_rollback(back_to)
            .with_releases(releases)
            .with_installed(installed)
            .with_seed(request.seed)
            .with_parent(undone.plan().digest());
        let (plan, mut report) = plan(&input)?;
        self.weigh(&plan, &mut report).await;
        Ok((plan, report))
    }

    /// Refuses a plan that was made for another inventory.
    pub(super) async fn check_inventory(&self, plan: &Plan) -> Result<(), PlatformError> {
        let hosts = self.parts.inventory.all_hosts().await?;
        let installed = self.parts.inventory.installed(&plan.service).await?;
        let changes = inventory_diff(plan, &hosts, &installed);
        if changes.is_empty() { Ok(()) } else { Err(PlatformError::InventoryChanged(changes)) }
    }

    /// Refuses a plan that wants more of hosts than can be had of them.
    pub(super) fn check_capabilities(&self, plan: &Plan) -> Result<(), PlatformError> {
        if plan.confirm_timeout(Direction::Forward).is_some() {
            let cannot = self.lacking(plan, |it| it.confirm);
            if !cannot.is_empty() {
                return Err(PlatformError::CannotConfirm(cannot));
            }
        }
        if plan.strategy.staging.is_some_and(|it| it.min_staged.is_some()) {
            let cannot = self.lacking(plan, |it| it.stage);
            if !cannot.is_empty() {
                return Err(PlatformError::CannotStage(cannot));
            }
        }
        Ok(())
    }

    /// Staging is a help: a plan that wants it of hosts that cannot is carried out all the same, unless waves wait for it.
    fn warn_of_staging(&self, plan: &Plan) -> Option<Warning> {
        plan.strategy.staging?;
        let hosts = self.lacking(plan, |it| it.stage);
        (!hosts.is_empty()).then_some(Warning::CannotStage { hosts })
    }

    /// The hosts of a plan that cannot do something.
    fn lacking(&self, plan: &Plan, can: impl Fn(ExecutorCapabilities) -> bool) -> Vec<HostName> {
        let hosts = plan.targets().map(|it| &it.host);
        let cannot = hosts.filter(|it| !can(self.parts.executor.capabilities_on(it)));
        cannot.map(|it| it.name.clone()).collect()
    }

    async fn place(
        &self,
        service: &Service,
        hosts: &[Host],
        installed: &BTreeMap<HostName, Installed>,
        seed: u64,
    ) -> Result<Option<BTreeSet<HostName>>, PlatformError> {
        let Some(count) = service.count else {
            return Ok(None);
        };
        let candidates = hosts.iter().filter(|it| service.selector.matches(it)).cloned().collect();
        let runs = installed.iter().filter(|(_, it)| it.release.is_some());
        let spread = match &service.strategy.order {
            Order::Group(labels) | Order::Spread(labels) => labels.clone(),
            Order::Name => Vec::new(),
        };
        let request = PlacementRequest::new(service.name.clone(), count.get(), candidates)
            .with_current(runs.map(|(host, _)| host.clone()).collect())
            .with_spread(spread)
            .with_seed(seed);
        let placement = self.parts.scheduler.place(&request).await?;
        Ok(Some(placement.chosen.into_iter().map(|(host, _)| host).collect()))
    }
}

/// The hosts that a rollout left with its release, or may have, and what each ran before.
fn changed_hosts(rollout: &Rollout) -> BTreeMap<HostName, Option<ReleaseId>> {
    let touched = |host: &HostName| {
        let back = rollout.task(host, Direction::Back);
        let undone = back.is_some_and(|it| it.state == TaskState::Succeeded);
        !undone && rollout.task(host, Direction::Forward).is_some_and(|it| it.touched)
    };
    let targets = rollout.plan().targets().filter(|it| touched(&it.host.name));
    targets.map(|it| (it.host.name.clone(), it.from.clone())).collect()
}
