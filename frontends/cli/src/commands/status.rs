use crate::{
    app::App,
    commands::rollout::{CarryOut, Work, carry_out},
    documents,
    output::{Table, styles},
    plane::Plane,
    problem::{OrProblem as _, usage},
};
use clap::Args;
use deploy_core::{engine::PlanRepair, id::ServiceName};
use deploy_host::duration;
use deploy_operations::parse::field;
use deploy_wire::{Exit, HostOwed, Problem, Status};
use std::time::Duration;

/// Shows what hosts run, how old that knowledge is, and what is not as the last rollout left it
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  deploy status\n  deploy status web --refresh\n  deploy status web --repair\n\n\
    docs/repair.md says what hosts are owed, and when they get it by themselves."
)]
pub(crate) struct StatusCommand {
    /// Only of this service
    #[arg(value_name = "SERVICE")]
    service: Option<ServiceName>,
    /// Looks at the hosts first
    #[arg(long)]
    refresh: bool,
    /// Brings the release of the last rollout to all hosts that do not run it and should
    #[arg(long, requires = "service")]
    repair: bool,
    /// Repairs without asking; in a pipe nobody is asked anyway
    #[arg(short, long, requires = "repair")]
    yes: bool,
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
            let status = plane.status(&service, self.refresh).await?;
            if self.repair {
                return repair(app, &*plane, service, self.yes).await;
            }
            all.push(status);
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

/// Brings hosts what they are owed.
async fn repair(
    app: &App,
    plane: &dyn Plane,
    service: ServiceName,
    yes: bool,
) -> Result<Exit, Problem> {
    let own = plane.own().ok_or_else(|| {
        usage("a repair by hand is started on the server's own machine, without `--server`")
            .with_hint("`[repair]` in the service file has the server repair by itself")
    })?;
    let request = PlanRepair::new(service, own.parts().clock.now().as_millis());
    let planned = own.platform.plan_repair(&own.principal, request).await;
    let (plan, mut report) = planned.or_problem()?;
    own.platform.look_for_room(&own.principal, &plan, &mut report).await.or_problem()?;
    let document = documents::plan(&plan, Some(&report));
    let how = CarryOut { yes, ..CarryOut::default() };
    Ok(carry_out(app, plane, document, Work::Repair(Box::new(plan)), how).await?.0)
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
        let (style, remark) = match (&host.problem, &host.owed, host.selected) {
            (Some(problem), ..) => (styles::FAILURE, problem.clone()),
            (None, Some(owed), _) => (styles::WARNING, remark(owed)),
            (None, None, false) => (styles::WARNING, "the service does not belong here".to_owned()),
            (None, None, true) => (styles::PLAIN, String::new()),
        };
        table.styled([
            (styles::PLAIN, host.host.clone()),
            (styles::PLAIN, host.release.clone().unwrap_or_else(|| "-".to_owned())),
            (styles::DIM, seen),
            (style, remark),
        ]);
    }
    output.table(&table);
    if let Some(hold) = &status.hold {
        output.note(format_args!("nothing is repaired by itself now: {hold}"));
    }
}

/// `owed web-2: repaired as soon as it answers`.
fn remark(owed: &HostOwed) -> String {
    let release = owed.release.as_deref().unwrap_or("nothing");
    match owed.cause.as_str() {
        "drift" => format!("drift from {release}: {}", owed.note),
        _ => format!("owed {release}: {}", owed.note),
    }
}

/// `3m ago`: the largest unit is enough.
fn ago(age: Duration) -> String {
    let seconds = age.as_secs();
    let unit = [86_400, 3_600, 60, 1].into_iter().find(|it| seconds >= *it).unwrap_or(1);
    format!("{} ago", duration::format(Duration::from_secs(seconds / unit * unit)))
}
