use super::start::{CarryOut, Waiting, Work, carry_out};
use crate::{
    app::App,
    documents,
    output::plural,
    plane::Plane,
    problem::usage,
    rollout::{DriverNow, Follow, Role, driver_of, exit_of, how_to_go_on},
};
use clap::Args;
use deploy_core::id::HostName;
use deploy_operations::parse::field;
use deploy_wire::{Exit, NewRollbackPlan, Problem, Rollout, RolloutCommand};

/// Which rollout a command is for.
#[derive(Debug, Args)]
pub(crate) struct Which {
    /// The rollout's id, or a service for its newest rollout
    #[arg(value_name = "ROLLOUT|SERVICE")]
    rollout: String,
}

impl Which {
    pub(super) fn named(&self) -> &str {
        &self.rollout
    }

    /// The rollout that is meant.
    pub(super) async fn find(&self, plane: &dyn Plane) -> Result<Rollout, Problem> {
        plane.rollout(&self.rollout, false).await
    }
}

/// Who acts on what a rollout was told.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Driving {
    /// Leaves it to somebody else to drive, and does not follow; otherwise this command drives where nobody does, and follows where
    /// a server does
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
        tell(app, &self.which, RolloutCommand::Pause { note: self.note }, None).await
    }
}

impl Confirm {
    pub(super) async fn run(self, app: &App) -> Result<Exit, Problem> {
        tell(app, &self.which, RolloutCommand::Confirm, Some(self.driving)).await
    }
}

impl Skip {
    pub(super) async fn run(self, app: &App) -> Result<Exit, Problem> {
        let command = RolloutCommand::Skip { host: self.host.to_string() };
        tell(app, &self.which, command, Some(self.driving)).await
    }
}

impl Exclude {
    pub(super) async fn run(self, app: &App) -> Result<Exit, Problem> {
        let command = RolloutCommand::Exclude { host: self.host.to_string() };
        tell(app, &self.which, command, Some(self.driving)).await
    }
}

impl Retry {
    pub(super) async fn run(self, app: &App) -> Result<Exit, Problem> {
        let command = RolloutCommand::Retry { host: self.host.map(|it| it.to_string()) };
        tell(app, &self.which, command, Some(self.driving)).await
    }
}

impl Kill {
    pub(super) async fn run(self, app: &App) -> Result<Exit, Problem> {
        let command = RolloutCommand::Kill { host: self.host.to_string() };
        tell(app, &self.which, command, Some(self.driving)).await
    }
}

impl Abort {
    pub(super) async fn run(self, app: &App) -> Result<Exit, Problem> {
        let command = RolloutCommand::Abort { note: self.note, kill: self.kill };
        tell(app, &self.which, command, Some(self.driving)).await
    }
}

/// Tells a rollout what to do. Follows it from there where a server drives it, and drives it where nobody does.
async fn tell(
    app: &App,
    which: &Which,
    command: RolloutCommand,
    driving: Option<Driving>,
) -> Result<Exit, Problem> {
    let plane = app.plane().await?;
    let id = which.find(&*plane).await?.id;
    let host = host_of(&command);
    let rollout = plane.command(&id, &command).await?;
    let paused = rollout.state == "paused";
    if paused && !matches!(command, RolloutCommand::Pause { .. }) {
        app.output.note(format_args!("it is paused: `deploy rollout resume {id}` lets it go on"));
    }
    let acts = rollout.ended_at.is_none() && !paused;
    let somebody_else = match plane.own() {
        Some(own) => {
            matches!(driver_of(own, &field("rollout", &id)?).await?, DriverNow::Alive(_))
        }
        None => false,
    };
    match driving.filter(|it| !it.no_drive && acts && !somebody_else) {
        Some(driving) => {
            let follow = Follow::new(app, &*plane, &id, Role::Drive).from(&rollout);
            follow.with_wait(driving.waiting.choice()).run().await
        }
        None => {
            said(app, &*plane, &rollout, host).await?;
            if acts && !somebody_else && plane.own().is_some() {
                app.output.warn(format_args!("nobody drives it: {}", how_to_go_on(&id)));
            }
            Ok(Exit::Succeeded)
        }
    }
}

/// The host that a command is about.
fn host_of(command: &RolloutCommand) -> Option<&str> {
    match command {
        RolloutCommand::Exclude { host }
        | RolloutCommand::Kill { host }
        | RolloutCommand::Skip { host } => Some(host),
        RolloutCommand::Retry { host } => host.as_deref(),
        _ => None,
    }
}

/// Says where a rollout is, and a host of it.
async fn said(
    app: &App,
    plane: &dyn Plane,
    rollout: &Rollout,
    host: Option<&str>,
) -> Result<(), Problem> {
    let of_host = match host {
        Some(host) if !app.output.is_json() => {
            let task = plane.why(&rollout.id, &field("host", host)?).await?;
            format!("; host {host} is {}", task.state)
        }
        _ => String::new(),
    };
    app.output.result(rollout, |output| {
        let why = documents::because(rollout.reason.as_deref());
        output.line(format_args!("rollout {} is {}{why}{of_host}", rollout.id, rollout.state));
    });
    Ok(())
}

impl Resume {
    pub(super) async fn run(self, app: &App) -> Result<Exit, Problem> {
        let plane = app.plane().await?;
        let mut rollout = self.which.find(&*plane).await?;
        if let Some(exit) = exit_of(&rollout) {
            said(app, &*plane, &rollout, None).await?;
            return Ok(exit);
        }
        if ["paused", "pausing"].contains(&rollout.state.as_str()) {
            rollout = plane.command(&rollout.id, &RolloutCommand::Resume).await?;
        }
        if self.driving.no_drive {
            said(app, &*plane, &rollout, None).await?;
            return Ok(Exit::Succeeded);
        }
        let follow = Follow::new(app, &*plane, &rollout.id, Role::Drive).from(&rollout);
        follow.with_wait(self.driving.waiting.choice()).run().await
    }
}

impl Rollback {
    pub(super) async fn run(self, app: &App) -> Result<Exit, Problem> {
        let plane = app.plane().await?;
        let rollout = self.which.find(&*plane).await?;
        if rollout.ended_at.is_none() {
            let command = RolloutCommand::Rollback { note: self.note, plan: None };
            return tell(app, &self.which, command, Some(self.driving)).await;
        }
        if !self.note.is_empty() {
            return Err(usage(
                "--note is for a rollout that is not over: this one is, and a new one takes its hosts back",
            ));
        }
        let id = rollout.id;
        let asked = NewRollbackPlan { rollout: id.clone(), seed: None };
        let plan = plane.plan_rollback(&asked).await?;
        let hosts = plan.waves.iter().map(|it| it.targets.len()).sum::<usize>();
        app.output.note(format_args!(
            "rollout {id} is over: a new one takes {} back",
            plural(u64::try_from(hosts).unwrap_or(u64::MAX), "host")
        ));
        let how =
            CarryOut { yes: self.yes, wait: self.driving.waiting.choice(), ..CarryOut::default() };
        Ok(carry_out(app, &*plane, plan, Work::Rollback(id), how).await?.0)
    }
}
