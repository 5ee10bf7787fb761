//! Gives hosts what they are owed, for as long as the server runs.
use crate::state::{Server, State};
use deploy_core::{
    backend::ServiceRegistryExt as _,
    engine::{Keeper, Kept},
    id::ServiceName,
    repair::{Ledger, Next},
    telemetry::SERVICE,
};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::sync::Notify;

/// How long others are waited for once a host has come: a fleet that comes back is looked at once, and not host by host.
const GATHER: Duration = Duration::from_secs(2);

/// Looks after all services at an interval, and whenever a host has come.
#[derive(Debug)]
pub struct Repairs {
    keeper: Keeper,
    every: Duration,
    came: Arc<Notify>,
}

impl Repairs {
    /// By `keeper`, at least so often. `came` is notified of hosts that may have been away.
    #[must_use]
    pub const fn new(keeper: Keeper, every: Duration, came: Arc<Notify>) -> Self {
        Self { keeper, every, came }
    }

    /// Looks after the services of `server` until it stops.
    pub async fn run(&self, server: &Server) {
        let (state, mut stopping) = (&server.state, server.state.stopping.clone());
        let clock = &state.control.parts.clock;
        let mut said = Said::default();
        while !state.is_stopping() {
            self.turn(state, &mut said).await;
            let next = async {
                tokio::select! {
                    () = self.came.notified() => clock.sleep_until(clock.now().after(GATHER)).await,
                    () = clock.sleep_until(clock.now().after(self.every)) => {}
                }
            };
            tokio::select! {
                _ = stopping.wait_for(|it| *it) => {}
                () = next => {}
            }
        }
    }

    async fn turn(&self, state: &State, said: &mut Said) {
        let services = match state.control.parts.registry.all_services().await {
            Ok(services) => services,
            Err(err) => {
                return tracing::warn!(error = %err.chain(), "nobody looks after the services");
            }
        };
        let mut ledgers = BTreeMap::new();
        for service in services.into_iter().map(|it| it.value.name) {
            match self.keeper.keep(&service).await {
                Ok(Some(kept)) => {
                    if kept.started.is_some() {
                        state.pool.wake();
                    }
                    said.tell(&service, &kept);
                    ledgers.insert(service, kept.ledger);
                }
                Ok(None) => {}
                Err(err) => {
                    let error = deploy_operations::problem::chain(&err);
                    tracing::warn!({ SERVICE } = %service, error, "the service is not looked after");
                }
            }
        }
        state.metrics.owed(&ledgers);
    }
}

/// What was said of each service the last time: the same is not said every minute.
#[derive(Debug, Default)]
struct Said(BTreeMap<ServiceName, String>);

impl Said {
    fn tell(&mut self, service: &ServiceName, kept: &Kept) {
        if let Some(repair) = &kept.started {
            let hosts = kept.ledger.due().count().saturating_sub(kept.away.len());
            let rollout = &kept.ledger.rollout;
            tracing::info!({ SERVICE } = %service, %repair, %rollout, hosts, "a repair was started");
        }
        let line = summary(&kept.ledger, kept.away.len());
        if self.0.get(service) == Some(&line) {
            return;
        }
        if !line.is_empty() || self.0.contains_key(service) {
            let owed = if line.is_empty() { "nothing" } else { line.as_str() };
            tracing::info!({ SERVICE } = %service, owed, "what hosts are owed has changed");
        }
        self.0.insert(service.clone(), line);
    }
}

/// How many hosts are owed something and what becomes of it; empty if none is.
fn summary(ledger: &Ledger, away: usize) -> String {
    let count = ledger.hosts.len();
    if count == 0 {
        return String::new();
    }
    let waits = ledger.hosts.iter().filter(|it| matches!(it.next, Next::At { .. })).count();
    let left = ledger.hosts.iter().filter(|it| matches!(it.next, Next::Left { .. })).count();
    let parts = [(away, "away"), (waits, "repaired not long ago"), (left, "left to people")];
    let mut text = format!("{} on {count} hosts", ledger.release);
    for (count, what) in parts.into_iter().filter(|(count, _)| *count > 0) {
        text.push_str(&format!(", {count} {what}"));
    }
    match &ledger.hold {
        Some(hold) => format!("{text}; {hold}"),
        None => text,
    }
}
