//! Follows the orders of one session, many at a time.
use super::{
    artifacts::RemoteArtifacts,
    follow::{Wanted, follow},
    outbox::Outbox,
};
use crate::host::HostSide;
use deploy_agent_protocol::{
    NotTrusted, OrderGate,
    v1::{
        Answer, AttemptId, Follow, Order, Refusal, Refused, SignedOrder,
        agent_frame::Kind as FromAgent, answer::Kind, gateway_frame::Kind as ToAgent, order,
    },
};
use prost::Message as _;
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::{select, sync::watch, task::JoinSet, time::timeout};

/// The orders of one session. Dropping it ends what they wait for, and nothing on the host.
#[derive(Debug)]
pub(super) struct Orders {
    host: Arc<dyn HostSide>,
    artifacts: RemoteArtifacts,
    gate: OrderGate,
    outbox: Outbox,
    tasks: JoinSet<u64>,
    wanted: BTreeMap<u64, Interest>,
}

/// What the gateway wants to hear about one order.
#[derive(Debug)]
struct Interest {
    /// Up to where its log has arrived; `None` once nobody wants it.
    acknowledged: watch::Sender<Option<u64>>,
    /// The attempt whose log it is.
    attempt: Option<AttemptId>,
}

impl Orders {
    pub(super) fn new(
        host: Arc<dyn HostSide>,
        artifacts: RemoteArtifacts,
        gate: OrderGate,
        outbox: Outbox,
    ) -> Self {
        let (tasks, wanted) = (JoinSet::new(), BTreeMap::new());
        Self { host, artifacts, gate, outbox, tasks, wanted }
    }

    /// What the gateway says.
    pub(super) async fn take(&mut self, kind: ToAgent) {
        while let Some(done) = self.tasks.try_join_next() {
            // One that was given up has no number to forget.
            let _forgotten = done.map(|sequence| self.wanted.remove(&sequence));
        }
        match kind {
            ToAgent::Order(order) => self.order(&order).await,
            ToAgent::LogAck(ack) => {
                let Some(interest) = self.wanted.get(&ack.sequence) else { return };
                interest.acknowledged.send_replace(Some(ack.offset));
                if let Some(attempt) = &interest.attempt {
                    self.host.log_durable(attempt, ack.offset).await;
                }
            }
            ToAgent::Unfollow(unfollow) => {
                if let Some(interest) = self.wanted.remove(&unfollow.sequence) {
                    interest.acknowledged.send_replace(None);
                }
            }
            ToAgent::EndAck(ack) => {
                if let Some(attempt) = &ack.attempt {
                    self.host.confirm_end(attempt).await;
                }
            }
            ToAgent::Limits(limits) => self.host.limit(limits).await,
            // A second welcome changes nothing.
            ToAgent::Welcome(_) => {}
        }
    }

    async fn order(&mut self, signed: &SignedOrder) {
        match self.gate.admit(signed) {
            Ok(order) => self.begin(order),
            // The first one is answered. A refusal would be taken for an answer to that, and nothing to have been started.
            Err(why @ NotTrusted::Replayed(_)) => {
                tracing::warn!(reason = %why, "an order is not followed");
            }
            Err(why) => {
                tracing::warn!(reason = %why, "an order is not followed");
                // The number is not to be believed either, but nobody is hurt by a refusal under it.
                let sequence = Order::decode(signed.order.clone()).map_or(0, |it| it.sequence);
                let refused = Refused {
                    code: Refusal::NotTrusted.into(),
                    message: format!("the host does not follow this order: {why}"),
                    generation: 0,
                };
                let answer = Answer { sequence, kind: Some(Kind::Refused(refused)) };
                // A session that is over needs no answer.
                let _over = self.outbox.say(FromAgent::Answer(answer)).await;
            }
        }
    }

    fn begin(&mut self, order: Order) {
        let Order { sequence, good_for_ms, kind, .. } = order;
        let (attempt, begin) = log_of(kind.as_ref());
        let (acknowledged, progress) = watch::channel(Some(begin));
        self.wanted.insert(sequence, Interest { acknowledged, attempt });
        let work = Work {
            host: Arc::clone(&self.host),
            artifacts: self.artifacts.clone(),
            wanted: Wanted::new(sequence, self.outbox.clone(), progress),
            good_for: Duration::from_millis(good_for_ms.into()),
        };
        self.tasks.spawn(async move {
            work.carry_out(kind).await;
            sequence
        });
    }
}

/// Whose log an order wants, and from where on.
fn log_of(kind: Option<&order::Kind>) -> (Option<AttemptId>, u64) {
    let (place, generation, begin) = match kind {
        Some(order::Kind::Start(it)) => (it.place.as_ref(), it.generation, it.log_offset),
        Some(order::Kind::Follow(it)) => (it.place.as_ref(), it.generation, it.log_offset),
        _ => return (None, 0),
    };
    let attempt = place.map(|it| AttemptId { service: it.service.clone(), generation });
    (attempt, begin)
}

/// One order, being carried out.
struct Work {
    host: Arc<dyn HostSide>,
    artifacts: RemoteArtifacts,
    wanted: Wanted,
    good_for: Duration,
}

impl Work {
    async fn carry_out(mut self, kind: Option<order::Kind>) {
        let host = Arc::clone(&self.host);
        let answer = match kind {
            Some(order::Kind::Start(attempt)) => {
                let follow = Follow {
                    place: attempt.place.clone(),
                    generation: attempt.generation,
                    token: attempt.token.clone(),
                    log_offset: attempt.log_offset,
                };
                // Whether it has begun when its time is over, nobody knows: the gateway asks again.
                let Ok(begun) = timeout(self.good_for, host.start(attempt, &self.artifacts)).await
                else {
                    return;
                };
                match begun {
                    Err(refused) => Kind::Refused(refused),
                    Ok(accepted) => {
                        self.wanted.answer(Kind::Accepted(accepted)).await;
                        return self.follow(follow).await;
                    }
                }
            }
            Some(order::Kind::Follow(wanted)) => return self.follow(wanted).await,
            Some(order::Kind::Probe(probe)) => host.probe(probe).await,
            Some(order::Kind::Kill(kill)) => host.kill(kill).await,
            Some(order::Kind::Confirm(confirm)) => host.confirm(confirm).await,
            // A rollout that was ended fetches nothing more: what has come so far is kept.
            Some(order::Kind::Stage(stage)) => select! {
                staged = host.stage(stage, &self.artifacts) => staged,
                () = self.wanted.unwanted() => return,
            },
            Some(order::Kind::Room(room)) => select! {
                said = host.room(room, &self.artifacts) => said,
                () = self.wanted.unwanted() => return,
            },
            Some(order::Kind::Collect(collect)) => host.collect(collect).await,
            Some(order::Kind::Check(check)) => host.check(check).await,
            Some(order::Kind::Resolve(resolve)) => host.resolve(resolve).await,
            Some(order::Kind::Observe(observe)) => host.observe(observe).await,
            None => Kind::Refused(Refused {
                code: Refusal::Invalid.into(),
                message: "the host's agent does not know this order: install a newer one"
                    .to_owned(),
                generation: 0,
            }),
        };
        self.wanted.answer(answer).await;
    }

    async fn follow(&mut self, wanted: Follow) {
        follow(&*self.host, wanted, &mut self.wanted).await;
    }
}
