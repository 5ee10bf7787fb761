use super::{Input, Phase, Rollout, SkipKind, TaskState, state::Hold};
use crate::{id::HostName, plan::Work, spec::Direction};

/// Why a rollout does not take a command as it stands.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// It is being aborted.
    #[error("the rollout is being aborted")]
    Aborting,
    /// Nobody is asked for a confirmation.
    #[error("the rollout does not wait for a confirmation")]
    NothingToConfirm,
    /// It is not held back.
    #[error("the rollout is not paused")]
    NotPaused,
    /// Nothing runs on the host.
    #[error("nothing of the rollout runs on host `{0}`")]
    NotRunning(HostName),
    /// The plan does not have the host.
    #[error("host `{0}` is not a target of the rollout's plan")]
    NotTarget(HostName),
    /// The target is not in trouble.
    #[error(
        "host `{host}` is {state}: only a target that failed or was skipped can be tried again"
    )]
    NotTroubled {
        /// The host.
        host: HostName,
        /// Where its task is.
        state: TaskState,
    },
    /// It is over.
    #[error("the rollout is over")]
    Over,
    /// It is held back already.
    #[error("the rollout is paused already")]
    Paused,
    /// An attempt is under way on the host.
    #[error("host `{0}` is being worked on: kill the attempt first, or wait for it")]
    Running(HostName),
    /// The target is done already.
    #[error("host `{host}` is {state}: there is nothing to skip")]
    Settled {
        /// The host.
        host: HostName,
        /// Where its task is.
        state: TaskState,
    },
    /// It has turned back already.
    #[error("the rollout goes back already")]
    TurnedBack,
    /// The rollout did nothing on the host.
    #[error("host `{0}` was never touched: there is nothing to take back")]
    Untouched(HostName),
    /// There is nothing to go back to.
    #[error("an ad-hoc run cannot be rolled back")]
    NothingToGoBackTo,
}

impl Refusal {
    /// A stable, lower-case name.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Aborting => "rollout_aborting",
            Self::NotPaused => "rollout_not_paused",
            Self::NotRunning(_) => "target_not_running",
            Self::NotTarget(_) => "not_a_target",
            Self::NotTroubled { .. } => "target_not_in_trouble",
            Self::NothingToConfirm => "nothing_to_confirm",
            Self::NothingToGoBackTo => "nothing_to_go_back_to",
            Self::Over => "rollout_over",
            Self::Paused => "rollout_paused",
            Self::Running(_) => "target_running",
            Self::Settled { .. } => "target_settled",
            Self::TurnedBack => "rollout_turned_back",
            Self::Untouched(_) => "target_never_touched",
        }
    }
}

impl Rollout {
    /// Whether a command means something as the rollout stands.
    ///
    /// # Errors
    /// If it does not: why.
    pub fn admits(&self, input: &Input) -> Result<(), Refusal> {
        if self.outcome.is_some() {
            return Err(Refusal::Over);
        }
        let command = !matches!(input, Input::Replied { .. } | Input::Tick);
        let kills = matches!(input, Input::Kill { .. } | Input::Abort { kill: true, .. });
        if self.aborting.is_some() && command && !kills {
            return Err(Refusal::Aborting);
        }
        match input {
            Input::Abort { .. }
            | Input::Replied { .. }
            | Input::Retry { host: None, .. }
            | Input::Tick => Ok(()),
            Input::Confirm { .. } => self.admits_confirm(),
            Input::Kill { host, .. } => self.admits_kill(host),
            Input::Pause { .. } if self.is_held() => Err(Refusal::Paused),
            Input::Pause { .. } => Ok(()),
            Input::Resume { .. } if self.hold == Hold::None => Err(Refusal::NotPaused),
            Input::Resume { .. } => Ok(()),
            Input::Retry { host: Some(host), .. } => self.admits_retry(host),
            Input::Rollback { .. } if self.direction == Direction::Back => Err(Refusal::TurnedBack),
            Input::Rollback { .. } if !self.can_turn_back() => Err(Refusal::NothingToGoBackTo),
            Input::Rollback { .. } => Ok(()),
            Input::Skip { host, kind, .. } => self.admits_skip(host, *kind),
        }
    }

    pub(super) fn can_turn_back(&self) -> bool {
        self.direction == Direction::Forward && self.plan().work != Work::Run
    }

    fn admits_confirm(&self) -> Result<(), Refusal> {
        let asked = self.direction == Direction::Forward && self.phase == Phase::AwaitingConfirm;
        if asked { Ok(()) } else { Err(Refusal::NothingToConfirm) }
    }

    fn admits_kill(&self, host: &HostName) -> Result<(), Refusal> {
        let ix = self.frame.index.get(host).ok_or_else(|| Refusal::NotTarget(host.clone()))?;
        let may_run = self.in_flight.contains(ix) || self.unanswered.contains(ix);
        if may_run { Ok(()) } else { Err(Refusal::NotRunning(host.clone())) }
    }

    fn admits_retry(&self, host: &HostName) -> Result<(), Refusal> {
        let task =
            self.task(host, self.direction).ok_or_else(|| Refusal::NotTarget(host.clone()))?;
        let touched = self.task(host, Direction::Forward).is_some_and(|it| it.touched);
        if self.direction == Direction::Back && !touched {
            return Err(Refusal::Untouched(host.clone()));
        }
        if task.state.is_trouble() || task.state == TaskState::Skipped {
            Ok(())
        } else {
            Err(Refusal::NotTroubled { host: host.clone(), state: task.state })
        }
    }

    fn admits_skip(&self, host: &HostName, kind: SkipKind) -> Result<(), Refusal> {
        let ix = self.frame.index.get(host).ok_or_else(|| Refusal::NotTarget(host.clone()))?;
        if self.in_flight.contains(ix) {
            return Err(Refusal::Running(host.clone()));
        }
        let state = self.slot(self.direction, *ix).map_or(TaskState::Pending, |it| it.state);
        let is_back = self.direction == Direction::Back;
        let done = match state {
            TaskState::Excluded => true,
            TaskState::Skipped => kind == SkipKind::Skip,
            // What it did forward can still be taken out of the budget.
            TaskState::Succeeded => kind == SkipKind::Skip || is_back,
            _ => false,
        };
        if done { Err(Refusal::Settled { host: host.clone(), state }) } else { Ok(()) }
    }
}
