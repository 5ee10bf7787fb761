use crate::{
    app::{App, Embedded},
    commands::plan,
    documents,
    problem::{OrProblem as _, usage},
    rollout::{Follow, Role, hand_over},
};
use clap::{Args, ValueHint};
use deploy_core::{
    engine::PlanRelease,
    id::{ReleaseId, ServiceName},
    plan::{Plan, PlanReport},
};
use deploy_wire::{Exit, Problem};
use std::path::Path;

/// Starts a rollout, and drives it
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  deploy rollout start web web-1.4.2\n  deploy rollout start plan.json --detach\n\n\
    Ctrl-C asks whether to pause, to abort, or to let it go on in the background.\n\
    A process that is killed loses nothing: `deploy rollout resume` goes on from where it was."
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
        let embedded = app.open().await?;
        let (plan, report) = match (saved, self.release) {
            (Some(plan), _) => (plan, None),
            (None, Some(release)) => {
                let service: ServiceName = self.what.parse().map_err(usage)?;
                let request = PlanRelease::new(service, release, seed(&embedded, self.seed));
                let planned =
                    embedded.platform.plan(&embedded.principal, request).await.or_problem()?;
                (planned.0, Some(planned.1))
            }
            (None, None) => return Err(usage("name a service and a release, or a plan file")),
        };
        let how = CarryOut {
            yes: self.yes,
            detach: self.detach,
            wait: self.waiting.choice(),
            logs: false,
        };
        carry_out(app, &embedded, plan, report.as_ref(), how).await
    }
}

/// What decides everything that is left to chance.
pub(crate) fn seed(embedded: &Embedded, given: Option<u64>) -> u64 {
    given.unwrap_or_else(|| embedded.parts().clock.now().as_millis())
}

/// How a plan is carried out.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CarryOut {
    /// Without asking.
    pub(crate) yes: bool,
    /// By a process in the background.
    pub(crate) detach: bool,
    /// Whether to go on where a person is needed.
    pub(crate) wait: Option<bool>,
    /// With the output of the hosts.
    pub(crate) logs: bool,
}

/// Carries a plan out, after somebody at a terminal has seen it.
pub(crate) async fn carry_out(
    app: &App,
    embedded: &Embedded,
    plan: Plan,
    report: Option<&PlanReport>,
    how: CarryOut,
) -> Result<Exit, Problem> {
    let document = documents::plan(&plan, report);
    if plan.waves.is_empty() {
        app.output.result(&document, |output| {
            output.line(format_args!(
                "nothing to do: every selected host runs {} already",
                plan.release
            ));
        });
        return Ok(Exit::Succeeded);
    }
    let asker = app.output.asker();
    if app.output.is_live() && !how.yes {
        plan::show(&app.output, &document, report);
        if asker.ask("Start it? [y]es or [n]o?", "yn") == Some('n') {
            app.output.note("nothing was started");
            return Ok(Exit::Other);
        }
    }
    let id = embedded.platform.start(&embedded.principal, plan).await.or_problem()?;
    if how.detach {
        let log = hand_over(app, embedded, &id).await?;
        let rollout = embedded.platform.load(&id).await.or_problem()?;
        app.output.result(&documents::summary(&rollout), |output| {
            output.line(format_args!("rollout {id} goes on in the background"));
            output.note(format_args!(
                "`deploy rollout watch {id}` shows it; it writes to {}",
                log.display()
            ));
        });
        return Ok(Exit::Succeeded);
    }
    let follow = Follow::new(app, embedded, id, Role::Drive).with_wait(how.wait);
    let follow = if how.logs { follow.with_logs() } else { follow };
    follow.run().await
}
