use super::start::{CarryOut, Waiting, carry_out, seed};
use crate::{
    app::{App, Embedded},
    documents,
    output::plural,
    problem::{IntoProblem as _, OrProblem as _, usage},
    rollout::{DriverNow, Follow, Role, driver_of, exit_of, find},
};
use clap::Args;
use deploy_core::{
    engine::{Command, PlatformError},
    id::{HostName, RolloutId},
    rollout::{Refusal, Rollout, RolloutState},
};
use deploy_wire::{Exit, Problem};

/// Which rollout a command is for.
#[derive(Debug, Args)]
pub(crate) struct Which {
    /// The rollout's id, or a service for its newest rollout
    #[arg(value_name = "ROLLOUT|SERVICE")]
    rollout: String,
}

impl Which {
    pub(super) async fn find(&self, embedded: &Embedded) -> Result<RolloutId, Problem> {
        find(embedded, &self.rollout).await
    }
}

/// Who acts on what a rollout was told.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Driving {
    /// Leaves it to somebody else to drive; otherwise this command drives where nobody does
    #[arg(long)]
    no_drive: bool,
    #[command(flatten)]
    waiting: Waiting,
}

/// Starts nothing more until somebody resumes it; what is under way ends
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  deploy rollout pause web --note 'errors in zone b'")]
pub(crate) struct Pause {
    #[command(flatten)]
    which: Which,
    /// Why
    #[arg(long, default_value = "", hide_default_value = true, value_name = "TEXT")]
    note: String,
}

/// Resumes a rollout that is paused, and drives one that nobody drives
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  deploy rollout resume web\n\n\
    After the process that drove it was killed, this takes over at once: nothing runs twice, and no output is lost.")]
pub(crate) struct Resume {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    driving: Driving,
}

/// Lets the next wave go
#[derive(Debug, Args)]
#[command(visible_alias = "promote", after_help = "Example:\n  deploy rollout confirm web")]
pub(crate) struct Confirm {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    driving: Driving,
}

/// Leaves a host as it is; what it did still counts
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  deploy rollout skip web web-7")]
pub(crate) struct Skip {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    driving: Driving,
    /// Which host
    #[arg(value_name = "HOST")]
    host: HostName,
}

/// Takes a host out for good: it no longer counts, and is not brought back either
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  deploy rollout exclude web web-7")]
pub(crate) struct Exclude {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    driving: Driving,
    /// Which host
    #[arg(value_name = "HOST")]
    host: HostName,
}

/// Tries a host again, or all that are in trouble
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  deploy rollout retry web web-7\n  deploy rollout retry web --failed"
)]
pub(crate) struct Retry {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    driving: Driving,
    /// Which host
    #[arg(value_name = "HOST", required_unless_present = "failed")]
    host: Option<HostName>,
    /// All that are in trouble
    #[arg(long, conflicts_with = "host")]
    failed: bool,
}

/// Ends what runs on a host, with its whole process tree
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  deploy rollout kill web web-7")]
pub(crate) struct Kill {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    driving: Driving,
    /// Which host
    #[arg(value_name = "HOST")]
    host: HostName,
}

/// Ends a rollout where it is
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  deploy rollout abort web --kill")]
pub(crate) struct Abort {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    driving: Driving,
    /// Ends what is under way as well; otherwise that ends by itself
    #[arg(long)]
    kill: bool,
    /// Why
    #[arg(long, default_value = "", hide_default_value = true, value_name = "TEXT")]
    note: String,
}

/// Takes every host that was touched back to what it ran before
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  deploy rollout rollback web\n\n\
    One that is not over turns back by itself. For one that is over, a new rollout takes its hosts back.")]
pub(crate) struct Rollback {
    #[command(flatten)]
    which: Which,
    /// Why
    #[arg(long, default_value = "", hide_default_value = true, value_name = "TEXT")]
    note: String,
    /// Starts without asking; in a pipe nobody is asked anyway
    #[arg(short, long)]
    yes: bool,
    #[command(flatten)]
    driving: Driving,
}

impl Pause {
    pub(super) async fn run(self, app: &App) -> Result<Exit, Problem> {
        tell(app, &self.which, Command::Pause { note: self.note }, None).await
    }
}

impl Confirm {
    pub(super) async fn run(self, app: &App) -> Result<Exit, Problem> {
        tell(app, &self.which, Command::Confirm, Some(self.driving)).await
    }
}

impl Skip {
    pub(super) async fn run(self, app: &App) -> Result<Exit, Problem> {
        tell(app, &self.which, Command::Skip(self.host), Some(self.driving)).await
    }
}

impl Exclude {
    pub(super) async fn run(self, app: &App) -> Result<Exit, Problem> {
        tell(app, &self.which, Command::Exclude(self.host), Some(self.driving)).await
    }
}

impl Retry {
    pub(super) async fn run(self, app: &App) -> Result<Exit, Problem> {
        tell(app, &self.which, Command::Retry(self.host), Some(self.driving)).await
    }
}

impl Kill {
    pub(super) async fn run(self, app: &App) -> Result<Exit, Problem> {
        tell(app, &self.which, Command::Kill(self.host), Some(self.driving)).await
    }
}

impl Abort {
    pub(super) async fn run(self, app: &App) -> Result<Exit, Problem> {
        let command = Command::Abort { note: self.note, kill: self.kill };
        tell(app, &self.which, command, Some(self.driving)).await
    }
}

/// Tells a rollout what to do, and drives it from there where nobody does.
async fn tell(
    app: &App,
    which: &Which,
    command: Command,
    driving: Option<Driving>,
) -> Result<Exit, Problem> {
    let embedded = app.open().await?;
    let id = which.find(&embedded).await?;
    let host = match &command {
        Command::Exclude(host) | Command::Kill(host) | Command::Skip(host) => Some(host.clone()),
        Command::Retry(host) => host.clone(),
        _ => None,
    };
    let pauses = matches!(command, Command::Pause { .. });
    let told = embedded.platform.command(&embedded.principal, &id, command).await;
    let rollout = told.map_err(|err| refused(err, &id))?;
    let paused = rollout.state() == RolloutState::Paused;
    if paused && !pauses {
        app.output.note(format_args!("it is paused: `deploy rollout resume {id}` lets it go on"));
    }
    let acts = rollout.outcome().is_none() && !paused;
    let driver = driver_of(&embedded, &id).await?;
    if !acts || matches!(driver, DriverNow::Alive(_)) {
        said(app, &rollout, host.as_ref());
        return Ok(Exit::Succeeded);
    }
    match driving {
        Some(driving) if !driving.no_drive => {
            take_over(app, &embedded, id, driving.waiting.choice()).await
        }
        Some(_) | None => {
            said(app, &rollout, host.as_ref());
            app.output.warn(format_args!("nobody drives it: {}", Follow::how_to_go_on(&id)));
            Ok(Exit::Succeeded)
        }
    }
}

/// Drives a rollout that nobody drives, and watches one that somebody else does.
async fn take_over(
    app: &App,
    embedded: &Embedded,
    id: RolloutId,
    wait: Option<bool>,
) -> Result<Exit, Problem> {
    Follow::new(app, embedded, id, Role::Drive).without_history().with_wait(wait).run().await
}

/// Says where a rollout is, and a host of it.
fn said(app: &App, rollout: &Rollout, host: Option<&HostName>) {
    let view = rollout.view();
    let task = host.and_then(|it| rollout.task_of(it));
    let host = task.map_or_else(String::new, |it| format!("; host {} is {}", it.host, it.state));
    app.output.result(&documents::rollout(rollout, false), |output| {
        let why = documents::because(documents::reason(&view).as_deref());
        output.line(format_args!("rollout {} is {}{why}{host}", rollout.id(), view.state));
    });
}

/// A rollout that does not take a command, with what it would take.
pub(super) fn refused(err: PlatformError, id: &RolloutId) -> Problem {
    let hint = match &err {
        PlatformError::Refused(Refusal::Over) => Some(format!(
            "`deploy rollout start` starts a new one, `deploy rollout rollback {id}` takes its hosts back"
        )),
        PlatformError::Refused(Refusal::NotTarget(_)) => {
            Some(format!("`deploy rollout show {id} --hosts` shows its hosts"))
        }
        PlatformError::Refused(Refusal::Running(host)) => {
            Some(format!("`deploy rollout kill {id} {host}` ends what runs there"))
        }
        PlatformError::Refused(_) => Some(format!("`deploy rollout show {id}` shows where it is")),
        _ => None,
    };
    let mut problem = err.into_problem().with_context("rollout", id);
    problem.message = format!("rollout {id}: {}", problem.message);
    match hint {
        Some(hint) => problem.with_hint(hint),
        None => problem,
    }
}

impl Resume {
    pub(super) async fn run(self, app: &App) -> Result<Exit, Problem> {
        let embedded = app.open().await?;
        let id = self.which.find(&embedded).await?;
        let mut rollout = embedded.platform.load(&id).await.or_problem()?;
        if let Some(outcome) = rollout.outcome() {
            said(app, &rollout, None);
            return Ok(exit_of(outcome));
        }
        if matches!(rollout.state(), RolloutState::Paused | RolloutState::Pausing) {
            let told = embedded.platform.command(&embedded.principal, &id, Command::Resume).await;
            rollout = told.map_err(|err| refused(err, &id))?;
        }
        if self.driving.no_drive {
            said(app, &rollout, None);
            return Ok(Exit::Succeeded);
        }
        take_over(app, &embedded, id, self.driving.waiting.choice()).await
    }
}

impl Rollback {
    pub(super) async fn run(self, app: &App) -> Result<Exit, Problem> {
        let embedded = app.open().await?;
        let id = self.which.find(&embedded).await?;
        let rollout = embedded.platform.load(&id).await.or_problem()?;
        if rollout.outcome().is_none() {
            let command = Command::Rollback { note: self.note };
            return tell(app, &self.which, command, Some(self.driving)).await;
        }
        if !self.note.is_empty() {
            return Err(usage(
                "--note is for a rollout that is not over: this one is, and a new one takes its hosts back",
            ));
        }
        let planned =
            embedded.platform.plan_rollback(&embedded.principal, &id, seed(&embedded, None)).await;
        let (plan, report) = planned.or_problem()?;
        app.output.note(format_args!(
            "rollout {id} is over: a new one takes {} back",
            plural(plan.target_count(), "host")
        ));
        let how =
            CarryOut { yes: self.yes, wait: self.driving.waiting.choice(), ..CarryOut::default() };
        carry_out(app, &embedded, plan, Some(&report), how).await
    }
}
