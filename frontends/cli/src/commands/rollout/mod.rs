mod control;
mod look;
mod start;

pub(crate) use start::{CarryOut, Work, carry_out};

use crate::app::App;
use clap::Subcommand;
use control::{Abort, Confirm, Exclude, Kill, Pause, Resume, Retry, Rollback, Skip};
use deploy_wire::{Exit, Problem};
use look::{List, Logs, Show, Watch, Why};
use start::Start;

/// Rollouts: started, followed, and told what to do
#[derive(Debug, Subcommand)]
pub(crate) enum RolloutCommand {
    Start(Start),
    Watch(Watch),
    List(List),
    Show(Show),
    Why(Why),
    Pause(Pause),
    Resume(Resume),
    Confirm(Confirm),
    Skip(Skip),
    Exclude(Exclude),
    Retry(Retry),
    Kill(Kill),
    Abort(Abort),
    Rollback(Rollback),
    Logs(Logs),
}

impl RolloutCommand {
    pub(crate) async fn run(self, app: &App) -> Result<Exit, Problem> {
        match self {
            Self::Start(command) => command.run(app).await,
            Self::Watch(command) => command.run(app).await,
            Self::List(command) => command.run(app).await,
            Self::Show(command) => command.run(app).await,
            Self::Why(command) => command.run(app).await,
            Self::Pause(command) => command.run(app).await,
            Self::Resume(command) => command.run(app).await,
            Self::Confirm(command) => command.run(app).await,
            Self::Skip(command) => command.run(app).await,
            Self::Exclude(command) => command.run(app).await,
            Self::Retry(command) => command.run(app).await,
            Self::Kill(command) => command.run(app).await,
            Self::Abort(command) => command.run(app).await,
            Self::Rollback(command) => command.run(app).await,
            Self::Logs(command) => command.run(app).await,
        }
    }
}
