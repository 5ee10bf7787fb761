//! What happens, as it happens: streams that can be taken up where they were cut.
use super::query::{LogsQuery, StreamQuery};
use crate::{
    auth::Caller,
    problem::{Answer, HttpProblem},
    request::{Asked, Named},
    state::SharedState,
};
use axum::{
    extract::State,
    http::{HeaderMap, HeaderName},
    response::{
        IntoResponse,
        sse::{Event, KeepAlive, Sse},
    },
};
use deploy_core::{
    backend::{LogChunk, LogPosition, LogQuery},
    engine::Parts,
    id::{HostName, RolloutId, Seq},
    time::Timestamp,
};
use deploy_operations::{
    BuildFeed, EventFeed, Tail, demand_target, documents, parse::field, problem::OrProblem as _,
};
use deploy_wire::{Problem, ProblemCode, ProblemDetails};
use futures_util::Stream;
use serde::Serialize;
use std::{collections::VecDeque, convert::Infallible, time::Duration};
use tokio::sync::OwnedSemaphorePermit;

/// How soon something new is looked for after there was something; and while there is nothing each time later, up to the second of these.
const LOOK: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(250));
/// How often a stream asks whether the token that opened it is still good.
const CHECK: Duration = Duration::from_secs(3);
/// The header with which a client takes a stream up again.
const LAST: HeaderName = HeaderName::from_static("last-event-id");

/// What happens in a rollout: events of type `RolloutEvent`, whose ids are positions in the journal
#[utoipa::path(get, path = "/rollouts/{rollout}/events", tag = "rollouts",
    params(
        ("rollout" = String, Path), StreamQuery,
        ("Last-Event-ID" = Option<String>, Header, description = "The id of the last event that was seen"),
    ),
    responses((status = 200, content_type = "text/event-stream", body = String)))]
pub(super) async fn events(
    State(state): State<SharedState>,
    caller: Caller,
    named: Named,
    Asked(query): Asked<StreamQuery>,
    headers: HeaderMap,
) -> Answer<impl IntoResponse> {
    let after = Seq::new(resumed(&headers, query.after)?);
    let id = caller.operations.find_rollout(&named.get::<String>("rollout")?).await?;
    let feed = EventFeed::open(&state.control.parts, &id, after).await?;
    let follow = query.follow.unwrap_or(true);
    stream(state, caller, follow, Source::Events(Box::new(feed)))
}

/// What the steps of a rollout print: events of type `LogLine`
#[utoipa::path(get, path = "/rollouts/{rollout}/logs", tag = "rollouts",
    params(
        ("rollout" = String, Path), LogsQuery,
        ("Last-Event-ID" = Option<String>, Header, description = "The id of the last event that was seen"),
    ),
    responses((status = 200, content_type = "text/event-stream", body = String)))]
pub(super) async fn logs(
    State(state): State<SharedState>,
    caller: Caller,
    named: Named,
    Asked(query): Asked<LogsQuery>,
    headers: HeaderMap,
) -> Answer<impl IntoResponse> {
    let after = LogPosition::new(resumed(&headers, query.after)?);
    let id = caller.operations.find_rollout(&named.get::<String>("rollout")?).await?;
    let host: Option<HostName> = query.host.map(|it| field("host", &it)).transpose()?;
    let source = Source::logs(&state.control.parts, &id, host, after).await?;
    let follow = query.follow.unwrap_or(true);
    stream(state, caller, follow, source)
}

pub(super) fn resumed(headers: &HeaderMap, after: Option<u64>) -> Answer<u64> {
    let Some(last) = headers.get(LAST) else { return Ok(after.unwrap_or(0)) };
    let parsed = last.to_str().ok().and_then(|it| it.parse().ok());
    parsed.ok_or_else(|| HttpProblem::malformed("`Last-Event-ID` must be the id of an event"))
}

/// Where events come from.
pub(super) enum Source {
    Build(Box<BuildFeed>),
    Events(Box<EventFeed>),
    Logs { tail: Box<Tail>, query: LogQuery, over: bool },
}

impl Source {
    async fn logs(
        parts: &Parts,
        id: &RolloutId,
        host: Option<HostName>,
        after: LogPosition,
    ) -> Answer<Self> {
        let (tail, _) = Tail::open(parts, id).await?;
        if let Some(host) = &host {
            demand_target(&tail.rollout, host)?;
        }
        let mut query = LogQuery::new(id.clone()).with_after(after);
        query.host = host;
        Ok(Self::Logs { tail: Box::new(tail), query, over: false })
    }

    /// What there is by now; none if there is nothing new.
    async fn next(&mut self, parts: &Parts) -> Result<Vec<Event>, Problem> {
        match self {
            Self::Build(feed) => {
                let lines = feed.next().await?;
                Ok(lines.iter().map(|(at, line)| event("log", *at, line)).collect())
            }
            Self::Events(feed) => {
                let events = feed.next(parts).await?;
                Ok(events.iter().map(|it| event("rollout", it.seq, it)).collect())
            }
            Self::Logs { tail, query, over } => {
                // The state is read before the output: what a rollout that is over has printed is then all there.
                tail.advance(parts).await?;
                *over = tail.rollout.outcome().is_some();
                let chunks = parts.logs.read(query).await.or_problem()?;
                query.after = chunks.last().map_or(query.after, |(at, _)| *at);
                let line = |(at, chunk): &(LogPosition, LogChunk)| {
                    event("log", at.get(), &documents::log_line(chunk))
                };
                Ok(chunks.iter().map(line).collect())
            }
        }
    }

    fn is_over(&self) -> bool {
        match self {
            Self::Build(feed) => feed.is_over(),
            Self::Events(feed) => feed.is_over(),
            Self::Logs { over, .. } => *over,
        }
    }
}

fn event(kind: &str, id: u64, value: &impl Serialize) -> Event {
    let event = Event::default().event(kind).id(id.to_string());
    // These are strings and numbers: they can always be written.
    event.json_data(value).unwrap_or_default()
}

/// One stream to one client.
struct Feed {
    state: SharedState,
    caller: Caller,
    /// When the caller was known to be let in.
    checked: Timestamp,
    source: Source,
    follow: bool,
    ready: VecDeque<Event>,
    /// How long to wait before something new is looked for.
    pause: Duration,
    ended: bool,
    _room: OwnedSemaphorePermit,
}

impl Feed {
    async fn next(mut self) -> Option<(Result<Event, Infallible>, Self)> {
        let mut stopping = self.state.stopping.clone();
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some((Ok(event), self));
            }
            if self.ended || *stopping.borrow() {
                return None;
            }
            match self.look().await {
                Ok(true) => {}
                Ok(false) if self.source.is_over() || !self.follow => {
                    self.end(Event::default().event("end").data("{}"));
                }
                Ok(false) => {
                    let clock = &self.state.control.parts.clock;
                    tokio::select! {
                        _ = stopping.wait_for(|it| *it) => {}
                        () = clock.sleep_until(clock.now().after(self.pause)) => {}
                    }
                    self.pause = (self.pause * 2).min(LOOK.1);
                }
                Err(problem) => {
                    let status = crate::problem::status(problem.code).as_u16();
                    let details = ProblemDetails::new(problem, status);
                    let data = serde_json::to_string(&details).unwrap_or_default();
                    self.end(Event::default().event("problem").data(data));
                }
            }
        }
    }

    /// Takes in what is new; says whether anything is.
    async fn look(&mut self) -> Result<bool, Problem> {
        let now = self.state.now();
        if now.since(self.checked) >= CHECK {
            self.caller.check(&self.state).await?;
            self.checked = now;
        }
        let events = self.source.next(&self.state.control.parts).await?;
        if events.is_empty() {
            return Ok(false);
        }
        self.ready.extend(events);
        self.pause = LOOK.0;
        Ok(true)
    }

    fn end(&mut self, last: Event) {
        self.ended = true;
        self.ready.push_back(last);
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.state.metrics.streams.dec();
    }
}

pub(super) fn stream(
    state: SharedState,
    caller: Caller,
    follow: bool,
    source: Source,
) -> Answer<Sse<impl Stream<Item = Result<Event, Infallible>>>> {
    let room = std::sync::Arc::clone(&state.streams).try_acquire_owned();
    let room = room.map_err(|_| {
        HttpProblem::new(ProblemCode::Unavailable, "too many event streams at this moment")
            .retry_after(5)
    })?;
    state.metrics.streams.inc();
    let feed = Feed {
        checked: state.now(),
        state,
        caller,
        source,
        follow,
        ready: VecDeque::new(),
        pause: LOOK.0,
        ended: false,
        _room: room,
    };
    let events = futures_util::stream::unfold(feed, Feed::next);
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(Duration::from_secs(15))))
}
