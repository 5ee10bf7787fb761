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
    backend::{HostInventoryExt as _, ServiceRegistryExt as _},
    host::{Host, Installed},
    id::{HostName, ServiceName},
    spec::Service,
};
use deploy_host::duration;
use deploy_operations::status_of;
use deploy_wire::{Exit, Problem, Status};
use std::{collections::BTreeMap, time::Duration};

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
            all.push(status_of(embedded.parts(), &service.value, &hosts, problems).await?);
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
