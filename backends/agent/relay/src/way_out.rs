//! The way out for agents that may not reach the server: what comes is passed on to it, and to nobody else.
//!
//! What is passed on is TLS between agent and server, of which nothing is read here.
use deploy_core::{backend::Clock, time::Timestamp};
use deploy_distribution::transfer::Crowd;
use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::AsyncWriteExt as _,
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    select,
    sync::{Semaphore, watch},
    task::JoinSet,
};

/// How many connections there may be. Who comes later waits.
const MOST: usize = 16_384;
/// How many of them may be from one address, which may be that of many.
const MOST_OF_ONE: usize = 1_024;
/// How long connecting to the server may take.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// A connection over which nothing goes for so long is over. Agents and servers say something every few seconds.
const IDLE: Duration = Duration::from_secs(180);
/// The same once one end has said its last word.
const HALF_OPEN: Duration = Duration::from_secs(15);
/// How much is read at a time; what waits takes no memory.
const PIECE: usize = 16 << 10;
/// How long to wait where no connection can be taken, such as for want of files.
const TAKE_AGAIN: Duration = Duration::from_millis(100);

/// A port whose connections all go on to the server.
#[derive(Debug)]
pub(crate) struct WayOut {
    listener: TcpListener,
    /// `HOST:PORT`.
    server: watch::Receiver<String>,
    clock: Arc<dyn Clock>,
    from_one: Crowd<IpAddr>,
    connections: Arc<AtomicU64>,
    /// Whether the server was out of reach last: only what changes is told.
    is_away: Arc<AtomicBool>,
}

impl WayOut {
    pub(crate) fn new(
        listener: TcpListener,
        server: watch::Receiver<String>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let (from_one, connections) = (Crowd::new(MOST_OF_ONE), Arc::default());
        Self { listener, server, clock, from_one, connections, is_away: Arc::default() }
    }

    pub(crate) fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// How many are passed on now.
    pub(crate) fn connections(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.connections)
    }

    /// Passes connections on, for good. Those that are there end with it.
    pub(crate) async fn serve(&self) {
        let places = Arc::new(Semaphore::new(MOST));
        let mut passing = JoinSet::new();
        while let Ok(place) = Arc::clone(&places).acquire_owned().await {
            while passing.try_join_next().is_some() {}
            let (stream, from) = match self.listener.accept().await {
                Ok(taken) => taken,
                Err(err) => {
                    tracing::warn!(reason = %err, "no connection can be taken");
                    self.clock.sleep_until(self.clock.now().after(TAKE_AGAIN)).await;
                    continue;
                }
            };
            let Some(one) = self.from_one.enter(from.ip()) else {
                tracing::warn!(from = %from.ip(), "too many connections come from one address");
                continue;
            };
            let passage = Passage {
                server: self.server.borrow().clone(),
                clock: Arc::clone(&self.clock),
                is_away: Arc::clone(&self.is_away),
                _counted: Counted::new(&self.connections),
            };
            passing.spawn(async move {
                passage.pass_on(stream).await;
                drop((place, one));
            });
        }
    }
}

/// Counts as a connection until it is dropped.
#[derive(Debug)]
struct Counted(Arc<AtomicU64>);

impl Counted {
    fn new(connections: &Arc<AtomicU64>) -> Self {
        connections.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(connections))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// One connection on its way.
#[derive(Debug)]
struct Passage {
    server: String,
    clock: Arc<dyn Clock>,
    is_away: Arc<AtomicBool>,
    _counted: Counted,
}

impl Passage {
    async fn pass_on(&self, agent: TcpStream) {
        let server = match self.connect(&agent).await {
            Ok(server) => server,
            Err(err) => {
                if !self.is_away.swap(true, Ordering::Relaxed) {
                    tracing::warn!(server = self.server, reason = %err, "agents do not get through: the server cannot be reached");
                }
                return;
            }
        };
        if self.is_away.swap(false, Ordering::Relaxed) {
            tracing::info!(server = self.server, "agents get through again");
        }
        let moved = Moved::new(self.clock.now());
        let (from_agent, to_agent) = agent.into_split();
        let (from_server, to_server) = server.into_split();
        let both = async {
            tokio::join!(
                moved.pump(from_agent, to_server, &*self.clock),
                moved.pump(from_server, to_agent, &*self.clock),
            )
        };
        select! {
            biased;
            _both_have_ended = both => {}
            () = moved.idle(&*self.clock) => {}
        }
    }

    async fn connect(&self, agent: &TcpStream) -> io::Result<TcpStream> {
        let until = self.clock.now().after(CONNECT_WITHIN);
        let connected = select! {
            biased;
            connected = TcpStream::connect(&self.server) => connected?,
            () = self.clock.sleep_until(until) => return Err(io::ErrorKind::TimedOut.into()),
        };
        agent.set_nodelay(true)?;
        connected.set_nodelay(true)?;
        Ok(connected)
    }
}

/// When something went through last, and how long nothing may.
#[derive(Debug)]
struct Moved(Mutex<(Timestamp, Duration)>);

impl Moved {
    const fn new(now: Timestamp) -> Self {
        Self(Mutex::new((now, IDLE)))
    }

    /// Carries one direction until its end, or until either side breaks; then nothing more is expected of the other for long.
    async fn pump(&self, from: OwnedReadHalf, mut to: OwnedWriteHalf, clock: &dyn Clock) {
        while let Ok(Some(piece)) = read(&from).await {
            if to.write_all(&piece).await.is_err() {
                break;
            }
            self.state().0 = clock.now();
        }
        // Whoever is gone hears nothing.
        let _gone = to.shutdown().await;
        *self.state() = (clock.now(), HALF_OPEN);
    }

    /// Waits until nothing went for too long.
    async fn idle(&self, clock: &dyn Clock) {
        loop {
            let (at, patience) = *self.state();
            let until = at.after(patience);
            if until <= clock.now() {
                return;
            }
            // The patience may get shorter meanwhile.
            clock.sleep_until(until.min(clock.now().after(HALF_OPEN))).await;
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, (Timestamp, Duration)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What comes next; `None` at the end.
async fn read(from: &OwnedReadHalf) -> io::Result<Option<Vec<u8>>> {
    loop {
        from.readable().await?;
        let mut piece = Vec::with_capacity(PIECE);
        match from.try_read_buf(&mut piece) {
            Ok(0) => return Ok(None),
            Ok(_) => return Ok(Some(piece)),
            Err(err) if err.kind() == io::ErrorKind::WouldBlock => {}
            Err(err) => return Err(err),
        }
    }
}
