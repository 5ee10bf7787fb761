//! The session with a gateway: one outbound connection, made again whenever it is lost.
mod artifacts;
mod backoff;
mod follow;
mod orders;
mod outbox;

use crate::host::HostSide;
use artifacts::RemoteArtifacts;
use backoff::Backoff;
use deploy_agent_identity::Connect;
use deploy_agent_protocol::{
    LONGEST_FRAME, NotTrusted, OrderGate, PublicKey, TooFarApart, Versions,
    v1::{
        AgentFrame, Facts, GatewayFrame, Heartbeat, Hello, Welcome, agent_frame::Kind as FromAgent,
        gateway_client::GatewayClient, gateway_frame::Kind as ToAgent,
    },
};
use futures_util::stream;
use orders::Orders;
use outbox::Outbox;
use std::{error::Error, io, sync::Arc, time::Duration};
use thiserror::Error;
use tokio::{
    select,
    sync::mpsc,
    time::{MissedTickBehavior, interval, timeout},
};
use tonic::{Code, Status, Streaming};

/// How many frames may wait for the gateway to take them.
const OUTBOX: usize = 64;
/// How long connecting, and the first word of a gateway, may take.
const CONNECT_WITHIN: Duration = Duration::from_secs(15);
/// A gateway that wants heartbeats more often than this does not get them.
const SHORTEST_HEARTBEAT: Duration = Duration::from_millis(100);

/// What the host is to its gateway, and whose orders it follows.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Identity {
    /// The name under which it was enrolled.
    pub host: String,
    /// Which boot of the kernel this is.
    pub boot_id: String,
    /// Whose orders it follows.
    pub signers: Vec<PublicKey>,
    /// What it is.
    pub facts: Facts,
}

impl Identity {
    /// A host that says nothing of itself but its name.
    #[must_use]
    pub fn new(
        host: impl Into<String>,
        boot_id: impl Into<String>,
        signers: Vec<PublicKey>,
    ) -> Self {
        Self { host: host.into(), boot_id: boot_id.into(), signers, facts: Facts::default() }
    }

    /// With what the host is.
    #[must_use]
    pub fn with_facts(mut self, facts: Facts) -> Self {
        self.facts = facts;
        self
    }
}

/// Why a session ended, or did not begin.
#[derive(Debug, Error)]
#[non_exhaustive]
enum Ended {
    #[error("cannot connect: {0}")]
    Connect(#[source] io::Error),
    #[error("the server said: {}", innermost(.0))]
    Status(#[from] Status),
    #[error("the server did not answer in time")]
    Silent,
    #[error("the server broke the protocol: {0}")]
    Broken(&'static str),
    #[error(transparent)]
    TooFarApart(#[from] TooFarApart),
    #[error(transparent)]
    NotTrusted(#[from] NotTrusted),
    #[error("the server has ended the session")]
    Closed,
}

/// What a status is about: of one that was made here, why the connection has failed, such as that TLS has refused the certificate.
fn innermost(status: &Status) -> String {
    let mut cause: Option<&dyn Error> = status.source();
    while let Some(next) = cause.and_then(Error::source) {
        cause = Some(next);
    }
    cause.map_or_else(|| status.message().to_owned(), ToString::to_string)
}

impl Ended {
    /// Whether a person has to do something before it can be any better.
    fn is_final(&self) -> bool {
        match self {
            Self::Status(status) => {
                matches!(status.code(), Code::PermissionDenied | Code::FailedPrecondition)
            }
            Self::TooFarApart(_) => true,
            _ => false,
        }
    }
}

/// The session with a gateway, over as many connections as it takes.
#[derive(Debug)]
pub struct Session {
    host: Arc<dyn HostSide>,
    connect: Arc<dyn Connect>,
    identity: Identity,
    versions: Versions,
}

impl Session {
    /// Follows orders for `host`.
    #[must_use]
    pub fn new(host: Arc<dyn HostSide>, connect: Arc<dyn Connect>, identity: Identity) -> Self {
        Self { host, connect, identity, versions: Versions::OURS }
    }

    /// As an agent that speaks other versions of the protocol than this one: what tests of servers need.
    #[doc(hidden)]
    #[must_use]
    pub const fn speaking(mut self, versions: Versions) -> Self {
        self.versions = versions;
        self
    }

    /// Connects, follows orders, and connects again, for good. Dropping the future ends the connection, and nothing that runs on the host.
    pub async fn run(&self) {
        let mut backoff = Backoff::new();
        loop {
            let mut welcomed = false;
            let why = self.follow_orders(&mut welcomed).await.err().unwrap_or(Ended::Closed);
            if welcomed {
                backoff = Backoff::new();
            }
            if why.is_final() {
                backoff.at_its_longest();
                tracing::error!(reason = %why, "the server has turned this host away");
            } else {
                tracing::info!(reason = %why, "the session is over");
            }
            // What is waited for is the end of its time.
            let wait = backoff.next(backoff::random());
            let _elapsed = timeout(wait, std::future::pending::<()>()).await;
        }
    }

    /// One connection, to its end.
    async fn follow_orders(&self, welcomed: &mut bool) -> Result<(), Ended> {
        let channel = timeout(CONNECT_WITHIN, self.connect.connect()).await;
        let channel = channel.map_err(|_late| Ended::Silent)?.map_err(Ended::Connect)?;
        let mut client =
            GatewayClient::new(channel.clone()).max_decoding_message_size(LONGEST_FRAME);
        let (outbox, frames) = mpsc::channel(OUTBOX);
        // The outbox is empty, and nobody else has it yet.
        let _first = outbox.try_send(frame(FromAgent::Hello(self.hello().await)));
        let outgoing = stream::unfold(frames, |mut frames| async {
            frames.recv().await.map(|frame| (frame, frames))
        });
        let answered = timeout(CONNECT_WITHIN, async {
            let mut incoming = client.session(outgoing).await?.into_inner();
            let welcome = self.welcome(&mut incoming).await?;
            Ok::<_, Ended>((incoming, welcome))
        });
        let (mut incoming, welcome) = answered.await.map_err(|_late| Ended::Silent)??;
        *welcomed = true;
        let identity = &self.identity;
        let gate =
            OrderGate::new(&*identity.host, welcome.session.clone(), identity.signers.clone())?;
        let artifacts = RemoteArtifacts::new(channel);
        let outbox = Outbox::new(outbox, welcome.protocol);
        let mut orders = Orders::new(Arc::clone(&self.host), artifacts, gate, outbox.clone());
        let mut heartbeat =
            interval(Duration::from_millis(welcome.heartbeat_ms.into()).max(SHORTEST_HEARTBEAT));
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            select! {
                biased;
                incoming = incoming.message() => match incoming?.map(|it| it.kind) {
                    Some(Some(kind)) => orders.take(kind).await,
                    // What a newer server says beside what is known is not for us.
                    Some(None) => {}
                    None => return Ok(()),
                },
                _ = heartbeat.tick() => {
                    let running = self.host.running();
                    if outbox.say(FromAgent::Heartbeat(Heartbeat { running })).await.is_err() {
                        return Ok(());
                    }
                }
            }
        }
    }

    async fn hello(&self) -> Hello {
        Hello {
            protocol: self.versions.newest(),
            oldest_protocol: self.versions.oldest(),
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
            boot_id: self.identity.boot_id.clone(),
            facts: Some(self.identity.facts.clone()),
            open: self.host.open(),
            holdings: self.host.holdings().await,
        }
    }

    /// The first word of a gateway.
    async fn welcome(&self, incoming: &mut Streaming<GatewayFrame>) -> Result<Welcome, Ended> {
        let first = incoming.message().await?.and_then(|it| it.kind);
        let Some(ToAgent::Welcome(welcome)) = first else {
            return Err(Ended::Broken("its first word is no welcome"));
        };
        // One of the first version takes in whoever is newer.
        let server = Versions::new(welcome.protocol, welcome.protocol);
        Versions::in_common(self.versions, server)?;
        Ok(welcome)
    }
}

const fn frame(kind: FromAgent) -> AgentFrame {
    AgentFrame { kind: Some(kind) }
}
