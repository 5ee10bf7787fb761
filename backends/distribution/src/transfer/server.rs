//! Gives blocks to whoever may have them.
use super::{
    Director, Identify,
    crowd::Crowd,
    limit::Limits,
    sending::Sending,
    slots::Slots,
    source::{BlockSource, SourceError},
    visitor::{QUIET, Visitor},
    wire::{ASSIGNED, BLOBS, LONGEST_NEXT, NEXT, OUTBOARD},
};
use crate::{
    block::{Blob, BlockRange},
    token::TokenVerifier,
};
use bytes::Bytes;
use deploy_core::{backend::Clock, id::HostName, telemetry::TARGET_BACKEND};
use futures_util::stream;
use http_body_util::{BodyExt, Full, Limited, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Body as _, Incoming},
    header::{CONTENT_LENGTH, RANGE},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use std::{
    collections::BTreeMap,
    fmt, io,
    net::IpAddr,
    ops::Range,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{
    net::{TcpListener, TcpStream},
    select,
    sync::{Semaphore, watch},
    task::JoinSet,
};
use tokio_rustls::{TlsAcceptor, rustls::ServerConfig, server::TlsStream};

/// How long somebody may take to prove who they are.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(10);
/// How many connections there may be. Who comes later waits. Each of ten thousand hosts waits for its scheduler on one.
const MOST_CONNECTIONS: usize = 16_384;
/// How many of them may be of one host: each blob that it fetches takes some 20 of them at most.
const MOST_OF_ONE: usize = 128;
/// How many may be about to prove who they are from one address, which may be that of many.
const MOST_UNPROVEN: usize = 256;
/// How long to wait where no connection can be taken, such as for want of files.
const TAKE_AGAIN: Duration = Duration::from_millis(100);
/// How much of what somebody sends, or does not take, is in memory for a connection, in bytes.
const MOST_BUFFERED: usize = 128 << 10;
/// How many others are told apart in what was served.
const MOST_COUNTED: usize = 16_384;

type Body = UnsyncBoxBody<Bytes, io::Error>;

/// How many bytes were given to whom.
pub type Served = BTreeMap<HostName, u64>;

/// Gives blocks of a [`BlockSource`] to hosts that have a certificate and a token that names the blob, and, where there is a
/// [`Director`], sends them to each other.
pub struct BlockServer {
    source: Arc<dyn BlockSource>,
    director: Option<Arc<Director>>,
    verifier: TokenVerifier,
    identify: Identify,
    slots: Arc<Slots>,
    unproven: Crowd<IpAddr>,
    visitors: Crowd<HostName>,
    limits: Arc<Limits>,
    clock: Arc<dyn Clock>,
    served: Mutex<Served>,
}

impl fmt::Debug for BlockServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlockServer").field("source", &self.source).finish_non_exhaustive()
    }
}

impl BlockServer {
    /// Gives what `source` has to those whom `verifier` and `identify` know: to 4 at a time, as fast as it goes.
    #[must_use]
    pub fn new(
        source: Arc<dyn BlockSource>,
        verifier: TokenVerifier,
        identify: Identify,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let (limits, slots) = (Arc::new(Limits::new(None)), Slots::new(4));
        Self {
            source,
            director: None,
            verifier,
            identify,
            slots,
            unproven: Crowd::new(MOST_UNPROVEN),
            visitors: Crowd::new(MOST_OF_ONE),
            limits,
            clock,
            served: Mutex::default(),
        }
    }

    /// And sends hosts to each other.
    #[must_use]
    pub fn with_director(mut self, director: Arc<Director>) -> Self {
        self.director = Some(director);
        self
    }

    /// Gives blocks to so many at a time.
    #[must_use]
    pub fn with_slots(mut self, slots: u16) -> Self {
        self.slots = Slots::new(slots.into());
        self
    }

    /// No faster than that.
    #[must_use]
    pub fn with_limits(mut self, limits: Arc<Limits>) -> Self {
        self.limits = limits;
        self
    }

    /// How many bytes of blocks were given to whom so far.
    #[must_use]
    pub fn served(&self) -> Served {
        self.served.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Who was found to give what is wrong, and how often, as [`Director::corrupt`] says. Nobody, where this is none's.
    #[must_use]
    pub fn corrupt(&self) -> Served {
        self.director.as_ref().map(|it| it.corrupt()).unwrap_or_default()
    }

    /// Serves until `stop` is ready, each connection by the newest configuration. Then connections are closed, whatever is under way.
    pub async fn serve(
        self: Arc<Self>,
        listener: TcpListener,
        tls: watch::Receiver<Arc<ServerConfig>>,
        stop: impl Future<Output = ()> + Send,
    ) {
        let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
        let mut connections = JoinSet::new();
        let take = async {
            while let Ok(place) = Arc::clone(&places).acquire_owned().await {
                while connections.try_join_next().is_some() {}
                match listener.accept().await {
                    Ok((stream, from)) => {
                        let acceptor = TlsAcceptor::from(Arc::clone(&tls.borrow()));
                        let server = Arc::clone(&self);
                        connections.spawn(async move {
                            server.connection(stream, from.ip(), acceptor).await;
                            drop(place);
                        });
                    }
                    Err(err) => {
                        tracing::warn!(target: TARGET_BACKEND, reason = %err, "no connection can be taken");
                        self.clock.sleep_until(self.clock.now().after(TAKE_AGAIN)).await;
                    }
                }
            }
        };
        select! {
            biased;
            () = stop => {}
            () = take => {}
        }
    }

    async fn connection(self: Arc<Self>, stream: TcpStream, from: IpAddr, acceptor: TlsAcceptor) {
        let Some(unproven) = self.unproven.enter(from) else { return };
        let Some(stream) = self.prove(stream, acceptor).await else { return };
        drop(unproven);
        let certificate = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
        let Some(host) = certificate.and_then(|it| (self.identify)(it)) else { return };
        let Some(_place) = self.visitors.enter(host.clone()) else {
            tracing::warn!(target: TARGET_BACKEND, host = %host, "a host has too many connections");
            return;
        };
        let visitor = Arc::new(Visitor::new(host, from, Arc::clone(&self.clock)));
        let visiting = Arc::clone(&visitor);
        let service = service_fn(move |request| {
            let (server, visitor) = (Arc::clone(&self), Arc::clone(&visiting));
            async move { Ok::<_, io::Error>(server.answer(&visitor, request).await) }
        });
        // How long heads may take the visitor's own time says, by our clock.
        let mut http = http1::Builder::new();
        http.header_read_timeout(None).max_buf_size(MOST_BUFFERED);
        let serving = http.serve_connection(TokioIo::new(stream), service);
        select! {
            biased;
            // Connections break, and whoever is at the other end knows.
            _broken = serving => {}
            () = visitor.overdue() => {
                tracing::debug!(target: TARGET_BACKEND, host = %visitor.host, "a host takes too long");
            }
        }
    }

    /// The connection of somebody who has proved to be somebody.
    async fn prove(
        &self,
        stream: TcpStream,
        acceptor: TlsAcceptor,
    ) -> Option<TlsStream<TcpStream>> {
        let until = self.clock.now().after(HANDSHAKE_WITHIN);
        let proved = async {
            stream.set_nodelay(true)?;
            acceptor.accept(stream).await
        };
        let proved = select! {
            biased;
            proved = proved => proved,
            () = self.clock.sleep_until(until) => Err(io::ErrorKind::TimedOut.into()),
        };
        let refused = |err: &io::Error| {
            tracing::debug!(target: TARGET_BACKEND, reason = %err, "somebody is not let in");
        };
        proved.inspect_err(refused).ok()
    }

    async fn answer(&self, visitor: &Arc<Visitor>, request: Request<Incoming>) -> Response<Body> {
        visitor.waits_for_us();
        let path = request.uri().path().to_owned();
        let answered = match (request.method(), path.strip_prefix(BLOBS)) {
            (&Method::GET, Some(name)) => self.blob(visitor, &request, name).await,
            (&Method::POST, None) if path == NEXT => self.next(visitor, request).await,
            _ => Err(Refusal(StatusCode::NOT_FOUND, "there is nothing here".to_owned())),
        };
        let response = answered.unwrap_or_else(Refusal::response);
        // A block that is being sent says by itself how long it may take.
        match response.body().size_hint().exact() {
            Some(length) => visitor.has(QUIET.saturating_add(Visitor::time_for(length))),
            None => visitor.may_be_quiet(),
        }
        response
    }

    async fn blob(
        &self,
        visitor: &Arc<Visitor>,
        request: &Request<Incoming>,
        name: &str,
    ) -> Result<Response<Body>, Refusal> {
        let outboard = name.strip_suffix(OUTBOARD);
        let blob: Blob = outboard.unwrap_or(name).parse().map_err(Refusal::bad)?;
        visitor.admit(&self.verifier, request.headers(), blob)?;
        if outboard.is_some() {
            return Ok(whole(self.source.outboard(blob).await.map_err(|err| Refusal::of(&err))?));
        }
        let header = request.headers().get(RANGE).and_then(|it| it.to_str().ok());
        let block = header.and_then(range).and_then(|it| blob.block_at(&it));
        let block = block.ok_or_else(|| Refusal::bad("the range has to be one block"))?;
        let assigned = request.headers().contains_key(ASSIGNED);
        // Before it takes a place that somebody could have who wants what is here.
        let got = self.source.get(blob, block.bytes()).await;
        got.map_err(|err| Refusal::of(&err))?;
        let slot = Arc::clone(&self.slots).take(visitor.host.clone(), assigned).await;
        let slot = slot.ok_or_else(|| {
            Refusal(StatusCode::SERVICE_UNAVAILABLE, "too many are waiting here".to_owned())
        })?;
        let file =
            self.source.readable(blob, block.bytes()).await.map_err(|err| Refusal::of(&err))?;
        let gauge = self.limits.gauge(blob, &visitor.host);
        self.count(&visitor.host, block);
        let (visitor, clock) = (Arc::clone(visitor), Arc::clone(&self.clock));
        let sending = Sending::new(file, block, gauge, slot, visitor, clock);
        let pieces = stream::try_unfold(sending, Sending::next);
        let mut response = Response::new(BodyExt::boxed_unsync(StreamBody::new(pieces)));
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        response.headers_mut().insert(CONTENT_LENGTH, block.length.get().into());
        Ok(response)
    }

    async fn next(
        &self,
        visitor: &Visitor,
        request: Request<Incoming>,
    ) -> Result<Response<Body>, Refusal> {
        let nobody = || Refusal(StatusCode::NOT_FOUND, "no scheduler is here".to_owned());
        let director = self.director.as_ref().ok_or_else(nobody)?;
        let (head, body) = request.into_parts();
        visitor.has(Visitor::time_for(0));
        let body = Limited::new(body, LONGEST_NEXT).collect().await;
        visitor.waits_for_us();
        let body = body.map_err(|err| Refusal::bad(err.to_string()))?.to_bytes();
        let next: super::NextRequest = serde_json::from_slice(&body).map_err(Refusal::bad)?;
        visitor.admit(&self.verifier, &head.headers, next.blob)?;
        // Whoever cannot have it would send hosts to itself in vain: they are to go to the next one.
        if let Err(err @ SourceError::Failed(_)) = self.source.outboard(next.blob).await {
            return Err(Refusal::of(&err));
        }
        let answer = director.next(&visitor.host, visitor.from, next).await;
        Ok(whole(serde_json::to_vec(&answer).map_err(Refusal::bad)?.into()))
    }

    fn count(&self, host: &HostName, block: BlockRange) {
        let mut served = self.served.lock().unwrap_or_else(PoisonError::into_inner);
        if served.len() < MOST_COUNTED || served.contains_key(host) {
            let bytes = served.entry(host.clone()).or_default();
            *bytes = bytes.saturating_add(block.length.get());
        }
    }
}

/// Why somebody gets nothing.
pub(super) struct Refusal(pub(super) StatusCode, pub(super) String);

impl Refusal {
    fn bad(why: impl fmt::Display) -> Self {
        Self(StatusCode::BAD_REQUEST, why.to_string())
    }

    fn of(err: &SourceError) -> Self {
        let status = match err {
            SourceError::Missing => StatusCode::NOT_FOUND,
            SourceError::Failed(_) => StatusCode::BAD_GATEWAY,
        };
        Self(status, err.to_string())
    }

    fn response(self) -> Response<Body> {
        let mut response = whole(self.1.into());
        *response.status_mut() = self.0;
        response
    }
}

fn whole(bytes: Bytes) -> Response<Body> {
    Response::new(Full::new(bytes).map_err(|never| match never {}).boxed_unsync())
}

/// The bytes that `bytes=FIRST-LAST` asks for; other forms are none.
fn range(header: &str) -> Option<Range<u64>> {
    let (first, last) = header.strip_prefix("bytes=")?.split_once('-')?;
    let end = last.parse::<u64>().ok()?.checked_add(1)?;
    Some(first.parse().ok()?..end)
}

#[cfg(test)]
mod tests {
    use super::range;

    #[test]
    fn a_range_is_read_or_none() {
        assert_eq!(range("bytes=0-9"), Some(0..10));
        assert_eq!(range("bytes=5-5"), Some(5..6));
        let wrong = ["", "bytes=", "bytes=1", "bytes=-5", "bytes=5-", "bytes=1-2,4-5", "items=1-2"];
        for it in wrong.into_iter().chain(["bytes=0-18446744073709551615"]) {
            assert_eq!(range(it), None, "{it}");
        }
    }
}
