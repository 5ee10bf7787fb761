//! What happened, in sentences.
use crate::{
    reason::{readable, sentence},
    text::plural,
};
use deploy_core::{
    plan::Work,
    rollout::{AttemptEnd, Event, Outcome, Record, Rollout, TaskState},
    time::Timestamp,
};
use deploy_host::duration;
use std::time::Duration;

/// How a sentence is meant, for those who colour it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "a new tone has to be shown somehow by every frontend")]
pub enum Tone {
    /// Something is under way.
    Active,
    /// It went wrong.
    Failure,
    /// It went well.
    Good,
    /// It is worth no more than its words.
    Plain,
    /// Somebody should look.
    Warning,
}

impl Tone {
    /// A stable, lower-case name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Failure => "failure",
            Self::Good => "good",
            Self::Plain => "plain",
            Self::Warning => "warning",
        }
    }
}

/// A sentence about what happened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sentence {
    /// What it says.
    pub text: String,
    /// How it is meant.
    pub tone: Tone,
    /// Whether it matters also to somebody who sees where the rollout is.
    pub lasting: bool,
}

fn routine(text: String) -> Option<Sentence> {
    Some(Sentence { text, tone: Tone::Plain, lasting: false })
}

fn turn(tone: Tone, text: String) -> Option<Sentence> {
    Some(Sentence { text, tone, lasting: true })
}

/// Tells the records of a rollout, one after another.
#[derive(Debug, Default)]
pub struct Narrator {
    /// Whether the rollout has turned back by the record that comes next.
    turned_back: bool,
}

impl Narrator {
    /// What the next record says, where `rollout` has it already; `None` if it is nothing to tell.
    pub fn tell(&mut self, record: &Record, rollout: &Rollout) -> Option<Sentence> {
        self.turned_back |= matches!(record.event, Event::RollbackStarted { .. });
        match &record.event {
            Event::AttemptEnded { host, end: AttemptEnd::Succeeded, .. } => {
                let what = if self.turned_back { "is back on what it ran before" } else { "done" };
                Some(Sentence { text: format!("{host}: {what}"), tone: Tone::Good, lasting: false })
            }
            _ => narrate(record, rollout),
        }
    }
}

fn narrate(record: &Record, rollout: &Rollout) -> Option<Sentence> {
    let id = &record.rollout;
    match &record.event {
        Event::Accepted { plan, by, .. } => routine(format!(
            "{} on {} in {}, started by {by}",
            what(rollout),
            plural(plan.target_count(), "host"),
            plural(u64::try_from(plan.waves.len()).unwrap_or(u64::MAX), "wave"),
        )),
        Event::Confirmed { wave, by } => {
            turn(Tone::Good, format!("wave {} is confirmed by {by}", wave + 1))
        }
        Event::ConfirmRequested { wave } => turn(
            Tone::Warning,
            format!(
                "wave {} is in place and waits for somebody: `deploy rollout confirm {id}`",
                wave + 1
            ),
        ),
        Event::BakePassed { wave } => turn(Tone::Good, format!("wave {} stayed healthy", wave + 1)),
        Event::BakeStarted { wave, until } => turn(
            Tone::Active,
            format!("wave {} is in place, and watched until {}", wave + 1, clock(*until)),
        ),
        Event::WaveStarted { wave } => wave_started(rollout, *wave),
        Event::Finished { outcome } => {
            let took = record.at.since(rollout.accepted_at());
            let tone = tone_of(*outcome);
            let name = if rollout.plan().work == Work::Run { "run" } else { "rollout" };
            let said = match outcome {
                Outcome::SucceededWithDebt => on_some_hosts(rollout),
                _ => said(*outcome).to_owned(),
            };
            turn(tone, format!("{name} {id} {said} after {}", rounded(took)))
        }
        Event::AbortStarted { reason } => {
            turn(Tone::Failure, format!("the rollout is aborted {reason}"))
        }
        Event::Paused => turn(Tone::Warning, "the rollout stands still".to_owned()),
        Event::PauseStarted { reason } => {
            turn(Tone::Warning, format!("the rollout pauses {reason}: nothing more starts"))
        }
        Event::Resumed { by } => turn(Tone::Good, format!("the rollout is resumed by {by}")),
        Event::RollbackStarted { reason } => {
            turn(Tone::Failure, format!("the rollout turns back {reason}"))
        }
        _ => narrate_target(record),
    }
}

/// What is rolled out or run.
#[must_use]
pub fn what(rollout: &Rollout) -> String {
    let (id, plan) = (rollout.id(), rollout.plan());
    match plan.work {
        Work::Release if plan.repairs.is_some() => {
            format!("repair {id}: {} to {}, for hosts without it", plan.service, plan.release)
        }
        Work::Release => format!("rollout {id}: {} to {}", plan.service, plan.release),
        Work::Rollback => format!("rollout {id}: {} back from {}", plan.service, plan.release),
        Work::Run => format!("run {id}"),
    }
}

/// What happened to one host.
fn narrate_target(record: &Record) -> Option<Sentence> {
    match &record.event {
        Event::AttemptAwaitsConfirm { host, .. } => {
            routine(format!("{host}: its steps are done, and it waits to be confirmed"))
        }
        Event::AttemptConfirmed { host, .. } => {
            routine(format!("{host}: confirmed; it is told so, and has the last word"))
        }
        Event::AttemptEnded { host, end, retry_at, .. } => {
            let next = retry_at.map_or_else(String::new, |at| format!("; next try {}", clock(at)));
            turn(Tone::Failure, format!("{host}: {}{next}", readable(end)))
        }
        Event::AttemptFound { host, .. } => {
            routine(format!("{host}: its attempt is found under way"))
        }
        Event::TargetNotStaged { host, reason } => routine(format!(
            "{host}: could not be staged, its attempt fetches what is missing: {}",
            sentence(reason)
        )),
        Event::TargetStaged { host } => routine(format!("{host}: staged")),
        Event::AttemptUnanswered { host, reason, .. } => turn(
            Tone::Warning,
            format!("{host}: gives no answer, asked again: {}", sentence(reason)),
        ),
        Event::AttemptUncertain { host, reason, .. } => turn(
            Tone::Warning,
            format!(
                "{host}: nobody knows what became of the attempt, looking: {}",
                sentence(reason)
            ),
        ),
        Event::KillRequested { host, by, .. } => {
            turn(Tone::Warning, format!("{host}: its attempt is killed by {by}"))
        }
        Event::TargetRetried { host, by } => {
            turn(Tone::Plain, format!("{host}: tried again by {by}"))
        }
        Event::TargetSkipped { host, by, .. } => {
            turn(Tone::Warning, format!("{host}: taken out by {by}"))
        }
        Event::TargetUnhealthy { host, reason, .. } => turn(
            Tone::Failure,
            format!("{host}: got ill while its wave was watched: {}", sentence(reason)),
        ),
        _ => None,
    }
}

fn wave_started(rollout: &Rollout, wave: u32) -> Option<Sentence> {
    let waves = &rollout.plan().waves;
    let targets = usize::try_from(wave).ok().and_then(|it| waves.get(it)).map_or(0, Vec::len);
    let targets = plural(u64::try_from(targets).unwrap_or(u64::MAX), "host");
    turn(Tone::Plain, format!("wave {} of {}: {targets}", wave + 1, waves.len()))
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

const fn tone_of(outcome: Outcome) -> Tone {
    match outcome {
        Outcome::Succeeded => Tone::Good,
        Outcome::SucceededWithDebt => Tone::Warning,
        _ => Tone::Failure,
    }
}

/// The time of day, in UTC.
#[must_use]
pub fn clock(at: Timestamp) -> String {
    let text = at.to_string();
    text.get(11..19).map_or_else(|| text.clone(), |it| format!("{it}Z"))
}

/// A duration without what nobody reads: seconds below an hour, minutes beyond.
#[must_use]
pub fn rounded(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let unit = if seconds < 3_600 { 1 } else { 60 };
    match seconds {
        0 => format!("{} ms", duration.as_millis()),
        _ => duration::format(Duration::from_secs(seconds / unit * unit)),
    }
}
