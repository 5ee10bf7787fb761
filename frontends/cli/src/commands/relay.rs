//! Relays: what stands in a data centre between its hosts and the server.
use crate::{
    app::App,
    output::{Style, Table, size, styles, when},
    problem::{invalid, io_problem, usage},
};
use clap::{Args, Subcommand, ValueHint};
use deploy_core::{id::HostName, memory::SystemClock};
use deploy_relay::{RelayError, RelayNode, Settings, SettingsError, enrol};
use deploy_wire::{Exit, Problem, ProblemCode, Relay};
use std::{
    io::{self, Read as _},
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};

/// The longest join token that is read, in bytes.
const LONGEST_TOKEN: u64 = 4_096;

/// Relays: caches of a data centre, and the way out for its hosts
#[derive(Debug, Subcommand)]
pub(crate) enum RelayCommand {
    Enrol(Enrol),
    Run(RunRelay),
    List(List),
    Remove(Remove),
}

/// Makes this machine a relay of a control plane
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  echo dplj_... | sudo deploy relay enrol --server deploy.example.com:7444\n\n\
    The join token is read from standard input, so that it stands in no list of processes; `deploy host join-token create --relay --zone ZONE` \
    makes one. `--server` is the HOST:PORT where agents enrol."
)]
pub(crate) struct Enrol {
    /// What the relay is to be called [default: the machine's own name, and `-relay`]
    #[arg(long, value_name = "NAME")]
    name: Option<HostName>,
    #[command(flatten)]
    state: State,
}

/// Relays until it is stopped: gives blocks to hosts, and passes agents on to the server
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  deploy relay run --config /etc/deploy-relay/relay.toml\n\n\
    SIGHUP has it read its settings again; docs/distribution.md describes them.")]
pub(crate) struct RunRelay {
    /// Its settings [default: `relay.toml` in its folder, if that is there]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    config: Option<PathBuf>,
    #[command(flatten)]
    state: State,
}

#[derive(Debug, Args)]
struct State {
    /// Where the relay keeps what it is known by, and its blocks
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath, default_value = "/var/lib/deploy-relay")]
    state_dir: PathBuf,
}

/// Shows relays, and whether they are there
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  deploy relay list")]
pub(crate) struct List {}

/// Forgets relays: hosts are not sent to them any more, and their machines can enrol anew
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  deploy relay remove fra-1-relay\n\n\
    `deploy host agent revoke` keeps a relay out and remembers it.")]
pub(crate) struct Remove {
    /// Which relays
    #[arg(value_name = "RELAY", required = true)]
    relays: Vec<HostName>,
}

impl RelayCommand {
    pub(crate) async fn run(self, app: &App) -> Result<Exit, Problem> {
        match self {
            Self::Enrol(command) => command.run(app).await,
            Self::Run(command) => command.run(app).await,
            Self::List(command) => command.run(app).await,
            Self::Remove(command) => command.run(app).await,
        }
    }
}

impl Enrol {
    async fn run(self, app: &App) -> Result<Exit, Problem> {
        let server = app.global.server.as_deref();
        let server =
            server.ok_or_else(|| usage("`--server HOST:PORT` has to say where agents enrol"))?;
        if server.contains("://") {
            let message = format!(
                "`{server}` is the address of the API: `--server` is the HOST:PORT where agents enrol, such as `deploy.example.com:7444`"
            );
            return Err(usage(message));
        }
        let mut token = String::new();
        let read = io::stdin().take(LONGEST_TOKEN).read_to_string(&mut token);
        read.map_err(|err| io_problem("standard input", &err))?;
        let state = &self.state.state_dir;
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(state);
        made.map_err(|err| io_problem(state.display(), &err))?;
        let (name, clock) = (self.name.map(|it| it.to_string()), Arc::new(SystemClock::new()));
        let enrolled = enrol(state, server, &token, name, clock).await;
        let credentials = enrolled.map_err(invalid)?;
        let named = serde_json::json!({ "name": credentials.host() });
        app.output.result(&named, |output| {
            output.line(format_args!("this machine is the relay `{}` now", credentials.host()));
        });
        Ok(Exit::Succeeded)
    }
}

impl RunRelay {
    async fn run(self, app: &App) -> Result<Exit, Problem> {
        let state = &self.state.state_dir;
        let clock = Arc::new(SystemClock::new());
        let settings = self.settings()?;
        let node =
            RelayNode::open(state, settings.clone(), clock).await.map_err(|err| refused(&err))?;
        let signals = |kind| signal(kind).map_err(|err| io_problem("signals", &err));
        let (mut term, mut int) =
            (signals(SignalKind::terminate())?, signals(SignalKind::interrupt())?);
        let mut hup = signals(SignalKind::hangup())?;
        greet(app, &node)?;
        let (newest, settings) = watch::channel(settings);
        let stop = async {
            loop {
                tokio::select! {
                    _ = term.recv() => return,
                    _ = int.recv() => return,
                    _ = hup.recv() => match self.settings() {
                        Ok(settings) => _ = newest.send_replace(settings),
                        Err(problem) => tracing::error!(reason = problem.message, "the settings stay as they were"),
                    },
                }
            }
        };
        node.run(settings, stop).await.map_err(|err| refused(&err))?;
        Ok(Exit::Succeeded)
    }

    fn settings(&self) -> Result<Settings, Problem> {
        let own = self.state.state_dir.join("relay.toml");
        match &self.config {
            Some(path) => read(path),
            None if own.exists() => read(&own),
            None => Ok(Settings::default()),
        }
    }
}

fn read(path: &Path) -> Result<Settings, Problem> {
    Settings::read(path).map_err(|err| match &err {
        SettingsError::Io { path, source } => io_problem(path.display(), source),
        _ => Problem::new(ProblemCode::InvalidFile, err.to_string()),
    })
}

/// Says where the relay is.
fn greet(app: &App, node: &RelayNode) -> Result<(), Problem> {
    let failed = |err: io::Error| io_problem("the socket", &err);
    let address = node.address().map_err(failed)?;
    app.output.line(format_args!("{} gives blocks at {address}", node.name()));
    if let Some(address) = node.way_out().map_err(failed)? {
        app.output.line(format_args!("agents get to {} by {address}", node.server()));
    }
    Ok(())
}

fn refused(err: &RelayError) -> Problem {
    let code = match err {
        RelayError::Busy(_) => ProblemCode::Conflict,
        RelayError::Folder { path, source } => return io_problem(path.display(), source),
        _ => ProblemCode::InvalidInput,
    };
    let problem = Problem::new(code, err.to_string()).with_context("reason", err.as_str());
    if matches!(err, RelayError::Credentials(_)) {
        return problem.with_hint("`deploy relay enrol` makes this machine a relay");
    }
    problem
}

impl List {
    async fn run(self, app: &App) -> Result<Exit, Problem> {
        let all = app.plane().await?.relays().await?;
        app.output.result(&all, |output| {
            if all.is_empty() {
                output.note("no relays: `deploy host join-token create --relay --zone ZONE` is how they come in");
                return;
            }
            let mut table =
                Table::new(["RELAY", "ZONE", "STATE", "SEEN", "ADDRESS", "KEPT", "GIVEN", "PULLED"]);
            for it in &all {
                let (style, state) = state(it);
                let bytes = |it: Option<u64>| (styles::PLAIN, it.map(size).unwrap_or_default());
                let work = it.work.as_ref();
                let seen = match work {
                    Some(work) => format!("since {}", when(&work.since)),
                    None => it.last_seen_at.as_deref().map(when).unwrap_or_default(),
                };
                table.styled([
                    (styles::PLAIN, it.name.clone()),
                    (styles::PLAIN, it.zone.clone().unwrap_or_default()),
                    (style, state),
                    (styles::DIM, seen),
                    (styles::PLAIN, work.map(|it| it.address.clone()).unwrap_or_default()),
                    bytes(work.map(|it| it.kept_bytes)),
                    bytes(work.map(|it| it.given_bytes)),
                    bytes(work.map(|it| it.pulled_bytes)),
                ]);
            }
            output.table(&table);
        });
        Ok(Exit::Succeeded)
    }
}

/// Whether a relay is there, in a word.
fn state(relay: &Relay) -> (Style, String) {
    let (style, word) = match (relay.state.as_str(), relay.alive) {
        ("active", Some(true)) => (styles::GOOD, "alive"),
        ("active", Some(false)) => (styles::FAILURE, "away"),
        ("active", None) => (styles::PLAIN, "active"),
        (kept_out, _) => (styles::FAILURE, kept_out),
    };
    (style, word.to_owned())
}

impl Remove {
    async fn run(self, app: &App) -> Result<Exit, Problem> {
        let plane = app.plane().await?;
        let known = plane.relays().await?;
        let is_known = |name: &&HostName| known.iter().any(|it| it.name == name.as_str());
        if let Some(none) = self.relays.iter().find(|it| !is_known(it)) {
            return Err(Problem::new(ProblemCode::NotFound, format!("there is no relay `{none}`"))
                .with_hint("`deploy relay list` shows them"));
        }
        for relay in &self.relays {
            plane.remove_agent(relay).await?;
        }
        let removed: Vec<String> = self.relays.iter().map(ToString::to_string).collect();
        app.output.result(&removed, |output| {
            for relay in &removed {
                output.line(format_args!("the relay {relay} is forgotten"));
            }
        });
        Ok(Exit::Succeeded)
    }
}
