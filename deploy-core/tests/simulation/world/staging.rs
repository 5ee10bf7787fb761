//! Hosts that fetch ahead of their attempts, and what nobody may take that for.
use super::{Checked, Message, World};
use crate::mutant::Mutant;
use deploy_core::{
    id::HostName,
    rollout::{Effect, EffectKind, Reply},
};

impl World {
    /// Fetching takes its time: many a wave begins before it is over.
    pub(super) fn reach_stage(&mut self, effect: Effect, incarnation: u32) {
        let takes = self.rng.below(3_000);
        let reply = if self.rng.one_in(6) {
            Reply::NotStaged { reason: "no space is left".to_owned() }
        } else {
            self.hosts.get_mut(&effect.host).unwrap().staged = true;
            Reply::Staged
        };
        self.answer_after(takes, effect, reply, incarnation);
    }

    /// What drivers do with staging that do not understand it.
    pub(super) fn misread_staging(&mut self, effect: &Effect, reply: &Reply) {
        if self.mutant == Mutant::RunsWhatIsStaged && *reply == Reply::Staged {
            let mut effect = effect.clone();
            effect.kind = EffectKind::Run;
            effect.generation = self.live().head();
            self.send(0, Message::ToHost { effect, incarnation: u32::MAX });
        }
    }

    pub(super) fn check_staged(&self, name: &HostName) -> Checked {
        if self.hosts[name].staged {
            return Ok(());
        }
        Err(format!("{name} is staged, and has fetched nothing"))
    }

    /// So many hosts fetch at a time as may, and none that is past it, or while the rollout is held back.
    pub(super) fn check_staging(&self) -> Checked {
        let stages = |it: &&Effect| it.kind == EffectKind::Stage;
        let staging: Vec<&Effect> = self.flights.values().filter(stages).collect();
        let most = self.plan.strategy.staging.map_or(0, |it| it.max_parallel.get());
        if staging.len() > most as usize {
            return Err(format!("{} hosts fetch, and {most} may", staging.len()));
        }
        staging.into_iter().try_for_each(|it| self.checker.may_stage(&it.host))
    }
}
