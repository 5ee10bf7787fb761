use crate::{
    app::App,
    output::{Table, styles, when},
};
use clap::{Args, Subcommand};
use deploy_core::limit::LimitScope;
use deploy_wire::{Exit, Limit, LimitSpec, Problem};
use std::num::NonZeroU32;

/// Limits: how fast bytes may travel to hosts, changed while they do
#[derive(Debug, Subcommand)]
pub(crate) enum LimitCommand {
    Set(Set),
    List(List),
    Clear(Clear),
}

/// Limits the server, a zone, a host or a rollout, from now on
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  deploy limit set origin 500          what the server gives, to all together\n  \
    deploy limit set zone=fra 200        what the relays of a zone take from outside\n  \
    deploy limit set host=web-1 50       what a host takes, and what it gives to others\n  \
    deploy limit set host=web-1 50 --upload 10\n  \
    deploy limit set rollout=web-42 20   what each host takes for a rollout\n\n\
    It counts within a second, also for what is on its way, and goes on after the server was started anew. A rollout's ends with it. Where a \
    host's own `host.toml` allows less, that counts.\n\nWhat is sent to hosts over SSH is not limited: a warning says where a limit limits nothing."
)]
pub(crate) struct Set {
    /// What: `origin`, `zone=NAME`, `host=NAME` or `rollout=ID`
    #[arg(value_name = "WHAT")]
    scope: LimitScope,
    /// How fast, in megabits a second
    #[arg(value_name = "MBIT")]
    mbit: NonZeroU32,
    /// How fast a host gives to others, if that is to be another limit
    #[arg(long, value_name = "MBIT")]
    upload: Option<NonZeroU32>,
}

/// Shows the limits that count
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  deploy limit list")]
pub(crate) struct List {}

/// Takes limits back, at once
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  deploy limit clear origin zone=fra")]
pub(crate) struct Clear {
    /// Of what: `origin`, `zone=NAME`, `host=NAME` or `rollout=ID`
    #[arg(value_name = "WHAT", required = true)]
    scopes: Vec<LimitScope>,
}

impl LimitCommand {
    pub(crate) async fn run(self, app: &App) -> Result<Exit, Problem> {
        match self {
            Self::Set(command) => command.run(app).await,
            Self::List(command) => command.run(app).await,
            Self::Clear(command) => command.run(app).await,
        }
    }
}

impl Set {
    async fn run(self, app: &App) -> Result<Exit, Problem> {
        let (mbit, upload_mbit) = (self.mbit.get(), self.upload.map(Into::into));
        let asked = LimitSpec { mbit, upload_mbit };
        let set = app.plane().await?.set_limit(&self.scope, &asked).await?;
        app.output.result(&set, |output| {
            output.line(format_args!("{} is limited to {}", set.scope, rate(&set)));
        });
        set.warnings.iter().for_each(|it| app.output.warn(it));
        Ok(Exit::Succeeded)
    }
}

impl List {
    async fn run(self, app: &App) -> Result<Exit, Problem> {
        let all = app.plane().await?.limits().await?;
        app.output.result(&all, |output| {
            if all.is_empty() {
                output.note("no limits: `deploy limit set` makes one");
                return;
            }
            let mut table = Table::new(["WHAT", "LIMIT", "SET", "BY"]);
            for it in &all {
                let by = it.set_by.clone().unwrap_or_else(|| "the configuration".to_owned());
                table.styled([
                    (styles::PLAIN, it.scope.clone()),
                    (styles::PLAIN, rate(it)),
                    (styles::DIM, it.set_at.as_deref().map(when).unwrap_or_default()),
                    (styles::PLAIN, by),
                ]);
            }
            output.table(&table);
        });
        Ok(Exit::Succeeded)
    }
}

impl Clear {
    async fn run(self, app: &App) -> Result<Exit, Problem> {
        let plane = app.plane().await?;
        for scope in &self.scopes {
            plane.clear_limit(scope).await?;
        }
        let cleared: Vec<String> = self.scopes.iter().map(ToString::to_string).collect();
        app.output.result(&cleared, |output| {
            for scope in &cleared {
                output.line(format_args!("{scope} has no limit any more"));
            }
        });
        Ok(Exit::Succeeded)
    }
}

fn rate(limit: &Limit) -> String {
    match limit.upload_mbit {
        Some(upload) => format!("{} Mbit/s, and gives {upload}", limit.mbit),
        None => format!("{} Mbit/s", limit.mbit),
    }
}
