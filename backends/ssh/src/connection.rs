//! One connection, and those who use it.
use crate::{
    client::{Client, Shared},
    pace::Pace,
    wire::Cut,
};
use russh::{
    Channel, ChannelOpenFailure,
    client::{Handle, Msg},
};
use std::{
    fmt, mem,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::{Notify, OwnedSemaphorePermit},
    time::timeout,
};

/// After how many idle ticks in a row a connection is closed.
const IDLE_TICKS: u8 = 3;
/// How many channels may be closed from our side: `russh` keeps something of each until the connection ends.
const MOST_ABANDONED: usize = 1_000;

/// An authenticated connection to a host.
pub(crate) struct Connection {
    handle: Handle<Client>,
    shared: Arc<Shared>,
    usage: Mutex<Usage>,
    demand: Arc<Demand>,
    patience: Patience,
    cut: Cut,
    _room: Option<OwnedSemaphorePermit>,
}

/// How long the server may take to answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// On a connection that is new, or to a message that has reached it: it is there.
    pub(crate) fresh: Duration,
    /// On a connection that may be dead since it was last used. It is left for a new one then.
    pub(crate) warm: Duration,
}

/// How a connection is used.
#[derive(Debug)]
struct Usage {
    leases: usize,
    /// It counts as idle.
    idle: bool,
    /// How many leases the server can take.
    room: usize,
    idle_ticks: u8,
    abandoned: usize,
    /// A channel was opened before.
    warm: bool,
    /// No new leases are given.
    retired: bool,
}

/// What connections know of each other: whether somebody waits for one to be closed, so that another can be opened, and
/// how many are idle.
#[derive(Debug)]
pub(crate) struct Demand {
    pub(crate) waiting: AtomicUsize,
    pub(crate) freed: Notify,
    idle: AtomicUsize,
    max_idle: usize,
    /// A connection is there that nobody uses and nobody is to use.
    pub(crate) retired: Notify,
}

impl Demand {
    /// `max_idle` connections may be idle.
    pub(crate) fn new(max_idle: usize) -> Self {
        Self {
            waiting: AtomicUsize::new(0),
            freed: Notify::new(),
            idle: AtomicUsize::new(0),
            max_idle,
            retired: Notify::new(),
        }
    }

    /// One more is idle, if there is room for it.
    fn keep(&self) -> bool {
        let more = |idle: usize| (idle < self.max_idle).then_some(idle + 1);
        self.idle.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }

    /// One that was idle is used, or goes.
    fn release(&self) {
        self.idle.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Why no channel was opened. Nothing was started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoChannel {
    /// The server takes no more on this connection.
    Full,
    /// The connection has ended, or does not answer.
    Gone,
    /// The server refuses, and this is the only use of the connection.
    Refused,
}

impl Connection {
    pub(crate) fn new(
        handle: Handle<Client>,
        shared: Arc<Shared>,
        demand: Arc<Demand>,
        patience: Patience,
        cut: Cut,
        room: Option<OwnedSemaphorePermit>,
    ) -> Self {
        let usage = Usage {
            leases: 0,
            idle: false,
            room: usize::MAX,
            idle_ticks: 0,
            abandoned: 0,
            warm: false,
            retired: false,
        };
        Self { handle, shared, usage: Mutex::new(usage), demand, patience, cut, _room: room }
    }

    /// Whether a lease can be had.
    pub(crate) fn is_usable(&self) -> bool {
        let usage = self.usage();
        !usage.retired && usage.leases < usage.room && !self.handle.is_closed()
    }

    /// A tick of the clock has passed; or, `at_once`, somebody waits for room. Says whether the connection is to be closed.
    pub(crate) fn tick(&self, at_once: bool) -> bool {
        let mut usage = self.usage();
        if usage.leases > 0 {
            return false;
        }
        usage.idle_ticks = usage.idle_ticks.saturating_add(1);
        usage.retired |= at_once || usage.idle_ticks >= IDLE_TICKS || self.handle.is_closed();
        usage.retired
    }

    /// Whether it is only to be closed.
    pub(crate) fn is_retired(&self) -> bool {
        let usage = self.usage();
        usage.retired && usage.leases == 0
    }

    fn usage(&self) -> MutexGuard<'_, Usage> {
        self.usage.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if self.usage().idle {
            self.demand.release();
        }
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("usage", &self.usage).finish_non_exhaustive()
    }
}

/// The right to use a connection; as long as there is one, the connection is kept.
#[derive(Debug)]
pub(crate) struct Lease {
    connection: Arc<Connection>,
}

impl Lease {
    /// `None` if the connection is not to be used any more.
    pub(crate) fn of(connection: &Arc<Connection>) -> Option<Self> {
        let mut usage = connection.usage();
        if usage.retired || usage.leases >= usage.room || connection.handle.is_closed() {
            return None;
        }
        usage.leases += 1;
        usage.idle_ticks = 0;
        if mem::take(&mut usage.idle) {
            connection.demand.release();
        }
        drop(usage);
        Some(Self { connection: Arc::clone(connection) })
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.connection.shared
    }

    /// How much input the connection takes.
    pub(crate) fn pace(&self) -> &Arc<Pace> {
        &self.connection.cut.pace
    }

    /// How long the server may take to start a process on a channel that it has just opened.
    pub(crate) fn patience(&self) -> Duration {
        self.connection.patience.fresh
    }

    /// Opens a channel for a process.
    pub(crate) async fn open_session(&self) -> Result<Channel<Msg>, NoChannel> {
        let opening = self.connection.handle.channel_open_session();
        let Patience { fresh, warm } = self.connection.patience;
        let patience = if self.connection.usage().warm { warm } else { fresh };
        match timeout(patience, opening).await {
            Ok(Ok(channel)) => {
                self.connection.usage().warm = true;
                Ok(channel)
            }
            Ok(Err(russh::Error::ChannelOpenFailure(reason))) => Err(self.refused(&reason)),
            Ok(Err(_)) | Err(_) => {
                self.connection.usage().retired = true;
                Err(NoChannel::Gone)
            }
        }
    }

    /// Opens a channel to `host`, as seen from the server.
    pub(crate) async fn open_tunnel(&self, host: &str, port: u16) -> Result<Channel<Msg>, String> {
        let handle = &self.connection.handle;
        // The server is told where the connection comes from, and does nothing with it.
        let opened = handle.channel_open_direct_tcpip(host, port.into(), "127.0.0.1", 0).await;
        opened.map_err(|err| match err {
            russh::Error::ChannelOpenFailure(ChannelOpenFailure::ConnectFailed) => {
                "it cannot connect there".into()
            }
            russh::Error::ChannelOpenFailure(ChannelOpenFailure::AdministrativelyProhibited) => {
                "its SSH server forbids that (AllowTcpForwarding)".into()
            }
            err => err.to_string(),
        })
    }

    /// A channel was closed from our side before the server did.
    pub(crate) fn abandoned(&self) {
        let mut usage = self.connection.usage();
        usage.abandoned += 1;
        usage.retired |= usage.abandoned >= MOST_ABANDONED;
    }

    fn refused(&self, reason: &ChannelOpenFailure) -> NoChannel {
        tracing::debug!(?reason, "the server opens no channel");
        let mut usage = self.connection.usage();
        let others = usage.leases.saturating_sub(1);
        if others == 0 {
            return NoChannel::Refused;
        }
        usage.room = usage.room.min(others);
        NoChannel::Full
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let demand = &self.connection.demand;
        let mut usage = self.connection.usage();
        usage.leases -= 1;
        if usage.leases == 0 {
            // Those that were kept first stay: whoever goes through all hosts again, begins with them.
            usage.idle = !usage.retired && demand.keep();
            usage.retired = !usage.idle;
            if usage.retired {
                demand.retired.notify_one();
            }
        }
        drop(usage);
        if demand.waiting.load(Ordering::Relaxed) > 0 {
            demand.freed.notify_one();
        }
    }
}
