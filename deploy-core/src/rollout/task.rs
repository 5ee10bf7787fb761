use super::{AttemptEnd, BudgetColumn, state::TargetIx};
use crate::{
    id::{Principal, Seq},
    spec::StepName,
    time::Timestamp,
};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

/// Where one target is, in one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum TaskState {
    /// Its steps are done, and its host waits to be told to keep what they did.
    AwaitingConfirm,
    /// A person took it out for good.
    Excluded,
    /// A step failed, or the host got ill while its wave was watched.
    Failed,
    /// Some of its processes could not be killed.
    KillFailed,
    /// It was killed.
    Killed,
    /// It is being killed.
    Killing,
    /// It has not begun.
    Pending,
    /// Its step's own check is being asked what became of the step.
    Resolving,
    /// An attempt is under way.
    Running,
    /// Its host was not told in time to keep what it did, and went back by itself.
    SelfReverted,
    /// A person took it out.
    Skipped,
    /// It has not begun, and its host has what it is to run.
    Staged,
    /// It has not begun, and its host fetches what it is to run.
    Staging,
    /// It runs what it should.
    Succeeded,
    /// It took too long.
    TimedOut,
    /// It is being probed: nobody knows yet what became of its attempt.
    Uncertain,
    /// Nobody knows what became of its attempt, and a person has to decide.
    Unknown,
    /// It could not be reached.
    Unreachable,
    /// It will be tried again.
    Waiting,
}

impl TaskState {
    /// All of them.
    pub const ALL: [Self; 19] = [
        Self::AwaitingConfirm,
        Self::Excluded,
        Self::Failed,
        Self::KillFailed,
        Self::Killed,
        Self::Killing,
        Self::Pending,
        Self::Resolving,
        Self::Running,
        Self::SelfReverted,
        Self::Skipped,
        Self::Staged,
        Self::Staging,
        Self::Succeeded,
        Self::TimedOut,
        Self::Uncertain,
        Self::Unknown,
        Self::Unreachable,
        Self::Waiting,
    ];

    /// A stable, lower-case name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AwaitingConfirm => "awaiting_confirm",
            Self::Excluded => "excluded",
            Self::Failed => "failed",
            Self::KillFailed => "kill_failed",
            Self::Killed => "killed",
            Self::Killing => "killing",
            Self::Pending => "pending",
            Self::Resolving => "resolving",
            Self::Running => "running",
            Self::SelfReverted => "self_reverted",
            Self::Skipped => "skipped",
            Self::Staged => "staged",
            Self::Staging => "staging",
            Self::Succeeded => "succeeded",
            Self::TimedOut => "timed_out",
            Self::Uncertain => "uncertain",
            Self::Unknown => "unknown",
            Self::Unreachable => "unreachable",
            Self::Waiting => "waiting",
        }
    }

    /// Whether there was no attempt yet.
    #[must_use]
    pub const fn is_unbegun(self) -> bool {
        matches!(self, Self::Pending | Self::Staged | Self::Staging)
    }

    /// Whether an attempt of it may be going on on the host.
    #[must_use]
    pub const fn is_in_flight(self) -> bool {
        matches!(
            self,
            Self::AwaitingConfirm
                | Self::Killing
                | Self::Resolving
                | Self::Running
                | Self::Uncertain
        )
    }

    /// Whether the wave need not wait for it.
    #[must_use]
    pub const fn is_settled(self) -> bool {
        !self.is_in_flight() && !self.is_unbegun() && !matches!(self, Self::Waiting)
    }

    /// Whether it ended in a way that a person may want to try again.
    #[must_use]
    pub const fn is_trouble(self) -> bool {
        matches!(
            self,
            Self::Failed
                | Self::KillFailed
                | Self::Killed
                | Self::SelfReverted
                | Self::TimedOut
                | Self::Unknown
                | Self::Unreachable
        )
    }

    const fn index(self) -> usize {
        self as usize
    }
}

impl fmt::Display for TaskState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What is known of one target, in one direction.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Task {
    /// Where it is.
    pub state: TaskState,
    /// The generation of its newest attempt; 0 if there was none.
    pub generation: Seq,
    /// How many attempts there were.
    pub attempts: u32,
    /// The step its newest attempt began with, or its next one will.
    pub first_step: StepName,
    /// How often `first_step` was tried since a person last looked.
    pub tries: u32,
    /// When its state began to be what it is; for `Waiting`, when the wait ends.
    pub at: Timestamp,
    /// The step whose outcome nobody knows.
    pub unresolved: Option<StepName>,
    /// Why nobody knows how its attempt goes, while that is so.
    pub doubt: Option<Box<str>>,
    /// Why its host could not fetch what it is to run ahead of its attempt.
    pub not_staged: Option<Box<str>>,
    /// Whether its newest attempt is to be kept, as far as that is for us to say.
    pub confirmed: bool,
    /// How its newest finished attempt ended.
    pub last_end: Option<Box<AttemptEnd>>,
    /// Whether an attempt ever did anything on the host.
    pub touched: bool,
    /// The column of the failure budget that it counts in.
    pub counted: Option<BudgetColumn>,
    /// Who took it out, if a person did.
    pub taken_out_by: Option<Principal>,
}

impl Task {
    pub(super) const fn new(first_step: StepName) -> Self {
        Self {
            state: TaskState::Pending,
            generation: Seq::ZERO,
            attempts: 0,
            first_step,
            tries: 0,
            at: Timestamp::from_millis(0),
            unresolved: None,
            doubt: None,
            not_staged: None,
            confirmed: false,
            last_end: None,
            touched: false,
            counted: None,
            taken_out_by: None,
        }
    }
}

/// How many tasks are in each state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts([u32; TaskState::ALL.len()]);

impl Counts {
    pub(super) fn of(&self, state: TaskState) -> u32 {
        self.0.get(state.index()).copied().unwrap_or(0)
    }

    pub(super) fn add(&mut self, state: TaskState, count: u32) {
        if let Some(slot) = self.0.get_mut(state.index()) {
            *slot = slot.saturating_add(count);
        }
    }

    pub(super) fn remove(&mut self, state: TaskState) {
        if let Some(slot) = self.0.get_mut(state.index()) {
            *slot = slot.saturating_sub(1);
        }
    }
}

/// How many tasks count in each column of the failure budget.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    failed: u32,
    timed_out: u32,
    unknown: u32,
    unreachable: u32,
}

impl Tally {
    pub(super) const fn of(&self, column: BudgetColumn) -> u32 {
        match column {
            BudgetColumn::Consecutive => 0,
            BudgetColumn::Failed => self.failed,
            BudgetColumn::TimedOut => self.timed_out,
            BudgetColumn::Unknown => self.unknown,
            BudgetColumn::Unreachable => self.unreachable,
        }
    }

    pub(super) fn change(&mut self, column: BudgetColumn, by: i32) {
        let slot = match column {
            BudgetColumn::Consecutive => return,
            BudgetColumn::Failed => &mut self.failed,
            BudgetColumn::TimedOut => &mut self.timed_out,
            BudgetColumn::Unknown => &mut self.unknown,
            BudgetColumn::Unreachable => &mut self.unreachable,
        };
        *slot = slot.saturating_add_signed(by);
    }
}

/// The targets that ended badly one after another, since the last that ended well.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Row {
    targets: BTreeSet<TargetIx>,
    by_wave: BTreeMap<u32, u32>,
}

impl Row {
    pub(super) fn add(&mut self, ix: TargetIx, wave: u32) {
        if self.targets.insert(ix) {
            *self.by_wave.entry(wave).or_default() += 1;
        }
    }

    pub(super) fn remove(&mut self, ix: TargetIx, wave: u32) {
        if self.targets.remove(&ix)
            && let Some(count) = self.by_wave.get_mut(&wave)
        {
            *count = count.saturating_sub(1);
        }
    }

    pub(super) fn clear(&mut self) {
        self.targets.clear();
        self.by_wave.clear();
    }

    pub(super) fn len(&self) -> u32 {
        u32::try_from(self.targets.len()).unwrap_or(u32::MAX)
    }

    pub(super) fn len_in(&self, wave: u32) -> u32 {
        self.by_wave.get(&wave).copied().unwrap_or(0)
    }
}
