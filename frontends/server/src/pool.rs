//! Drives every rollout that is not over.
use deploy_core::{
    engine::{DriveEnd, DriveOptions, NoObserver, Parts, Platform, PlatformError},
    error::BackendError,
    id::{Principal, RolloutId},
    telemetry::ROLLOUT_ID,
    time::Timestamp,
};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{
    sync::{Notify, watch},
    task::{Id, JoinSet},
};

/// How often rollouts are looked for that somebody else has started.
const LOOK: Duration = Duration::from_secs(2);
/// How many of the newest rollouts are looked at then. All of them are at the start.
const NEWEST: usize = 256;
/// How long a rollout is left alone that could not be driven.
const PAUSE: Duration = Duration::from_secs(3);

/// What this process goes by, and how to know that another one is gone.
#[derive(Clone, Debug)]
pub struct Holder {
    name: String,
    is_gone: fn(&str) -> bool,
}

impl Holder {
    /// The process `name`, which no other process ever has. `is_gone` says whether the process of a name is known to be gone.
    #[must_use]
    pub fn new(name: impl Into<String>, is_gone: fn(&str) -> bool) -> Self {
        Self { name: name.into(), is_gone }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn is_gone(&self, other: &str) -> bool {
        other != self.name && (self.is_gone)(other)
    }
}

/// Drives every rollout that is not over, each by a task of its own.
#[derive(Clone, Debug)]
pub struct DriverPool {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    platform: Platform,
    principal: Principal,
    holder: Holder,
    wake: Notify,
    driven: Mutex<BTreeMap<Id, RolloutId>>,
}

impl DriverPool {
    /// Drives over `parts`, whose authorizer lets `principal` control rollouts and execute steps.
    #[must_use]
    pub fn new(parts: Parts, principal: Principal, holder: Holder) -> Self {
        let (platform, wake) = (Platform::new(parts), Notify::new());
        let driven = Mutex::default();
        Self { shared: Arc::new(Shared { platform, principal, holder, wake, driven }) }
    }

    pub(crate) fn holder(&self) -> &Holder {
        &self.shared.holder
    }

    /// Looks for new rollouts at once.
    pub(crate) fn wake(&self) {
        self.shared.wake.notify_one();
    }

    /// How many rollouts are driven.
    pub(crate) fn count(&self) -> usize {
        self.shared.driven().len()
    }

    /// Drives until `stopping` says true. What is under way on hosts goes on then, and whoever drives next finds it.
    pub async fn run(&self, mut stopping: watch::Receiver<bool>) {
        let mut run = Run { shared: &self.shared, drivers: JoinSet::new(), left: BTreeMap::new() };
        run.look(usize::MAX).await;
        let clock = &self.shared.platform.parts().clock;
        while !*stopping.borrow() {
            tokio::select! {
                _ = stopping.changed() => break,
                () = self.shared.wake.notified() => {}
                () = clock.sleep_until(clock.now().after(LOOK)) => {}
                Some(done) = run.drivers.join_next_with_id() => {
                    run.landed(done);
                    continue;
                }
            }
            run.look(NEWEST).await;
        }
        run.hand_over().await;
    }
}

impl Shared {
    fn driven(&self) -> std::sync::MutexGuard<'_, BTreeMap<Id, RolloutId>> {
        self.driven.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Drives one rollout to its end, also over places where a person is needed.
    async fn drive(&self, id: &RolloutId) -> Result<DriveEnd, PlatformError> {
        let lease = self.platform.driver_of(id).await?;
        let dead = lease.map(|it| it.holder).filter(|it| self.holder.is_gone(it));
        let options =
            DriveOptions::new(self.holder.name()).with_dead_holder(dead).with_wait_for_person(true);
        self.platform.drive(&self.principal, id, options, &NoObserver).await
    }
}

type Driven = (RolloutId, Result<DriveEnd, PlatformError>);

/// One run of a pool.
struct Run<'a> {
    shared: &'a Arc<Shared>,
    drivers: JoinSet<Driven>,
    /// Rollouts that could not be driven, and until when they are left alone.
    left: BTreeMap<RolloutId, Timestamp>,
}

impl Run<'_> {
    /// Drives those of the newest rollouts that nobody here drives yet.
    async fn look(&mut self, newest: usize) {
        let parts = self.shared.platform.parts();
        let found = match parts.journal.rollouts(None, newest).await {
            Ok(found) => found,
            Err(err) => return complain(&err),
        };
        let now = parts.clock.now();
        self.left.retain(|_, until| *until > now);
        for open in found.into_iter().filter(|it| it.last.is_none()) {
            let mut driven = self.shared.driven();
            let known = driven.values().any(|it| *it == open.rollout);
            if known || self.left.contains_key(&open.rollout) {
                continue;
            }
            let (shared, id) = (Arc::clone(self.shared), open.rollout.clone());
            let task = self.drivers.spawn(async move {
                let end = shared.drive(&id).await;
                (id, end)
            });
            driven.insert(task.id(), open.rollout);
        }
    }

    fn landed(&mut self, done: Result<(Id, Driven), tokio::task::JoinError>) {
        let task = done.as_ref().map_or_else(tokio::task::JoinError::id, |(id, _)| *id);
        let id = self.shared.driven().remove(&task);
        let Some(id) = id else { return };
        match done {
            Ok((_, (_, Ok(end)))) => {
                tracing::info!({ ROLLOUT_ID } = %id, ?end, "a rollout is driven to its end");
            }
            Ok((_, (_, Err(err)))) => {
                let error = deploy_operations::problem::chain(&err);
                tracing::warn!({ ROLLOUT_ID } = %id, error, "a rollout could not be driven");
                self.leave(id);
            }
            Err(err) => {
                tracing::error!({ ROLLOUT_ID } = %id, %err, "a driver has come to nothing");
                self.leave(id);
            }
        }
    }

    fn leave(&mut self, id: RolloutId) {
        let now = self.shared.platform.parts().clock.now();
        self.left.insert(id, now.after(PAUSE));
    }

    /// Ends all drivers, and gives their leases up, so that the next process need not wait for them to expire.
    async fn hand_over(mut self) {
        self.drivers.shutdown().await;
        let driven = std::mem::take(&mut *self.shared.driven());
        let platform = &self.shared.platform;
        for id in driven.into_values() {
            let Ok(Some(lease)) = platform.driver_of(&id).await else { continue };
            if lease.holder != self.shared.holder.name() {
                continue;
            }
            if let Err(err) = platform.parts().leases.release(&lease).await {
                complain(&err);
            }
        }
    }
}

fn complain(err: &BackendError) {
    tracing::warn!(error = %err.chain(), "the pool of drivers cannot work as it should");
}
