use super::{
    control::{Which, refused},
    start::Waiting,
};
use crate::{
    app::App,
    documents,
    output::{Output, Table, styles, when},
    problem::OrProblem as _,
    rollout::{DriverNow, Follow, LogTail, Role, Tail, driver_of, exit_of},
};
use clap::Args;
use deploy_core::{
    engine::PlatformError,
    id::{HostName, ServiceName, StreamId},
    rollout::{self, AttemptEnd, BudgetColumn, Refusal},
};
use deploy_operations::why;
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
        let embedded = app.open().await?;
        let id = self.which.find(&embedded).await?;
        let follow = Follow::new(app, &embedded, id, Role::Watch);
        follow.with_wait(self.waiting.choice()).run().await
    }
}

impl List {
    pub(super) async fn run(self, app: &App) -> Result<Exit, Problem> {
        let embedded = app.open().await?;
        let stream = self.service.map(StreamId::Service);
        let rollouts =
            embedded.platform.rollouts(stream.as_ref(), self.limit).await.or_problem()?;
        let documents: Vec<_> = rollouts.iter().map(|it| documents::summary(it)).collect();
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
        let embedded = app.open().await?;
        let id = self.which.find(&embedded).await?;
        let rollout = embedded.platform.load(&id).await.or_problem()?;
        let document = documents::rollout(&rollout, self.hosts);
        let driver = driver_of(&embedded, &id).await?;
        app.output.result(&document, |output| {
            show(output, &document);
            let driven = matches!(driver, DriverNow::Alive(_)) || rollout.outcome().is_some();
            if let Some(how) = Follow::how_a_person_goes_on(&rollout) {
                output.note(how);
            } else if !driven {
                output.warn(format_args!("nobody drives it: {}", Follow::how_to_go_on(&id)));
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
        let embedded = app.open().await?;
        let id = self.which.find(&embedded).await?;
        let (tail, records) = Tail::open(embedded.parts(), &id).await?;
        let rollout = &tail.rollout;
        if rollout.task_of(&self.host).is_none() {
            let refusal = PlatformError::Refused(Refusal::NotTarget(self.host));
            return Err(refused(refusal, &id));
        }
        let document = why(embedded.parts(), rollout, &records, &self.host).await?;
        app.output.result(&document, |output| {
            output.line(format_args!("{}: {}", document.host, document.summary));
            for line in &document.history {
                output.line(output.paint(styles::DIM, line));
            }
            for line in &document.last_lines {
                output.line(prefixed(output, &self.host, line));
            }
            if let Some(advice) = advice(rollout, &document) {
                output.note(advice);
            }
        });
        Ok(Exit::Succeeded)
    }
}

/// What to do about a host in trouble.
fn advice(rollout: &rollout::Rollout, told: &wire::Explanation) -> Option<String> {
    let (id, host) = (&told.rollout, &told.host);
    let task = rollout.task_of(&told.host.parse().ok()?)?;
    if !documents::needs_attention(&task) {
        return None;
    }
    let look = match &task.last_end {
        Some(AttemptEnd::Unreachable { .. }) => {
            format!("`deploy host check host={host}` says whether it can be reached now\n")
        }
        // Nothing has run that could have printed anything.
        Some(AttemptEnd::Failed { step: None, .. }) => String::new(),
        _ => {
            format!("`deploy rollout logs {id} --host {host}` shows all that was printed there\n")
        }
    };
    if rollout.outcome().is_some() {
        return Some(format!("{look}a new rollout tries it again"));
    }
    Some(format!(
        "{look}`deploy rollout retry {id} {host}` tries it again, `deploy rollout skip {id} {host}` leaves it as it is"
    ))
}

impl Logs {
    pub(super) async fn run(self, app: &App) -> Result<Exit, Problem> {
        let embedded = app.open().await?;
        let parts = embedded.parts();
        let id = self.which.find(&embedded).await?;
        let (mut tail, _) = Tail::open(parts, &id).await?;
        if let Some(host) = &self.host
            && tail.rollout.task_of(host).is_none()
        {
            let refusal = PlatformError::Refused(Refusal::NotTarget(host.clone()));
            return Err(refused(refusal, &id));
        }
        let mut logs = LogTail::new(id).of_host(self.host);
        loop {
            // The state is read before the output: what a rollout that is over has printed is then all there.
            tail.advance(parts).await?;
            let over = tail.rollout.outcome();
            print(app, &mut logs, parts).await?;
            if over.is_some() || !self.follow || app.output.is_closed() {
                logs.rest(|host, line| app.output.line(prefixed(&app.output, host, line)));
                if logs.is_empty() {
                    app.output.note("nothing was printed so far");
                }
                let exit = over.filter(|_| self.follow).map_or(Exit::Succeeded, exit_of);
                return Ok(exit);
            }
            parts.clock.sleep_until(parts.clock.now().after(REFRESH)).await;
        }
    }
}

async fn print(
    app: &App,
    logs: &mut LogTail,
    parts: &deploy_core::engine::Parts,
) -> Result<(), Problem> {
    let output = &app.output;
    if !output.is_json() {
        return logs
            .lines(&*parts.logs, |host, line| output.line(prefixed(output, host, line)))
            .await;
    }
    loop {
        let chunks = logs.chunks(&*parts.logs).await?;
        if chunks.is_empty() {
            return Ok(());
        }
        for chunk in chunks {
            output.json(&LogLine {
                host: chunk.host.to_string(),
                generation: chunk.generation.get(),
                offset: chunk.offset,
                at: chunk.at.to_string(),
                text: String::from_utf8_lossy(&chunk.bytes).into_owned(),
            });
        }
    }
}

fn prefixed(output: &Output, host: &HostName, line: &str) -> String {
    format!("{} {line}", output.paint(styles::ACTIVE, format_args!("{host} |")))
}
