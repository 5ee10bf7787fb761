//! The host agent: `deploy-agent`.
mod install;

use clap::{Args, Parser, Subcommand};
use deploy_agent::{HostPort, Names, Policy, Via, enrol_via, reload, run};
use deploy_core::memory::SystemClock;
use deploy_package::publisher::PublisherKey;
use sd_notify::NotifyState;
use std::{
    error::Error,
    ffi::OsString,
    io::{self, Read as _},
    os::unix::process::CommandExt as _,
    path::PathBuf,
    process::{self, ExitCode},
    sync::Arc,
};
use tokio::signal::unix::{SignalKind, signal};

/// What an `exec` that did not come about ends with, as shells have it: there is nothing to run, or it cannot be run.
const NOT_FOUND: u8 = 127;
const NOT_STARTED: u8 = 126;
/// The longest join token that is read, in bytes.
const LONGEST_TOKEN: u64 = 4_096;

/// What runs on a host: it connects to the control plane, and does as it is ordered
#[derive(Debug, Parser)]
#[command(version, name = "deploy-agent")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Enrol(Enrol),
    Run(Run),
    Reload(Reload),
}

/// Makes this machine a host of a control plane
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  echo dplj_... | deploy-agent enrol --server deploy.example.com:7443\n\n\
    The join token is read from standard input, so that it stands in no list of processes. `deploy host join-token create` makes one."
)]
struct Enrol {
    /// The control plane
    #[arg(long, value_name = "HOST:PORT")]
    server: String,
    /// What the host is to be called; a host that was installed anew keeps its name [default: the machine's own name]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// What its provider calls the machine [default: it is known by its machine id]
    #[arg(long, value_name = "PROVIDER/REGION/ID")]
    instance: Option<String>,
    /// A relay that passes on what is said to the control plane, where this machine may not reach that itself; may be given again, and each is tried in
    /// turn. `host.toml` has to say the same under `[gateway]`: `--install` writes it there
    #[arg(long, value_name = "HOST:PORT")]
    via: Vec<HostPort>,
    /// Makes the agent a service: writes `/etc/deploy-agent/host.toml` and a unit where there are none, and starts it
    #[arg(long, conflicts_with = "state_dir")]
    install: bool,
    /// A key of a publisher that host.toml is to name, so that this host runs only what publishers have signed; may be given again
    #[arg(long = "publisher", value_name = "KEY", requires = "install")]
    publishers: Vec<PublisherKey>,
    /// How many of these have to sign
    #[arg(long, value_name = "N", default_value_t = 1, requires = "publishers")]
    publishers_needed: usize,
    #[command(flatten)]
    state: State,
}

/// Connects to the control plane, and follows its orders until it is stopped
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  deploy-agent run --config /etc/deploy-agent/host.toml\n\n\
    What it has started goes on when it is stopped, and is found again.")]
struct Run {
    /// What this host lets be done to it
    #[arg(long, value_name = "FILE", default_value = "/etc/deploy-agent/host.toml")]
    config: PathBuf,
    #[command(flatten)]
    state: State,
}

/// Has the agent that runs here begin anew, as the program that is now where it was started from
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  deploy-agent reload\n\n\
    What it has started goes on. Where no agent runs nothing is done: whoever supervises it starts the new one.")]
struct Reload {
    #[command(flatten)]
    state: State,
}

#[derive(Debug, Args)]
struct State {
    /// Where the agent keeps what it must not forget
    #[arg(long, value_name = "DIR", default_value = "/var/lib/deploy-agent")]
    state_dir: PathBuf,
}

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let helper = arguments.first().and_then(|it| it.to_str());
    if matches!(helper, Some("shim" | "exec" | "ask")) {
        let done = deploy_agent::run_helper(&arguments);
        let missing = done.as_ref().is_err_and(|it| it.kind() == io::ErrorKind::NotFound);
        return ended(done, if missing { NOT_FOUND } else { NOT_STARTED });
    }
    tracing_subscriber::fmt().with_writer(io::stderr).with_ansi(false).without_time().init();
    let done = match Cli::parse().command {
        Command::Enrol(command) => block_on(command.run()),
        Command::Run(command) => command.run(),
        Command::Reload(command) => command.run(),
    };
    ended(done, 1)
}

fn ended<E: Into<Box<dyn Error>>>(done: Result<(), E>, code: u8) -> ExitCode {
    let Err(err) = done else { return ExitCode::SUCCESS };
    let err = err.into();
    eprintln!("error: {err}");
    let mut source = err.source();
    while let Some(cause) = source {
        eprintln!("  because: {cause}");
        source = cause.source();
    }
    ExitCode::from(code)
}

fn block_on<T>(work: impl Future<Output = Result<T, Box<dyn Error>>>) -> Result<T, Box<dyn Error>> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}

impl Enrol {
    async fn run(self) -> Result<(), Box<dyn Error>> {
        let publishers = install::Publishers::new(self.publishers, self.publishers_needed)?;
        let chosen = install::Chosen { publishers, via: self.via };
        if self.install {
            // Before the token is used up.
            install::has_place_for(&chosen)?;
        }
        let mut token = String::new();
        io::stdin().take(LONGEST_TOKEN).read_to_string(&mut token)?;
        let clock = Arc::new(SystemClock::new());
        let mut names = Names::default();
        (names.host, names.instance) = (self.name, self.instance);
        let state = &self.state.state_dir;
        let via = Arc::new(Via::new(chosen.via.clone()));
        let credentials = enrol_via(&via, state, &self.server, &token, names, clock).await?;
        eprintln!("this machine is the host `{}` now", credentials.host());
        if self.install {
            let done = install::install(&std::env::current_exe()?, &chosen)?;
            done.iter().for_each(|it| eprintln!("{it}"));
        }
        Ok(())
    }
}

impl Run {
    /// Runs until it is stopped. When it is told to begin anew, the program that is now where this one was started from takes over
    /// this process; if that cannot be started this one goes on.
    fn run(self) -> Result<(), Box<dyn Error>> {
        while block_on(self.session())? == Next::BeginAnew {
            let mut arguments = std::env::args_os();
            let program = arguments.next().unwrap_or_default();
            let err = process::Command::new(&program).args(arguments).exec();
            tracing::error!(%err, program = %program.display(), "the program cannot be started, and this one goes on");
        }
        Ok(())
    }

    async fn session(&self) -> Result<Next, Box<dyn Error>> {
        let policy = Policy::read(&self.config)?;
        let mut term = signal(SignalKind::terminate())?;
        let mut int = signal(SignalKind::interrupt())?;
        let mut hup = signal(SignalKind::hangup())?;
        let mut next = Next::Stop;
        let stop = async {
            next = tokio::select! {
                _ = term.recv() => Next::Stop,
                _ = int.recv() => Next::Stop,
                _ = hup.recv() => Next::BeginAnew,
            };
        };
        let ready = || {
            if let Err(err) = sd_notify::notify(&[NotifyState::Ready]) {
                tracing::debug!(%err, "the supervisor was not told");
            }
        };
        let clock = Arc::new(SystemClock::new());
        run(&self.state.state_dir, policy, clock, ready, stop).await?;
        Ok(next)
    }
}

/// What comes after an agent that was told to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    BeginAnew,
    Stop,
}

impl Reload {
    fn run(self) -> Result<(), Box<dyn Error>> {
        if !reload(&self.state.state_dir)? {
            eprintln!("no agent works in {}", self.state.state_dir.display());
        }
        Ok(())
    }
}
