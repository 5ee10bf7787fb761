//! Builds on hosts, from the command line.
use crate::{app::App, embedded::Embedded};
use clap::Args;
use deploy_build::{BuildHosts, RemoteBuilder, SandboxUse};
use deploy_core::{
    id::{AccountName, BuildId},
    spec::{AbsolutePath, Selector},
};
use deploy_operations::{Builds, problem::OrProblem as _};
use deploy_wire::Problem;
use std::{num::NonZeroUsize, path::PathBuf, sync::Arc};

/// Where builds on hosts take place.
#[derive(Debug, Args)]
pub(super) struct HostArgs {
    /// Builds on a host with these labels instead of on this machine, such as `role=builder`
    #[arg(long, value_name = "SELECTOR")]
    pub(super) on: Option<Selector>,
    /// The program there [default: deploy]
    #[arg(long, value_name = "PROGRAM", requires = "on")]
    pub(super) on_program: Option<String>,
    /// The folder there that `builds` lies in, with sources, caches and secrets [default: /var/lib/deploy]
    #[arg(long, value_name = "PATH", requires = "on")]
    pub(super) on_path: Option<AbsolutePath>,
    /// The account there that builds [default: the one that logs in]
    #[arg(long, value_name = "ACCOUNT", requires = "on")]
    pub(super) on_account: Option<AccountName>,
}

impl HostArgs {
    /// Whether anything is said that a server decides by itself.
    pub(super) const fn is_about_hosts(&self) -> bool {
        self.on_program.is_some() || self.on_path.is_some() || self.on_account.is_some()
    }

    /// The builds on hosts that this data folder knows. With `go_on`, for commands that stay until a build is over, what a process has left that is gone is gone on with.
    pub(super) async fn open(
        &self,
        app: &App,
        sandbox: SandboxUse,
        at_a_time: NonZeroUsize,
        tools: &[PathBuf],
        go_on: bool,
    ) -> Result<Builds, Problem> {
        let embedded = app.open().await?;
        let on = self.on.clone().unwrap_or_else(Selector::all);
        let mut builder = builder(&embedded, on)?
            .with_sandbox(sandbox)
            .with_at_a_time(at_a_time)
            .with_tools(tools.to_vec())
            .with_account(self.on_account.clone());
        if let Some(path) = &self.on_path {
            builder = builder.with_root(path.clone());
        }
        if let Some(program) = &self.on_program {
            builder = builder.with_program(program);
        }
        if go_on {
            builder.resume().await.or_problem()?;
        }
        Ok(Builds::new(embedded.operations(), Arc::new(builder)))
    }
}

fn builder(embedded: &Embedded, on: Selector) -> Result<RemoteBuilder, Problem> {
    let parts = embedded.parts();
    let hosts = BuildHosts {
        executor: Arc::clone(&parts.executor),
        inventory: Arc::clone(&parts.inventory),
        artifacts: Arc::clone(&parts.artifacts),
        authorizer: Arc::clone(&parts.authorizer),
    };
    let folder = embedded.data_dir.remote_builds();
    RemoteBuilder::open(folder, hosts, on, Arc::clone(&parts.clock)).or_problem()
}

/// Whether a build of this data folder runs on a host.
pub(super) fn is_remote(id: &BuildId) -> bool {
    id.as_str().starts_with('r')
}
