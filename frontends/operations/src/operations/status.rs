use super::Operations;
use crate::{documents, problem::OrProblem as _};
use deploy_core::{
    backend::{HostInventoryExt as _, JournalExt as _},
    engine::{Parts, PlatformError},
    host::{Host, Installed},
    id::{HostName, ReleaseId, ServiceName, StreamId},
    plan::Work,
    rollout::{Rollout, TaskState},
    spec::{Direction, Service},
    time::Timestamp,
};
use deploy_wire::{HostStatus, Problem, Status};
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
    let newest = newest_rollout(parts, &service.name).await?;
    let expected = newest.as_ref().map(expectations).unwrap_or_default();
    let selected: BTreeSet<_> =
        hosts.iter().filter(|it| service.selector.matches(it)).map(|it| &it.name).collect();
    let runs = installed.iter().filter(|(_, it)| it.release.is_some()).map(|(host, _)| host);
    let shown: BTreeSet<_> = selected.iter().copied().chain(runs).collect();
    let now = parts.clock.now();
    let hosts = shown.into_iter().map(|host| {
        let seen = installed.get(host);
        let mut status = host_status(host, seen, expected.get(host), now);
        status.selected = selected.contains(host);
        status.problem = problems.remove(host);
        status
    });
    Ok(Status {
        service: service.name.to_string(),
        rollout: newest.as_ref().map(documents::summary),
        hosts: hosts.collect(),
    })
}

/// What one host was `seen` to run, beside what it was `expected` to.
fn host_status(
    host: &HostName,
    seen: Option<&Installed>,
    expected: Option<&Option<ReleaseId>>,
    now: Timestamp,
) -> HostStatus {
    let release = seen.and_then(|it| it.release.as_ref());
    let age = seen.map(|it| now.since(it.seen_at));
    HostStatus {
        host: host.to_string(),
        release: release.map(ToString::to_string),
        seen_at: seen.map(|it| it.seen_at.to_string()),
        age_ms: age.map(|it| u64::try_from(it.as_millis()).unwrap_or(u64::MAX)),
        drift: seen.is_some() && expected.is_some_and(|it| it.as_ref() != release),
        selected: false,
        problem: None,
    }
}

async fn newest_rollout(parts: &Parts, service: &ServiceName) -> Result<Option<Rollout>, Problem> {
    let stream = StreamId::Service(service.clone());
    let newest = parts.journal.rollouts(Some(&stream), 1).await.or_problem()?;
    let Some(at) = newest.first() else { return Ok(None) };
    let records = parts.journal.records(at).await.or_problem()?;
    let in_rollout = |source| PlatformError::Record { rollout: at.rollout.clone(), source };
    Rollout::replay(&records).map(Some).map_err(in_rollout).or_problem()
}

/// What hosts run by the last rollout, of those whose part in it is over.
fn expectations(rollout: &Rollout) -> BTreeMap<HostName, Option<ReleaseId>> {
    let plan = rollout.plan();
    let mut expected = BTreeMap::new();
    if plan.work == Work::Release {
        expected.extend(plan.no_ops.iter().map(|it| (it.clone(), Some(plan.release.clone()))));
    }
    for task in rollout.tasks().filter(|it| it.state == TaskState::Succeeded) {
        let Some(target) = rollout.target(&task.host) else { continue };
        let release = match task.direction {
            Direction::Back => target.from.clone(),
            Direction::Forward => target.to.clone(),
        };
        expected.insert(task.host, release);
    }
    expected
}
