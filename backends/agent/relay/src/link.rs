//! The connection to the gateway, over which a relay asks.
use deploy_agent_identity::Connect;
use deploy_agent_protocol::v1::gateway_client::GatewayClient;
use deploy_core::backend::Clock;
use std::{
    fmt, io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{
    select,
    sync::{RwLock, RwLockReadGuard},
};
use tonic::{Code, Response, Status, transport::Channel};

/// How long connecting, and how long an answer may take.
const WITHIN: Duration = Duration::from_secs(5);

/// One connection at a time, made again whenever it fails: two with different certificates would look like two machines with one key.
pub(crate) struct Link {
    connect: Arc<dyn Connect>,
    clock: Arc<dyn Clock>,
    /// Whoever asks holds it for reading.
    channel: RwLock<Option<Channel>>,
    is_stale: AtomicBool,
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("connect", &self.connect).finish_non_exhaustive()
    }
}

impl Link {
    pub(crate) fn new(connect: Arc<dyn Connect>, clock: Arc<dyn Clock>) -> Self {
        let (channel, is_stale) = (RwLock::new(None), AtomicBool::new(false));
        Self { connect, clock, channel, is_stale }
    }

    /// Whoever asks next does so over another connection, once those that are under way have their answers.
    pub(crate) fn renew(&self) {
        self.is_stale.store(true, Ordering::Relaxed);
    }

    /// Asks, and has an answer or an error in bounded time.
    pub(crate) async fn call<T, F>(
        &self,
        ask: impl FnOnce(GatewayClient<Channel>) -> F + Send,
    ) -> Result<T, Status>
    where
        T: Send,
        F: Future<Output = Result<Response<T>, Status>> + Send,
    {
        let unreachable =
            |err: io::Error| Status::unavailable(format!("the server cannot be reached: {err}"));
        // However many wait for the one that connects.
        let late = io::Error::from(io::ErrorKind::TimedOut);
        let channel = self.within(self.channel(), late).await.map_err(unreachable)?;
        let client = channel.clone().map(GatewayClient::new);
        let client = client.ok_or_else(|| Status::unavailable("there is no connection"))?;
        let answered = self.within(ask(client), Status::deadline_exceeded("it does not answer"));
        let answered = answered.await;
        if answered.as_ref().is_err_and(has_failed) {
            self.renew();
        }
        answered.map(Response::into_inner)
    }

    async fn channel(&self) -> io::Result<RwLockReadGuard<'_, Option<Channel>>> {
        let held = self.channel.read().await;
        if held.is_some() && !self.is_stale.load(Ordering::Relaxed) {
            return Ok(held);
        }
        drop(held);
        let mut held = self.channel.write().await;
        if self.is_stale.swap(false, Ordering::Relaxed) {
            *held = None;
        }
        if held.is_none() {
            *held = Some(self.connect.connect().await?);
        }
        Ok(held.downgrade())
    }

    async fn within<T, E>(
        &self,
        work: impl Future<Output = Result<T, E>> + Send,
        late: E,
    ) -> Result<T, E> {
        select! {
            biased;
            done = work => done,
            () = self.clock.sleep_until(self.clock.now().after(WITHIN)) => Err(late),
        }
    }
}

/// Whether another connection may do better.
fn has_failed(status: &Status) -> bool {
    matches!(status.code(), Code::DeadlineExceeded | Code::Unavailable | Code::Unknown)
}
