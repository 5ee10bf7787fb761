//! What people see of a rollout.
use super::{
    AttemptEnd, Outcome, Phase, Reason, Rollout, TaskState,
    state::{Hold, TargetIx},
};
use crate::{
    id::{HostName, Principal, ReleaseId, RolloutId, Seq, ServiceName},
    spec::{Direction, StepName},
    time::Timestamp,
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt};

/// Where a rollout is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RolloutState {
    /// It was stopped where it was.
    Aborted,
    /// It will be, once nothing is under way.
    Aborting,
    /// It turned back, and some host could not be brought back.
    Failed,
    /// Nothing happens until a person decides.
    Paused,
    /// It will be paused, once nothing is under way.
    Pausing,
    /// Every touched host runs what it ran before.
    RolledBack,
    /// It goes back.
    RollingBack,
    /// It goes on.
    Running,
    /// It waits for a window to open before its first start.
    Scheduled,
    /// Every target runs the release.
    Succeeded,
    /// As `Succeeded`, but for targets whose failures the budget allowed.
    SucceededWithDebt,
}

impl RolloutState {
    /// A stable, lower-case name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Aborted => "aborted",
            Self::Aborting => "aborting",
            Self::Failed => "failed",
            Self::Paused => "paused",
            Self::Pausing => "pausing",
            Self::RolledBack => "rolled_back",
            Self::RollingBack => "rolling_back",
            Self::Running => "running",
            Self::Scheduled => "scheduled",
            Self::Succeeded => "succeeded",
            Self::SucceededWithDebt => "succeeded_with_debt",
        }
    }
}

impl fmt::Display for RolloutState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A wave, in numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct WaveView {
    /// Its targets.
    pub targets: u32,
    /// Those of them that are done, well or not.
    pub settled: u32,
    /// Those of them that run the release.
    pub succeeded: u32,
}

/// One target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TaskView {
    /// Its host.
    pub host: HostName,
    /// Its wave, counted from 1.
    pub wave: u32,
    /// Which way its newest task goes.
    pub direction: Direction,
    /// Where that is.
    pub state: TaskState,
    /// How many attempts there were.
    pub attempts: u32,
    /// The generation of the newest; 0 if there was none.
    pub generation: Seq,
    /// The step that the newest attempt began with.
    pub first_step: StepName,
    /// When the next try begins.
    pub retry_at: Option<Timestamp>,
    /// Why nobody knows how its attempt goes, while that is so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub doubt: Option<String>,
    /// Why its host could not fetch what it is to run ahead of its attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_staged: Option<String>,
    /// How its newest finished attempt ended.
    pub last_end: Option<AttemptEnd>,
    /// Who took it out, if a person did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub taken_out_by: Option<Principal>,
}

/// A rollout, in numbers and names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RolloutView {
    /// Which.
    pub id: RolloutId,
    /// Of which service.
    pub service: ServiceName,
    /// To which release.
    pub release: ReleaseId,
    /// Who wanted it.
    pub by: Principal,
    /// Since when.
    pub accepted_at: Timestamp,
    /// The newest fact.
    pub updated_at: Timestamp,
    /// The newest fact's position.
    pub head: Seq,
    /// Where it is.
    pub state: RolloutState,
    /// Why it pauses, turned back or is aborted.
    pub reason: Option<Reason>,
    /// The newest wave that has begun, counted from 1; 0 if none has.
    pub wave: u32,
    /// All of them.
    pub waves: Vec<WaveView>,
    /// Whether a person has to let the next wave go.
    pub awaits_confirm: bool,
    /// Until when the wave is watched.
    pub bakes_until: Option<Timestamp>,
    /// How many targets are in each state, each counted where its newest task is.
    pub counts: BTreeMap<TaskState, u32>,
    /// Targets in all.
    pub targets: u32,
    /// Selected hosts that ran the release before.
    pub no_ops: u32,
}

impl Rollout {
    /// Where it is.
    #[must_use]
    pub fn state(&self) -> RolloutState {
        if let Some(outcome) = self.outcome {
            return match outcome {
                Outcome::Aborted => RolloutState::Aborted,
                Outcome::Failed => RolloutState::Failed,
                Outcome::RolledBack => RolloutState::RolledBack,
                Outcome::Succeeded => RolloutState::Succeeded,
                Outcome::SucceededWithDebt => RolloutState::SucceededWithDebt,
            };
        }
        match (&self.aborting, &self.hold, self.direction) {
            (Some(_), _, _) => RolloutState::Aborting,
            (None, Hold::Paused(_), _) => RolloutState::Paused,
            (None, Hold::Pausing(_), _) => RolloutState::Pausing,
            (None, Hold::None, Direction::Back) => RolloutState::RollingBack,
            (None, Hold::None, Direction::Forward) if self.wave.is_none() => {
                RolloutState::Scheduled
            }
            (None, Hold::None, Direction::Forward) => RolloutState::Running,
        }
    }

    /// Why it pauses, turned back or is aborted.
    #[must_use]
    pub fn reason(&self) -> Option<&Reason> {
        match &self.hold {
            Hold::Paused(reason) | Hold::Pausing(reason) => Some(reason),
            Hold::None => self.aborting.as_ref().or(self.turned_back.as_ref()),
        }
    }

    /// The rollout in numbers and names. Costs O(number of targets).
    #[must_use]
    pub fn view(&self) -> RolloutView {
        let plan = self.plan();
        let mut counts = BTreeMap::new();
        for task in (0..self.target_count()).filter_map(|ix| self.newest(ix)) {
            *counts.entry(task.state).or_insert(0) += 1;
        }
        RolloutView {
            id: self.id.clone(),
            service: plan.service.clone(),
            release: plan.release.clone(),
            by: self.by.clone(),
            accepted_at: self.accepted_at,
            updated_at: self.updated_at,
            head: self.head,
            state: self.state(),
            reason: self.reason().cloned(),
            wave: self.wave.map_or(0, |it| it + 1),
            waves: (0..self.frame.wave_count()).map(|it| self.wave_view(it)).collect(),
            awaits_confirm: self.direction == Direction::Forward
                && self.outcome.is_none()
                && self.phase == Phase::AwaitingConfirm,
            bakes_until: match self.phase {
                Phase::Baking { until } if self.outcome.is_none() => Some(until),
                _ => None,
            },
            counts,
            targets: plan.target_count(),
            no_ops: u32::try_from(plan.no_ops.len()).unwrap_or(u32::MAX),
        }
    }

    /// Every target, in the order of the plan.
    pub fn tasks(&self) -> impl Iterator<Item = TaskView> + '_ {
        (0..self.target_count()).filter_map(|ix| self.task_view(ix))
    }

    /// One target; `None` if the plan does not have it.
    #[must_use]
    pub fn task_of(&self, host: &HostName) -> Option<TaskView> {
        self.task_view(*self.frame.index.get(host)?)
    }

    fn target_count(&self) -> TargetIx {
        TargetIx::try_from(self.forward.len()).unwrap_or(TargetIx::MAX)
    }

    fn wave_view(&self, wave: u32) -> WaveView {
        let range = self.frame.wave(wave);
        let targets = u32::try_from(range.len()).unwrap_or(u32::MAX);
        let mut view = WaveView { targets, settled: 0, succeeded: 0 };
        for task in range.filter_map(|ix| self.slot(Direction::Forward, ix)) {
            view.settled += u32::from(task.state.is_settled());
            view.succeeded += u32::from(task.state == TaskState::Succeeded);
        }
        view
    }

    fn task_view(&self, ix: TargetIx) -> Option<TaskView> {
        let task = self.newest(ix)?;
        let back = self.slot(Direction::Back, ix).is_some_and(|it| std::ptr::eq(it, task));
        Some(TaskView {
            host: self.name(ix)?.clone(),
            wave: self.frame.wave_of(ix) + 1,
            direction: if back { Direction::Back } else { Direction::Forward },
            state: task.state,
            attempts: task.attempts,
            generation: task.generation,
            first_step: task.first_step,
            retry_at: (task.state == TaskState::Waiting).then_some(task.at),
            doubt: task.doubt.as_deref().map(str::to_owned),
            not_staged: task.not_staged.as_deref().map(str::to_owned),
            last_end: task.last_end.as_deref().cloned(),
            taken_out_by: task.taken_out_by.clone(),
        })
    }
}
