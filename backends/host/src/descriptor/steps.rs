//! Which steps a descriptor has: those it declares, and the defaults.
use super::{
    error::Problems,
    raw::{RawEffect, RawStep, RawSteps},
};
use crate::duration;
use deploy_core::spec::{Effect, Step, StepName};
use std::time::Duration;
use toml::Spanned;

/// A step, and what runs it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DescribedStep {
    /// The step, as plans hold it.
    pub step: Step,
    /// What runs it.
    pub script: Script,
    /// The read-only script that says whether it took effect, for [`Effect::Check`]: a path in the descriptor.
    pub check: Option<String>,
}

/// What runs a step.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "a step is run by the one or the other")]
pub enum Script {
    /// The script at this path of the descriptor.
    Custom(String),
    /// The default script for the step.
    Default,
}

/// What the rest of the descriptor means for its steps.
#[derive(Clone, Copy, Debug)]
pub(super) struct Declared {
    pub(super) start: bool,
    pub(super) stop: Option<Duration>,
    pub(super) verify: bool,
}

pub(super) fn steps(
    raw: RawSteps,
    declared: Declared,
    problems: &mut Problems<'_>,
) -> Vec<DescribedStep> {
    let is_run = raw.run.is_some();
    let mut found = Vec::new();
    for (name, raw) in by_name(raw) {
        if is_run && name != StepName::Run {
            if let Some(raw) = raw {
                problems.add(
                    &raw.span(),
                    format!("`run` stands alone: remove [steps.{name}] or [steps.run]"),
                );
            }
            continue;
        }
        found.extend(step(name, raw, declared, problems));
    }
    found
}

fn by_name(raw: RawSteps) -> impl Iterator<Item = (StepName, Option<Spanned<RawStep>>)> {
    let mut all = [
        (StepName::Drain, raw.drain),
        (StepName::Fetch, raw.fetch),
        (StepName::Install, raw.install),
        (StepName::Post, raw.post),
        (StepName::PreStop, raw.pre_stop),
        (StepName::Rollback, raw.rollback),
        (StepName::Run, raw.run),
        (StepName::Start, raw.start),
        (StepName::Stop, raw.stop),
        (StepName::Undrain, raw.undrain),
        (StepName::Verify, raw.verify),
    ];
    all.sort_by_key(|(name, _)| *name);
    all.into_iter()
}

/// Whether there is a default script for the step, and something for it to do.
const fn has_default(name: StepName, declared: Declared) -> bool {
    match name {
        StepName::Fetch | StepName::Install | StepName::Rollback => true,
        StepName::Start => declared.start,
        StepName::Stop => declared.start || declared.stop.is_some(),
        StepName::Verify => declared.start || declared.verify,
        _ => false,
    }
}

fn step(
    name: StepName,
    raw: Option<Spanned<RawStep>>,
    declared: Declared,
    problems: &mut Problems<'_>,
) -> Option<DescribedStep> {
    let default = has_default(name, declared);
    let Some(raw) = raw else {
        return default.then(|| DescribedStep {
            step: default_step(name, declared),
            script: Script::Default,
            check: None,
        });
    };
    let span = raw.span();
    let raw = raw.into_inner();
    if !raw.enabled {
        if raw.script.is_some()
            || raw.timeout.is_some()
            || raw.effect.is_some()
            || raw.check.is_some()
        {
            problems.add(
                &span,
                format!(
                    "[steps.{name}] is off: remove what else is said of it, or `enabled = false`"
                ),
            );
        }
        return None;
    }
    let Some(script) = script(raw.script.as_ref(), default, problems) else {
        problems.add(
            &span,
            format!("there is no default `{name}` here: give [steps.{name}] a `script`"),
        );
        return None;
    };
    let mut step = match script {
        Script::Custom(_) => Step::new(name),
        Script::Default => default_step(name, declared),
    };
    if let Some(timeout) = raw.timeout.as_ref().and_then(|it| timeout(it, problems)) {
        step = step.with_timeout(timeout);
    }
    let check = effect(&mut step, &raw, problems);
    Some(DescribedStep { step, script, check })
}

/// Default steps look at what is there before they act, so all of them may be run again.
fn default_step(name: StepName, declared: Declared) -> Step {
    let step = Step::new(name).with_effect(Effect::Idempotent);
    match declared.stop.filter(|_| name == StepName::Stop) {
        // The step has to outlast what it waits for.
        Some(patience) => {
            let timeout = step.timeout.max(patience + Duration::from_secs(60));
            step.with_timeout(timeout)
        }
        None => step,
    }
}

fn script(
    raw: Option<&Spanned<String>>,
    default: bool,
    problems: &mut Problems<'_>,
) -> Option<Script> {
    match raw {
        Some(path) => {
            check_path(path, problems);
            Some(Script::Custom(path.get_ref().clone()))
        }
        None => default.then_some(Script::Default),
    }
}

fn check_path(path: &Spanned<String>, problems: &mut Problems<'_>) {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-/".contains(&b);
    let text = path.get_ref();
    let parts_fine = text.split('/').all(|part| !matches!(part, "" | "." | ".."));
    if !parts_fine || !text.bytes().all(plain) || text.len() > 200 {
        problems.add(
            &path.span(),
            "a script is named by its path in the descriptor's folder, of letters, digits, `.`, `_`, `-` and `/`",
        );
    }
}

pub(super) fn timeout(raw: &Spanned<String>, problems: &mut Problems<'_>) -> Option<Duration> {
    match duration::parse(raw.get_ref()) {
        Ok(duration) if duration >= Duration::from_secs(1) => Some(duration),
        Ok(_) => {
            problems.add(&raw.span(), "a timeout must be at least `1s`");
            None
        }
        Err(err) => {
            problems.add(&raw.span(), err.to_string());
            None
        }
    }
}

/// Settles the effect; gives the check script.
fn effect(step: &mut Step, raw: &RawStep, problems: &mut Problems<'_>) -> Option<String> {
    if step.name == StepName::Verify {
        if let Some(span) =
            raw.effect.as_ref().map(Spanned::span).or_else(|| raw.check.as_ref().map(Spanned::span))
        {
            problems.add(&span, "`verify` is read-only and may always be repeated: remove this");
        }
        return None;
    }
    let said = raw.effect.as_ref().map(|it| *it.get_ref());
    match (said, &raw.check) {
        (Some(RawEffect::Check), Some(check)) => {
            check_path(check, problems);
            step.effect = Effect::Check;
            return Some(check.get_ref().clone());
        }
        (Some(RawEffect::Check), None) => {
            if let Some(effect) = &raw.effect {
                problems.add(
                    &effect.span(),
                    "`effect = \"check\"` needs `check = \"SCRIPT\"`, a read-only script",
                );
            }
        }
        (Some(RawEffect::Idempotent | RawEffect::Once) | None, Some(check)) => {
            problems.add(&check.span(), "`check` goes with `effect = \"check\"`");
        }
        (Some(RawEffect::Idempotent), None) => step.effect = Effect::Idempotent,
        (Some(RawEffect::Once), None) => step.effect = Effect::Once,
        (None, None) => {}
    }
    None
}
