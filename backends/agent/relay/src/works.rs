//! What a relay does its work with, and what can be changed of that.
use crate::{Settings, link::Link};
use deploy_agent_protocol::v1::RelayCount;
use deploy_core::backend::Clock;
use deploy_distribution::transfer::{BlockServer, Limits, Rate, Relay};
use std::{
    num::NonZeroU64,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};
use tokio::{sync::watch, task::spawn_blocking};

/// What a relay does its work with.
#[derive(Debug)]
pub(crate) struct Works {
    pub(crate) link: Arc<Link>,
    pub(crate) relay: Arc<Relay>,
    pub(crate) server: Arc<BlockServer>,
    pub(crate) upstream: Arc<Limits>,
    /// How much of that the server allows, in bytes a second; 0 is as much as there is.
    pub(crate) allowed: AtomicU64,
    pub(crate) upload: Arc<Limits>,
    pub(crate) settings: Mutex<Settings>,
    pub(crate) passed_on: Arc<AtomicU64>,
    pub(crate) clock: Arc<dyn Clock>,
}

impl Works {
    /// What is kept, and what went through since this was started.
    pub(crate) fn count(&self) -> RelayCount {
        let served = self.server.served();
        RelayCount {
            kept_bytes: self.relay.kept(),
            budget_bytes: self.settings().space().budget,
            hosts: u64::try_from(served.len()).unwrap_or(u64::MAX),
            given_bytes: served.values().sum(),
            pulled_bytes: self.relay.pulled(),
            passed_on: self.passed_on.load(Ordering::Relaxed),
        }
    }

    /// Goes by the newest settings, for good.
    pub(crate) async fn follow(&self, mut newest: watch::Receiver<Settings>) {
        while newest.changed().await.is_ok() {
            let settings = newest.borrow_and_update().clone();
            self.change(settings).await;
        }
        std::future::pending::<()>().await;
    }

    async fn change(&self, settings: Settings) {
        let before = self.settings();
        if (&before.blocks, &before.way_out) != (&settings.blocks, &settings.way_out) {
            tracing::warn!(
                "`blocks` and `way_out` have changed: that counts once the relay is started anew"
            );
        }
        self.limit_upstream(settings.upstream());
        self.upload.set_total(settings.upload());
        let (relay, space) = (Arc::clone(&self.relay), settings.space());
        let settings = Settings { blocks: before.blocks, way_out: before.way_out, ..settings };
        *self.settings.lock().unwrap_or_else(PoisonError::into_inner) = settings;
        if let Err(lost) = spawn_blocking(move || relay.set_space(space)).await {
            tracing::warn!(reason = %lost, "what is kept may be more than it should be");
        }
        tracing::info!("the settings are read again");
    }

    /// The server allows so many bytes a second from elsewhere, until it says something else.
    pub(crate) fn allow(&self, upstream: u64) {
        self.allowed.store(upstream, Ordering::Relaxed);
        self.limit_upstream(self.settings().upstream());
    }

    /// The smaller one counts.
    fn limit_upstream(&self, own: Rate) {
        let allowed = NonZeroU64::new(self.allowed.load(Ordering::Relaxed));
        self.upstream.set_total(own.into_iter().chain(allowed).min());
    }

    fn settings(&self) -> Settings {
        self.settings.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
