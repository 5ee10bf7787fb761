use async_trait::async_trait;
use deploy_core::{
    backend::{Notification, Notifier},
    error::BackendResult,
};
use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
};

/// Tells people through the log of this process.
#[derive(Debug, Default)]
pub(super) struct TraceNotifier {
    told: Mutex<BTreeSet<String>>,
}

#[async_trait]
impl Notifier for TraceNotifier {
    async fn notify(&self, notification: &Notification) -> BackendResult<()> {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.insert(notification.key.clone()) {
            let (subject, body) = (&notification.subject, &notification.body);
            tracing::info!(target: "deploy::notify", subject, body, "notification");
        }
        Ok(())
    }
}
