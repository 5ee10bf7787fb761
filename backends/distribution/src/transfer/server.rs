//! Gives blocks to whoever may have them.
use super::{
    Director, Identify,
    limit::{Gauge, Limits},
    slots::{Slot, Slots},
    source::{BlockSource, SourceError},
    wire::{ASSIGNED, BLOBS, LONGEST_NEXT, NEXT, OUTBOARD},
};
use crate::{
    block::{Blob, BlockRange},
    token::{Grant, TokenVerifier},
};
use bytes::Bytes;
use deploy_core::{backend::Clock, id::HostName, telemetry::TARGET_BACKEND};
use futures_util::stream;
use http_body_util::{BodyExt, Full, Limited, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Frame, Incoming},
    header::{AUTHORIZATION, CONTENT_LENGTH, RANGE},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use std::{
    collections::BTreeMap,
    fmt,
    fs::File,
    io,
    ops::Range,
    os::unix::fs::FileExt as _,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{
    net::{TcpListener, TcpStream},
    select,
    sync::{Semaphore, watch},
    task::{JoinSet, spawn_blocking},
};
use tokio_rustls::{TlsAcceptor, rustls::ServerConfig};

/// How long somebody may take to prove who they are.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(10);
/// How many connections there may be. Who comes later waits.
const MOST_CONNECTIONS: usize = 4_096;
/// How long to wait where no connection can be taken, such as for want of files.
const TAKE_AGAIN: Duration = Duration::from_millis(100);
/// How much is read and sent at once.
const PIECE: u64 = 128 << 10;
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
        let served = Mutex::default();
        Self { source, director: None, verifier, identify, slots, limits, clock, served }
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
                    Ok((stream, _)) => {
                        let acceptor = TlsAcceptor::from(Arc::clone(&tls.borrow()));
                        let server = Arc::clone(&self);
                        connections.spawn(async move {
                            server.connection(stream, acceptor).await;
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

    async fn connection(self: Arc<Self>, stream: TcpStream, acceptor: TlsAcceptor) {
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
        let stream = match proved {
            Ok(stream) => stream,
            Err(err) => {
                tracing::debug!(target: TARGET_BACKEND, reason = %err, "somebody is not let in");
                return;
            }
        };
        let certificate = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
        let Some(host) = certificate.and_then(|it| (self.identify)(it)) else { return };
        let visitor = Arc::new(Visitor { host, grant: Mutex::default() });
        let service = service_fn(move |request| {
            let (server, visitor) = (Arc::clone(&self), Arc::clone(&visitor));
            async move { Ok::<_, io::Error>(server.answer(&visitor, request).await) }
        });
        // Connections break, and whoever is at the other end knows.
        let _broken = http1::Builder::new()
            .header_read_timeout(None)
            .serve_connection(TokioIo::new(stream), service)
            .await;
    }

    async fn answer(&self, visitor: &Visitor, request: Request<Incoming>) -> Response<Body> {
        let path = request.uri().path().to_owned();
        let answered = match (request.method(), path.strip_prefix(BLOBS)) {
            (&Method::GET, Some(name)) => self.blob(visitor, &request, name).await,
            (&Method::POST, None) if path == NEXT => self.next(visitor, request).await,
            _ => Err(Refusal(StatusCode::NOT_FOUND, "there is nothing here".to_owned())),
        };
        answered.unwrap_or_else(|refusal| refusal.response())
    }

    async fn blob(
        &self,
        visitor: &Visitor,
        request: &Request<Incoming>,
        name: &str,
    ) -> Result<Response<Body>, Refusal> {
        let outboard = name.strip_suffix(OUTBOARD);
        let blob: Blob = outboard.unwrap_or(name).parse().map_err(Refusal::bad)?;
        self.admit(visitor, request, blob)?;
        if outboard.is_some() {
            return Ok(whole(self.source.outboard(blob).await.map_err(|err| Refusal::of(&err))?));
        }
        let header = request.headers().get(RANGE).and_then(|it| it.to_str().ok());
        let block = header.and_then(range).and_then(|it| blob.block_at(&it));
        let block = block.ok_or_else(|| Refusal::bad("the range has to be one block"))?;
        let assigned = request.headers().contains_key(ASSIGNED);
        let slot = Arc::clone(&self.slots).take(assigned).await;
        let slot = slot.ok_or_else(|| {
            Refusal(StatusCode::SERVICE_UNAVAILABLE, "too many are waiting here".to_owned())
        })?;
        let file =
            self.source.readable(blob, block.bytes()).await.map_err(|err| Refusal::of(&err))?;
        let gauge = self.limits.gauge(blob, &visitor.host);
        self.count(&visitor.host, block);
        let sending =
            Sending { file, at: block.bytes(), gauge, clock: Arc::clone(&self.clock), _slot: slot };
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
        let body = Limited::new(body, LONGEST_NEXT).collect().await;
        let body = body.map_err(|err| Refusal::bad(err.to_string()))?.to_bytes();
        let next: super::NextRequest = serde_json::from_slice(&body).map_err(Refusal::bad)?;
        self.admit(visitor, &Request::from_parts(head, ()), next.blob)?;
        let answer = director.next(&visitor.host, next).await;
        Ok(whole(serde_json::to_vec(&answer).map_err(Refusal::bad)?.into()))
    }

    /// Whether somebody may have a blob. A token that was good a moment ago is not checked again, only read.
    fn admit<T>(&self, who: &Visitor, request: &Request<T>, blob: Blob) -> Result<(), Refusal> {
        let header = request.headers().get(AUTHORIZATION).and_then(|it| it.to_str().ok());
        let token = header.and_then(|it| it.strip_prefix("Bearer "));
        let no_token = || Refusal(StatusCode::UNAUTHORIZED, "a token is missing".to_owned());
        let token = token.ok_or_else(no_token)?;
        let forbidden = |err: crate::token::TokenError| {
            tracing::debug!(target: TARGET_BACKEND, host = %who.host, reason = err.as_str(), "a token is not accepted");
            Refusal(StatusCode::FORBIDDEN, err.to_string())
        };
        let mut known = who.grant.lock().unwrap_or_else(PoisonError::into_inner);
        let grant = match &*known {
            Some((text, grant)) if text == token => grant,
            _ => {
                let grant = self.verifier.read(token).map_err(forbidden)?;
                &known.insert((token.to_owned(), grant)).1
            }
        };
        grant.allows(&who.host, blob, self.clock.now()).map_err(forbidden)
    }

    fn count(&self, host: &HostName, block: BlockRange) {
        let mut served = self.served.lock().unwrap_or_else(PoisonError::into_inner);
        if served.len() < MOST_COUNTED || served.contains_key(host) {
            let bytes = served.entry(host.clone()).or_default();
            *bytes = bytes.saturating_add(block.length.get());
        }
    }
}

/// Who is at the other end of a connection, and what it has shown.
struct Visitor {
    host: HostName,
    grant: Mutex<Option<(String, Grant)>>,
}

/// A block that is being sent. Its slot is free again once it is, or nobody takes it any more.
struct Sending {
    file: Arc<File>,
    at: Range<u64>,
    gauge: Gauge,
    clock: Arc<dyn Clock>,
    _slot: Slot,
}

impl Sending {
    async fn next(mut self) -> io::Result<Option<(Frame<Bytes>, Self)>> {
        let length = self.at.end.saturating_sub(self.at.start).min(PIECE);
        if length == 0 {
            return Ok(None);
        }
        self.gauge.take(length, &*self.clock).await;
        let (file, start) = (Arc::clone(&self.file), self.at.start);
        let read = spawn_blocking(move || {
            let mut piece = vec![0; usize::try_from(length).unwrap_or(0)];
            file.read_exact_at(&mut piece, start)?;
            Ok::<_, io::Error>(Bytes::from(piece))
        });
        let piece = read.await.map_err(io::Error::other)??;
        self.at.start = self.at.start.saturating_add(length);
        Ok(Some((Frame::data(piece), self)))
    }
}

/// Why somebody gets nothing.
struct Refusal(StatusCode, String);

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
