//! Gives hosts what they are owed.
use super::{PlanRepair, Platform, PlatformError, platform::Histories};
use crate::{
    backend::{Notification, Observed},
    error::{BackendError, ErrorKind},
    id::{HostName, Principal, RolloutId, ServiceName},
    plan::Plan,
    repair::{Ledger, Owed},
    telemetry::{ERROR_KIND, TARGET_BACKEND},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};
use tokio::{sync::Semaphore, task::JoinSet};

/// How many hosts are looked at at a time.
const AT_A_TIME: usize = 32;
/// How long a look at one host may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// How many hosts a notification names.
const NAMED: usize = 20;

/// What a keeper found of a service, and did about it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Kept {
    /// What its hosts are owed.
    pub ledger: Ledger,
    /// The hosts that would be repaired if they answered, and what is the matter with them.
    pub away: BTreeMap<HostName, String>,
    /// The repair that was started.
    pub started: Option<RolloutId>,
}

/// Starts repairs: small rollouts that bring hosts what they are owed, where their service asks for that.
///
/// It decides by nothing of its own: what is owed, and when a host may be repaired again, comes from the journal and the inventory.
/// So any number of keepers may look after the same services, and of several that start a repair at once the journal lets one.
#[derive(Clone, Debug)]
pub struct Keeper {
    platform: Platform,
    principal: Principal,
    histories: Arc<Histories>,
}

impl Keeper {
    /// In the name of `principal`, who observes hosts and controls rollouts on `platform`.
    #[must_use]
    pub fn new(platform: Platform, principal: Principal) -> Self {
        Self { platform, principal, histories: Arc::default() }
    }

    /// Looks after one service; `None` if nothing of it was ever rolled out. Whoever drives rollouts has to drive what was started.
    ///
    /// # Errors
    /// If a backend cannot be used, or no repair can be planned or started.
    pub async fn keep(&self, service: &ServiceName) -> Result<Option<Kept>, PlatformError> {
        let Some(mut ledger) = self.platform.ledger_by(&self.histories, service).await? else {
            return Ok(None);
        };
        self.tell_expired(service, &ledger).await;
        let due: BTreeSet<HostName> = ledger.due().cloned().collect();
        if due.is_empty() {
            return Ok(Some(Kept { ledger, away: BTreeMap::new(), started: None }));
        }
        let plan = self.platform.load(&ledger.rollout).await?.shared_plan();
        let away = self.look(&plan, due).await;
        // What was seen may have settled some of it.
        if let Some(looked) = self.platform.ledger_by(&self.histories, service).await? {
            ledger = looked;
        }
        let there: BTreeSet<HostName> =
            ledger.due().filter(|it| !away.contains_key(*it)).cloned().collect();
        let started = if there.is_empty() { None } else { self.start(service, there).await? };
        Ok(Some(Kept { ledger, away, started }))
    }

    /// Starts a repair of `hosts`; `None` if others were faster, with whatever it was.
    async fn start(
        &self,
        service: &ServiceName,
        hosts: BTreeSet<HostName>,
    ) -> Result<Option<RolloutId>, PlatformError> {
        let seed = self.platform.parts().clock.now().as_millis();
        let request = PlanRepair::new(service.clone(), seed).with_hosts(hosts);
        let planned = self.platform.plan_repair(&self.principal, request).await;
        let started = match planned {
            Ok((plan, _report)) => self.platform.start(&self.principal, plan).await,
            Err(err) => Err(err),
        };
        match started {
            Ok(rollout) => Ok(Some(rollout)),
            Err(PlatformError::NothingOwed(_) | PlatformError::NothingToDo(_)) => Ok(None),
            Err(err) if err.is_conflict() => Ok(None),
            Err(err) => Err(err),
        }
    }

    /// Looks at `hosts`, and says of those that cannot be repaired now what is the matter.
    async fn look(
        &self,
        plan: &Arc<Plan>,
        hosts: BTreeSet<HostName>,
    ) -> BTreeMap<HostName, String> {
        let turns = Arc::new(Semaphore::new(AT_A_TIME));
        let mut looks = JoinSet::new();
        for host in hosts {
            let (keeper, plan, turns) = (self.clone(), Arc::clone(plan), Arc::clone(&turns));
            looks.spawn(async move {
                let _turn = turns.acquire_owned().await;
                let seen = keeper.look_at(&plan, &host).await;
                (host, seen)
            });
        }
        let mut away = BTreeMap::new();
        for (host, seen) in looks.join_all().await {
            match seen {
                Ok(Observed { running: None, .. }) => {}
                Ok(Observed { running: Some(attempt), .. }) => {
                    away.insert(host, format!("attempt {attempt} is under way on it"));
                }
                Err(PlatformError::Backend(err)) => drop(away.insert(host, err.chain())),
                Err(err) => drop(away.insert(host, err.to_string())),
            }
        }
        away
    }

    async fn look_at(&self, plan: &Plan, host: &HostName) -> Result<Observed, PlatformError> {
        let parts = self.platform.parts();
        let host = parts.inventory.host(host).await?.value;
        let late = parts.clock.now().after(PATIENCE);
        tokio::select! {
            seen = self.platform.look(&self.principal, plan, host) => seen,
            () = parts.clock.sleep_until(late) => {
                let err = BackendError::new(ErrorKind::Unavailable, "keeper.look");
                Err(err.with("seconds", PATIENCE.as_secs()).into())
            }
        }
    }

    /// Tells people, once for each rollout, that its debt is left to them now.
    async fn tell_expired(&self, service: &ServiceName, ledger: &Ledger) {
        let expired: Vec<&Owed> = ledger.expired().collect();
        if expired.is_empty() {
            return;
        }
        let notification = expiry(service, ledger, &expired);
        if let Err(err) = self.platform.parts().notifier.notify(&notification).await {
            tracing::warn!(
                target: TARGET_BACKEND,
                { { ERROR_KIND } = err.kind().as_str() }, "nobody was told of a debt"
            );
        }
    }
}

fn expiry(service: &ServiceName, ledger: &Ledger, expired: &[&Owed]) -> Notification {
    let count = expired.len();
    let subject = format!(
        "{service}: {count} {} still without {}, and not repaired any more",
        if count == 1 { "host is" } else { "hosts are" },
        ledger.release
    );
    let mut names: Vec<&str> = expired.iter().take(NAMED).map(|it| it.host.as_str()).collect();
    let more = count.checked_sub(NAMED).filter(|it| *it > 0).map(|it| format!("and {it} more"));
    names.extend(more.as_deref());
    let body = format!(
        "rollout {} left them behind: {}; `deploy status {service} --repair` tries again",
        ledger.rollout,
        names.join(", ")
    );
    Notification::new(format!("{}/debt-expired", ledger.rollout), subject, body)
}
