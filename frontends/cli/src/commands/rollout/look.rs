use super::{control::Which, start::Waiting};
use crate::{
    app::App,
    documents,
    output::{Output, Table, styles, when},
    plane::Plane,
    rollout::{
        DriverNow, Follow, Lines, Role, driver_of, exit_of, how_a_person_goes_on, how_to_go_on,
        prefixed,
    },
};
use clap::Args;
use deploy_core::{
    backend::Clock as _,
    id::{HostName, ServiceName},
    memory::SystemClock,
    rollout::BudgetColumn,
};
use deploy_operations::parse::field;
use deploy_wire::{self as wire, Exit, LogLine, Problem, Rollout, Task};
use std::time::Duration;

/// How often output is looked for.
const REFRESH: Duration = Duration::from_millis(250);

/// Shows a rollout as it goes
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  deploy rollout watch web\n  deploy rollout watch web-0f3c9a12 --output json"
)]
pub(crate) struct Watch {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    waiting: Waiting,
}

/// Shows rollouts, newest first
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  deploy rollout list --service web --limit 5")]
pub(crate) struct List {
    /// Only of this service
    #[arg(long, value_name = "SERVICE")]
    service: Option<ServiceName>,
    /// How many to show
    #[arg(long, default_value_t = 20, value_name = "N")]
    limit: usize,
}

/// Shows where a rollout is
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  deploy rollout show web --hosts")]
pub(crate) struct Show {
    #[command(flatten)]
    which: Which,
    /// Every host of it
    #[arg(long)]
    hosts: bool,
}

/// Says what a host waits for, or why it ended as it did
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  deploy rollout why web web-7")]
pub(crate) struct Why {
    #[command(flatten)]
    which: Which,
    /// Which host
    #[arg(value_name = "HOST")]
    host: HostName,
}

/// Shows what the steps printed on hosts
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  deploy rollout logs web --host web-7\n  deploy rollout logs web --follow"
)]
pub(crate) struct Logs {
    #[command(flatten)]
    which: Which,
    /// Only of this host
    #[arg(long, value_name = "HOST")]
    host: Option<HostName>,
    /// Goes on until the rollout is over
    #[arg(short, long)]
    follow: bool,
}

impl Watch {
    pub(super) async fn run(self, app: &App) -> Result<Exit, Problem> {
        let plane = app.plane().await?;
        let id = self.which.find(&*plane).await?.id;
        let follow = Follow::new(app, &*plane, &id, Role::Watch);
        follow.with_wait(self.waiting.choice()).run().await
    }
}

impl List {
    pub(super) async fn run(self, app: &App) -> Result<Exit, Problem> {
        let plane = app.plane().await?;
        let documents = plane.rollouts(self.service.as_ref(), self.limit).await?;
        app.output.result(&documents, |output| {
            if documents.is_empty() {
                output.note("no rollouts yet: `deploy rollout start` starts one");
                return;
            }
            let mut table =
                Table::new(["ROLLOUT", "SERVICE", "RELEASE", "STATE", "STARTED AT", "BY"]);
            for it in &documents {
                let release = match it.work.as_str() {
                    "rollback" => documents::bound(&it.work, &it.release),
                    _ => it.release.clone(),
                };
                table.row([
                    &it.id,
                    &it.service,
                    &release,
                    &it.state,
                    &when(&it.started_at),
                    &it.started_by,
                ]);
            }
            output.table(&table);
        });
        Ok(Exit::Succeeded)
    }
}

impl Show {
    pub(super) async fn run(self, app: &App) -> Result<Exit, Problem> {
        let plane = app.plane().await?;
        let rollout = plane.rollout(self.which.named(), self.hosts).await?;
        let id = &rollout.id;
        let driven = match plane.own() {
            Some(own) => {
                matches!(driver_of(own, &field("rollout", id)?).await?, DriverNow::Alive(_))
            }
            None => true,
        };
        app.output.result(&rollout, |output| {
            show(output, &rollout);
            if let Some(how) = how_a_person_goes_on(&rollout) {
                output.note(how);
            } else if !driven && rollout.ended_at.is_none() {
                output.warn(format_args!("nobody drives it: {}", how_to_go_on(id)));
            }
        });
        Ok(Exit::Succeeded)
    }
}

fn show(output: &Output, rollout: &Rollout) {
    let why = documents::because(rollout.reason.as_deref());
    for (name, value) in [
        ("rollout", rollout.id.clone()),
        (
            "what",
            format!("{} {}", rollout.service, documents::bound(&rollout.work, &rollout.release)),
        ),
        ("plan", rollout.plan.clone()),
        ("state", format!("{}{why}", rollout.state)),
        ("budget", used(&rollout.budget)),
        ("started", format!("{} by {}", when(&rollout.started_at), rollout.started_by)),
        ("ended", rollout.ended_at.as_deref().map_or_else(|| "not yet".to_owned(), when)),
    ] {
        output
            .line(format_args!("{} {value}", output.paint(styles::DIM, format_args!("{name:<8}"))));
    }
    let mut waves = Table::new(["WAVE", "STATE", "HOSTS", "DONE", "TROUBLE", "SKIPPED", "LEFT"]);
    for wave in &rollout.waves {
        let counts = wave.counts;
        let trouble =
            counts.failed + counts.timed_out + counts.unreachable + counts.unknown + counts.killed;
        let done = counts.succeeded + counts.rolled_back;
        let cells = [counts.total, done, trouble, counts.skipped, counts.pending + counts.running];
        let mut row = vec![wave.wave.to_string(), wave.state.clone()];
        row.extend(cells.map(|it| it.to_string()));
        waves.row(row);
    }
    output.line("");
    output.table(&waves);
    let (title, tasks) = match &rollout.tasks {
        Some(tasks) => ("hosts", tasks),
        None => ("hosts that need attention", &rollout.attention),
    };
    if !tasks.is_empty() {
        output.line("");
        output.line(output.paint(styles::HEADER, title));
        output.table(&hosts(tasks));
    }
}

/// How much of each column of the failure budget is used up, in the words of the reason for which a rollout stops.
fn used(budget: &wire::BudgetUse) -> String {
    let columns = [
        (BudgetColumn::Failed, budget.failed),
        (BudgetColumn::TimedOut, budget.timed_out),
        (BudgetColumn::Unreachable, budget.unreachable),
        (BudgetColumn::Unknown, budget.unknown),
    ];
    columns.map(|(name, it)| format!("{} {}/{}", name.as_str(), it.count, it.limit)).join(", ")
}

fn hosts(tasks: &[Task]) -> Table {
    let mut table = Table::new(["HOST", "WAVE", "STATE", "ATTEMPTS", "REASON"]).wrapping();
    for task in tasks {
        table.row([
            task.host.clone(),
            task.wave.to_string(),
            task.state.clone(),
            task.attempts.to_string(),
            task.reason.clone().unwrap_or_default(),
        ]);
    }
    table
}

impl Why {
    pub(super) async fn run(self, app: &App) -> Result<Exit, Problem> {
        let plane = app.plane().await?;
        let told = plane.why(self.which.named(), &self.host).await?;
        app.output.result(&told, |output| {
            output.line(format_args!("{}: {}", told.host, told.summary));
            for line in &told.history {
                output.line(output.paint(styles::DIM, line));
            }
            for line in &told.last_lines {
                output.line(prefixed(output, &told.host, line));
            }
            if let Some(hint) = &told.hint {
                output.note(hint);
            }
        });
        Ok(Exit::Succeeded)
    }
}

impl Logs {
    pub(super) async fn run(self, app: &App) -> Result<Exit, Problem> {
        let plane = app.plane().await?;
        let id = self.which.find(&*plane).await?.id;
        let mut lines = Lines::new(plane.printed(&id, self.host.as_ref()).await?);
        let exit = match self.follow {
            true => self.follow(app, &*plane, &id, &mut lines).await?,
            false => Exit::Succeeded,
        };
        // The state was read before the output: what a rollout that is over has printed is then all there.
        let pieces = lines.last_pieces().await?;
        print(&app.output, &mut lines, &pieces);
        if !app.output.is_json() {
            lines.rest(&app.output).into_iter().for_each(|it| app.output.line(it));
        }
        if lines.is_empty() {
            app.output.note("nothing was printed so far");
        }
        Ok(exit)
    }

    /// Prints what comes until the rollout is over, or nobody reads any more.
    async fn follow(
        &self,
        app: &App,
        plane: &dyn Plane,
        id: &str,
        lines: &mut Lines,
    ) -> Result<Exit, Problem> {
        let clock = SystemClock::new();
        let mut watch = plane.watch(id, 0).await?;
        loop {
            watch.look().await?;
            if let Some(exit) = exit_of(watch.rollout()) {
                return Ok(exit);
            }
            let pieces = lines.pieces().await?;
            print(&app.output, lines, &pieces);
            if app.output.is_closed() {
                return Ok(Exit::Succeeded);
            }
            clock.sleep_until(clock.now().after(REFRESH)).await;
        }
    }
}

fn print(output: &Output, lines: &mut Lines, pieces: &[LogLine]) {
    if output.is_json() {
        pieces.iter().for_each(|it| output.json(it));
        return;
    }
    lines.take(output, pieces).into_iter().for_each(|it| output.line(it));
}
