//! Has a host fetch what it is to run, ahead of its attempt.
use super::perform::Place;
use crate::{
    backend::StageRequest,
    error::Retry,
    rollout::Reply,
    telemetry::{ERROR_KIND, TARGET_EFFECT},
};
use std::time::Duration;

/// How often a host is asked that cannot be reached, or was cut off in the middle, before the next one gets its place.
const TRIES: u32 = 6;
/// The wait before it is asked again; it doubles.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

impl Place<'_> {
    pub(super) async fn stage(&self) -> Reply {
        let Some(attempt) = self.request() else {
            return Reply::NotStaged { reason: "there is nothing that it is to run".to_owned() };
        };
        let back = attempt.way_back().and_then(|it| it.delivery());
        let request = StageRequest::new(self.on(), attempt.artifacts())
            .with_deliveries(attempt.delivery().into_iter().chain(back).collect())
            .with_rollout(Some(attempt.rollout.clone()));
        let parts = &self.performer.parts;
        let mut wait = AGAIN_AFTER;
        let mut tries = 1;
        loop {
            let Err(err) = parts.executor.stage(&self.permit, &request).await else {
                return Reply::Staged;
            };
            if err.kind().retry() == Retry::Never || tries == TRIES {
                return Reply::NotStaged { reason: err.chain() };
            }
            tracing::debug!(
                target: TARGET_EFFECT,
                { { ERROR_KIND } = err.kind().as_str() }, "staging is tried again"
            );
            parts.clock.sleep_until(parts.clock.now().after(wait)).await;
            wait *= 2;
            tries += 1;
        }
    }
}
