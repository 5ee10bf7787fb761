//! The effects that are under way.
use super::perform::Performer;
use crate::{
    id::HostName,
    plan::Target,
    rollout::{Effect, EffectKind, Input, LOST_AFTER, Reply, Rollout},
};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::{sync::mpsc, task::AbortHandle};

/// The wait before an effect that came to nothing is tried again; it doubles up to the longest.
const FIRST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// How long a host may think about one question. The machine gives a host up only once it was asked, so each asking ends.
const LONGEST_ANSWER: Duration = LOST_AFTER;

/// An effect that came back.
#[derive(Debug)]
pub(super) struct Landed {
    pub(super) effect: Effect,
    pub(super) reply: Reply,
}

impl Landed {
    pub(super) fn input(&self) -> Input {
        Input::Replied {
            host: self.effect.host.clone(),
            generation: self.effect.generation,
            reply: self.reply.clone(),
        }
    }
}

#[derive(Debug)]
struct Flight {
    effect: Effect,
    /// How often it came to nothing.
    vain: u32,
    task: Option<AbortHandle>,
}

/// The effects that are under way, one a host. Dropping it leaves them all alone: what runs on hosts goes on there.
#[derive(Debug)]
pub(super) struct Flights {
    performer: Arc<Performer>,
    landed: mpsc::UnboundedSender<Landed>,
    by_host: BTreeMap<HostName, Flight>,
}

impl Flights {
    pub(super) const fn new(
        performer: Arc<Performer>,
        landed: mpsc::UnboundedSender<Landed>,
    ) -> Self {
        Self { performer, landed, by_host: BTreeMap::new() }
    }

    /// Makes `effect` the one that is under way on `host`. It is `fresh` if nobody can have asked the host for it before.
    pub(super) fn set(
        &mut self,
        rollout: &Rollout,
        host: &HostName,
        effect: Option<Effect>,
        fresh: bool,
    ) {
        let under_way = self.by_host.get(host);
        if under_way.is_some_and(|it| Some(&it.effect) == effect.as_ref() && it.task.is_some()) {
            return;
        }
        let vain =
            under_way.filter(|it| Some(&it.effect) == effect.as_ref()).map_or(0, |it| it.vain);
        if let Some(task) = self.by_host.remove(host).and_then(|it| it.task) {
            task.abort();
        }
        if let (Some(effect), Some(target)) = (effect, rollout.target(host)) {
            let task = self.launch(effect.clone(), target.clone(), wait_after(vain), fresh);
            self.by_host.insert(host.clone(), Flight { effect, vain, task: Some(task) });
        }
    }

    /// Makes the whole agenda be under way, and nothing else.
    pub(super) fn set_all(&mut self, rollout: &Rollout) {
        let agenda = rollout.agenda();
        let wanted: BTreeMap<HostName, Effect> =
            agenda.into_iter().map(|it| (it.host.clone(), it)).collect();
        let gone: Vec<HostName> =
            self.by_host.keys().filter(|it| !wanted.contains_key(*it)).cloned().collect();
        for host in gone {
            self.set(rollout, &host, None, false);
        }
        for (host, effect) in wanted {
            self.set(rollout, &host, Some(effect), false);
        }
    }

    /// Notes that an effect has come back. If it is still wanted it came to nothing, and is tried again later.
    pub(super) fn land(&mut self, effect: &Effect) {
        if let Some(flight) = self.by_host.get_mut(&effect.host)
            && flight.effect == *effect
        {
            flight.task = None;
            flight.vain = flight.vain.saturating_add(1);
        }
    }

    fn launch(&self, effect: Effect, target: Target, wait: Duration, fresh: bool) -> AbortHandle {
        let (performer, landed) = (Arc::clone(&self.performer), self.landed.clone());
        tokio::spawn(async move {
            let clock = &performer.parts.clock;
            if !wait.is_zero() {
                clock.sleep_until(clock.now().after(wait)).await;
            }
            let performed = performer.perform(&effect, &target, fresh);
            let reply = if asks(effect.kind) {
                let give_up = clock.sleep_until(clock.now().after(LONGEST_ANSWER));
                tokio::select! {
                    biased;
                    reply = performed => reply,
                    () = give_up => Reply::Unknown { reason: "the host did not answer".to_owned() },
                }
            } else {
                performed.await
            };
            let _gone = landed.send(Landed { effect, reply });
        })
        .abort_handle()
    }
}

impl Drop for Flights {
    fn drop(&mut self) {
        for task in self.by_host.values().filter_map(|it| it.task.as_ref()) {
            task.abort();
        }
    }
}

/// Whether an effect is a question that a host can answer at once, and not work that takes as long as it takes.
const fn asks(kind: EffectKind) -> bool {
    match kind {
        EffectKind::Confirm | EffectKind::Kill | EffectKind::Probe | EffectKind::Resolve { .. } => {
            true
        }
        EffectKind::Run | EffectKind::Stage | EffectKind::Watch { .. } => false,
    }
}

fn wait_after(vain: u32) -> Duration {
    match vain.checked_sub(1) {
        None => Duration::ZERO,
        Some(doublings) => {
            FIRST_WAIT.saturating_mul(2_u32.saturating_pow(doublings)).min(LONGEST_WAIT)
        }
    }
}
