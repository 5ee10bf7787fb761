use crate::time::Timestamp;
use async_trait::async_trait;
use std::fmt;

/// Where time comes from: nothing else in the library reads it.
///
/// # Contract
/// * `now` never goes back by itself between two calls of one process, as long as the clock of the system does not.
/// * `sleep_until` returns once `now` has reached the instant, and at once for the past.
/// * Dropping the future of `sleep_until` ends the wait.
///
/// ```
/// use deploy_core::{backend::Clock, memory::ManualClock, time::Timestamp};
/// use std::time::Duration;
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let clock = ManualClock::at(Timestamp::from_millis(0));
/// clock.advance(Duration::from_secs(3));
/// clock.sleep_until(Timestamp::from_millis(3_000)).await;
/// assert_eq!(clock.now(), Timestamp::from_millis(3_000));
/// # });
/// ```
#[async_trait]
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// Now.
    fn now(&self) -> Timestamp;

    /// Waits.
    async fn sleep_until(&self, at: Timestamp);
}
