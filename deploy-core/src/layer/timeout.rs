use super::{Layer, Operation, OperationKind};
use crate::{
    backend::Clock,
    error::{BackendError, BackendResult, ErrorKind},
};
use std::{sync::Arc, time::Duration};

/// Gives up on calls that take too long: a read is then `Unavailable`, and a write `OutcomeUnknown`.
///
/// A call with time of its own (a check, a kill) gets that on top; one that takes as long as it takes (an attempt, the body
/// of an artifact) has no limit.
#[derive(Clone, Debug)]
pub struct TimeoutLayer {
    clock: Arc<dyn Clock>,
    limit: Duration,
}

impl TimeoutLayer {
    /// Gives up after `limit`.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>, limit: Duration) -> Self {
        Self { clock, limit }
    }
}

impl Layer for TimeoutLayer {
    async fn around<T: Send, F: Future<Output = BackendResult<T>> + Send>(
        &self,
        operation: Operation,
        mut call: impl FnMut() -> F + Send,
    ) -> BackendResult<T> {
        if operation.is_unbounded() {
            return call().await;
        }
        let limit = self.limit.saturating_add(operation.own_time);
        tokio::select! {
            biased;
            done = call() => done,
            () = self.clock.sleep_until(self.clock.now().after(limit)) => {
                let kind = match operation.kind {
                    OperationKind::Read => ErrorKind::Unavailable,
                    OperationKind::Write => ErrorKind::OutcomeUnknown,
                };
                Err(BackendError::new(kind, operation.name)
                    .with("reason", format_args!("there was no answer within {limit:?}")))
            }
        }
    }
}
