//! Releases: made and signed, and looked at.
mod consists;
mod create;
mod look;

pub(crate) use consists::{Parts, demand_named};
pub(crate) use create::ParameterArgs;

use crate::app::App;
use clap::Subcommand;
use create::{Create, StatementCommand};
use deploy_wire::{Exit, Problem};
use look::{Diff, List, Show};

/// Releases: a package, a descriptor and parameters under a name, unchangeable
#[derive(Debug, Subcommand)]
pub(crate) enum ReleaseCommand {
    Create(Create),
    Statement(StatementCommand),
    List(List),
    Show(Show),
    Diff(Diff),
}

impl ReleaseCommand {
    pub(crate) async fn run(self, app: &App) -> Result<Exit, Problem> {
        match self {
            Self::Create(command) => command.run(app).await,
            Self::Statement(command) => command.run(app).await,
            Self::List(command) => command.run(app).await,
            Self::Show(command) => command.run(app).await,
            Self::Diff(command) => command.run(app).await,
        }
    }
}
