//! The server's end of the agents' connections.
use crate::{
    admission::{Admission, Denied, Peer},
    blocks::Blocks,
    rates::Rates,
    relays::Relays,
    session::{Boots, Session},
    sessions::Sessions,
};
use async_trait::async_trait;
use deploy_agent_protocol::{
    LONGEST_FRAME, OrderSigner, TooFarApart, Versions,
    v1::{
        AgentFrame, AnnounceReply, AnnounceRequest, FetchChunk, FetchRequest, GatewayFrame, Hello,
        PassReply, PassRequest, SwarmReply, SwarmRequest, Welcome,
        agent_frame::Kind as FromAgent,
        gateway_frame::Kind as ToAgent,
        gateway_server::{Gateway as GatewayService, GatewayServer},
    },
};
use deploy_core::{
    backend::{ArtifactStore, Clock},
    digest::Digest,
    id::HostName,
    telemetry::{HOST, TARGET_BACKEND},
};
use deploy_distribution::{Blob, BlobId};
use deploy_parts::PartStore;
use futures_util::{Stream, StreamExt as _, stream};
use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{select, sync::mpsc};
use tonic::{Request, Response, Status, Streaming};

/// How many frames may wait for an agent to take them.
const OUTBOX: usize = 64;
/// How long somebody who has connected may take to say who they are.
const HELLO_WITHIN: Duration = Duration::from_secs(10);
/// After how many heartbeats it is told that a host is still there: each costs a look at what is known of it.
const SEEN_EVERY: u64 = 12;
/// An agent that missed so many heartbeats is gone.
const MISSED: u32 = 3;

/// What can be chosen of a gateway.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct GatewayOptions {
    /// How often an agent that has nothing to say says so; one that is silent for three times that is taken for gone. 5 s by default.
    pub heartbeat: Duration,
    /// Where the parts of packages are, so that hosts fetch what they are missing; without them they fetch packages whole.
    pub parts: Option<PartStore>,
    /// What hosts fetch in blocks, and from each other; without it they fetch all of it from the gateway.
    pub blocks: Option<Blocks>,
    /// How fast artifacts travel; as fast as they go by default.
    pub rates: Rates,
    /// The relays that hosts of their zones are sent to; without it none is taken.
    pub relays: Option<Relays>,
    versions: Versions,
}

impl Default for GatewayOptions {
    fn default() -> Self {
        let heartbeat = Duration::from_secs(5);
        let (rates, versions) = (Rates::default(), Versions::OURS);
        Self { heartbeat, parts: None, blocks: None, rates, relays: None, versions }
    }
}

impl GatewayOptions {
    /// With the parts of packages.
    #[must_use]
    pub fn with_parts(mut self, parts: PartStore) -> Self {
        self.parts = Some(parts);
        self
    }

    /// With blocks.
    #[must_use]
    pub fn with_blocks(mut self, blocks: Blocks) -> Self {
        self.blocks = Some(blocks);
        self
    }

    /// No faster than that.
    #[must_use]
    pub fn with_rates(mut self, rates: Rates) -> Self {
        self.rates = rates;
        self
    }

    /// With relays.
    #[must_use]
    pub fn with_relays(mut self, relays: Relays) -> Self {
        self.relays = Some(relays);
        self
    }

    /// With another time between heartbeats.
    #[must_use]
    pub const fn with_heartbeat(mut self, heartbeat: Duration) -> Self {
        self.heartbeat = heartbeat;
        self
    }

    /// As a server that speaks other versions of the protocol than this one: what tests of agents need.
    #[doc(hidden)]
    #[must_use]
    pub const fn speaking(mut self, versions: Versions) -> Self {
        self.versions = versions;
        self
    }
}

/// The server's end of the agents' connections. Clones are the same gateway.
#[derive(Clone, Debug)]
pub struct Gateway(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    admission: Arc<dyn Admission>,
    artifacts: Arc<dyn ArtifactStore>,
    clock: Arc<dyn Clock>,
    signer: Arc<OrderSigner>,
    options: GatewayOptions,
    sessions: Sessions,
    refused: AtomicU64,
}

impl Gateway {
    /// A gateway to which nobody is connected yet. Orders are signed by `signer`, and name artifacts of `artifacts`.
    #[must_use]
    pub fn new(
        admission: Arc<dyn Admission>,
        artifacts: Arc<dyn ArtifactStore>,
        clock: Arc<dyn Clock>,
        signer: OrderSigner,
        options: GatewayOptions,
    ) -> Self {
        let (signer, sessions) = (Arc::new(signer), Sessions::default());
        let refused = AtomicU64::new(0);
        Self(Arc::new(Inner { admission, artifacts, clock, signer, options, sessions, refused }))
    }

    /// The service to be put behind a listener. Each request needs a [`Peer`] among its extensions.
    #[must_use]
    pub fn service(&self) -> GatewayServer<impl GatewayService + use<>> {
        GatewayServer::new(Service(self.clone())).max_decoding_message_size(LONGEST_FRAME)
    }

    /// The hosts whose agents are connected now.
    #[must_use]
    pub fn connected(&self) -> Vec<HostName> {
        self.0.sessions.hosts()
    }

    /// Whether the agent of `host` is connected now.
    #[must_use]
    pub fn is_connected(&self, host: &HostName) -> bool {
        self.0.sessions.current(host).is_some()
    }

    /// Whether a relay of that name is there now.
    #[must_use]
    pub fn has_relay(&self, name: &HostName) -> bool {
        self.0.options.relays.as_ref().is_some_and(|it| it.is_alive(name))
    }

    /// How many have asked for a session so far and were refused one.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.0.refused.load(Ordering::Relaxed)
    }

    /// Ends all sessions: their agents seek another.
    pub fn disconnect_all(&self) {
        self.connected().iter().for_each(|host| self.disconnect(host));
    }

    /// Ends the session of `host` at once, if it has one, or forgets a relay of that name: it has lost its right to it.
    pub fn disconnect(&self, host: &HostName) {
        if let Some(relays) = &self.0.options.relays {
            relays.leave(host);
        }
        if let Some(session) = self.0.sessions.current(host) {
            session.close();
        }
    }

    pub(crate) fn sessions(&self) -> &Sessions {
        &self.0.sessions
    }

    pub(crate) fn clock(&self) -> &dyn Clock {
        &*self.0.clock
    }

    pub(crate) fn artifacts(&self) -> &Arc<dyn ArtifactStore> {
        &self.0.artifacts
    }

    pub(crate) fn rates(&self) -> &Rates {
        &self.0.options.rates
    }

    pub(crate) fn parts(&self) -> Option<&PartStore> {
        self.0.options.parts.as_ref()
    }

    /// The host that asks for an artifact, if an order of its session names that.
    async fn offered(&self, peer: &Peer, digest: &[u8]) -> Result<(HostName, Digest), Status> {
        let digest = <[u8; 32]>::try_from(digest)
            .map_err(|_length| Status::invalid_argument("a digest has 32 bytes"))?;
        let digest = Digest::from_bytes(digest);
        let host = self.0.admission.identify(peer).await.map_err(denied)?;
        if !self.0.sessions.current(&host).is_some_and(|it| it.offers(&digest)) {
            return Err(Status::permission_denied("no order of this session names that artifact"));
        }
        Ok((host, digest))
    }

    /// Lets somebody in who has said hello.
    async fn enter(
        &self,
        peer: &Peer,
        hello: &Hello,
        outbox: mpsc::Sender<GatewayFrame>,
    ) -> Result<Arc<Session>, Status> {
        let protocol = protocol(hello, self.0.options.versions)?;
        let host = self.0.admission.identify(peer).await.map_err(denied)?;
        if let Some(current) = self.0.sessions.current(&host)
            && current.boot_id() != hello.boot_id
            && self.is_alive(&current).await
        {
            let boots = Boots { open: current.boot_id().to_owned(), new: hello.boot_id.clone() };
            self.0.admission.doubled(&host, &boots).await;
            current.close();
            return Err(Status::permission_denied(format!(
                "another machine is connected as `{host}`: this one was cloned, or its key was copied. Both are locked out until a person decides"
            )));
        }
        self.0.admission.arrived(&host, hello).await.map_err(denied)?;
        let mut id = vec![0; 16];
        getrandom::fill(&mut id)
            .map_err(|err| Status::unavailable(format!("no random bytes can be had: {err}")))?;
        let heartbeat_ms = u32::try_from(self.0.options.heartbeat.as_millis()).unwrap_or(u32::MAX);
        let welcome = Welcome { protocol, session: id.clone(), heartbeat_ms };
        let signer = Arc::clone(&self.0.signer);
        let session = Session::new(host, hello.boot_id.clone(), id, signer, outbox.clone());
        let session = Arc::new(session.speaking(protocol));
        // The outbox is empty, and nobody else has it yet.
        let _first = outbox.try_send(GatewayFrame { kind: Some(ToAgent::Welcome(welcome)) });
        // Before anybody can have it fetch something.
        session.limit(self.rates().of_host(session.host()));
        if let Some(before) = self.0.sessions.enter(Arc::clone(&session)) {
            before.close();
        }
        Ok(session)
    }

    /// Whether the other end of a session still says something: a host that has just been restarted has left its last session
    /// open, and says nothing there any more.
    async fn is_alive(&self, session: &Session) -> bool {
        let until = self.clock().now().after(self.0.options.heartbeat * 3 / 2);
        select! {
            biased;
            () = session.next_heard() => true,
            () = self.clock().sleep_until(until) => false,
        }
    }

    /// Whether a host that is there may have a session any longer.
    async fn may_stay(&self, host: &HostName) -> bool {
        match self.0.admission.seen(host).await {
            Ok(()) => true,
            Err(why) => {
                tracing::info!(target: TARGET_BACKEND, { { HOST } = %host, reason = %why }, "a sight is not noted");
                !matches!(why, Denied::Forever(_))
            }
        }
    }

    /// Listens to an agent until it is gone.
    async fn listen(
        self,
        session: Arc<Session>,
        mut frames: impl Stream<Item = Result<AgentFrame, Status>> + Unpin + Send,
    ) {
        let patience = self.0.options.heartbeat * MISSED;
        let mut beats = 0_u64;
        let (rates, mut changes) = (self.rates(), self.rates().changes());
        let mut knows_limits = false;
        let mut until = self.clock().now().after(patience);
        let why = loop {
            if !knows_limits {
                knows_limits = session.limit(rates.of_host(session.host()));
            }
            let frame = select! {
                biased;
                () = session.closing() => break "it was ended here",
                Ok(()) = changes.changed() => {
                    knows_limits = false;
                    continue;
                }
                frame = frames.next() => frame,
                () = self.clock().sleep_until(until) => break "it is silent",
            };
            match frame {
                Some(Ok(frame)) => {
                    session.heard();
                    until = self.clock().now().after(patience);
                    if matches!(frame.kind, Some(FromAgent::Heartbeat(_))) {
                        beats += 1;
                        if beats.is_multiple_of(SEEN_EVERY) && !self.may_stay(session.host()).await
                        {
                            break "it has lost its right to it";
                        }
                    }
                    if let Err(broken) = session.take(frame) {
                        break broken.0;
                    }
                }
                Some(Err(_)) | None => break "the agent has gone",
            }
        };
        tracing::debug!(target: TARGET_BACKEND, { { HOST } = %session.host(), why }, "a session is over");
        self.0.sessions.leave(&session);
        session.close();
    }
}

/// What [`tonic`] calls.
#[derive(Debug)]
struct Service(Gateway);

type Frames<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

impl Service {
    fn relays(&self) -> Result<&Relays, Status> {
        let relays = self.0.0.options.relays.as_ref();
        relays.ok_or_else(|| Status::unimplemented("this server takes no relays"))
    }
}

#[async_trait]
impl GatewayService for Service {
    type SessionStream = Frames<GatewayFrame>;
    type FetchStream = Frames<FetchChunk>;

    async fn session(
        &self,
        request: Request<Streaming<AgentFrame>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let peer = peer(&request)?;
        let mut frames = request.into_inner();
        let clock = self.0.clock();
        let until = clock.now().after(HELLO_WITHIN);
        let hello = select! {
            biased;
            first = frames.next() => first.transpose()?.and_then(|it| it.kind),
            () = clock.sleep_until(until) => None,
        };
        let Some(FromAgent::Hello(hello)) = hello else {
            return Err(Status::invalid_argument("a session begins with a hello"));
        };
        let (outbox, stream) = mpsc::channel(OUTBOX);
        let entered = self.0.enter(&peer, &hello, outbox).await;
        let session = entered.inspect_err(|why| {
            self.0.0.refused.fetch_add(1, Ordering::Relaxed);
            tracing::info!(target: TARGET_BACKEND, reason = why.message(), "a session is refused");
        })?;
        tokio::spawn(self.0.clone().listen(session, frames));
        Ok(Response::new(Box::pin(stream::unfold(stream, |mut stream| async {
            stream.recv().await.map(|frame| (Ok(frame), stream))
        }))))
    }

    async fn fetch(
        &self,
        request: Request<FetchRequest>,
    ) -> Result<Response<Self::FetchStream>, Status> {
        let peer = peer(&request)?;
        let FetchRequest { digest, offset } = request.into_inner();
        let (_host, digest) = self.0.offered(&peer, &digest).await?;
        Ok(Response::new(Box::pin(self.0.clone().artifact(&digest, offset).await?)))
    }

    async fn swarm(&self, request: Request<SwarmRequest>) -> Result<Response<SwarmReply>, Status> {
        let peer = peer(&request)?;
        let (host, digest) = self.0.offered(&peer, &request.into_inner().digest).await?;
        let blocks = self.0.0.options.blocks.as_ref();
        let blocks = blocks.ok_or_else(|| Status::not_found("this server gives no blocks"))?;
        let swarm = blocks.swarm(&host, digest, self.0.0.options.relays.as_ref()).await;
        swarm.map(Response::new).map_err(|why| Status::unavailable(why.to_string()))
    }

    async fn announce(
        &self,
        request: Request<AnnounceRequest>,
    ) -> Result<Response<AnnounceReply>, Status> {
        let (peer, relays) = (peer(&request)?, self.relays()?);
        let announced = relays.announce(&peer, request.into_inner(), self.0.rates()).await;
        announced.map(Response::new).map_err(denied)
    }

    async fn pass(&self, request: Request<PassRequest>) -> Result<Response<PassReply>, Status> {
        let (peer, relays) = (peer(&request)?, self.relays()?);
        let relay = relays.identify(&peer).await.map_err(denied)?;
        let blocks = self.0.0.options.blocks.as_ref();
        let blocks = blocks.ok_or_else(|| Status::not_found("this server gives no blocks"))?;
        let PassRequest { root, size } = request.into_inner();
        let root = root.as_slice().try_into();
        let root = root.map_err(|_length| Status::invalid_argument("a root has 32 bytes"))?;
        let blob = Blob::new(BlobId::from_bytes(root), size);
        let blob = blob.map_err(|err| Status::invalid_argument(err.to_string()))?;
        let pass = blocks.pass(&relay, blob, relays);
        let pass = pass.ok_or_else(|| Status::not_found("this server does not give that now"))?;
        Ok(Response::new(pass))
    }
}

fn peer<T>(request: &Request<T>) -> Result<Peer, Status> {
    let peer = request.extensions().get::<Peer>().cloned();
    peer.ok_or_else(|| Status::unauthenticated("an agent needs a certificate: enrol the host"))
}

/// The version that a session will have.
fn protocol(hello: &Hello, ours: Versions) -> Result<u32, Status> {
    // One of the first version does not say what it is.
    let oldest = hello.oldest_protocol.max(1).min(hello.protocol);
    let agent = Versions::new(oldest, hello.protocol);
    let apart = |why: TooFarApart| Status::failed_precondition(why.to_string());
    Versions::in_common(agent, ours).map_err(apart)
}

fn denied(why: Denied) -> Status {
    match why {
        Denied::ForNow(text) => Status::unavailable(text),
        Denied::Forever(text) => Status::permission_denied(text),
    }
}
