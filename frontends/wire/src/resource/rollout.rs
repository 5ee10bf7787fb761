use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// A rollout as `rollout list` shows it: a list of these.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct RolloutSummary {
    /// Which.
    pub id: String,
    /// Of which service; an ad-hoc run has one of its own.
    pub service: String,
    /// `release`, `repair` (the release of an earlier rollout, for hosts without it), `rollback` or `run`.
    pub work: String,
    /// What is rolled out; of a rollback, what the hosts leave.
    pub release: String,
    /// Its state, such as `running`, `paused` or `succeeded`.
    pub state: String,
    /// When it was accepted.
    pub started_at: String,
    /// Who started it.
    pub started_by: String,
    /// When it ended; null while it goes on.
    pub ended_at: Option<String>,
}

/// A rollout in full: `rollout show` prints one, and `rollout start` and `watch` print one on a line whenever it has changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Rollout {
    /// Which.
    pub id: String,
    /// Of which service; an ad-hoc run has one of its own.
    pub service: String,
    /// `release`, `repair` (the release of an earlier rollout, for hosts without it), `rollback` or `run`.
    pub work: String,
    /// What is rolled out; of a rollback, what the hosts leave.
    pub release: String,
    /// The digest of the plan it executes.
    pub plan: String,
    /// Its state, such as `running`, `paused` or `succeeded`.
    pub state: String,
    /// Why it is in that state, if there is more to say.
    pub reason: Option<String>,
    /// Whether nothing goes on before a person decides.
    #[serde(default)]
    pub waits_for_person: bool,
    /// Until when the newest wave is watched.
    #[serde(default)]
    pub bakes_until: Option<String>,
    /// The position in the journal of the newest fact in this: events after it are not in it.
    #[serde(default)]
    pub seq: u64,
    /// How much of its failure budget is used up.
    pub budget: BudgetUse,
    /// When it was accepted.
    pub started_at: String,
    /// Who started it.
    pub started_by: String,
    /// When it ended; null while it goes on.
    pub ended_at: Option<String>,
    /// Targets by state, over all waves.
    pub counts: Counts,
    /// How many selected hosts ran the release before.
    #[serde(default)]
    pub no_ops: u32,
    /// The newest wave that has begun, counted from 1; 0 if none has.
    #[serde(default)]
    pub wave: u32,
    /// Its waves, in order.
    pub waves: Vec<Wave>,
    /// The targets that somebody should look at.
    pub attention: Vec<Task>,
    /// Every target; null unless asked for with `--hosts`.
    pub tasks: Option<Vec<Task>>,
}

impl From<&Rollout> for RolloutSummary {
    fn from(rollout: &Rollout) -> Self {
        Self {
            id: rollout.id.clone(),
            service: rollout.service.clone(),
            work: rollout.work.clone(),
            release: rollout.release.clone(),
            state: rollout.state.clone(),
            started_at: rollout.started_at.clone(),
            started_by: rollout.started_by.clone(),
            ended_at: rollout.ended_at.clone(),
        }
    }
}

/// How many targets have ended badly on their way forward, and how many may, over the whole rollout.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct BudgetUse {
    /// A step failed, or the host got ill.
    pub failed: BudgetColumn,
    /// A step took too long.
    pub timed_out: BudgetColumn,
    /// Could not be reached.
    pub unreachable: BudgetColumn,
    /// Nobody knows.
    pub unknown: BudgetColumn,
}

/// One way to end badly.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct BudgetColumn {
    /// How many targets have.
    pub count: u32,
    /// How many may: one more stops the rollout.
    pub limit: u32,
}

/// How many targets are in which state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Counts {
    /// All of them.
    pub total: u32,
    /// Not begun.
    pub pending: u32,
    /// Under way.
    pub running: u32,
    /// On the release.
    pub succeeded: u32,
    /// A step failed, or the host got ill.
    pub failed: u32,
    /// A step took too long.
    pub timed_out: u32,
    /// Could not be reached.
    pub unreachable: u32,
    /// Nobody knows.
    pub unknown: u32,
    /// Killed by a person.
    pub killed: u32,
    /// Taken out by a person.
    pub skipped: u32,
    /// Back on what it ran before.
    pub rolled_back: u32,
}

/// One wave of a rollout.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Wave {
    /// Which, counted from 1.
    pub wave: u32,
    /// `pending`, `running`, `baking`, `awaiting_confirm`, `done`, or `unfinished` where the rollout is over and some targets were left.
    pub state: String,
    /// Its targets by state.
    pub counts: Counts,
}

/// One target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Task {
    /// On which host.
    pub host: String,
    /// In which wave, counted from 1.
    pub wave: u32,
    /// Its state, such as `running`, `failed` or `timed_out`.
    pub state: String,
    /// How many attempts were made.
    pub attempts: u32,
    /// What happened, if there is more to say.
    pub reason: Option<String>,
}

/// What `rollout why` prints.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Explanation {
    /// Of which rollout.
    pub rollout: String,
    /// On which host.
    pub host: String,
    /// The target's state.
    pub state: String,
    /// What it waits for, or why it ended, in one sentence.
    pub summary: String,
    /// What happened to it, oldest first.
    pub history: Vec<String>,
    /// The last lines that were printed there, where it is in trouble.
    pub last_lines: Vec<String>,
    /// What to do about it, where it is in trouble.
    #[serde(default)]
    pub hint: Option<String>,
}

/// A piece of an attempt's output: `rollout logs` prints one on a line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct LogLine {
    /// From which host.
    pub host: String,
    /// Of which attempt.
    pub generation: u64,
    /// Where in the attempt's output it begins.
    pub offset: u64,
    /// When it arrived.
    pub at: String,
    /// The text; what is not UTF-8 is replaced.
    pub text: String,
    /// The bytes in base64, where they are no UTF-8 by themselves, as when a piece ends in the middle of a character.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base64: Option<String>,
}

impl LogLine {
    /// What was printed, byte for byte.
    ///
    /// ```
    /// let piece = r#"{"host": "h1", "generation": 1, "offset": 0, "at": "", "text": "\ufffd", "base64": "ww=="}"#;
    /// let piece: deploy_wire::LogLine = serde_json::from_str(piece)?;
    /// assert_eq!(*piece.bytes(), [0xc3]);
    /// # Ok::<(), serde_json::Error>(())
    /// ```
    #[must_use]
    pub fn bytes(&self) -> Cow<'_, [u8]> {
        let decoded = self.base64.as_ref().and_then(|it| STANDARD.decode(it).ok());
        decoded.map_or(Cow::Borrowed(self.text.as_bytes()), Cow::Owned)
    }
}

/// Something that happened in a rollout.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct RolloutEvent {
    /// Its position in the journal.
    pub seq: u64,
    /// When.
    pub at: String,
    /// What kind of event, such as `wave_started`.
    pub kind: String,
    /// On which host, where it is about one.
    pub host: Option<String>,
    /// What it says, in a sentence; null where there is nothing to tell.
    pub text: Option<String>,
    /// How that is meant: `active`, `failure`, `good`, `plain` or `warning`.
    #[serde(default)]
    pub tone: String,
    /// Whether it matters also to somebody who sees where the rollout is.
    #[serde(default)]
    pub lasting: bool,
    /// The rollout's state after it.
    pub state: String,
}
