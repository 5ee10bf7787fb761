//! Has agents fetch what they will need.
use crate::{
    conversation::Silence,
    delivery::BEFORE_AN_ORDER,
    executor::{AgentExecutor, identity},
    order,
};
use deploy_agent_protocol::v1::{self, answer::Kind as Answer, order::Kind as Order};
use deploy_core::{
    backend::{StageReport, StageRequest},
    error::{BackendResult, ErrorKind},
    id::Seq,
};
use std::time::Duration;

/// How long an agent may take to believe an order. What it then fetches takes as long as it takes.
const BEGIN_WITHIN: Duration = Duration::from_secs(30);
/// How long an agent may fetch: under a limit that may be a day. Whether it is there its heartbeats say, and without them its session ends.
const ANSWER_WITHIN: Duration = Duration::from_secs(24 * 3_600);

impl AgentExecutor {
    /// What a session that is lost has left unfetched is for whoever asks again.
    pub(crate) async fn have_staged(&self, request: &StageRequest) -> BackendResult<StageReport> {
        let about = identity(&request.on, Seq::ZERO, "", "executor.stage");
        let session = self.session(about.host, about.operation).await?;
        if !session.stages() {
            let err = about.error(ErrorKind::Unsupported);
            return Err(err.because("its agent is too old to stage: install a newer one"));
        }
        session.offer(request.artifacts.iter().map(|it| it.digest));
        let mut deliveries = Vec::new();
        for delivery in &request.deliveries {
            let delivered = self.deliver(delivery, BEFORE_AN_ORDER).await?;
            session.offer(delivered.offers);
            deliveries.extend(delivered.order);
        }
        let order = Order::Stage(v1::Stage {
            place: Some(order::place(&request.on)),
            artifacts: request.artifacts.iter().map(|it| order::artifact(*it)).collect(),
            deliveries,
            rollout: request.rollout.as_ref().map(ToString::to_string).unwrap_or_default(),
        });
        let until = self.after(ANSWER_WITHIN);
        let answer = match session.order(order, BEGIN_WITHIN).await {
            Some(mut conversation) => conversation.answer(self.clock(), until).await,
            None => Err(Silence::Gone),
        };
        match answer {
            Ok(Answer::Refused(refused)) => Err(about.refused(refused)),
            Ok(Answer::Staged(staged)) => Ok(StageReport::new(staged.fetched_bytes)),
            Ok(_) => Err(about.unexpected()),
            Err(Silence::Gone) => Err(about
                .error(ErrorKind::Unavailable)
                .because("its agent has gone; what it has fetched it keeps")),
            Err(Silence::TooLong) => {
                Err(about.error(ErrorKind::OutcomeUnknown).because("its agent does not answer"))
            }
        }
    }
}
