use super::artifact::Kind;
use crate::{
    app::App,
    output::{Output, Table, clean, when},
    plane::Plane,
};
use clap::{Args, Subcommand};
use deploy_core::{
    backend::ChannelKey,
    id::{ChannelName, RepositoryName, Version},
};
use deploy_wire::{Channel, ChannelSpec, Exit, Problem, ProblemCode};

/// Channels: names that lead to a version of a repository, and can be moved
#[derive(Debug, Subcommand)]
pub(crate) enum ChannelCommand {
    Set(Set),
    Close(Close),
    List(List),
    History(History),
}

/// Has a channel lead to a version
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  deploy artifact channel set web stable 1.4.2 --reason \"a week without trouble\"\n\n\
    Going back is a move like any other. `deploy release create web 1.4.2 --package web@stable` goes by it."
)]
pub(crate) struct Set {
    #[command(flatten)]
    channel: ChannelArgs,
    /// Which version
    #[arg(value_name = "VERSION")]
    to: Version,
    /// Why
    #[arg(long, default_value = "", hide_default_value = true, value_name = "TEXT")]
    reason: String,
}

/// Has a channel lead nowhere; how it was moved is kept
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  deploy artifact channel close web beta --reason \"nobody uses it\""
)]
pub(crate) struct Close {
    #[command(flatten)]
    channel: ChannelArgs,
    /// Why
    #[arg(long, default_value = "", hide_default_value = true, value_name = "TEXT")]
    reason: String,
}

/// Shows channels, and where they lead
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  deploy artifact channel list --repository web")]
pub(crate) struct List {
    /// Only of this repository
    #[arg(long, value_name = "REPOSITORY")]
    repository: Option<RepositoryName>,
}

/// Shows how a channel was moved, newest first
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  deploy artifact channel history web stable")]
pub(crate) struct History {
    #[command(flatten)]
    channel: ChannelArgs,
    /// How many moves to show
    #[arg(long, default_value_t = 20, value_name = "N")]
    limit: usize,
}

/// Which channel.
#[derive(Debug, Args)]
struct ChannelArgs {
    /// Of which repository
    #[arg(value_name = "REPOSITORY")]
    repository: RepositoryName,
    /// Which channel
    #[arg(value_name = "CHANNEL")]
    name: ChannelName,
    /// Of what
    #[arg(long, value_enum, default_value_t = Kind::Package, value_name = "KIND")]
    kind: Kind,
}

impl ChannelArgs {
    fn key(self) -> ChannelKey {
        ChannelKey::new(self.repository, self.kind.into(), self.name)
    }
}

impl ChannelCommand {
    pub(crate) async fn run(self, app: &App) -> Result<Exit, Problem> {
        match self {
            Self::Set(command) => command.run(app).await,
            Self::Close(command) => command.run(app).await,
            Self::List(command) => command.run(app).await,
            Self::History(command) => command.run(app).await,
        }
    }
}

impl Set {
    async fn run(self, app: &App) -> Result<Exit, Problem> {
        let key = self.channel.key();
        let to = ChannelSpec { version: Some(self.to.to_string()), reason: self.reason };
        let plane = app.plane().await?;
        let (was, is) = moved(&*plane, &key, &to).await?;
        app.output.result(&is, |output| {
            let from = was.and_then(|it| it.version);
            let from = from.map_or_else(String::new, |it| format!(" (it was {it})"));
            output.line(format_args!("{}@{} is {}{from}", is.repository, is.name, self.to));
        });
        Ok(Exit::Succeeded)
    }
}

impl Close {
    async fn run(self, app: &App) -> Result<Exit, Problem> {
        let key = self.channel.key();
        let plane = app.plane().await?;
        // A channel that was never there is not closed.
        plane.channel(&key).await?;
        let nowhere = ChannelSpec { version: None, reason: self.reason };
        let (_, is) = moved(&*plane, &key, &nowhere).await?;
        app.output.result(&is, |output| {
            output.line(format_args!("{}@{} is closed", is.repository, is.name));
        });
        Ok(Exit::Succeeded)
    }
}

/// What a channel was, and what it is. One that leads there already is left as it is.
async fn moved(
    plane: &dyn Plane,
    key: &ChannelKey,
    to: &ChannelSpec,
) -> Result<(Option<Channel>, Channel), Problem> {
    let was = match plane.channel(key).await {
        Ok(there) if there.version == to.version => return Ok((None, there)),
        Ok(there) => Some(there),
        Err(problem) if problem.code == ProblemCode::NotFound => None,
        Err(problem) => return Err(problem),
    };
    let is = plane.move_channel(key, to, was.as_ref().map(|it| it.revision)).await?;
    Ok((was, is))
}

impl List {
    async fn run(self, app: &App) -> Result<Exit, Problem> {
        let documents = app.plane().await?.channels(self.repository.as_ref()).await?;
        app.output.result(&documents, |output| show(output, &documents));
        Ok(Exit::Succeeded)
    }
}

fn show(output: &Output, channels: &[Channel]) {
    if channels.is_empty() {
        output.note("no channels: `deploy artifact channel set` makes one");
        return;
    }
    let mut table = Table::new(["REPOSITORY", "KIND", "CHANNEL", "VERSION", "MOVED AT", "BY"]);
    for it in channels {
        let version = it.version.as_deref().unwrap_or("-");
        let moved_at = when(&it.moved_at);
        table.row([&it.repository, &it.kind, &it.name, version, &moved_at, &it.moved_by]);
    }
    output.table(&table);
}

impl History {
    async fn run(self, app: &App) -> Result<Exit, Problem> {
        let key = self.channel.key();
        let documents = app.plane().await?.channel_history(&key, self.limit).await?;
        app.output.result(&documents, |output| {
            let mut table = Table::new(["MOVE", "FROM", "TO", "MOVED AT", "BY", "WHY"]);
            for it in &documents {
                let or_none =
                    |version: &Option<String>| version.clone().unwrap_or_else(|| "-".to_owned());
                let (from, to) = (or_none(&it.from), or_none(&it.to));
                let (number, moved_at) = (it.revision.to_string(), when(&it.moved_at));
                table.row([&number, &from, &to, &moved_at, &it.moved_by, &*clean(&it.reason)]);
            }
            output.table(&table);
        });
        Ok(Exit::Succeeded)
    }
}
