//! What facts about waves do, and about their time under watch.
use super::{Applied, Touched};
use crate::{
    id::HostName,
    rollout::{AttemptEnd, BudgetColumn, Event, Phase, Rollout, TaskState, state::TargetIx},
    spec::{Direction, StepName},
    time::Timestamp,
};

impl Rollout {
    pub(super) fn take_wave_event(&mut self, event: &Event, at: Timestamp) -> Applied {
        match (event, self.phase) {
            (Event::BakePassed { wave }, Phase::Baking { .. }) if Some(*wave) == self.wave => {
                self.phase = Phase::Baked;
                Ok(self.stop_watching())
            }
            (Event::BakeStarted { wave, until }, Phase::Rolling)
                if Some(*wave) == self.wave && self.open == 0 =>
            {
                self.phase = Phase::Baking { until: *until };
                Ok(self.start_watching(*wave))
            }
            (Event::Confirmed { wave, .. }, Phase::AwaitingConfirm) if Some(*wave) == self.wave => {
                self.phase = Phase::Settled;
                Ok(Touched::Nothing)
            }
            (Event::ConfirmRequested { wave }, Phase::Baked | Phase::Rolling)
                if Some(*wave) == self.wave && self.open == 0 =>
            {
                self.phase = Phase::AwaitingConfirm;
                Ok(Touched::Nothing)
            }
            (Event::WaveStarted { wave }, Phase::Baked | Phase::Rolling | Phase::Settled)
                if *wave == self.wave.map_or(0, |it| it + 1) && self.open == 0 =>
            {
                self.start_wave(*wave, at)
            }
            _ => Err("the wave is not where this fact has it"),
        }
    }

    fn start_wave(&mut self, wave: u32, at: Timestamp) -> Applied {
        if wave >= self.frame.wave_count() {
            return Err("the plan has no such wave");
        }
        self.wave = Some(wave);
        self.phase = Phase::Rolling;
        self.begin_progress(at);
        for ix in self.frame.wave(wave) {
            if self.slot(Direction::Forward, ix).is_some_and(|it| it.state.is_unbegun()) {
                self.ready.insert(ix);
                self.open += 1;
            }
        }
        Ok(Touched::Nothing)
    }

    fn start_watching(&mut self, wave: u32) -> Touched {
        let watched: Vec<TargetIx> = self.succeeded_in(wave).collect();
        self.watching.extend(&watched);
        Touched::Many(watched)
    }

    pub(super) fn stop_watching(&mut self) -> Touched {
        Touched::of(std::mem::take(&mut self.watching))
    }

    /// Leaves every host alone on which nothing is in flight.
    pub(super) fn stop_asking(&mut self) -> Touched {
        let mut asked = std::mem::take(&mut self.watching);
        asked.append(&mut self.unanswered);
        Touched::of(asked)
    }

    /// From here on there can be progress.
    pub(super) const fn begin_progress(&mut self, at: Timestamp) {
        self.last_progress = at;
        self.idle_since = at;
    }

    pub(super) fn end_watch(&mut self, host: &HostName) -> Applied {
        let ix = self.find(host)?;
        if self.watching.remove(&ix) {
            Ok(Touched::One(ix))
        } else {
            Err("the target is not watched")
        }
    }

    pub(super) fn fall_ill(&mut self, host: &HostName, reason: &str, at: Timestamp) -> Applied {
        let touched = self.end_watch(host)?;
        let ix = self.find(host)?;
        self.set(Direction::Forward, ix, TaskState::Failed, at)?;
        let end = AttemptEnd::Failed {
            step: Some(StepName::Verify),
            code: None,
            reason: reason.to_owned(),
        };
        self.edit(Direction::Forward, ix)?.last_end = Some(Box::new(end));
        self.count(ix, BudgetColumn::Failed);
        Ok(touched)
    }
}
