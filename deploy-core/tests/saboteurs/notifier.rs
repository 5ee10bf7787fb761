use async_trait::async_trait;
use deploy_core::{
    backend::{BackendError, BackendResult, ErrorKind, Notification, Notifier},
    conformance::{Harness, notifier::NotifierHarness},
    memory::MemoryNotifier,
};
use std::sync::Arc;

sabotages! {
    DeliversNothing,
    KeepsOnlyText,
    RefusesTheSecond,
    RepeatsItself,
}

pub(crate) struct Bad(pub(crate) Sabotage);

impl Harness<dyn Notifier> for Bad {
    type Guard = Arc<MemoryNotifier>;

    async fn fresh(&self) -> (Arc<dyn Notifier>, Arc<MemoryNotifier>) {
        let plain = Arc::new(MemoryNotifier::new());
        (Arc::new(Saboteur(plain.clone(), self.0)), plain)
    }
}

impl NotifierHarness for Bad {
    async fn delivered(&self, plain: &Arc<MemoryNotifier>) -> Vec<Notification> {
        let delivered = plain.delivered();
        match self.0 {
            // The wrapper has made keys of its own; people see the one they were told about.
            Sabotage::RepeatsItself => delivered.into_iter().map(Saboteur::unmark).collect(),
            _ => delivered,
        }
    }
}

#[derive(Debug)]
struct Saboteur(Arc<MemoryNotifier>, Sabotage);

impl Saboteur {
    fn unmark(mut notification: Notification) -> Notification {
        notification.key.truncate(1);
        notification
    }
}

#[async_trait]
impl Notifier for Saboteur {
    async fn notify(&self, notification: &Notification) -> BackendResult<()> {
        let Self(inner, sabotage) = self;
        let delivered = inner.delivered();
        let known = delivered.iter().any(|it| it.key == notification.key);
        let mut notification = notification.clone();
        match sabotage {
            Sabotage::DeliversNothing => return Ok(()),
            Sabotage::KeepsOnlyText => notification.body.retain(|it| it.is_ascii_alphanumeric()),
            Sabotage::RefusesTheSecond if known => {
                return Err(BackendError::new(ErrorKind::AlreadyExists, "notifier.notify"));
            }
            Sabotage::RepeatsItself => notification.key.push_str(&delivered.len().to_string()),
            _ => {}
        }
        inner.notify(&notification).await
    }
}
