use crate::{
    app::App,
    commands::plan::{self, seen},
    plane::Plane,
    problem::{OrProblem as _, usage},
    rollout::{Follow, Role, hand_over},
};
use clap::{Args, ValueHint};
use deploy_core::id::{ReleaseId, RolloutId, ServiceName};
use deploy_operations::parse::field;
use deploy_wire::{
    Exit, NewPlan, NewRollout, NewRun, Plan, Problem, Rollout, RolloutCommand, RolloutSummary,
};
use std::path::Path;

/// Starts a rollout, and drives it
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  deploy rollout start web web-1.4.2\n  deploy rollout start plan.json --detach\n\n\
    Ctrl-C asks whether to pause, to abort, or to let it go on in the background.\n\
    A process that is killed loses nothing: `deploy rollout resume` goes on from where it was.\n\
    A server drives it by itself, and this command follows: what ends it does not end the rollout."
)]
pub(crate) struct Start {
    /// A service, or a plan saved by `deploy plan -o`
    #[arg(value_name = "SERVICE|PLAN", value_hint = ValueHint::FilePath)]
    what: String,
    /// Which release of the service
    #[arg(value_name = "RELEASE")]
    release: Option<ReleaseId>,
    /// Starts without asking; in a pipe nobody is asked anyway
    #[arg(short, long)]
    yes: bool,
    /// Drives it in the background, and returns at once
    #[arg(long, conflicts_with_all = ["wait", "no_wait"])]
    detach: bool,
    #[command(flatten)]
    waiting: Waiting,
    /// Decides everything that is left to chance [default: another one each time]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
}

/// What to do where a person is needed.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Waiting {
    /// Goes on waiting where a person is needed [default at a terminal]
    #[arg(long)]
    wait: bool,
    /// Ends with code 11 where a person is needed [default in a pipe]
    #[arg(long, conflicts_with = "wait")]
    no_wait: bool,
}

impl Waiting {
    pub(super) const fn choice(self) -> Option<bool> {
        match (self.wait, self.no_wait) {
            (true, _) => Some(true),
            (false, true) => Some(false),
            (false, false) => None,
        }
    }
}

impl Start {
    pub(super) async fn run(self, app: &App) -> Result<Exit, Problem> {
        let saved = match &self.release {
            Some(_) => None,
            None if Path::new(&self.what).is_file() => Some(plan::load(Path::new(&self.what))?),
            None => {
                let what = self.what.escape_debug();
                return Err(usage(format_args!(
                    "`{what}` is no plan file; for a service, name the release as well"
                ))
                .with_hint("`deploy release list SERVICE` shows its releases"));
            }
        };
        let plane = app.plane().await?;
        let plan = match (saved, self.release) {
            (Some(plan), _) => plan,
            (None, Some(release)) => {
                let service: ServiceName = self.what.parse().map_err(usage)?;
                let (service, release) = (service.to_string(), release.to_string());
                plane.plan(&NewPlan { service, release, seed: self.seed }).await?
            }
            (None, None) => return Err(usage("name a service and a release, or a plan file")),
        };
        let how = CarryOut {
            yes: self.yes,
            detach: self.detach,
            wait: self.waiting.choice(),
            logs: false,
        };
        Ok(carry_out(app, &*plane, plan, Work::Release, how).await?.0)
    }
}

/// What a plan is for, and what else it takes to start it.
#[derive(Clone, Debug)]
pub(crate) enum Work {
    Release,
    /// To bring hosts of this program's own platform what they are owed: just this plan.
    Repair(Box<deploy_core::plan::Plan>),
    /// To take back what this rollout did.
    Rollback(String),
    Run(Box<NewRun>),
}

/// How a plan is carried out.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CarryOut {
    /// Without asking.
    pub(crate) yes: bool,
    /// By a process in the background, where no server does it.
    pub(crate) detach: bool,
    /// Whether to go on where a person is needed.
    pub(crate) wait: Option<bool>,
    /// With the output of the hosts.
    pub(crate) logs: bool,
}

/// Carries a plan out, after somebody at a terminal has seen it. Gives the rollout, if there is one.
pub(crate) async fn carry_out(
    app: &App,
    plane: &dyn Plane,
    plan: Plan,
    work: Work,
    how: CarryOut,
) -> Result<(Exit, Option<String>), Problem> {
    if plan.waves.is_empty() {
        app.output.result(&plan, |output| {
            output.line(format_args!(
                "nothing to do: every selected host runs {} already",
                plan.release
            ));
        });
        return Ok((Exit::Succeeded, None));
    }
    if app.output.is_live() && !how.yes {
        plan::show(&app.output, &plan);
        if app.output.asker().ask("Start it? [y]es or [n]o?", "yn") == Some('n') {
            app.output.note("nothing was started");
            return Ok((Exit::Other, None));
        }
    }
    let rollout = start(plane, &plan, work).await?;
    if how.detach {
        return Ok((detached(app, plane, &rollout).await?, Some(rollout.id)));
    }
    let follow = Follow::new(app, plane, &rollout.id, Role::Drive).with_wait(how.wait);
    let exit = follow.with_logs(how.logs).run().await?;
    Ok((exit, Some(rollout.id)))
}

/// Starts just the plan that was seen.
async fn start(plane: &dyn Plane, plan: &Plan, work: Work) -> Result<Rollout, Problem> {
    let seen = Some(seen(plan));
    match work {
        Work::Release => {
            let (service, release) = (plan.service.clone(), plan.release.clone());
            let asked = NewRollout { service, release, seed: None, plan: seen };
            match plane.start(&asked).await {
                Err(problem) => Err(plan::changed(plane, plan, problem).await),
                started => started,
            }
        }
        Work::Repair(plan) => {
            let own = plane.own().ok_or_else(|| usage("a server starts repairs by itself"))?;
            let started = own.platform.start(&own.principal, *plan).await.or_problem()?;
            plane.rollout(started.as_str(), false).await
        }
        Work::Rollback(rollout) => {
            let command = RolloutCommand::Rollback { note: String::new(), plan: seen };
            plane.command(&rollout, &command).await
        }
        Work::Run(mut run) => {
            run.plan = seen;
            plane.start_run(&run).await
        }
    }
}

/// Lets a rollout go on without this process.
async fn detached(app: &App, plane: &dyn Plane, rollout: &Rollout) -> Result<Exit, Problem> {
    let id = &rollout.id;
    let log = match plane.own() {
        Some(own) => {
            let id: RolloutId = field("rollout", id)?;
            Some(hand_over(app, own, &id).await?)
        }
        None => None,
    };
    let now = plane.rollout(id, false).await?;
    app.output.result(&RolloutSummary::from(&now), |output| {
        output.line(format_args!("rollout {id} goes on in the background"));
        let log = log.map_or_else(String::new, |it| format!("; it writes to {}", it.display()));
        output.note(format_args!("`deploy rollout watch {id}` shows it{log}"));
    });
    Ok(Exit::Succeeded)
}
