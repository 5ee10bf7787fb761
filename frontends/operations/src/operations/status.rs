use super::Operations;
use crate::{documents, problem::OrProblem as _};
use deploy_core::{
    backend::HostInventoryExt as _,
    engine::{Parts, Platform},
    host::{Host, Installed},
    id::{HostName, ServiceName, StreamId},
    repair::{Cause, Ledger, Next, Owed},
    spec::Service,
    time::Timestamp,
};
use deploy_wire::{HostOwed, HostStatus, Problem, Status};
use std::collections::{BTreeMap, BTreeSet};

impl Operations {
    /// What hosts are known to run of a service, and what of that is not as the last rollout left it.
    ///
    /// # Errors
    /// If there is no such service.
    pub async fn status(&self, service: &ServiceName) -> Result<Status, Problem> {
        let service = self.parts().registry.service(service).await.or_problem()?.value;
        let hosts = self.parts().inventory.all_hosts().await.or_problem()?;
        status_of(self.parts(), &service, &hosts, BTreeMap::new()).await
    }
}

/// What `hosts` are known to run of `service`; `problems` says what went wrong where somebody has just looked.
///
/// # Errors
/// If a backend cannot be read.
pub async fn status_of(
    parts: &Parts,
    service: &Service,
    hosts: &[Host],
    mut problems: BTreeMap<HostName, String>,
) -> Result<Status, Problem> {
    let installed = parts.inventory.installed(&service.name).await.or_problem()?;
    let platform = Platform::new(parts.clone());
    let stream = StreamId::Service(service.name.clone());
    let newest = platform.rollouts(Some(&stream), 1).await.or_problem()?;
    let ledger = platform.ledger(&service.name).await.or_problem()?;
    let selected: BTreeSet<_> =
        hosts.iter().filter(|it| service.selector.matches(it)).map(|it| &it.name).collect();
    let runs = installed.iter().filter(|(_, it)| it.release.is_some()).map(|(host, _)| host);
    let shown: BTreeSet<_> = selected.iter().copied().chain(runs).collect();
    let now = parts.clock.now();
    let hosts = shown.into_iter().map(|host| {
        let owed = ledger.as_ref().and_then(|it| it.entry(host));
        let mut status = host_status(host, installed.get(host), owed, now);
        status.selected = selected.contains(host);
        status.problem = problems.remove(host);
        status
    });
    Ok(Status {
        service: service.name.to_string(),
        rollout: newest.first().map(|it| documents::summary(it)),
        hosts: hosts.collect(),
        hold: ledger.as_ref().and_then(hold),
    })
}

/// What is in the way of repairs, where there is anything to repair.
fn hold(ledger: &Ledger) -> Option<String> {
    let waiting = ledger.hosts.iter().any(|it| !matches!(it.next, Next::Left { .. }));
    ledger.hold.as_ref().filter(|_| waiting).map(ToString::to_string)
}

/// What one host was `seen` to run, and what it is `owed`.
fn host_status(
    host: &HostName,
    seen: Option<&Installed>,
    owed: Option<&Owed>,
    now: Timestamp,
) -> HostStatus {
    let release = seen.and_then(|it| it.release.as_ref());
    let age = seen.map(|it| now.since(it.seen_at));
    HostStatus {
        host: host.to_string(),
        release: release.map(ToString::to_string),
        seen_at: seen.map(|it| it.seen_at.to_string()),
        age_ms: age.map(|it| u64::try_from(it.as_millis()).unwrap_or(u64::MAX)),
        drift: owed.is_some_and(|it| it.cause == Cause::Drift),
        selected: false,
        problem: None,
        owed: owed.map(host_owed),
    }
}

fn host_owed(owed: &Owed) -> HostOwed {
    let (next, at) = match &owed.next {
        Next::At { at } => ("at", Some(at)),
        Next::Due => ("due", None),
        Next::Left { .. } => ("left", None),
    };
    HostOwed {
        cause: owed.cause.to_string(),
        release: owed.should_run.as_ref().map(ToString::to_string),
        since: owed.since.to_string(),
        next: next.to_owned(),
        next_at: at.map(ToString::to_string),
        note: owed.next.to_string(),
    }
}
