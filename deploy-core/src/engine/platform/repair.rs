//! What hosts are owed, and plans that bring it to them.
use super::Platform;
use crate::{
    access::{Action, Resource},
    backend::{HostInventoryExt as _, HostRequest, Observed, RolloutRef},
    digest::Digest,
    engine::PlatformError,
    host::{Host, Installed},
    id::{HostName, Principal, Seq, ServiceName, StreamId},
    plan::{Plan, PlanInput, PlanReport, plan},
    repair::{Hold, Ledger, LedgerInput},
    rollout::Rollout,
    spec::{Confirm, OnFailure, Service},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
};

/// How many repairs of one rollout are gone by: as many as have a say in when a host is repaired again.
const REMEMBERED: usize = 64;

/// A repair to plan.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PlanRepair {
    /// Of which service.
    pub service: ServiceName,
    /// Of which hosts; `None` is all that are owed something.
    pub hosts: Option<BTreeSet<HostName>>,
    /// Decides everything that is left to chance.
    pub seed: u64,
}

impl PlanRepair {
    /// Of all hosts of `service` that are owed something.
    #[must_use]
    pub const fn new(service: ServiceName, seed: u64) -> Self {
        Self { service, hosts: None, seed }
    }

    /// Of these hosts alone.
    #[must_use]
    pub fn with_hosts(mut self, hosts: BTreeSet<HostName>) -> Self {
        self.hosts = Some(hosts);
        self
    }
}

/// What the journal has of the last rollout of a service and its repairs.
#[derive(Debug)]
struct History {
    last: Rollout,
    /// Newest first.
    repairs: Vec<Rollout>,
    /// Where the stream was when it was read.
    head: Seq,
}

/// What was read of the journal, for as long as nobody has appended to it: a keeper looks often, and little happens.
#[derive(Debug, Default)]
pub(in crate::engine) struct Histories(Mutex<BTreeMap<ServiceName, (Seq, Arc<History>)>>);

impl Histories {
    fn known(&self, service: &ServiceName, head: Seq) -> Option<Arc<History>> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, history) = known.get(service)?;
        (*at == head).then(|| Arc::clone(history))
    }

    fn keep(&self, service: &ServiceName, head: Seq, history: &Arc<History>) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(service.clone(), (head, Arc::clone(history)));
    }
}

impl History {
    fn newest(&self) -> Digest {
        self.repairs.first().unwrap_or(&self.last).plan().digest()
    }
}

impl Platform {
    /// What the hosts of a service are owed; `None` if nothing of it was ever rolled out.
    ///
    /// # Errors
    /// If there is no such service, or a backend cannot be read.
    pub async fn ledger(&self, service: &ServiceName) -> Result<Option<Ledger>, PlatformError> {
        let service = self.parts.registry.service(service).await?.value;
        let Some(history) = self.history(&service.name).await? else { return Ok(None) };
        let hosts = self.parts.inventory.all_hosts().await?;
        self.ledger_of(&service, &history, &hosts).await.map(Some)
    }

    /// As [`ledger`](Self::ledger), without reading again what is among `known` and has not changed.
    pub(in crate::engine) async fn ledger_by(
        &self,
        known: &Histories,
        service: &ServiceName,
    ) -> Result<Option<Ledger>, PlatformError> {
        let service = self.parts.registry.service(service).await?.value;
        // Read first: what is appended meanwhile is read again the next time.
        let head = self.parts.journal.head(&StreamId::Service(service.name.clone())).await?;
        let history = match known.known(&service.name, head) {
            Some(history) => history,
            None => {
                let Some(read) = self.history(&service.name).await? else { return Ok(None) };
                let read = Arc::new(read);
                known.keep(&service.name, head, &read);
                read
            }
        };
        let hosts = self.parts.inventory.all_hosts().await?;
        self.ledger_of(&service, &history, &hosts).await.map(Some)
    }

    /// Plans the release of the last rollout onto hosts that do not run it and should.
    ///
    /// It goes as the service says, but for two things: nobody is asked to confirm what they have confirmed already, and it ends
    /// where another rollout would pause, so that it is in nobody's way.
    ///
    /// # Errors
    /// If the hosts are owed nothing, the last rollout does not say what hosts should run, or no plan can be made.
    pub async fn plan_repair(
        &self,
        principal: &Principal,
        request: PlanRepair,
    ) -> Result<(Plan, PlanReport), PlatformError> {
        let nothing_owed = || PlatformError::NothingOwed(request.service.clone());
        let registry = &self.parts.registry;
        let service = registry.service(&request.service).await?.value;
        let history = self.history(&service.name).await?.ok_or_else(nothing_owed)?;
        let hosts = self.parts.inventory.all_hosts().await?;
        let ledger = self.ledger_of(&service, &history, &hosts).await?;
        if let Some(hold) = ledger.hold.as_ref().filter(|it| !it.yields_to_person()) {
            return Err(held(&service.name, hold));
        }
        let named = |host: &HostName| request.hosts.as_ref().is_none_or(|it| it.contains(host));
        let selected = hosts.iter().filter(|it| service.selector.matches(it) && named(&it.name));
        let owed: BTreeSet<HostName> = selected
            .filter(|it| ledger.entry(&it.name).is_some())
            .map(|it| it.name.clone())
            .collect();
        if owed.is_empty() {
            return Err(nothing_owed());
        }
        let release = registry.release(&ledger.release).await?;
        let releases = registry.releases(&service.name, super::planning::KNOWN_RELEASES).await?;
        let installed = self.parts.inventory.installed(&service.name).await?;
        let service = as_rolled_out(service, history.last.plan());
        let now = self.parts.clock.now();
        let input = PlanInput::new(service, release, hosts, now, principal.clone())
            .as_repair(ledger.rollout, owed)
            .with_releases(releases)
            .with_installed(installed)
            .with_seed(request.seed)
            .with_parent(history.newest());
        let (plan, report) = plan(&input)?;
        self.check_capabilities(&plan)?;
        Ok((plan, report))
    }

    /// Looks what a host runs of a service, where its last rollout has put it, and keeps what is seen.
    ///
    /// # Errors
    /// If `principal` may not, the host does not answer, or what was seen cannot be kept.
    pub async fn look(
        &self,
        principal: &Principal,
        plan: &Plan,
        host: Host,
    ) -> Result<Observed, PlatformError> {
        let (name, service) = (host.name.clone(), plan.service.clone());
        let resource = Resource::Host(name.clone(), Some(service.clone()));
        let permit = self.permit(principal, Action::HostObserve, resource).await?;
        let request = HostRequest::new(host, service.clone(), plan.deploy_path.clone())
            .with_account(plan.account.clone());
        let seen = self.parts.executor.observe(&permit, &request).await?;
        let package = self.package_of(seen.release.as_ref()).await;
        let now = self.parts.clock.now();
        let installed = Installed::new(seen.release.clone(), package, seen.fence, now);
        self.parts.inventory.record(&permit, &name, &service, installed).await?;
        Ok(seen)
    }

    async fn ledger_of(
        &self,
        service: &Service,
        history: &History,
        hosts: &[Host],
    ) -> Result<Ledger, PlatformError> {
        let installed = self.parts.inventory.installed(&service.name).await?;
        let (last, repairs) = (&history.last, &history.repairs);
        let now = self.parts.clock.now();
        let input = LedgerInput::new(service, last, repairs, hosts, &installed, now);
        Ok(Ledger::of(&input.with_head(history.head)))
    }

    /// The last rollout of a service that is no repair, and its repairs.
    async fn history(&self, service: &ServiceName) -> Result<Option<History>, PlatformError> {
        let stream = StreamId::Service(service.clone());
        // Read first: what is above the newest rollout then was given up.
        let head = self.parts.journal.head(&stream).await?;
        let found = self.parts.journal.rollouts(Some(&stream), REMEMBERED).await?;
        let mut repairs: Vec<Rollout> = Vec::new();
        for at in &found {
            let rollout = self.load_at(at).await?;
            if rollout.plan().repairs.is_none() {
                return Ok(Some(History { last: rollout, repairs, head }));
            }
            repairs.push(rollout);
        }
        let Some(repaired) = repairs.last().and_then(|it| it.plan().repairs.clone()) else {
            return Ok(None);
        };
        let at: RolloutRef = self.find(&repaired).await?;
        Ok(Some(History { last: self.load_at(&at).await?, repairs, head }))
    }
}

fn held(service: &ServiceName, hold: &Hold) -> PlatformError {
    PlatformError::RepairHeld { service: service.clone(), hold: hold.clone() }
}

/// A service as it was rolled out, with the strategy that it has now.
fn as_rolled_out(mut service: Service, plan: &Plan) -> Service {
    service.deploy_path = plan.deploy_path.clone();
    service.account = plan.account.clone();
    // It is on which hosts it is on.
    service.count = None;
    service.strategy.confirm = Confirm::Never;
    if service.strategy.on_failure == OnFailure::Pause {
        service.strategy.on_failure = OnFailure::Abort;
    }
    service
}
