//! `deploy`: the command line of the platform, over backends of this machine or to a server.
//!
//! The library is what the binary consists of; it promises nothing to other crates. What is stable is the command line
//! itself, described in `docs/cli.md`, and `deploy-wire`.
mod app;
mod backup;
mod cli;
mod commands;
mod contexts;
mod embedded;
mod fetch;
mod files;
mod output;
mod packages;
mod plane;
mod rollout;
mod signing;
mod telemetry;

use app::App;
use clap::{CommandFactory as _, FromArgMatches as _, error::ErrorKind};
use cli::{Cli, Command};
use commands::relay::RelayCommand;
use deploy_operations::{documents, problem, reason};
use deploy_wire::{Exit, Problem, ProblemCode};
use output::{Output, Volume};
use std::{ffi::OsString, process::ExitCode, sync::Arc};

/// Runs the program with these arguments, the first of which is its own name.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::command()
        .try_get_matches_from(arguments)
        .and_then(|it| Cli::from_arg_matches(&it))
    {
        Ok(cli) => cli,
        Err(err) => return misunderstood(&err),
    };
    let volume = if cli.global.quiet { Volume::Quiet } else { Volume::Normal };
    let output = Arc::new(Output::new(cli.global.output, cli.global.color, volume));
    match &cli.command {
        // A server is told elsewhere how to say what it does.
        Command::Serve(_) => {}
        // It runs for good, and nobody looks on.
        Command::Relay(RelayCommand::Run(_)) => {
            telemetry::log(cli.global.verbose.saturating_add(1));
        }
        _ => telemetry::log(cli.global.verbose),
    }
    let app = App { output, global: cli.global };
    let exit = match work(&app, cli.command) {
        Ok(exit) => exit,
        Err(problem) if app.output.is_closed() && problem.code == ProblemCode::Interrupted => {
            problem.code.exit()
        }
        Err(problem) => {
            app.output.problem(&problem);
            problem.code.exit()
        }
    };
    exit.into()
}

fn misunderstood(err: &clap::Error) -> ExitCode {
    // Whoever cannot be told cannot be helped.
    drop(err.print());
    match err.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Exit::Succeeded.into(),
        _ => Exit::Usage.into(),
    }
}

fn work(app: &App, command: Command) -> Result<Exit, Problem> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|err| {
        Problem::new(ProblemCode::Internal, format!("the program cannot start its threads: {err}"))
    })?;
    let worked = runtime.block_on(dispatch(app, command));
    // A thread that waits for somebody to answer a question must not keep the program.
    runtime.shutdown_background();
    worked
}

pub(crate) async fn dispatch(app: &App, command: Command) -> Result<Exit, Problem> {
    if is_for_this_machine(&command) {
        app.stay_here()?;
    }
    match command {
        Command::Service(command) => command.run(app).await,
        Command::Host(command) => command.run(app).await,
        Command::Relay(command) => command.run(app).await,
        Command::Artifact(command) => command.run(app).await,
        Command::Backup(command) => command.run(app).await,
        Command::Build(command) => command.run(app).await,
        Command::BuildHere(command) => command.run(app).await,
        Command::Release(command) => command.run(app).await,
        Command::Key(command) => command.run(app),
        Command::Descriptor(command) => command.run(app),
        Command::Plan(command) => command.run(app).await,
        Command::Rollout(command) => command.run(app).await,
        Command::Run(command) => command.run(app).await,
        Command::Status(command) => command.run(app).await,
        Command::Doctor(command) => command.run(app).await,
        Command::Limit(command) => command.run(app).await,
        Command::Token(command) => command.run(app).await,
        Command::Context(command) => command.run(app),
        Command::Serve(command) => command.run(app).await,
        Command::Demo(command) => command.run(app).await,
        Command::Completions(command) => command.run(app),
        Command::ServeDemo(command) => command.run(app).await,
    }
}

/// What reads files that others may have written, for the targets of `fuzz/`.
#[cfg(fuzzing)]
pub mod fuzzing {
    use crate::files::{
        Source,
        hosts::{HostsFormat, parse_hosts},
    };
    use clap::ValueEnum as _;

    /// Reads a file of hosts, in each format.
    pub fn hosts(text: &str) {
        for format in HostsFormat::value_variants() {
            drop(parse_hosts(&Source::new("hosts", text), *format));
        }
    }
}

/// Whether a command works on this machine whatever the surroundings say.
const fn is_for_this_machine(command: &Command) -> bool {
    matches!(
        command,
        Command::Backup(_)
            | Command::BuildHere(_)
            | Command::Demo(_)
            | Command::Serve(_)
            | Command::ServeDemo(_)
    )
}
