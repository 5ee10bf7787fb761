//! `deploy build-here`: what a host runs that builds for others. People have no use for it.
use crate::{app::App, problem::invalid};
use clap::Args;
use deploy_build::{Handover, HostSide};
use deploy_core::memory::SystemClock;
use deploy_operations::problem::OrProblem as _;
use deploy_wire::{Exit, Problem, ProblemCode};
use std::{io::Read as _, path::PathBuf, sync::Arc};
use tokio::signal::unix::{SignalKind, signal};

/// The largest handover, in bytes.
const LARGEST: u64 = 1 << 20;

/// Builds here what another machine has handed over
#[derive(Debug, Args)]
pub(crate) struct BuildHere {
    /// The file that says what is to be built
    #[arg(long, value_name = "FILE")]
    request: PathBuf,
    /// The folder for sources, caches and builds
    #[arg(long, value_name = "DIR")]
    folder: PathBuf,
    /// The folder to leave in what comes of it
    #[arg(long, value_name = "DIR")]
    outputs: PathBuf,
}

impl BuildHere {
    /// Standard output is the log of the build, and nothing else comes there. A build that fails is no failure of this program: the report says it.
    pub(crate) async fn run(self, _app: &App) -> Result<Exit, Problem> {
        let mut text = Vec::new();
        let file =
            std::fs::File::open(&self.request).map_err(|err| unreadable(&self.request, &err))?;
        file.take(LARGEST).read_to_end(&mut text).map_err(|err| unreadable(&self.request, &err))?;
        let handover = Handover::from_json(&text).or_problem()?;
        let listen = |kind| {
            signal(kind).map_err(|err| {
                let message = format!("signals cannot be listened for: {err}");
                Problem::new(ProblemCode::Internal, message)
            })
        };
        let (mut terminate, mut interrupt) =
            (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?);
        let cancelled = async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        let host = HostSide::new(self.folder, self.outputs, Arc::new(SystemClock::new()));
        host.carry_out(handover, &mut tokio::io::stdout(), cancelled).await.or_problem()?;
        Ok(Exit::Succeeded)
    }
}

fn unreadable(path: &std::path::Path, err: &std::io::Error) -> Problem {
    invalid(format_args!("{} cannot be read: {err}", path.display()))
}
