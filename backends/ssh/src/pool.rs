//! All connections: one a host, made once for all who ask for it, closed when nobody has used it for a while.
use crate::{
    connection::{Connection, Demand, Lease},
    dial::Dialer,
    failure::Failure,
    options::SshOptions,
    target::Target,
};
use std::{
    collections::HashMap,
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{
    select,
    sync::{OnceCell, OwnedSemaphorePermit, Semaphore},
    time::interval,
};

/// How often idle connections are looked for at the most.
const SHORTEST_TICK: Duration = Duration::from_millis(10);

/// One attempt at a connection: made by the first who asks, and its outcome shared by all who asked meanwhile.
type Attempt = Arc<OnceCell<Result<Arc<Connection>, Failure>>>;

/// The connections of a transport.
#[derive(Debug)]
pub(crate) struct Pool {
    pub(crate) dialer: Dialer,
    attempts: Mutex<HashMap<String, Vec<Attempt>>>,
    room: Arc<Semaphore>,
    demand: Arc<Demand>,
    /// Whether a task looks for idle connections.
    swept: AtomicBool,
    tick: Duration,
}

impl Pool {
    pub(crate) fn new(options: SshOptions) -> Self {
        let demand = Arc::new(Demand::new(options.max_idle));
        let connections = options.max_connections.max(1);
        let tick = (options.idle_timeout / 2).max(SHORTEST_TICK);
        Self {
            dialer: Dialer::new(options, Arc::clone(&demand)),
            attempts: Mutex::default(),
            room: Arc::new(Semaphore::new(connections)),
            demand,
            swept: AtomicBool::new(false),
            tick,
        }
    }

    /// A lease of a connection to `target`, which is made if there is none.
    pub(crate) async fn lease(self: &Arc<Self>, target: &Target) -> Result<Lease, Failure> {
        self.lease_as(target, true).await
    }

    /// `counted` connections are limited. Those to jump hosts are not, so that hosts behind them never wait for each other.
    async fn lease_as(self: &Arc<Self>, target: &Target, counted: bool) -> Result<Lease, Failure> {
        let key = target.key();
        loop {
            let attempt = self.attempt(&key);
            match attempt.get_or_init(|| self.dial(target, counted)).await {
                Ok(connection) => {
                    if let Some(lease) = Lease::of(connection) {
                        self.sweep();
                        return Ok(lease);
                    }
                }
                Err(failure) => {
                    self.forget(&key, &attempt);
                    return Err(failure.clone());
                }
            }
        }
    }

    /// The attempt to join: one under way, or one that has given a connection which can be used.
    fn attempt(&self, key: &str) -> Attempt {
        let mut attempts = self.attempts();
        let ours = attempts.entry(key.to_owned()).or_default();
        let usable = |it: &&Attempt| match it.get() {
            Some(Ok(connection)) => connection.is_usable(),
            Some(Err(_)) => false,
            None => true,
        };
        if let Some(found) = ours.iter().find(usable) {
            return Arc::clone(found);
        }
        let new = Attempt::default();
        ours.push(Arc::clone(&new));
        new
    }

    async fn dial(
        self: &Arc<Self>,
        target: &Target,
        counted: bool,
    ) -> Result<Arc<Connection>, Failure> {
        let via = match &target.via {
            Some(via) => Some(self.lease_boxed(via).await.map_err(|err| err.behind(via))?),
            None => None,
        };
        let room = if counted { self.room().await } else { None };
        self.dialer.dial(target, via, room).await.map(Arc::new)
    }

    /// A connection behind a connection: the future of one holds that of the other.
    fn lease_boxed<'a>(
        self: &'a Arc<Self>,
        target: &'a Target,
    ) -> Pin<Box<dyn Future<Output = Result<Lease, Failure>> + Send + 'a>> {
        Box::pin(self.lease_as(target, false))
    }

    /// Room for one more connection: idle ones are closed to make it, and else it is waited for.
    async fn room(&self) -> Option<OwnedSemaphorePermit> {
        if let Ok(room) = Arc::clone(&self.room).try_acquire_owned() {
            return Some(room);
        }
        let _waiting = Waiting::new(&self.demand);
        self.close(|it| it.tick(true));
        Arc::clone(&self.room).acquire_owned().await.ok()
    }

    fn forget(&self, key: &str, attempt: &Attempt) {
        let mut attempts = self.attempts();
        if let Some(ours) = attempts.get_mut(key) {
            ours.retain(|it| !Arc::ptr_eq(it, attempt));
            if ours.is_empty() {
                attempts.remove(key);
            }
        }
    }

    /// Sees to it that idle connections are found, as long as there are any connections.
    fn sweep(self: &Arc<Self>) {
        if self.swept.swap(true, Ordering::Relaxed) {
            return;
        }
        let (pool, demand, tick) = (Arc::downgrade(self), Arc::clone(&self.demand), self.tick);
        tokio::spawn(sweep(pool, demand, tick));
    }

    /// Closes the connections of which `is_to_go` says so.
    fn close(&self, is_to_go: impl Fn(&Connection) -> bool) {
        let mut closed = Vec::new();
        let mut attempts = self.attempts();
        attempts.retain(|_, ours| {
            ours.retain(|attempt| match attempt.get() {
                Some(Ok(connection)) if is_to_go(connection) => {
                    closed.push(Arc::clone(attempt));
                    false
                }
                Some(Err(_)) => false,
                Some(Ok(_)) | None => true,
            });
            !ours.is_empty()
        });
        drop(attempts);
        // What goes away here may hold a lease of another connection: that must not happen under the lock.
        drop(closed);
    }

    /// Whether there is nothing left to look after: the task that does may end, and the next connection starts another.
    fn is_done(&self) -> bool {
        let attempts = self.attempts();
        let done = attempts.is_empty();
        if done {
            self.swept.store(false, Ordering::Relaxed);
        }
        done
    }

    fn attempts(&self) -> MutexGuard<'_, HashMap<String, Vec<Attempt>>> {
        self.attempts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Closes idle connections until there are none at all.
async fn sweep(pool: Weak<Pool>, demand: Arc<Demand>, tick: Duration) {
    let mut ticks = interval(tick);
    // The first is at once.
    ticks.tick().await;
    loop {
        let close: fn(&Connection) -> bool = select! {
            () = demand.freed.notified() => |it| it.tick(true),
            () = demand.retired.notified() => Connection::is_retired,
            _ = ticks.tick() => |it| it.tick(false),
        };
        let Some(pool) = pool.upgrade() else { return };
        pool.close(close);
        if pool.is_done() {
            return;
        }
    }
}

/// Somebody waits for room.
struct Waiting<'a>(&'a Demand);

impl<'a> Waiting<'a> {
    fn new(demand: &'a Demand) -> Self {
        demand.waiting.fetch_add(1, Ordering::Relaxed);
        Self(demand)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}
