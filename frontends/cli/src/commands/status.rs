use crate::{
    app::{App, Embedded},
    documents,
    look::{Look, look_at},
    output::{Table, styles},
    problem::OrProblem as _,
};
use clap::Args;
use deploy_core::{
    access::{Action, Resource},
    backend::{InventoryExt as _, JournalExt as _, ServiceRegistryExt as _},
    host::{Host, Installed},
    id::{HostName, ReleaseId, ServiceName, StreamId},
    plan::Work,
    rollout::{Rollout, TaskState},
    spec::{Direction, Service},
    time::Timestamp,
};
use deploy_host::duration;
use deploy_wire::{Exit, HostStatus, Problem, Status};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// Shows what hosts run, how old that knowledge is, and what is not as the last rollout left it
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  deploy status\n  deploy status web --refresh")]
pub(crate) struct StatusCommand {
    /// Only of this service
    #[arg(value_name = "SERVICE")]
    service: Option<ServiceName>,
    /// Looks at the hosts first
    #[arg(long)]
    refresh: bool,
}

impl StatusCommand {
    pub(crate) async fn run(self, app: &App) -> Result<Exit, Problem> {
        let embedded = app.open().await?;
        let registry = &embedded.parts().registry;
        let services = match &self.service {
            Some(name) => vec![registry.service(name).await.or_problem()?],
            None => registry.all_services().await.or_problem()?,
        };
        let hosts = embedded.parts().inventory.all_hosts().await.or_problem()?;
        let mut all = Vec::new();
        for service in services {
            let problems = if self.refresh {
                refresh(&embedded, &service.value, &hosts).await?
            } else {
                BTreeMap::new()
            };
            all.push(status(&embedded, &service.value, &hosts, problems).await?);
        }
        app.output.result(&all, |output| {
            for (at, status) in all.iter().enumerate() {
                if at > 0 {
                    output.line("");
                }
                show(output, status);
            }
            if all.is_empty() {
                output.note("no services yet: `deploy service apply FILE` adds one");
            }
        });
        Ok(Exit::Succeeded)
    }
}

/// Looks at all hosts that `service` selects, and keeps what is seen. Gives what went wrong by host.
async fn refresh(
    embedded: &Embedded,
    service: &Service,
    hosts: &[Host],
) -> Result<BTreeMap<HostName, String>, Problem> {
    let parts = embedded.parts();
    let selected = hosts.iter().filter(|it| service.selector.matches(it)).cloned().collect();
    let looks =
        look_at(embedded, &service.name, &service.deploy_path, service.account.as_ref(), selected)
            .await?;
    let mut problems = BTreeMap::new();
    for Look { host, seen, .. } in looks {
        let seen = match seen {
            Ok(seen) => seen,
            Err(problem) => {
                problems.insert(host, problem.message);
                continue;
            }
        };
        let release = match &seen.release {
            Some(id) => parts.registry.release(id).await.ok(),
            None => None,
        };
        let package = release.and_then(|it| it.package).map(|it| it.digest);
        let installed = Installed::new(seen.release, package, seen.fence, parts.clock.now());
        let resource = Resource::Host(host.clone(), Some(service.name.clone()));
        let permit = embedded
            .platform
            .permit(&embedded.principal, Action::HostObserve, resource)
            .await
            .or_problem()?;
        parts.inventory.record(&permit, &host, &service.name, installed).await.or_problem()?;
    }
    Ok(problems)
}

async fn status(
    embedded: &Embedded,
    service: &Service,
    hosts: &[Host],
    mut problems: BTreeMap<HostName, String>,
) -> Result<Status, Problem> {
    let parts = embedded.parts();
    let installed = parts.inventory.installed(&service.name).await.or_problem()?;
    let newest = newest_rollout(embedded, &service.name).await?;
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

async fn newest_rollout(
    embedded: &Embedded,
    service: &ServiceName,
) -> Result<Option<Rollout>, Problem> {
    let parts = embedded.parts();
    let stream = StreamId::Service(service.clone());
    let newest = parts.journal.rollouts(Some(&stream), 1).await.or_problem()?;
    let Some(at) = newest.first() else { return Ok(None) };
    let records = parts.journal.records(at).await.or_problem()?;
    let rollout = Rollout::replay(&records).map_err(crate::problem::invalid)?;
    Ok(Some(rollout))
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

fn show(output: &crate::output::Output, status: &Status) {
    let newest = match &status.rollout {
        Some(it) => {
            let bound = documents::bound(&it.work, &it.release);
            format!("rollout {} {bound} ({})", it.id, it.state)
        }
        None => "nothing rolled out yet".to_owned(),
    };
    output.line(output.paint(styles::HEADER, format_args!("{}: {newest}", status.service)));
    let mut table = Table::new(["HOST", "RUNS", "SEEN", ""]).wrapping();
    for host in &status.hosts {
        let seen =
            host.age_ms.map_or_else(|| "never".to_owned(), |it| ago(Duration::from_millis(it)));
        let (style, remark) = match (&host.problem, host.drift, host.selected) {
            (Some(problem), ..) => (styles::FAILURE, problem.as_str()),
            (None, true, _) => (styles::WARNING, "drift: not what the last rollout left"),
            (None, false, false) => (styles::WARNING, "the service does not belong here"),
            (None, false, true) => (styles::PLAIN, ""),
        };
        table.styled([
            (styles::PLAIN, host.host.clone()),
            (styles::PLAIN, host.release.clone().unwrap_or_else(|| "-".to_owned())),
            (styles::DIM, seen),
            (style, remark.to_owned()),
        ]);
    }
    output.table(&table);
}

/// `3m ago`: the largest unit is enough.
fn ago(age: Duration) -> String {
    let seconds = age.as_secs();
    let unit = [86_400, 3_600, 60, 1].into_iter().find(|it| seconds >= *it).unwrap_or(1);
    format!("{} ago", duration::format(Duration::from_secs(seconds / unit * unit)))
}
