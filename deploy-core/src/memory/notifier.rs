use super::lock;
use crate::{
    backend::{Notification, Notifier},
    error::{BackendError, BackendResult, ErrorKind},
};
use async_trait::async_trait;
use std::sync::Mutex;

/// Keeps notifications for whoever asks.
#[derive(Debug, Default)]
pub struct MemoryNotifier {
    delivered: Mutex<Vec<Notification>>,
}

impl MemoryNotifier {
    /// A notifier that nothing was told yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// All that was delivered, in order.
    #[must_use]
    pub fn delivered(&self) -> Vec<Notification> {
        lock(&self.delivered).clone()
    }
}

#[async_trait]
impl Notifier for MemoryNotifier {
    async fn notify(&self, notification: &Notification) -> BackendResult<()> {
        if notification.key.is_empty() {
            return Err(
                BackendError::new(ErrorKind::InvalidInput, "notifier.notify").with("key", "")
            );
        }
        let mut delivered = lock(&self.delivered);
        if delivered.iter().all(|it| it.key != notification.key) {
            delivered.push(notification.clone());
        }
        Ok(())
    }
}
