//! Who builds: this machine, hosts, or a server.
use super::on::HostArgs;
use crate::{app::App, contexts::Destination, plane::BuildPlane, problem::usage};
use clap::{Args, ValueEnum, ValueHint};
use deploy_build::{LocalBuilder, SandboxUse};
use deploy_core::{backend::Clock, memory::SystemClock};
use deploy_operations::{Builds, problem::OrProblem as _};
use deploy_wire::Problem;
use std::{num::NonZeroUsize, path::PathBuf, sync::Arc};

/// How this machine builds, or the host.
#[derive(Debug, Args)]
pub(super) struct BuilderArgs {
    /// A folder that commands may read beside the system's, such as a toolchain; may be given again
    #[arg(long = "tools", value_name = "DIR", value_hint = ValueHint::DirPath)]
    tools: Vec<PathBuf>,
    /// Whether commands are kept from this machine [default: preferred]
    #[arg(long, value_enum, value_name = "WHEN")]
    sandbox: Option<Sandbox>,
    /// How many builds run at a time in this data folder, or on each host [default: 1]
    #[arg(long, value_name = "N")]
    at_a_time: Option<NonZeroUsize>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Sandbox {
    Never,
    // Where one works.
    Preferred,
    Required,
}

/// Where builds are.
pub(super) async fn plane(
    app: &App,
    asked: &BuilderArgs,
    hosts: &HostArgs,
    remote: bool,
    goes_on: bool,
) -> Result<Box<dyn BuildPlane>, Problem> {
    let Destination::Server(choice) = app.destination()? else {
        return Ok(Box::new(match remote {
            true => {
                let at_a_time = asked.at_a_time.unwrap_or(NonZeroUsize::MIN);
                hosts.open(app, asked.sandbox_use(), at_a_time, &asked.tools, goes_on).await?
            }
            false => open(app, asked).await?,
        }));
    };
    let is_about_here =
        asked.sandbox.is_some() || asked.at_a_time.is_some() || !asked.tools.is_empty();
    if is_about_here || hosts.is_about_hosts() {
        let message = "`--tools`, `--sandbox`, `--at-a-time` and `--on-…` are about builds that are started from this machine, and this one goes to a server";
        return Err(usage(message)
            .with_hint("`[build]` in the configuration of the server says how it builds"));
    }
    Ok(Box::new(app.connect(&choice)?))
}

/// The builds of this machine.
async fn open(app: &App, asked: &BuilderArgs) -> Result<Builds, Problem> {
    let embedded = app.open().await?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let sandbox = asked.sandbox_use();
    let builder = LocalBuilder::open(embedded.data_dir.builds(), clock).or_problem()?;
    let builder = builder.with_tools(&asked.tools).or_problem()?;
    let limit = asked.at_a_time.unwrap_or(NonZeroUsize::MIN);
    let builder = builder.with_sandbox(sandbox).with_limit(limit);
    Ok(Builds::new(embedded.operations(), Arc::new(builder)))
}

impl BuilderArgs {
    const fn sandbox_use(&self) -> SandboxUse {
        match self.sandbox {
            Some(Sandbox::Never) => SandboxUse::Never,
            Some(Sandbox::Preferred) | None => SandboxUse::Preferred,
            Some(Sandbox::Required) => SandboxUse::Required,
        }
    }
}
