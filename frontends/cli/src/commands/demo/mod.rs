mod stage;

use crate::{
    app::App,
    output::styles,
    problem::{invalid, io_problem},
};
use clap::{Args, ValueHint};
use deploy_wire::{Exit, Problem, ProblemCode};
use stage::{HOSTS, Stage};
use std::path::PathBuf;

/// Shows a real rollout on six hosts of this machine; needs no root, and nothing to be installed
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  deploy demo\n  deploy demo --keep")]
pub(crate) struct Demo {
    /// Leaves everything running, to be tried out
    #[arg(long)]
    keep: bool,
    /// The folder for everything [default: a temporary one]
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    dir: Option<PathBuf>,
}

impl Demo {
    pub(crate) async fn run(self, app: &App) -> Result<Exit, Problem> {
        let stage = Stage::set(app, self.dir)?;
        let played = play(&stage).await;
        let seen = match played {
            Ok(()) => stage.versions(),
            Err(problem) => {
                app.output
                    .note(format_args!("what was done so far is in {}", stage.dir().display()));
                return Err(problem);
            }
        };
        let right = seen.iter().filter(|it| it.as_deref() == Ok("2")).count();
        for (host, version) in (1..).zip(&seen) {
            let said = match version {
                Ok(version) => format!("version {version}"),
                Err(err) => format!("no answer: {err}"),
            };
            app.output.line(format_args!("  web-{host} {} {said}", stage.url(host)));
        }
        if right != seen.len() {
            let message = format!("only {right} of {HOSTS} hosts serve version 2");
            return Err(Problem::new(ProblemCode::Unhealthy, message));
        }
        stage.say(&format!("All {HOSTS} hosts really serve version 2."));
        if self.keep { stage.keep() } else { stage.clear() }
    }
}

async fn play(stage: &Stage<'_>) -> Result<(), Problem> {
    stage.say(&format!(
        "Six hosts, each a folder of this machine and an address of its own, and a service that belongs on them.\n\
         Everything lies in {}.",
        stage.dir().display()
    ));
    stage.run(&["host", "import", "hosts.toml"], Exit::Succeeded).await?;
    stage.run(&["service", "apply", "service.toml"], Exit::Succeeded).await?;

    stage.say("Version 1 of a web site goes onto all of them: package, descriptor and parameters make a release.");
    stage.release("1").await?;
    stage.run(&["rollout", "start", "web", "web-1", "--yes"], Exit::Succeeded).await?;

    stage.say(
        "From now on the service is careful: first a canary, which is watched for a while and then confirmed by a person,\n\
         then the rest. Version 2 goes like that. The command ends with code 11 where it waits for somebody.",
    );
    stage.run(&["service", "apply", "careful.toml"], Exit::Succeeded).await?;
    stage.release("2").await?;
    stage.run(&["plan", "web", "web-2"], Exit::Succeeded).await?;
    stage.run(&["rollout", "start", "web", "web-2", "--yes", "--no-wait"], Exit::Stuck).await?;
    stage.run(&["rollout", "why", "web", "web-4"], Exit::Succeeded).await?;
    stage.run(&["rollout", "confirm", "web"], Exit::Succeeded).await?;

    stage.say(
        "Version 3 links to a page that somebody forgot to put into the package. Its health check fails on the canary,\n\
         and the service says what then: roll back. No other host ever sees it, and the command ends with code 10.",
    );
    stage.release("3").await?;
    stage
        .run(&["rollout", "start", "web", "web-3", "--yes", "--no-wait"], Exit::RolledBack)
        .await?;
    stage.run(&["rollout", "why", "web", "web-1"], Exit::Succeeded).await?;

    stage.say("What every host runs now, by the inventory and by its own answer over HTTP:");
    stage.run(&["status", "web", "--refresh"], Exit::Succeeded).await
}

impl Stage<'_> {
    /// Makes the release `version` of the site.
    async fn release(&self, version: &str) -> Result<(), Problem> {
        let package = format!("site-{version}");
        let parameters = self.parameters()?;
        let mut arguments = vec![
            "release",
            "create",
            "web",
            version,
            "--package",
            &package,
            "--descriptor",
            "descriptor",
        ];
        for parameter in &parameters {
            arguments.extend(["-p", parameter]);
        }
        self.run(&arguments, Exit::Succeeded).await
    }

    fn keep(&self) -> Result<Exit, Problem> {
        self.say("Everything goes on running. Try:");
        let data_dir = self.data_dir();
        let output = &self.app().output;
        for tail in [
            "rollout list",
            "rollout show web --hosts",
            "rollout logs web",
            "rollout rollback web",
            "run role=web -- 'uptime'",
        ] {
            output.line(format_args!("  deploy --data-dir {} {tail}", data_dir.display()));
        }
        output.line(format_args!("`rm -r {}` ends it all.", self.dir().display()));
        Ok(Exit::Succeeded)
    }

    fn clear(self) -> Result<Exit, Problem> {
        let (say, dir) = (self.app(), self.dir().to_owned());
        std::fs::remove_dir_all(&dir).map_err(|err| io_problem(dir.display(), &err))?;
        let line = "It is all gone again. `deploy demo --keep` leaves it running; `docs/cli.md` says how to begin with your own hosts.";
        say.output.line(say.output.paint(styles::HEADER, line));
        Ok(Exit::Succeeded)
    }
}

/// What ended in another way than it should.
fn unexpected(arguments: &[&str], exit: Exit, wanted: Exit) -> Problem {
    let command = arguments.join(" ");
    invalid(format_args!(
        "`deploy {command}` ended with {} and not with {}",
        exit.code(),
        wanted.code()
    ))
}
