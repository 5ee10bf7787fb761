//! What facts about commit-confirm do.
use super::{Applied, Touched};
use crate::{
    id::{HostName, Seq},
    rollout::{Rollout, TaskState, state::TargetIx},
    spec::Direction,
    time::Timestamp,
};

impl Rollout {
    pub(super) fn await_confirm(
        &mut self,
        host: &HostName,
        generation: Seq,
        at: Timestamp,
    ) -> Applied {
        let ix = self.look(host, generation, TaskState::AwaitingConfirm, at)?;
        if self.direction_of(ix, generation) != Some(Direction::Forward) {
            return Err("only what goes forward is confirmed");
        }
        if !self.edit(Direction::Forward, ix)?.confirmed {
            self.unconfirmed.insert(ix);
        }
        Ok(Touched::One(ix))
    }

    pub(super) fn confirm(&mut self, host: &HostName, generation: Seq) -> Applied {
        let ix = self.find(host)?;
        let task = self.edit(Direction::Forward, ix)?;
        if task.generation != generation {
            return Err("there is no such attempt");
        }
        task.confirmed = true;
        if !self.unconfirmed.remove(&ix) {
            return Err("the attempt does not wait to be confirmed");
        }
        Ok(Touched::One(ix))
    }

    /// The targets whose hosts wait to be told to keep what attempts did.
    pub(super) fn awaiting(&self) -> Vec<TargetIx> {
        let awaits = |ix: &TargetIx| {
            self.slot(Direction::Forward, *ix)
                .is_some_and(|it| it.state == TaskState::AwaitingConfirm)
        };
        self.in_flight.iter().copied().filter(awaits).collect()
    }
}
