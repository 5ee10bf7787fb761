mod here;
mod on;

pub(crate) use here::BuildHere;

use crate::{
    app::App,
    contexts::Destination,
    output::{Output, Table, clean, size, styles, when},
    plane::{BuildPlane, id_of},
    problem::usage,
};
use clap::{Args, Subcommand, ValueEnum, ValueHint};
use deploy_build::{LocalBuilder, SandboxUse};
use deploy_core::{
    backend::Clock,
    id::{BuildId, ServiceName, Version},
    memory::SystemClock,
};
use deploy_operations::{Builds, build_problem, problem::OrProblem as _};
use deploy_wire::{
    Build, BuildLogLine, Exit, NewBuild, Problem, ProblemCode, Publication, PublishedBuild,
};
use on::{HostArgs, is_remote};
use std::{num::NonZeroUsize, path::PathBuf, sync::Arc, time::Duration};
use tokio::signal::unix::{SignalKind, signal};

/// How often a build is looked at.
const REFRESH: Duration = Duration::from_millis(150);

/// Builds: from a revision in git to a package, the same bit for bit
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    after_help = "Examples:\n  deploy build web --rev v1.4.2\n  deploy build web --rev v1.4.2 --release\n  deploy build web --rev v1.4.2 --on role=builder\n\n\
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
    hosts: HostArgs,
    #[command(flatten)]
    builder: BuilderArgs,
}

/// How this machine builds, or the host.
#[derive(Debug, Args)]
struct BuilderArgs {
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

/// What there is of builds.
#[derive(Debug, Subcommand)]
enum Look {
    List(List),
    Show(Show),
    Log(Log),
    Cancel(Cancel),
}

/// Shows builds, newest first
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  deploy build list --service web")]
struct List {
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
struct Show {
    /// Which build
    #[arg(value_name = "BUILD")]
    id: BuildId,
}

/// Shows what a build has printed
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  deploy build log b17\n  deploy build log b17 --follow")]
struct Log {
    /// Which build
    #[arg(value_name = "BUILD")]
    id: BuildId,
    /// Goes on until the build is over
    #[arg(long)]
    follow: bool,
}

/// Ends a build, or keeps it from beginning
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  deploy build cancel b17")]
struct Cancel {
    /// Which build
    #[arg(value_name = "BUILD")]
    id: BuildId,
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
                let builds = plane(self.hosts.on.is_some()).await?;
                self.build(app, &*builds).await
            }
        }
    }

    async fn build(self, app: &App, builds: &dyn BuildPlane) -> Result<Exit, Problem> {
        let asked = NewBuild {
            service: self.service.map(|it| it.to_string()).unwrap_or_default(),
            revision: self.revision.unwrap_or_default(),
            then: None,
            on: self.hosts.on.as_ref().map(ToString::to_string),
        };
        let build = builds.start(&asked).await?;
        app.output
            .note(format_args!("build {} of {} at {}", build.id, build.service, build.revision));
        let id = id_of(&build)?;
        let build = attend(app, builds, &id).await?;
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
        let version = self.artifact_version.as_ref().map(ToString::to_string);
        let publication = Publication { version, release: self.release };
        let published = builds.publish(&id, &publication).await?;
        app.output.result(&published, |output| show_published(output, &published));
        Ok(Exit::Succeeded)
    }
}

/// Where builds are.
async fn plane(
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

/// Follows a build of this process to its end, and cancels it when somebody wants this process to end.
async fn attend(app: &App, builds: &dyn BuildPlane, id: &BuildId) -> Result<Build, Problem> {
    let listen = |kind| {
        signal(kind).map_err(|err| {
            Problem::new(ProblemCode::Internal, format!("signals cannot be listened for: {err}"))
        })
    };
    let (mut ctrl_c, mut terminate, mut hangup) = (
        listen(SignalKind::interrupt())?,
        listen(SignalKind::terminate())?,
        listen(SignalKind::hangup())?,
    );
    let mut lines = |line: &BuildLogLine| app.output.note(clean(&line.text));
    let following = follow(builds, id, true, &mut lines);
    tokio::pin!(following);
    loop {
        tokio::select! {
            done = &mut following => {
                done?;
                return over(builds, id).await;
            }
            _ = ctrl_c.recv() => drop(builds.cancel(id).await?),
            _ = terminate.recv() => drop(builds.cancel(id).await?),
            _ = hangup.recv() => drop(builds.cancel(id).await?),
        }
    }
}

/// Gives the lines of a log as they come; to the build's end, or (without `to_the_end`) those that there are.
async fn follow(
    builds: &dyn BuildPlane,
    id: &BuildId,
    to_the_end: bool,
    line: &mut (dyn FnMut(&BuildLogLine) + Send),
) -> Result<(), Problem> {
    let mut lines = builds.log(id, to_the_end).await?;
    while let Some(next) = lines.next().await? {
        line(&next);
    }
    Ok(())
}

/// The build once it is over.
async fn over(builds: &dyn BuildPlane, id: &BuildId) -> Result<Build, Problem> {
    let clock = SystemClock::new();
    loop {
        let build = builds.show(id).await?;
        if build.ended_at.is_some() {
            return Ok(build);
        }
        clock.sleep_until(clock.now().after(REFRESH)).await;
    }
}

impl List {
    async fn run(self, app: &App, planes: &[Box<dyn BuildPlane>]) -> Result<Exit, Problem> {
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
    async fn run(self, app: &App, builds: &dyn BuildPlane) -> Result<Exit, Problem> {
        let build = builds.show(&self.id).await?;
        app.output.result(&build, |output| show(output, &build));
        Ok(Exit::Succeeded)
    }
}

impl Log {
    async fn run(self, app: &App, builds: &dyn BuildPlane) -> Result<Exit, Problem> {
        let mut line = |line: &BuildLogLine| {
            app.output.result(line, |output| output.line(clean(&line.text)));
        };
        follow(builds, &self.id, self.follow, &mut line).await?;
        Ok(Exit::Succeeded)
    }
}

impl Cancel {
    async fn run(self, app: &App, builds: &dyn BuildPlane) -> Result<Exit, Problem> {
        builds.cancel(&self.id).await?;
        let build = over(builds, &self.id).await?;
        app.output.result(&build, |output| {
            output.line(format_args!("build {} is {}", build.id, build.state));
        });
        Ok(Exit::Succeeded)
    }
}

fn show(output: &Output, build: &Build) {
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

fn show_published(output: &Output, published: &PublishedBuild) {
    for it in &published.artifacts {
        output.line(format_args!(
            "{} {} {} is {} ({})",
            it.kind,
            it.repository,
            it.version,
            it.digest,
            size(it.size)
        ));
    }
    if let Some(release) = &published.release {
        output.line(format_args!("release {} is made", release.id));
    }
}
