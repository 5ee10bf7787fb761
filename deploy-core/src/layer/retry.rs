use super::{Layer, Operation};
use crate::{
    backend::Clock,
    error::{BackendResult, Retry},
};
use std::{sync::Arc, time::Duration};

/// Calls again what failed without any effect: errors whose [`retry`](crate::error::ErrorKind::retry) is `Safe`.
///
/// An `OutcomeUnknown` is never called again: what follows it is the caller's to decide.
#[derive(Clone, Debug)]
pub struct RetryLayer {
    clock: Arc<dyn Clock>,
    retries: u32,
    backoff: Duration,
    max_backoff: Duration,
}

impl RetryLayer {
    /// Three retries: after 100 ms, and each time twice as long, but never more than 5 s.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        let (backoff, max_backoff) = (Duration::from_millis(100), Duration::from_secs(5));
        Self { clock, retries: 3, backoff, max_backoff }
    }

    /// With so many calls after the first.
    #[must_use]
    pub const fn with_retries(mut self, retries: u32) -> Self {
        self.retries = retries;
        self
    }

    /// With another wait before the first retry.
    #[must_use]
    pub const fn with_backoff(mut self, backoff: Duration) -> Self {
        self.backoff = backoff;
        self
    }

    /// With another longest wait.
    #[must_use]
    pub const fn with_max_backoff(mut self, max_backoff: Duration) -> Self {
        self.max_backoff = max_backoff;
        self
    }

    fn wait(&self, retry: u32) -> Duration {
        let factor = 2_u32.saturating_pow(retry);
        self.backoff.saturating_mul(factor).min(self.max_backoff)
    }
}

impl Layer for RetryLayer {
    async fn around<T: Send, F: Future<Output = BackendResult<T>> + Send>(
        &self,
        operation: Operation,
        mut call: impl FnMut() -> F + Send,
    ) -> BackendResult<T> {
        let retries = if operation.repeatable { self.retries } else { 0 };
        for retry in 0..retries {
            match call().await {
                Err(err) if err.kind().retry() == Retry::Safe => {}
                done => return done,
            }
            self.clock.sleep_until(self.clock.now().after(self.wait(retry))).await;
        }
        call().await
    }
}
