use crate::{
    app::App,
    commands::{room, transfers::transfer},
    files::{Source, write_whole},
    output::{Output, list, plural, styles},
    plane::Plane,
};
use clap::{Args, ValueHint};
use deploy_core::{
    digest::{Digest, digest_of},
    id::{ReleaseId, ServiceName},
};
use deploy_wire::{Exit, NewPlan, Plan, PlanHost, Problem, ProblemCode, SeenPlan};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// The largest plan file, in bytes.
const LARGEST: u64 = 512 << 20;

/// How plan files are written.
const FORMAT: u32 = 1;

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
        let plane = app.plane().await?;
        let (service, release) = (self.service.to_string(), self.release.to_string());
        let plan = plane.plan(&NewPlan { service, release, seed: self.seed }).await?;
        if let Some(path) = &self.save {
            write_whole(path, &text_of(&plan)?)?;
        }
        app.output.result(&plan, |output| {
            show(output, &plan);
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
///
/// The plan is for people to read. It is started by being made again, and compared: so nobody need be trusted with it.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct PlanFile {
    format: u32,
    digest: Digest,
    plan: Plan,
}

/// How a plan file is written, whatever else it says.
#[derive(Deserialize)]
struct Format {
    format: u32,
}

/// What a file says that holds `plan`.
fn text_of(plan: &Plan) -> Result<String, Problem> {
    let file = PlanFile { format: FORMAT, digest: digest_of(plan), plan: plan.clone() };
    Ok(serde_json::to_string_pretty(&file).map_err(crate::problem::invalid)? + "\n")
}

/// Reads a saved plan.
pub(crate) fn load(path: &Path) -> Result<Plan, Problem> {
    let source = Source::read(path, LARGEST)?;
    if let Ok(Format { format }) = source.json()
        && format != FORMAT
    {
        let what = format!("it has format {format}, and this program knows format {FORMAT}");
        return Err(source.problem(None, what).with_hint("make a new one with `deploy plan`"));
    }
    let file: PlanFile = source.json()?;
    let edited = |at, what: &str| {
        let problem =
            source.problem(at, format_args!("the plan is not the one that was saved: {what}"));
        problem.with_hint("plans are not edited: make a new one with `deploy plan`")
    };
    if digest_of(&file.plan) != file.digest {
        return Err(edited(None, "its digest is another one"));
    }
    // What this program does not know is not in the digest either.
    if let Some(at) = source.difference(&text_of(&file.plan)?) {
        return Err(edited(Some(at), "here begins what this program would not have written"));
    }
    Ok(file.plan)
}

/// What of a plan says that it is just this one.
pub(crate) fn seen(plan: &Plan) -> SeenPlan {
    SeenPlan { digest: plan.digest.clone(), created_at: plan.created_at.clone(), seed: plan.seed }
}

/// The problem of starting a plan, with what has changed since it was made, where that is the problem.
pub(crate) async fn changed(plane: &dyn Plane, plan: &Plan, problem: Problem) -> Problem {
    if problem.code != ProblemCode::InventoryChanged || problem.context.contains_key("change.1") {
        return problem;
    }
    let (service, release) = (plan.service.clone(), plan.release.clone());
    let Ok(now) = plane.plan(&NewPlan { service, release, seed: Some(plan.seed) }).await else {
        return problem;
    };
    let changes = differences(plan, &now);
    let mut problem = problem.with_hint("`deploy plan` makes a new one");
    if !changes.is_empty() {
        let message = format!("{}: {}", problem.message, list(&changes, NAMED));
        problem.message = message;
    }
    let numbered = (1..).zip(changes);
    numbered.fold(problem, |it, (at, change)| it.with_context(format!("change.{at}"), change))
}

/// What a plan says of hosts, and another does not.
fn differences(was: &Plan, is: &Plan) -> Vec<String> {
    let (before, now) = (by_host(was), by_host(is));
    let mut changes = Vec::new();
    for (host, (wave, target)) in &before {
        match now.get(host) {
            None => changes.push(format!("host {host} is not to be changed any more")),
            Some((_, now)) if (&now.from, &now.to) != (&target.from, &target.to) => {
                changes.push(format!("host {host} does not run what it ran"));
            }
            Some((_, now)) if now.record != target.record => {
                changes.push(format!("host {host} has other labels, or is reached in another way"));
            }
            Some((now, _)) if now != wave => {
                changes.push(format!("host {host} is in wave {now} and not in {wave}"));
            }
            Some(_) => {}
        }
    }
    let new = now.keys().filter(|it| !before.contains_key(*it));
    changes.extend(new.map(|host| format!("host {host} is new in it")));
    if was.strategy != is.strategy {
        changes.push("the service has another strategy".to_owned());
    }
    changes
}

fn by_host(plan: &Plan) -> BTreeMap<&str, (u32, &PlanHost)> {
    let targets = plan.waves.iter().flat_map(|wave| wave.targets.iter().map(|it| (wave.wave, it)));
    targets.map(|(wave, it)| (it.host.as_str(), (wave, it))).collect()
}

/// Shows a plan like a diff.
pub(crate) fn show(output: &Output, plan: &Plan) {
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
    plan.transfers.iter().for_each(|it| output.line(transfer(it)));
    plan.room.iter().for_each(|it| room::show(output, it));
    if !plan.summary.is_empty() {
        output.line(&plan.summary);
    }
    plan.warnings.iter().for_each(|it| output.warn(it));
}
