//! Requests that may come again, after whoever took them is gone.
use super::Operations;
use crate::problem::OrProblem as _;
use deploy_core::{digest::Digest, id::RolloutId, time::Timestamp};
use deploy_wire::Problem;
use std::time::Duration;

/// A request under a name of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "complete by definition")]
pub struct NamedRequest {
    /// Stands for who asks, what they call the request, and all that it says.
    pub name: Digest,
    /// Set where somebody has begun it and never answered, so that it may have been carried out: how long ago that is at the most.
    pub begun_within: Option<Duration>,
}

impl Operations {
    /// As asked for by a request that may come again.
    #[must_use]
    pub fn with_request(mut self, request: NamedRequest) -> Self {
        self.request = Some(request);
        self
    }

    /// Whether this request may have been carried out already, by somebody who never said so.
    pub(super) fn may_be_done(&self) -> bool {
        self.request.as_ref().is_some_and(|it| it.begun_within.is_some())
    }

    pub(super) fn request_name(&self) -> Option<Digest> {
        self.request.as_ref().map(|it| it.name)
    }

    /// The rollout that this request has started already.
    pub(super) async fn started(&self) -> Result<Option<RolloutId>, Problem> {
        let Some(NamedRequest { name, begun_within: Some(within) }) = &self.request else {
            return Ok(None);
        };
        let within = u64::try_from(within.as_millis()).unwrap_or(u64::MAX);
        let now = self.parts().clock.now().as_millis();
        let since = Timestamp::from_millis(now.saturating_sub(within));
        self.platform.started_by(name, since).await.or_problem()
    }
}
