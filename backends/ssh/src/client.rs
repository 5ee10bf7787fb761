//! Our side of an SSH session: what to do with what the server sends.
use crate::{
    failure::{Failure, quoted},
    known_hosts::{Known, KnownKeys, Verdict, append, fingerprint},
    options::HostKeyPolicy,
};
use bytes::Bytes;
use russh::{
    ChannelId, Names,
    client::{DisconnectReason, Handler, Session},
    keys::{PublicKey, PublicKeyOrCertificate},
};
use std::{
    collections::HashMap,
    io,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};
use tokio::{
    sync::{
        mpsc::{self, error::TrySendError},
        oneshot,
    },
    task::spawn_blocking,
    time::timeout,
};

/// How long one process whose output nobody takes may hold up all others on the same connection.
const STALL: Duration = Duration::from_secs(5);

/// What arrives for a process.
#[derive(Debug)]
pub(crate) enum Arrival {
    /// The channel was closed in good order.
    Closed,
    Stderr(Bytes),
    Stdout(Bytes),
}

/// Where to put what arrives on one channel.
#[derive(Debug)]
pub(crate) struct Route {
    pub(crate) arrivals: mpsc::Sender<Arrival>,
    /// Told once whether the server has started the process.
    pub(crate) started: Option<oneshot::Sender<bool>>,
    /// Dropped with the route: what waits for room to write is told that there will be none.
    pub(crate) _writer: oneshot::Sender<()>,
}

/// What a session and those who use it share.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    routes: Mutex<HashMap<ChannelId, Route>>,
    lost: OnceLock<String>,
    ended_by: OnceLock<EndedBy>,
}

/// Who has ended a connection, where it was not whatever lies in between.
#[derive(Clone, Debug)]
pub(crate) enum EndedBy {
    Server,
    Us(Failure),
}

impl Shared {
    pub(crate) fn add(&self, channel: ChannelId, route: Route) {
        self.routes().insert(channel, route);
    }

    pub(crate) fn remove(&self, channel: ChannelId) -> Option<Route> {
        self.routes().remove(&channel)
    }

    /// Why the connection has ended, once it has.
    pub(crate) fn lost(&self) -> Option<&str> {
        self.lost.get().map(String::as_str)
    }

    /// Who has ended the connection, if one of its two sides has.
    pub(crate) fn ended_by(&self) -> Option<&EndedBy> {
        self.ended_by.get()
    }

    fn routes(&self) -> MutexGuard<'_, HashMap<ChannelId, Route>> {
        self.routes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn arrivals(&self, channel: ChannelId) -> Option<mpsc::Sender<Arrival>> {
        self.routes().get(&channel).map(|it| it.arrivals.clone())
    }

    fn started(&self, channel: ChannelId, started: bool) {
        let told = self.routes().get_mut(&channel).and_then(|it| it.started.take());
        if let Some(told) = told {
            // Whoever asked may have gone.
            let _ = told.send(started);
        }
    }
}

/// Why a session was given up.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// For a reason of ours.
    Ours(Failure),
    Russh(russh::Error),
}

impl From<russh::Error> for Refusal {
    fn from(err: russh::Error) -> Self {
        Self::Russh(err)
    }
}

/// Handles a session with one server.
#[derive(Debug)]
pub(crate) struct Client {
    shared: Arc<Shared>,
    known: KnownKeys,
    policy: HostKeyPolicy,
}

impl Client {
    pub(crate) const fn new(shared: Arc<Shared>, known: KnownKeys, policy: HostKeyPolicy) -> Self {
        Self { shared, known, policy }
    }

    /// Goes on only if `shown` is the host's key.
    async fn check(&self, shown: PublicKey) -> Result<(), Failure> {
        match self.known.judge(&shown) {
            Verdict::Trusted => Ok(()),
            Verdict::Changed(known) => Err(self.changed(&shown, &known)),
            Verdict::Revoked(known) => Err(Failure::unauthenticated(format!(
                "the server shows {}, which {} revokes: nothing was sent to it",
                described(&shown),
                known.at
            ))),
            Verdict::Unknown { authority } => match self.policy {
                HostKeyPolicy::AcceptNew => self.learn(shown).await,
                HostKeyPolicy::Strict => Err(self.unknown(&shown, authority)),
            },
        }
    }

    /// Writes the key of a host seen for the first time down. The file may be locked by somebody else for a while.
    async fn learn(&self, shown: PublicKey) -> Result<(), Failure> {
        let (known, found) = (self.known.clone(), described(&shown));
        let written = spawn_blocking(move || append(&known, &shown)).await;
        written.map_err(io::Error::other).flatten().map_err(|err| {
            let file = self.known.files.first().map(|it| it.display().to_string());
            let (name, file) = (&self.known.name, file.unwrap_or_default());
            Failure::unauthenticated(format!(
                "the key of {name} is new, {found}, and cannot be written to {file}: {err}"
            ))
        })
    }

    fn changed(&self, shown: &PublicKey, known: &[&Known]) -> Failure {
        let (name, found) = (&self.known.name, described(shown));
        let expected: Vec<String> =
            known.iter().map(|it| format!("{} ({})", described(&it.key), it.at)).collect();
        let expected = expected.join(", ");
        let file = known.first().map(|it| it.at.file.display().to_string()).unwrap_or_default();
        Failure::unauthenticated(format!(
            "the host key of {name} has changed: the server shows {found}, known is {expected}; somebody may be impersonating \
             the host, and nothing was sent to it. If the host was set up anew, check the new key there and remove the old \
             one: ssh-keygen -R '{name}' -f {file}"
        ))
    }

    fn unknown(&self, shown: &PublicKey, authority: Option<&Known>) -> Failure {
        let (name, found) = (&self.known.name, described(shown));
        let authority = authority.map_or_else(String::new, |it| {
            format!(" ({} names an authority, but certificates of hosts are not supported)", it.at)
        });
        Failure::unauthenticated(format!(
            "the host key of {name} is in no known_hosts file{authority}: the server shows {found}. If that is right, add it, \
             or say `StrictHostKeyChecking accept-new` for this host"
        ))
    }

    /// Hands `arrival` to the process on `channel`, and waits while it has no room for it. A process that makes no room
    /// loses its channel: the connection belongs to others, too.
    async fn deliver(&self, channel: ChannelId, arrival: Arrival, session: &mut Session) {
        let Some(arrivals) = self.shared.arrivals(channel) else { return };
        let delivered = match arrivals.try_send(arrival) {
            Ok(()) => true,
            Err(TrySendError::Closed(_)) => false,
            Err(TrySendError::Full(arrival)) => {
                matches!(timeout(STALL, arrivals.send(arrival)).await, Ok(Ok(())))
            }
        };
        if !delivered {
            self.shared.remove(channel);
            if let Err(err) = session.close(channel) {
                tracing::debug!(%err, "a channel cannot be closed");
            }
        }
    }
}

/// The kind of a key, and its fingerprint.
fn described(key: &PublicKey) -> String {
    format!("{} {}", key.algorithm(), fingerprint(key))
}

impl Drop for Client {
    /// The session has ended, in whatever way: nothing arrives any more.
    fn drop(&mut self) {
        self.shared.lost.get_or_init(|| "the connection was closed".into());
        self.shared.routes().clear();
    }
}

/// The channels that a server asks to open are refused: their handles are dropped.
impl Handler for Client {
    type Error = Refusal;

    async fn check_server_key(&mut self, shown: &PublicKeyOrCertificate) -> Result<bool, Refusal> {
        if shown.certificate().is_some() {
            let reason = "the server shows a certificate that it was not asked for";
            return Err(Refusal::Ours(Failure::unauthenticated(reason)));
        }
        self.check(shown.public_key()).await.map_err(Refusal::Ours)?;
        Ok(true)
    }

    async fn kex_done(
        &mut self,
        _secret: Option<&[u8]>,
        names: &Names,
        _session: &mut Session,
    ) -> Result<(), Refusal> {
        if names.strict_kex() {
            return Ok(());
        }
        Err(Refusal::Ours(Failure::unauthenticated(
            "the server does not offer strict key exchange (kex-strict-s-v00@openssh.com), without which messages can be \
             removed from the beginning of a session (CVE-2023-48795): update its SSH server",
        )))
    }

    async fn channel_success(
        &mut self,
        channel: ChannelId,
        _: &mut Session,
    ) -> Result<(), Refusal> {
        self.shared.started(channel, true);
        Ok(())
    }

    async fn channel_failure(
        &mut self,
        channel: ChannelId,
        _: &mut Session,
    ) -> Result<(), Refusal> {
        self.shared.started(channel, false);
        Ok(())
    }

    async fn channel_close(
        &mut self,
        channel: ChannelId,
        session: &mut Session,
    ) -> Result<(), Refusal> {
        self.deliver(channel, Arrival::Closed, session).await;
        self.shared.remove(channel);
        Ok(())
    }

    async fn data(
        &mut self,
        channel: ChannelId,
        data: &[u8],
        session: &mut Session,
    ) -> Result<(), Refusal> {
        self.deliver(channel, Arrival::Stdout(Bytes::copy_from_slice(data)), session).await;
        Ok(())
    }

    async fn extended_data(
        &mut self,
        channel: ChannelId,
        kind: u32,
        data: &[u8],
        session: &mut Session,
    ) -> Result<(), Refusal> {
        // 1 is the standard error, and there are no others.
        if kind == 1 {
            self.deliver(channel, Arrival::Stderr(Bytes::copy_from_slice(data)), session).await;
        }
        Ok(())
    }

    async fn server_channel_open_forwarded_tcpip(
        &mut self,
        _: russh::Channel<russh::client::Msg>,
        _: &str,
        _: u32,
        _: &str,
        _: u32,
        _: russh::client::ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Refusal> {
        Ok(())
    }

    async fn disconnected(&mut self, reason: DisconnectReason<Refusal>) -> Result<(), Refusal> {
        let reason = match reason {
            DisconnectReason::ReceivedDisconnect(info) => {
                self.shared.ended_by.get_or_init(|| EndedBy::Server);
                format!("the server has closed the connection: {}", quoted(&info.message))
            }
            DisconnectReason::Error(Refusal::Ours(failure)) => {
                let message = failure.message().into();
                self.shared.ended_by.get_or_init(|| EndedBy::Us(failure));
                message
            }
            DisconnectReason::Error(Refusal::Russh(err)) => err.to_string(),
        };
        self.shared.lost.get_or_init(|| reason);
        Ok(())
    }
}
