//! Commit-confirm: a host keeps what an attempt did only if it is told so in time.
//!
//! The decision to tell it is ours, and journaled before anything is sent. The verdict is the host's: only its own word
//! ends the attempt, one way or the other.
use super::{Event, Rollout, TaskState, state::TargetIx};
use crate::spec::Direction;

impl Rollout {
    /// What it means that the host of an attempt waits to be told to keep what the attempt did.
    pub(super) fn awaits_confirm(&self, ix: TargetIx) -> Option<Event> {
        let task = self.slot(Direction::Forward, ix)?;
        let waited_for = matches!(task.state, TaskState::Running | TaskState::Uncertain);
        let (host, generation) = (self.name(ix)?.clone(), task.generation);
        waited_for.then_some(Event::AttemptAwaitsConfirm { host, generation })
    }

    /// The next attempt to be confirmed. A pause does not hold that back: what is under way is let finish.
    pub(super) fn confirm_next(&self) -> Option<Event> {
        let ix = *self.unconfirmed.first()?;
        if self.withholds(Direction::Forward) {
            return None;
        }
        let generation = self.slot(Direction::Forward, ix)?.generation;
        Some(Event::AttemptConfirmed { host: self.name(ix)?.clone(), generation })
    }

    /// Whether nothing that goes in `direction` is to be kept any more: hosts that wait to be told go back at once.
    pub(super) fn withholds(&self, direction: Direction) -> bool {
        self.aborting.is_some() || direction != self.direction
    }
}
