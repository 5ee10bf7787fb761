//! Connections to others, and what is asked over them.
use super::{
    Identify, LinkError,
    limit::Gauge,
    wire::{ASSIGNED, BLOBS, Endpoint, NEXT, NextAnswer, NextRequest, OUTBOARD},
};
use crate::block::{Blob, BlockRange, Outboard};
use bytes::Bytes;
use deploy_core::backend::Clock;
use http_body_util::{BodyExt as _, Full};
use hyper::{
    Method, Request, Response, StatusCode,
    body::Incoming,
    client::conn::http1::{self, SendRequest},
    header::{AUTHORIZATION, HOST, RANGE},
};
use hyper_util::rt::TokioIo;
use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{net::TcpStream, select, sync::watch};
use tokio_rustls::{
    TlsConnector,
    rustls::{ClientConfig, pki_types::ServerName},
};

/// How long a connection may take. Who is not there in that time is not there.
const CONNECT_WITHIN: Duration = Duration::from_secs(2);
/// How many connections are kept that nobody uses.
const MOST_IDLE: usize = 64;
/// What is read of an answer that should be short, in bytes.
const LONGEST_ANSWER: usize = 1 << 20;
/// So many bytes of it come in a second at least.
const SLOWEST: u64 = 16 << 10;

type Sender = SendRequest<Full<Bytes>>;

/// Asks others for blocks, over connections that it keeps.
pub struct Client {
    tls: watch::Receiver<Arc<ClientConfig>>,
    identify: Identify,
    clock: Arc<dyn Clock>,
    idle: Mutex<BTreeMap<Endpoint, Vec<Sender>>>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}

/// What to ask for a block.
#[derive(Debug)]
pub(super) struct BlockAsk<'a> {
    pub(super) blob: Blob,
    pub(super) block: BlockRange,
    pub(super) token: &'a str,
    /// Whether a scheduler said to.
    pub(super) assigned: bool,
    /// How long nothing may come.
    pub(super) stall: Duration,
    /// How long the source may take for all of it, without what our own limits take.
    pub(super) within: Duration,
    pub(super) gauge: Gauge,
}

impl Client {
    /// With the newest of these configurations for each connection, and to those alone that `identify` knows.
    #[must_use]
    pub fn new(
        tls: watch::Receiver<Arc<ClientConfig>>,
        identify: Identify,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { tls, identify, clock, idle: Mutex::default() }
    }

    /// The outboard of a blob, checked.
    ///
    /// # Errors
    /// If `from` does not give it, or gives something else.
    pub async fn outboard(
        &self,
        from: &Endpoint,
        blob: Blob,
        token: &str,
    ) -> Result<Outboard, LinkError> {
        let request = get(&format!("{BLOBS}{blob}{OUTBOARD}"), from, token);
        let stall = CONNECT_WITHIN * 5;
        let wrong = || LinkError::Wrong { to: from.clone() };
        let longest = usize::try_from(Outboard::length(&blob)).map_err(|_| wrong())?;
        let bytes = self.exchange(from, request, longest, stall).await?;
        Outboard::parse(blob, bytes).map_err(|_| wrong())
    }

    /// What a scheduler says to fetch next.
    ///
    /// # Errors
    /// If it does not answer in the time that the request gives it, and a few seconds.
    pub async fn next(
        &self,
        from: &Endpoint,
        next: &NextRequest,
        token: &str,
    ) -> Result<NextAnswer, LinkError> {
        let wrong = || LinkError::Wrong { to: from.clone() };
        let body = serde_json::to_vec(next).map_err(|_| wrong())?;
        let mut request = get(NEXT, from, token);
        *request.method_mut() = Method::POST;
        *request.body_mut() = Full::new(body.into());
        let stall = CONNECT_WITHIN * 3 + Duration::from_millis(next.wait_ms.into());
        let answer = self.exchange(from, request, LONGEST_ANSWER, stall).await?;
        serde_json::from_slice(&answer).map_err(|_| wrong())
    }

    /// The bytes of a block, as they come: whoever wants them checks them.
    pub(super) async fn block(
        &self,
        from: &Endpoint,
        ask: &BlockAsk<'_>,
    ) -> Result<Vec<u8>, LinkError> {
        let range = ask.block.bytes();
        let mut request = get(&format!("{BLOBS}{}", ask.blob), from, ask.token);
        let last = range.end.saturating_sub(1);
        let headers = request.headers_mut();
        if let Ok(value) = format!("bytes={}-{last}", range.start).parse() {
            headers.insert(RANGE, value);
        }
        if ask.assigned {
            headers.insert(ASSIGNED, hyper::header::HeaderValue::from_static("1"));
        }
        let length = usize::try_from(ask.block.length.get()).unwrap_or(usize::MAX);
        let began = self.clock.now();
        let mut reply = self.call(from, request, ask.stall.min(ask.within)).await?;
        let mut waited = self.clock.now().since(began);
        let mut bytes = Vec::with_capacity(length);
        loop {
            let (began, left) = (self.clock.now(), ask.within.saturating_sub(waited));
            let piece = reply.piece(ask.stall.min(left)).await;
            waited = waited.saturating_add(self.clock.now().since(began));
            if piece.is_err() && waited >= ask.within {
                return Err(LinkError::TooSlow { to: from.clone(), after: waited });
            }
            let Some(piece) = piece? else { break };
            if bytes.len().saturating_add(piece.len()) > length {
                return Err(LinkError::Wrong { to: from.clone() });
            }
            ask.gauge.take(piece.len() as u64, &*self.clock).await;
            bytes.extend_from_slice(&piece);
        }
        reply.keep();
        Ok(bytes)
    }

    async fn exchange(
        &self,
        to: &Endpoint,
        request: Request<Full<Bytes>>,
        longest: usize,
        stall: Duration,
    ) -> Result<Bytes, LinkError> {
        let all = stall.saturating_add(Duration::from_secs(longest as u64 / SLOWEST));
        let exchanged = async {
            let mut reply = self.call(to, request, stall).await?;
            let mut bytes = Vec::new();
            while let Some(piece) = reply.piece(stall).await? {
                if bytes.len().saturating_add(piece.len()) > longest {
                    return Err(LinkError::Wrong { to: to.clone() });
                }
                bytes.extend_from_slice(&piece);
            }
            reply.keep();
            Ok(bytes.into())
        };
        self.within(to, all, exchanged).await
    }

    /// Sends a request and waits for the head of the answer. One that was kept and turns out to be closed is tried again anew; one that
    /// says nothing is waited for once, and the others that were kept are as dead.
    async fn call<'a>(
        &'a self,
        to: &'a Endpoint,
        request: Request<Full<Bytes>>,
        stall: Duration,
    ) -> Result<Reply<'a>, LinkError> {
        while let Some(sender) = self.kept(to) {
            match self.send(to, sender, request.clone(), stall).await {
                Ok(reply) => return reply.accepted(stall).await,
                Err(err @ LinkError::Stalled { .. }) => {
                    self.idle.lock().unwrap_or_else(PoisonError::into_inner).remove(to);
                    return Err(err);
                }
                Err(_closed) => {}
            }
        }
        let sender = self.connect(to).await?;
        self.send(to, sender, request, stall).await?.accepted(stall).await
    }

    async fn send<'a>(
        &'a self,
        to: &'a Endpoint,
        mut sender: Sender,
        request: Request<Full<Bytes>>,
        stall: Duration,
    ) -> Result<Reply<'a>, LinkError> {
        let unreachable = |err: hyper::Error| self.unreachable(to, &err);
        let answered = async {
            sender.ready().await.map_err(unreachable)?;
            sender.send_request(request).await.map_err(unreachable)
        };
        let response = self.within(to, stall, answered).await?;
        Ok(Reply { client: self, to, sender, response })
    }

    async fn connect(&self, to: &Endpoint) -> Result<Sender, LinkError> {
        let config = Arc::clone(&self.tls.borrow());
        let connected = async {
            let stream = TcpStream::connect(&to.address).await?;
            stream.set_nodelay(true)?;
            // Who is there its certificate tells, whatever it is called: it is compared below.
            let host = to.address.rsplit_once(':').map_or(to.address.as_str(), |it| it.0);
            let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
            let name = ServerName::try_from(host).map_err(std::io::Error::other)?;
            TlsConnector::from(config).connect(name, stream).await
        };
        let unreachable = |err: std::io::Error| self.unreachable(to, &err);
        let connected = async { connected.await.map_err(unreachable) };
        let stream = self.within(to, CONNECT_WITHIN, connected).await?;
        let certificate = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
        if certificate.and_then(|it| (self.identify)(it)).as_ref() != Some(&to.name) {
            return Err(LinkError::SomebodyElse { to: to.clone() });
        }
        let (sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|err| self.unreachable(to, &err))?;
        // It ends with its sender.
        tokio::spawn(connection);
        Ok(sender)
    }

    async fn within<T>(
        &self,
        to: &Endpoint,
        after: Duration,
        done: impl Future<Output = Result<T, LinkError>>,
    ) -> Result<T, LinkError> {
        let until = self.clock.now().after(after);
        select! {
            biased;
            done = done => done,
            () = self.clock.sleep_until(until) => Err(LinkError::Stalled { to: to.clone(), after }),
        }
    }

    fn unreachable(&self, to: &Endpoint, err: &dyn std::error::Error) -> LinkError {
        let mut innermost = err;
        while let Some(source) = innermost.source() {
            innermost = source;
        }
        LinkError::Unreachable { to: to.clone(), why: innermost.to_string() }
    }

    fn kept(&self, to: &Endpoint) -> Option<Sender> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = idle.get_mut(to)?;
        while let Some(sender) = kept.pop() {
            if !sender.is_closed() {
                return Some(sender);
            }
        }
        idle.remove(to);
        None
    }

    fn keep(&self, to: &Endpoint, sender: Sender) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.values().map(Vec::len).sum::<usize>() >= MOST_IDLE {
            idle.clear();
        }
        idle.entry(to.clone()).or_default().push(sender);
    }
}

/// An answer that is being read.
struct Reply<'a> {
    client: &'a Client,
    to: &'a Endpoint,
    sender: Sender,
    response: Response<Incoming>,
}

impl Reply<'_> {
    async fn piece(&mut self, stall: Duration) -> Result<Option<Bytes>, LinkError> {
        let (client, to) = (self.client, self.to);
        let body = self.response.body_mut();
        let frame = async {
            loop {
                match body.frame().await {
                    None => return Ok(None),
                    Some(Err(err)) => return Err(client.unreachable(to, &err)),
                    Some(Ok(frame)) => {
                        if let Ok(bytes) = frame.into_data() {
                            return Ok(Some(bytes));
                        }
                    }
                }
            }
        };
        client.within(to, stall, frame).await
    }

    /// Itself, if it says yes.
    async fn accepted(mut self, stall: Duration) -> Result<Self, LinkError> {
        const LONGEST: usize = 500;
        let status = self.response.status();
        if status == StatusCode::OK || status == StatusCode::PARTIAL_CONTENT {
            return Ok(self);
        }
        let mut why = Vec::new();
        while why.len() < LONGEST
            && let Some(piece) = self.piece(stall).await?
        {
            why.extend_from_slice(piece.get(..LONGEST).unwrap_or(&piece));
        }
        let why = String::from_utf8_lossy(&why).escape_debug().to_string();
        let to = self.to.clone();
        Err(LinkError::Refused { to, status: status.as_u16(), why })
    }

    /// All of it was read: the connection can be used again.
    fn keep(self) {
        self.client.keep(self.to, self.sender);
    }
}

fn get(path: &str, to: &Endpoint, token: &str) -> Request<Full<Bytes>> {
    let mut request = Request::new(Full::default());
    *request.uri_mut() = path.parse().unwrap_or_default();
    let headers = request.headers_mut();
    if let Ok(host) = to.address.parse() {
        headers.insert(HOST, host);
    }
    if let Ok(mut bearer) = format!("Bearer {token}").parse::<hyper::header::HeaderValue>() {
        bearer.set_sensitive(true);
        headers.insert(AUTHORIZATION, bearer);
    }
    request
}
