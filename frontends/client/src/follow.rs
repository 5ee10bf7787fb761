//! Streams of events that are taken up again where they were cut.
use crate::{
    ClientError,
    http::{Asked, Http, is_passing},
    query::with_query,
    sse::{Message, Parser},
};
use deploy_wire::ProblemDetails;
use http_body_util::BodyExt as _;
use hyper::{
    Method,
    body::{Bytes, Incoming},
    header::HeaderName,
};
use serde::de::DeserializeOwned;
use std::{collections::VecDeque, marker::PhantomData, time::Duration};

/// A stream that says nothing for so long is dead: the server sends something every 15 seconds.
const SILENCE: Duration = Duration::from_secs(60);
/// The first wait before a stream is asked for again; it doubles.
const BACKOFF: Duration = Duration::from_millis(200);
/// How often on end a stream is asked for in vain: about a minute.
const TRIES: u32 = 9;

/// A stream of documents, each once and in order, whatever happens to connections and servers on the way.
#[derive(Debug)]
pub struct Feed<T> {
    http: Http,
    path: String,
    /// The id of the last event that was given.
    last: u64,
    connection: Option<(Incoming, Parser)>,
    ready: VecDeque<Message>,
    failures: u32,
    ended: bool,
    kind: PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned> Feed<T> {
    pub(crate) fn new(http: Http, path: &str, query: &[(&str, Option<&str>)], last: u64) -> Self {
        Self {
            http,
            path: with_query(path, query),
            last,
            connection: None,
            ready: VecDeque::new(),
            failures: 0,
            ended: false,
            kind: PhantomData,
        }
    }

    /// The position of the last document that was given: whoever begins after it misses nothing.
    #[must_use]
    pub const fn position(&self) -> u64 {
        self.last
    }

    /// The next document; `None` at the end.
    ///
    /// # Errors
    /// If the server refuses, or has not answered for about a minute.
    pub async fn next(&mut self) -> Result<Option<T>, ClientError> {
        loop {
            while let Some(message) = self.ready.pop_front() {
                match message.event.as_str() {
                    "end" => self.ended = true,
                    "problem" => return Err(self.problem(&message)),
                    _ => {
                        if let Some(document) = self.document(&message)? {
                            return Ok(Some(document));
                        }
                    }
                }
            }
            if self.ended {
                return Ok(None);
            }
            if let Err(err) = self.receive().await {
                self.retry(err).await?;
            }
        }
    }

    fn document(&mut self, message: &Message) -> Result<Option<T>, ClientError> {
        let id = message.id.as_deref().and_then(|it| it.parse().ok());
        let id: u64 = id.ok_or_else(|| self.http.unexpected("an event has no position"))?;
        if id <= self.last {
            return Ok(None);
        }
        self.last = id;
        let document = serde_json::from_str(&message.data);
        document.map(Some).map_err(|err| self.http.unexpected(err))
    }

    fn problem(&self, message: &Message) -> ClientError {
        match serde_json::from_str::<ProblemDetails>(&message.data) {
            Ok(details) => ClientError::Problem(Box::new(details)),
            Err(err) => self.http.unexpected(err),
        }
    }

    /// Takes in what comes next, over a new connection if there is none.
    async fn receive(&mut self) -> Result<(), ClientError> {
        let (body, parser) = match &mut self.connection {
            Some(connection) => connection,
            none => {
                let asked = Asked::new(Method::GET, self.path.as_str()).with_header(
                    HeaderName::from_static("last-event-id"),
                    &self.last.to_string(),
                )?;
                let answer = self.http.answer(asked).await?;
                none.insert((answer.into_body(), Parser::default()))
            }
        };
        let bytes = next_bytes(&self.http, body).await?;
        let messages = parser.take(&bytes);
        let messages = messages.map_err(|_| self.http.unexpected("an event is too long"))?;
        if !messages.is_empty() {
            self.failures = 0;
        }
        self.ready.extend(messages);
        Ok(())
    }

    /// Waits before the stream is asked for again, unless that is of no use.
    async fn retry(&mut self, err: ClientError) -> Result<(), ClientError> {
        self.connection = None;
        self.failures += 1;
        if !is_passing(&err) || self.failures > TRIES {
            return Err(err);
        }
        let wait = BACKOFF * 2_u32.saturating_pow(self.failures.min(6));
        let clock = &self.http.clock;
        clock.sleep_until(clock.now().after(wait)).await;
        Ok(())
    }
}

/// The next bytes of a stream; that it ends without saying so is an error.
async fn next_bytes(http: &Http, body: &mut Incoming) -> Result<Bytes, ClientError> {
    loop {
        let frame = tokio::time::timeout(SILENCE, body.frame()).await;
        match frame.map_err(|_late| http.unreachable("the stream has gone silent"))? {
            Some(Ok(frame)) => {
                if let Ok(bytes) = frame.into_data() {
                    return Ok(bytes);
                }
            }
            Some(Err(err)) => return Err(http.unreachable(err)),
            None => return Err(http.unreachable("the stream was cut off")),
        }
    }
}
