use crate::{
    app::App,
    documents,
    files::{Source, write_whole},
    output::{Output, list, plural, styles},
    problem::OrProblem as _,
};
use clap::{Args, ValueHint};
use deploy_core::{
    digest::Digest,
    engine::PlanRelease,
    id::{ReleaseId, ServiceName},
    plan::{Plan, PlanReport},
};
use deploy_wire::{self as wire, Exit, Problem};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// The largest plan file, in bytes.
const LARGEST: u64 = 512 << 20;

/// How many no-ops and hosts left out are named.
const NAMED: usize = 8;

/// Shows what a rollout of a release would do, and does nothing
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  deploy plan web web-1.4.2\n  deploy plan web web-1.4.2 -o plan.json && deploy rollout start plan.json"
)]
pub(crate) struct PlanCommand {
    /// Which service
    #[arg(value_name = "SERVICE")]
    service: ServiceName,
    /// Which of its releases
    #[arg(value_name = "RELEASE")]
    release: ReleaseId,
    /// Saves the plan, to be started later exactly as it is
    #[arg(short = 'o', long = "save", value_name = "FILE", value_hint = ValueHint::FilePath)]
    save: Option<PathBuf>,
    /// Decides everything that is left to chance [default: another one each time]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
}

impl PlanCommand {
    pub(crate) async fn run(self, app: &App) -> Result<Exit, Problem> {
        let embedded = app.open().await?;
        let seed = self.seed.unwrap_or_else(|| embedded.parts().clock.now().as_millis());
        let request = PlanRelease::new(self.service, self.release, seed);
        let (plan, report) =
            embedded.platform.plan(&embedded.principal, request).await.or_problem()?;
        if let Some(path) = &self.save {
            write_whole(path, &text_of(&plan)?)?;
        }
        let document = documents::plan(&plan, Some(&report));
        app.output.result(&document, |output| {
            show(output, &document, Some(&report));
            if let Some(path) = &self.save {
                output.note(format_args!(
                    "saved: `deploy rollout start {}` starts it",
                    path.display()
                ));
            }
        });
        Ok(Exit::Succeeded)
    }
}

/// A saved plan, and the digest that shows whether somebody has changed it.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct PlanFile<P> {
    digest: Digest,
    plan: P,
}

/// What a file says that holds `plan`.
fn text_of(plan: &Plan) -> Result<String, Problem> {
    let file = PlanFile { digest: plan.digest(), plan };
    Ok(serde_json::to_string_pretty(&file).map_err(crate::problem::invalid)? + "\n")
}

/// Reads a saved plan.
pub(crate) fn load(path: &Path) -> Result<Plan, Problem> {
    let source = Source::read(path, LARGEST)?;
    let file: PlanFile<Plan> = source.json()?;
    file.plan.check().map_err(|err| source.problem(None, err))?;
    let edited = |at, what: &str| {
        let problem =
            source.problem(at, format_args!("the plan is not the one that was saved: {what}"));
        problem.with_hint("plans are not edited: make a new one with `deploy plan`")
    };
    if file.plan.digest() != file.digest {
        return Err(edited(None, "its digest is another one"));
    }
    // What this program does not know is not in the digest either.
    if let Some(at) = source.difference(&text_of(&file.plan)?) {
        return Err(edited(Some(at), "here begins what this program would not have written"));
    }
    Ok(file.plan)
}

/// Shows a plan like a diff.
pub(crate) fn show(output: &Output, plan: &wire::Plan, report: Option<&PlanReport>) {
    let digest: String = plan.digest.chars().take(7 + 12).collect();
    let title = format!("plan {digest} of {} to {}", plan.service, plan.release);
    output.line(output.paint(styles::HEADER, title));
    for wave in &plan.waves {
        let targets = u64::try_from(wave.targets.len()).unwrap_or(u64::MAX);
        output.line(output.paint(
            styles::DIM,
            format_args!(
                "@@ wave {} of {}: {} @@",
                wave.wave,
                plan.waves.len(),
                plural(targets, "host")
            ),
        ));
        for target in &wave.targets {
            let (style, sign) = match (&target.from, &target.to) {
                (None, _) => (styles::GOOD, '+'),
                (Some(_), None) => (styles::FAILURE, '-'),
                (Some(_), Some(_)) => (styles::WARNING, '~'),
            };
            let nothing = "nothing";
            let from = target.from.as_deref().unwrap_or(nothing);
            let to = target.to.as_deref().unwrap_or(nothing);
            output.line(output.paint(style, format_args!("{sign} {}: {from} → {to}", target.host)));
        }
    }
    if !plan.no_ops.is_empty() {
        let line = format!("= {}: no change", list(&plan.no_ops, NAMED));
        output.line(output.paint(styles::DIM, line));
    }
    if !plan.left_out.is_empty() {
        let names: Vec<_> = plan.left_out.iter().map(|it| it.host.as_str()).collect();
        output.line(output.paint(styles::DIM, format_args!("  {}: left out", list(&names, NAMED))));
    }
    if let Some(report) = report {
        output.line(report);
    }
    plan.warnings.iter().for_each(|it| output.warn(it));
}
