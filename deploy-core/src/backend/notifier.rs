use crate::error::BackendResult;
use async_trait::async_trait;
use std::fmt;

/// Something people may want to know.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Notification {
    /// The same for the same occasion, whoever tells it and however often.
    pub key: String,
    /// One line.
    pub subject: String,
    /// The rest.
    pub body: String,
}

impl Notification {
    /// A notification.
    #[must_use]
    pub fn new(
        key: impl Into<String>,
        subject: impl Into<String>,
        body: impl Into<String>,
    ) -> Self {
        Self { key: key.into(), subject: subject.into(), body: body.into() }
    }
}

/// Tells people. Never in the way of a rollout: the engine logs a failure and goes on.
///
/// # Contract
/// * A notification that was accepted is delivered at least once.
/// * A second one with the same key is accepted and not delivered again.
///
/// ```
/// use deploy_core::{
///     backend::{Notification, Notifier},
///     memory::MemoryNotifier,
/// };
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let notifier = MemoryNotifier::new();
/// let paused = Notification::new("r1/paused", "web: rollout r1 is paused", "2 of 40 hosts failed");
/// for _ in 0..2 {
///     notifier.notify(&paused).await?;
/// }
/// assert_eq!(notifier.delivered(), [paused]);
/// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
/// ```
#[async_trait]
pub trait Notifier: fmt::Debug + Send + Sync + 'static {
    /// Tells.
    async fn notify(&self, notification: &Notification) -> BackendResult<()>;
}
