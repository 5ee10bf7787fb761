//! Who was found to give what is wrong.
use crate::schedule::Event;
use deploy_core::{id::HostName, telemetry::TARGET_BACKEND};
use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

/// How often hosts have found each source to give what is wrong.
#[derive(Debug, Default)]
pub(super) struct Found(Mutex<BTreeMap<HostName, u64>>);

impl Found {
    pub(super) fn all(&self) -> BTreeMap<HostName, u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn count(&self, source: &HostName) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = all.entry(source.clone()).or_default();
        *count = count.saturating_add(1);
    }

    /// Says what happened in a swarm, and counts it.
    pub(super) fn tell(&self, event: &Event) {
        match event {
            Event::Accused { source, by, block } => {
                self.count(source);
                tracing::warn!(
                    target: TARGET_BACKEND,
                    source = %source, found_by = %by, block,
                    "a seed served corrupt data, as a host says"
                );
            }
            Event::Quarantined { source, by, block } => {
                self.count(source);
                tracing::warn!(
                    target: TARGET_BACKEND,
                    source = %source, found_by = %by, block,
                    "a host served corrupt data"
                );
            }
            Event::Distrusted { host } => {
                tracing::warn!(target: TARGET_BACKEND, host = %host, "a host accuses too many others");
            }
            Event::Lost { host } => {
                tracing::debug!(target: TARGET_BACKEND, host = %host, "a host is gone from a swarm");
            }
        }
    }
}
