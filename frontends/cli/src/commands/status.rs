use crate::{
    app::App,
    documents,
    output::{Table, styles},
};
use clap::Args;
use deploy_core::id::ServiceName;
use deploy_host::duration;
use deploy_operations::parse::field;
use deploy_wire::{Exit, Problem, Status};
use std::time::Duration;

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
        let plane = app.plane().await?;
        let services = match self.service {
            Some(name) => vec![name],
            None => {
                let all = plane.services().await?.into_iter();
                all.map(|it| field("service", &it.name)).collect::<Result<_, _>>()?
            }
        };
        let mut all = Vec::new();
        for service in services {
            all.push(plane.status(&service, self.refresh).await?);
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
