//! Why a target is where it is, from the journal alone.
use super::{
    BudgetScope, Phase, Reason, Rollout, TaskState, TaskView, staging::Unstaged, state::Hold,
};
use crate::{id::HostName, spec::Direction, time::Timestamp};
use serde::{Deserialize, Serialize};
use std::fmt;

/// What a target waits for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "for", rename_all = "snake_case")]
#[non_exhaustive]
pub enum WaitsFor {
    /// The end of the rollout, which is being aborted.
    Abort {
        /// Why it is.
        reason: Reason,
    },
    /// An answer of its host, which is asked on.
    Answer,
    /// The wave's time under watch.
    Bake {
        /// Until when.
        until: Timestamp,
    },
    /// A person who lets the next wave go.
    Confirm,
    /// The wave before its own.
    EarlierWave {
        /// The wave that is under way, counted from 1; 0 if none has begun.
        current: u32,
        /// Its targets that are not done.
        open: u32,
    },
    /// The verdict of its host, which was told to keep what the attempt did, or to go back.
    HostVerdict,
    /// A person who resumes the rollout.
    Resume {
        /// Why it is paused.
        reason: Reason,
    },
    /// The time of its next try.
    Retry {
        /// When.
        at: Timestamp,
    },
    /// A place among the targets that are worked on at a time.
    Slot {
        /// How many are worked on.
        in_flight: u32,
        /// How many may be.
        limit: u32,
    },
    /// Hosts of the next wave, which have to have fetched what they are to run before it begins.
    Staging {
        /// How many of them have not.
        missing: u32,
        /// How many may be missing when it begins.
        limit: u32,
    },
    /// The wait between two starts.
    Stagger {
        /// When it is over.
        until: Timestamp,
    },
    /// Its attempt's end.
    TheAttempt,
    /// A window.
    Window {
        /// When it opens; `None` if never.
        opens: Option<Timestamp>,
    },
}

/// Why a target is where it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Explanation {
    /// The target.
    pub task: TaskView,
    /// How many waves there are.
    pub waves: u32,
    /// What it waits for; `None` if it is done.
    pub waits_for: Option<WaitsFor>,
}

impl Rollout {
    /// Why `host` is where it is; `None` if the plan does not have it as a target.
    #[must_use]
    pub fn why(&self, host: &HostName, now: Timestamp) -> Option<Explanation> {
        let task = self.task_of(host)?;
        let waits_for = if self.outcome.is_some() { None } else { self.waits_for(&task, now) };
        Some(Explanation { task, waves: self.frame.wave_count(), waits_for })
    }

    fn waits_for(&self, task: &TaskView, now: Timestamp) -> Option<WaitsFor> {
        if task.state == TaskState::AwaitingConfirm {
            return Some(WaitsFor::HostVerdict);
        }
        if task.state.is_in_flight() {
            return Some(WaitsFor::TheAttempt);
        }
        if task.state.is_settled() {
            return self.waits_for_host(&task.host);
        }
        if let Some(reason) = &self.aborting {
            return Some(WaitsFor::Abort { reason: reason.clone() });
        }
        if let Hold::Paused(reason) | Hold::Pausing(reason) = &self.hold {
            return Some(WaitsFor::Resume { reason: reason.clone() });
        }
        if let Some(at) = task.retry_at.filter(|at| *at > now) {
            return Some(WaitsFor::Retry { at });
        }
        let begun =
            self.direction == Direction::Back || task.wave <= self.wave.map_or(0, |it| it + 1);
        if begun { Some(self.waits_for_start(now)) } else { Some(self.waits_for_wave(now)) }
    }

    /// What is still asked of the host of a task that has settled.
    fn waits_for_host(&self, host: &HostName) -> Option<WaitsFor> {
        let ix = self.frame.index.get(host)?;
        match self.phase {
            Phase::Baking { until } if self.watching.contains(ix) => Some(WaitsFor::Bake { until }),
            _ if self.unanswered.contains(ix) => Some(WaitsFor::Answer),
            _ => None,
        }
    }

    fn waits_for_wave(&self, now: Timestamp) -> WaitsFor {
        match self.phase {
            Phase::AwaitingConfirm => WaitsFor::Confirm,
            Phase::Baking { until } => WaitsFor::Bake { until },
            Phase::Baked | Phase::Rolling | Phase::Settled => {
                let current = self.wave.map_or(0, |it| it + 1);
                if self.open > 0 {
                    return WaitsFor::EarlierWave { current, open: self.open };
                }
                match self.unstaged_in(current) {
                    Some(Unstaged { missing, limit, .. }) => WaitsFor::Staging { missing, limit },
                    None if !self.may_start(now) => self.waits_for_window(now),
                    None => WaitsFor::EarlierWave { current, open: 0 },
                }
            }
        }
    }

    fn waits_for_start(&self, now: Timestamp) -> WaitsFor {
        if !self.may_start(now) {
            return self.waits_for_window(now);
        }
        let in_flight = u32::try_from(self.in_flight.len()).unwrap_or(u32::MAX);
        match self.staggered_until() {
            Some(until) if in_flight < self.limit() && until > now => WaitsFor::Stagger { until },
            _ => WaitsFor::Slot { in_flight, limit: self.limit() },
        }
    }

    fn waits_for_window(&self, now: Timestamp) -> WaitsFor {
        WaitsFor::Window { opens: self.plan().strategy.schedule.next_allowed(now) }
    }
}

impl fmt::Display for Explanation {
    /// One line, such as `wave 4 of 9: pending; paused: failed 6, and 5 are allowed`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let TaskView { wave, state, direction, attempts, last_end, taken_out_by, .. } = &self.task;
        write!(f, "wave {wave} of {}: ", self.waves)?;
        if *direction == Direction::Back {
            f.write_str("going back, ")?;
        }
        write!(f, "{state}")?;
        match (state, taken_out_by) {
            (_, Some(by)) => write!(f, " by {by}")?,
            // Nobody takes a host out that is not there to be taken back.
            (TaskState::Skipped, None) => f.write_str(": there is nothing to take back")?,
            (_, None) => {}
        }
        if *attempts > 1 {
            write!(f, " after {attempts} attempts")?;
        }
        if let Some(why) = &self.task.not_staged {
            write!(f, "; could not be staged: {why}")?;
        }
        if let Some(end) = last_end
            && *state != TaskState::Succeeded
        {
            write!(f, "; last attempt {end}")?;
        }
        match &self.waits_for {
            Some(waits) => write!(f, "; {waits}")?,
            None => return Ok(()),
        }
        match &self.task.doubt {
            Some(doubt) => write!(f, ", but nobody knows how it goes: {doubt}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for WaitsFor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Abort { reason } => write!(f, "never starts: aborted {reason}"),
            Self::Answer => f.write_str("its host is asked again and again"),
            Self::Bake { until } => write!(f, "its wave is watched until {until}"),
            Self::Confirm => f.write_str("waits for somebody to confirm the wave before"),
            Self::EarlierWave { current: 0, .. } => {
                f.write_str("waits for the first wave to begin")
            }
            Self::EarlierWave { current, open } => {
                write!(f, "waits for wave {current}, of which {open} are not done")
            }
            Self::HostVerdict => f.write_str(
                "its host was told what becomes of the release, and has to say that it does so",
            ),
            Self::Resume { reason } => write!(f, "the rollout is paused {reason}"),
            Self::Retry { at } => write!(f, "next retry {at}"),
            Self::Slot { in_flight, limit } => {
                write!(f, "waits for a place: {in_flight} of {limit} are taken")
            }
            Self::Staging { missing, limit } => write!(
                f,
                "the next wave begins once no more than {limit} of its targets are not staged, and {missing} are not"
            ),
            Self::Stagger { until } => write!(f, "waits for its turn until {until}"),
            Self::TheAttempt => f.write_str("its attempt is under way"),
            Self::Window { opens: Some(at) } => write!(f, "the window opens {at}"),
            Self::Window { opens: None } => f.write_str("no window ever opens"),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Budget { column, scope, count, limit } => {
                write!(f, "by the failure budget: {} {count}/{limit}", column.as_str())?;
                match scope {
                    BudgetScope::Rollout => Ok(()),
                    BudgetScope::Wave(wave) => write!(f, " in wave {}", wave + 1),
                }
            }
            Self::Operator { by, note } if note.is_empty() => write!(f, "by {by}"),
            Self::Operator { by, note } => write!(f, "by {by}: {note}"),
            Self::ProgressDeadline => {
                f.write_str("because no target succeeded before the progress deadline")
            }
            Self::Unstaged { wave, missing, limit } => write!(
                f,
                "because {missing} of the targets of wave {} could not be staged, and {limit} may be missing; `resume` begins it all the same",
                wave + 1
            ),
        }
    }
}
