//! `deploy build`: from a revision in git to a package, and to a release.
mod builder;
mod follow;
mod here;
mod look;
mod on;
mod publish;

pub(crate) use here::BuildHere;

use crate::{
    app::App,
    commands::release::ParameterArgs,
    contexts::Destination,
    output::clean,
    plane::{BuildPlane, id_of},
    problem::usage,
    signing::SignersArgs,
};
use builder::{BuilderArgs, plane};
use clap::Args;
use deploy_core::id::{ServiceName, Version};
use deploy_operations::build_problem;
use deploy_wire::{Exit, NewBuild, Problem, Publication};
use follow::attend;
use look::{Look, show};
use on::{HostArgs, is_remote};
use publish::{publish_signed, show_published};

/// Builds: from a revision in git to a package, the same bit for bit
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    after_help = "Examples:\n  deploy build web --rev v1.4.2\n  deploy build web --rev v1.4.2 --release -p PORT=8080\n  \
    deploy build web --rev v1.4.2 --release --sign-key ~/publisher.key\n  deploy build web --rev v1.4.2 --on role=builder\n\n\
    `[build]` in the service file says where the source is and what makes a package of it: docs/building.md.\n\
    What has been built of the same commit by the same recipe is not built again."
)]
pub(crate) struct BuildCommand {
    #[command(subcommand)]
    look: Option<Look>,
    /// Which service
    #[arg(value_name = "SERVICE", required = true)]
    service: Option<ServiceName>,
    /// Which tag, branch or commit of its source
    #[arg(long = "rev", value_name = "REVISION", required = true)]
    revision: Option<String>,
    /// Puts what it made into the store
    #[arg(long)]
    push: bool,
    /// Puts what it made into the store, and makes the release of it
    #[arg(long)]
    release: bool,
    /// Which version that is [default: the tag without its `v`, else the commit]
    #[arg(long = "version", value_name = "VERSION")]
    artifact_version: Option<Version>,
    #[command(flatten)]
    parameters: ParameterArgs,
    #[command(flatten)]
    signers: SignersArgs,
    #[command(flatten)]
    hosts: HostArgs,
    #[command(flatten)]
    builder: BuilderArgs,
}

impl BuildCommand {
    pub(crate) async fn run(self, app: &App) -> Result<Exit, Problem> {
        let goes_on = match &self.look {
            Some(Look::List(_) | Look::Show(_)) => false,
            Some(Look::Log(log)) => log.follow,
            Some(Look::Cancel(_)) | None => true,
        };
        let plane = async |remote| plane(app, &self.builder, &self.hosts, remote, goes_on).await;
        match self.look {
            Some(Look::List(command)) => {
                let mut planes = vec![plane(false).await?];
                if matches!(app.destination()?, Destination::Own) {
                    planes.push(plane(true).await?);
                }
                command.run(app, &planes).await
            }
            Some(Look::Show(command)) => {
                let builds = plane(is_remote(&command.id)).await?;
                command.run(app, &*builds).await
            }
            Some(Look::Log(command)) => {
                let builds = plane(is_remote(&command.id)).await?;
                command.run(app, &*builds).await
            }
            Some(Look::Cancel(command)) => {
                let builds = plane(is_remote(&command.id)).await?;
                command.run(app, &*builds).await
            }
            None => {
                self.demand_release()?;
                let builds = plane(self.hosts.on.is_some()).await?;
                self.build(app, &*builds).await
            }
        }
    }

    /// Refuses what is about a release where none is to be made.
    fn demand_release(&self) -> Result<(), Problem> {
        if self.release || (self.parameters.is_empty() && !self.signers.is_said()) {
            return Ok(());
        }
        let message = "`--parameter`, `--sign-key` and `--key-list` are about a release, and without `--release` none is made";
        Err(usage(message))
    }

    async fn build(self, app: &App, builds: &dyn BuildPlane) -> Result<Exit, Problem> {
        // Before anything is built: nobody waits for a build to hear that the password is wrong.
        let signers = self.signers.open()?;
        let service = self.service.ok_or_else(|| usage("which service is to be built?"))?;
        let asked = NewBuild {
            service: service.to_string(),
            revision: self.revision.unwrap_or_default(),
            then: None,
            on: self.hosts.on.as_ref().map(ToString::to_string),
            parameters: self.release.then(|| self.parameters.sent()),
        };
        let build = builds.start(&asked).await?;
        app.output
            .note(format_args!("build {} of {} at {}", build.id, build.service, build.revision));
        let build = attend(app, builds, &id_of(&build)?).await?;
        for warning in &build.warnings {
            app.output.warn(clean(warning));
        }
        if let Some(problem) = build_problem(&build) {
            return Err(problem);
        }
        if !(self.push || self.release) {
            app.output.result(&build, |output| show(output, &build));
            return Ok(Exit::Succeeded);
        }
        let publication = Publication {
            version: self.artifact_version.as_ref().map(ToString::to_string),
            release: self.release,
            parameters: self.parameters.sent(),
            signed: None,
        };
        let published = match signers {
            Some(signers) => {
                publish_signed(app, builds, &service, &build, publication, &signers).await?
            }
            None => builds.publish(&id_of(&build)?, &publication).await?,
        };
        app.output.result(&published, |output| show_published(output, &published));
        Ok(Exit::Succeeded)
    }
}
