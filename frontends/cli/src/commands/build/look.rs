//! What there is of builds.
use super::follow::{follow, over};
use crate::{
    app::App,
    output::{Output, Table, clean, size, styles, when},
    plane::BuildPlane,
};
use clap::{Args, Subcommand};
use deploy_core::id::{BuildId, ServiceName};
use deploy_wire::{Build, BuildLogLine, Exit, Problem};

/// What there is of builds.
#[derive(Debug, Subcommand)]
pub(super) enum Look {
    List(List),
    Show(Show),
    Log(Log),
    Cancel(Cancel),
}

/// Shows builds, newest first
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  deploy build list --service web")]
pub(super) struct List {
    /// Only of this service
    #[arg(long, value_name = "SERVICE")]
    service: Option<ServiceName>,
    /// How many to show
    #[arg(long, default_value_t = 20, value_name = "N")]
    limit: usize,
}

/// Shows a build
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  deploy build show b17")]
pub(super) struct Show {
    /// Which build
    #[arg(value_name = "BUILD")]
    pub(super) id: BuildId,
}

/// Shows what a build has printed
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  deploy build log b17\n  deploy build log b17 --follow")]
pub(super) struct Log {
    /// Which build
    #[arg(value_name = "BUILD")]
    pub(super) id: BuildId,
    /// Goes on until the build is over
    #[arg(long)]
    pub(super) follow: bool,
}

/// Ends a build, or keeps it from beginning
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  deploy build cancel b17")]
pub(super) struct Cancel {
    /// Which build
    #[arg(value_name = "BUILD")]
    pub(super) id: BuildId,
}

impl List {
    pub(super) async fn run(
        self,
        app: &App,
        planes: &[Box<dyn BuildPlane>],
    ) -> Result<Exit, Problem> {
        let mut documents = Vec::new();
        for builds in planes {
            documents.extend(builds.list(self.service.clone(), self.limit).await?);
        }
        // Of each plane they are the newest first already.
        documents.sort_by(|a, b| b.queued_at.cmp(&a.queued_at));
        documents.truncate(self.limit);
        app.output.result(&documents, |output| {
            if documents.is_empty() {
                output.note("no builds yet: `deploy build SERVICE --rev REVISION` starts one");
                return;
            }
            let mut table =
                Table::new(["BUILD", "SERVICE", "REVISION", "COMMIT", "STATE", "QUEUED AT", "BY"]);
            for it in &documents {
                let commit: String = it.commit.iter().flat_map(|it| it.chars().take(12)).collect();
                let queued_at = when(&it.queued_at);
                table.row([
                    &it.id,
                    &it.service,
                    &it.revision,
                    &commit,
                    &it.state,
                    &queued_at,
                    &it.by,
                ]);
            }
            output.table(&table);
        });
        Ok(Exit::Succeeded)
    }
}

impl Show {
    pub(super) async fn run(self, app: &App, builds: &dyn BuildPlane) -> Result<Exit, Problem> {
        let build = builds.show(&self.id).await?;
        app.output.result(&build, |output| show(output, &build));
        Ok(Exit::Succeeded)
    }
}

impl Log {
    pub(super) async fn run(self, app: &App, builds: &dyn BuildPlane) -> Result<Exit, Problem> {
        let mut line = |line: &BuildLogLine| {
            app.output.result(line, |output| output.line(clean(&line.text)));
        };
        follow(builds, &self.id, self.follow, &mut line).await?;
        Ok(Exit::Succeeded)
    }
}

impl Cancel {
    pub(super) async fn run(self, app: &App, builds: &dyn BuildPlane) -> Result<Exit, Problem> {
        builds.cancel(&self.id).await?;
        let build = over(builds, &self.id).await?;
        app.output.result(&build, |output| {
            output.line(format_args!("build {} is {}", build.id, build.state));
        });
        Ok(Exit::Succeeded)
    }
}

/// Tells a build.
pub(super) fn show(output: &Output, build: &Build) {
    let package = build.package.as_ref().map(|digest| {
        let archive = build.archive.as_deref().unwrap_or_default();
        format!("{digest} ({archive}, {})", size(build.package_size.unwrap_or(0)))
    });
    let state = match &build.reason {
        Some(reason) => format!("{}: {reason}", build.state),
        None => build.state.clone(),
    };
    let times = [
        ("queued", Some(&build.queued_at)),
        ("started", build.started_at.as_ref()),
        ("ended", build.ended_at.as_ref()),
    ];
    let times: Vec<_> =
        times.iter().filter_map(|(what, at)| Some(format!("{what} {}", when((*at)?)))).collect();
    for (name, value) in [
        ("build", Some(build.id.clone())),
        ("service", Some(build.service.clone())),
        ("state", Some(state)),
        ("source", Some(build.remote.clone())),
        ("revision", Some(build.revision.clone())),
        ("tag", build.tag.clone()),
        ("commit", build.commit.clone()),
        ("recipe", Some(build.recipe.clone())),
        ("when", Some(format!("{} by {}", times.join(", "), build.by))),
        ("host", build.host.clone()),
        ("same as", build.same_as.clone()),
        ("isolation", build.isolation.clone()),
        ("package", package),
        ("descriptor", build.descriptor.clone()),
        ("provenance", build.provenance.clone()),
    ] {
        let Some(value) = value else { continue };
        output.line(format_args!(
            "{} {}",
            output.paint(styles::DIM, format_args!("{name:<10}")),
            clean(&value)
        ));
    }
}
