//! What happened, in sentences.
use crate::{
    output::{Style, plural, styles},
    reason::{readable, sentence},
};
use deploy_core::{
    plan::Work,
    rollout::{AttemptEnd, Event, Outcome, Record, Rollout, TaskState},
    time::Timestamp,
};
use deploy_host::duration;
use std::time::Duration;

/// A sentence about what happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sentence {
    pub(crate) text: String,
    pub(crate) style: Style,
    /// Whether it matters also to somebody who sees where the rollout is.
    pub(crate) lasting: bool,
}

fn routine(text: String) -> Option<Sentence> {
    Some(Sentence { text, style: styles::PLAIN, lasting: false })
}

fn turn(style: Style, text: String) -> Option<Sentence> {
    Some(Sentence { text, style, lasting: true })
}

/// Tells the records of a rollout, one after another.
#[derive(Debug, Default)]
pub(crate) struct Narrator {
    /// Whether the rollout has turned back by the record that comes next.
    turned_back: bool,
}

impl Narrator {
    /// What the next record says, where `rollout` has it already; `None` if it is nothing to tell.
    pub(crate) fn tell(&mut self, record: &Record, rollout: &Rollout) -> Option<Sentence> {
        self.turned_back |= matches!(record.event, Event::RollbackStarted { .. });
        match &record.event {
            Event::AttemptEnded { host, end: AttemptEnd::Succeeded, .. } => {
                let what = if self.turned_back { "is back on what it ran before" } else { "done" };
                Some(Sentence {
                    text: format!("{host}: {what}"),
                    style: styles::GOOD,
                    lasting: false,
                })
            }
            _ => narrate(record, rollout),
        }
    }
}

fn narrate(record: &Record, rollout: &Rollout) -> Option<Sentence> {
    let id = &record.rollout;
    match &record.event {
        Event::Accepted { plan, by } => routine(format!(
            "{} on {} in {}, started by {by}",
            what(rollout),
            plural(plan.target_count(), "host"),
            plural(u64::try_from(plan.waves.len()).unwrap_or(u64::MAX), "wave"),
        )),
        Event::Confirmed { wave, by } => {
            turn(styles::GOOD, format!("wave {} is confirmed by {by}", wave + 1))
        }
        Event::ConfirmRequested { wave } => turn(
            styles::WARNING,
            format!(
                "wave {} is in place and waits for somebody: `deploy rollout confirm {id}`",
                wave + 1
            ),
        ),
        Event::BakePassed { wave } => {
            turn(styles::GOOD, format!("wave {} stayed healthy", wave + 1))
        }
        Event::BakeStarted { wave, until } => turn(
            styles::ACTIVE,
            format!("wave {} is in place, and watched until {}", wave + 1, clock(*until)),
        ),
        Event::WaveStarted { wave } => wave_started(rollout, *wave),
        Event::Finished { outcome } => {
            let took = record.at.since(rollout.accepted_at());
            let style = style_of(*outcome);
            let name = if rollout.plan().work == Work::Run { "run" } else { "rollout" };
            let said = match outcome {
                Outcome::SucceededWithDebt => on_some_hosts(rollout),
                _ => said(*outcome).to_owned(),
            };
            turn(style, format!("{name} {id} {said} after {}", rounded(took)))
        }
        Event::AbortStarted { reason } => {
            turn(styles::FAILURE, format!("the rollout is aborted {reason}"))
        }
        Event::Paused => turn(styles::WARNING, "the rollout stands still".to_owned()),
        Event::PauseStarted { reason } => {
            turn(styles::WARNING, format!("the rollout pauses {reason}: nothing more starts"))
        }
        Event::Resumed { by } => turn(styles::GOOD, format!("the rollout is resumed by {by}")),
        Event::RollbackStarted { reason } => {
            turn(styles::FAILURE, format!("the rollout turns back {reason}"))
        }
        _ => narrate_target(record),
    }
}

/// What is rolled out or run.
pub(super) fn what(rollout: &Rollout) -> String {
    let (id, plan) = (rollout.id(), rollout.plan());
    match plan.work {
        Work::Release => format!("rollout {id}: {} to {}", plan.service, plan.release),
        Work::Rollback => format!("rollout {id}: {} back from {}", plan.service, plan.release),
        Work::Run => format!("run {id}"),
    }
}

/// What happened to one host.
fn narrate_target(record: &Record) -> Option<Sentence> {
    match &record.event {
        Event::AttemptEnded { host, end, retry_at, .. } => {
            let next = retry_at.map_or_else(String::new, |at| format!("; next try {}", clock(at)));
            turn(styles::FAILURE, format!("{host}: {}{next}", readable(end)))
        }
        Event::AttemptFound { host, .. } => {
            routine(format!("{host}: its attempt is found under way"))
        }
        Event::AttemptUnanswered { host, reason, .. } => turn(
            styles::WARNING,
            format!("{host}: gives no answer, asked again: {}", sentence(reason)),
        ),
        Event::AttemptUncertain { host, reason, .. } => turn(
            styles::WARNING,
            format!(
                "{host}: nobody knows what became of the attempt, looking: {}",
                sentence(reason)
            ),
        ),
        Event::KillRequested { host, by, .. } => {
            turn(styles::WARNING, format!("{host}: its attempt is killed by {by}"))
        }
        Event::TargetRetried { host, by } => {
            turn(styles::PLAIN, format!("{host}: tried again by {by}"))
        }
        Event::TargetSkipped { host, by, .. } => {
            turn(styles::WARNING, format!("{host}: taken out by {by}"))
        }
        Event::TargetUnhealthy { host, reason, .. } => turn(
            styles::FAILURE,
            format!("{host}: got ill while its wave was watched: {}", sentence(reason)),
        ),
        _ => None,
    }
}

fn wave_started(rollout: &Rollout, wave: u32) -> Option<Sentence> {
    let waves = &rollout.plan().waves;
    let targets = usize::try_from(wave).ok().and_then(|it| waves.get(it)).map_or(0, Vec::len);
    let targets = plural(u64::try_from(targets).unwrap_or(u64::MAX), "host");
    turn(styles::PLAIN, format!("wave {} of {}: {targets}", wave + 1, waves.len()))
}

const fn said(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Aborted => "was aborted",
        Outcome::Failed => "failed: some host could not be brought back",
        Outcome::RolledBack => "was rolled back",
        Outcome::Succeeded => "succeeded",
        _ => "ended",
    }
}

/// On how many hosts it went well.
fn on_some_hosts(rollout: &Rollout) -> String {
    let well = rollout.tasks().filter(|it| it.state == TaskState::Succeeded).count();
    let well = if well == 0 { "none".to_owned() } else { well.to_string() };
    format!("went well on {well} of {}", plural(rollout.plan().target_count(), "host"))
}

const fn style_of(outcome: Outcome) -> Style {
    match outcome {
        Outcome::Succeeded => styles::GOOD,
        Outcome::SucceededWithDebt => styles::WARNING,
        _ => styles::FAILURE,
    }
}

/// The time of day, in UTC.
pub(crate) fn clock(at: Timestamp) -> String {
    let text = at.to_string();
    text.get(11..19).map_or_else(|| text.clone(), |it| format!("{it}Z"))
}

/// A duration without what nobody reads: seconds below an hour, minutes beyond.
pub(crate) fn rounded(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let unit = if seconds < 3_600 { 1 } else { 60 };
    match seconds {
        0 => format!("{} ms", duration.as_millis()),
        _ => duration::format(Duration::from_secs(seconds / unit * unit)),
    }
}
