//! Requests that come twice are answered once.
use crate::{
    auth::Caller,
    problem::{Answer, Answered, HttpProblem},
    state::{KEPT, SharedState},
};
use axum::{
    body::{Body, Bytes, to_bytes},
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use deploy_core::{
    backend::{self, AnswerClaim, BeginAnswer, Begun, IdempotencyKey},
    digest::Digest,
};
use deploy_operations::{NamedRequest, problem::IntoProblem as _};
use deploy_wire::{PROBLEM_JSON, Problem, ProblemCode};
use std::time::Duration;

/// The header that names a request.
pub(crate) const KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// The header of an answer that was given before.
pub(crate) const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// Who is at a request that nobody answers any more, though what it asks for may have been done. No process is ever called that.
const NOBODY: &str = "nobody";

/// Larger answers are not kept, in bytes. No answer to a POST is near it.
const LARGEST_ANSWER: usize = 16 << 20;

/// In the extensions of an answer that holds a secret: what is kept, and answered to the next one, instead.
#[derive(Clone, Debug)]
pub(crate) struct Instead(pub(crate) Problem);

/// Gives a request that comes under the key of an earlier one the answer of that.
pub(crate) async fn once(
    State(state): State<SharedState>,
    caller: Caller,
    request: Request,
    next: Next,
) -> Response {
    if request.method() != Method::POST {
        return next.run(request).await;
    }
    match key(request.headers()) {
        Ok(None) => next.run(request).await,
        Ok(Some(key)) => match answer(&state, &caller, key, request, next).await {
            Ok(response) => response,
            Err(problem) => problem.into_response(),
        },
        Err(problem) => problem.into_response(),
    }
}

fn key(headers: &HeaderMap) -> Answer<Option<IdempotencyKey>> {
    let mut keys = headers.get_all(KEY).iter();
    match (keys.next(), keys.next()) {
        (None, _) => Ok(None),
        (Some(key), None) => {
            let parsed = key.to_str().ok().and_then(|it| it.parse().ok());
            parsed.map(Some).ok_or_else(|| {
                HttpProblem::malformed(
                    "`Idempotency-Key` must be 1 to 255 visible ASCII characters",
                )
            })
        }
        (Some(_), Some(_)) => {
            Err(HttpProblem::malformed("a request has one `Idempotency-Key` at the most"))
        }
    }
}

async fn answer(
    state: &SharedState,
    caller: &Caller,
    key: IdempotencyKey,
    request: Request,
    next: Next,
) -> Answer<Response> {
    let (head, body) = request.into_parts();
    let body = to_bytes(body, state.limits.body_bytes).await.map_err(|_| {
        HttpProblem::new(ProblemCode::TooLarge, "the body is larger than it may be, or was cut off")
            .with_context("limit", state.limits.body_bytes)
    })?;
    let target = head.uri.path_and_query().map_or("", |it| it.as_str());
    let digest = Digest::of(
        &[head.method.as_str().as_bytes(), b" ", target.as_bytes(), b"\n", &body].concat(),
    );
    let (begun, begun_within) = begin(state, caller, key, digest).await?;
    match begun {
        Begun::New(claim) => {
            let named = NamedRequest { name: name_of(&claim, &digest), begun_within };
            let mut caller = caller.clone();
            caller.operations = caller.operations.with_request(named);
            let mut request = Request::from_parts(head, Body::from(body));
            request.extensions_mut().insert(caller);
            work(SharedState::clone(state), Taken { claim, request: digest }, request, next).await
        }
        Begun::Answered(answer) => Ok(replay(answer)),
        Begun::Other => Err(HttpProblem::new(
            ProblemCode::KeyReused,
            "this `Idempotency-Key` was used for another request",
        )
        .with_hint("a new request needs a new key")),
        Begun::Running { .. } => Err(HttpProblem::new(
            ProblemCode::InProgress,
            "this request is being answered at this moment",
        )
        .retry_after(1)),
    }
}

/// A request that is this process's to answer.
#[derive(Clone, Debug)]
struct Taken {
    claim: AnswerClaim,
    /// The digest of all that it says.
    request: Digest,
}

/// What the journal knows a request by.
fn name_of(claim: &AnswerClaim, request: &Digest) -> Digest {
    let (who, key) = (claim.principal.as_str().as_bytes(), claim.key.as_str().as_bytes());
    Digest::of(&[who, b"\n", key, b"\n", request.as_bytes()].concat())
}

/// Takes a request, also one that was begun and never answered: by a process that is gone, or by this one in a bad moment.
/// Says how long ago that may be.
async fn begin(
    state: &SharedState,
    caller: &Caller,
    key: IdempotencyKey,
    digest: Digest,
) -> Answer<(Begun, Option<Duration>)> {
    let (answers, holder) = (&state.control.answers, state.holder.name());
    let principal = caller.operations.principal().clone();
    let begin = BeginAnswer::new(principal, key, digest, holder);
    let begun = answers.begin(&begin).await.map_err(|it| it.into_problem())?;
    // One caller gets it, and it means nothing to anybody once the request is another's, or answered.
    let left = state.left.take(&begin.principal, &begin.key);
    let Begun::Running { holder: other } = &begun else { return Ok((begun, None)) };
    let left = if other == holder { left } else { None };
    if left.is_none() && other != NOBODY && !state.holder.is_gone(other) {
        return Ok((begun, None));
    }
    let taken = answers.begin(&begin.with_dead(other)).await;
    if let (Err(_), Some(claim)) = (&taken, left) {
        state.left.add(claim, state.now());
    }
    Ok((taken.map_err(|it| it.into_problem())?, Some(KEPT)))
}

/// Answers a request to its end, whether anybody still waits for the answer or not.
async fn work(state: SharedState, taken: Taken, request: Request, next: Next) -> Answer<Response> {
    let span = tracing::Span::current();
    let (kept_state, kept) = (SharedState::clone(&state), taken.clone());
    let working = async move {
        let response = next.run(request).await;
        let (mut head, body) = response.into_parts();
        if let Some(Instead(problem)) = head.extensions.remove() {
            let instead = HttpProblem::from(problem).into_response();
            keep_response(&state, &taken, instead).await;
            return Response::from_parts(head, body);
        }
        let Ok(body) = to_bytes(body, LARGEST_ANSWER).await else {
            leave(&state, &taken).await;
            return HttpProblem::new(ProblemCode::Internal, "the answer is too large to be kept")
                .into_response();
        };
        keep(&state, &taken, head.status, &head.headers, &body).await;
        Response::from_parts(head, Body::from(body))
    };
    match tokio::spawn(tracing::Instrument::instrument(working, span)).await {
        Ok(response) => Ok(response),
        Err(err) => {
            tracing::error!(%err, "a request came to nothing");
            leave(&kept_state, &kept).await;
            Err(HttpProblem::new(ProblemCode::Internal, "the request came to nothing"))
        }
    }
}

async fn keep_response(state: &SharedState, taken: &Taken, response: Response) {
    let (head, body) = response.into_parts();
    match to_bytes(body, LARGEST_ANSWER).await {
        Ok(body) => keep(state, taken, head.status, &head.headers, &body).await,
        Err(_) => leave(state, taken).await,
    }
}

/// Keeps an answer, unless trying again may give another one.
async fn keep(
    state: &SharedState,
    taken: &Taken,
    status: StatusCode,
    headers: &HeaderMap,
    body: &Bytes,
) {
    if status == StatusCode::TOO_MANY_REQUESTS {
        return give_up(state, &taken.claim).await;
    }
    if status.is_server_error() {
        return leave(state, taken).await;
    }
    let text = |(name, value): (&HeaderName, &HeaderValue)| {
        Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned()))
    };
    let answer = backend::Answer::new(status.as_u16(), body.to_vec())
        .with_headers(headers.iter().filter_map(text).collect());
    if let Err(err) = state.control.answers.finish(&taken.claim, &answer, state.now()).await {
        tracing::warn!(error = %err.chain(), "an answer was not kept");
        leave(state, taken).await;
    }
}

/// Nobody answers a request any more, and whether it was carried out is not known: whoever asks again, here or at another server,
/// has to look.
async fn leave(state: &SharedState, taken: &Taken) {
    let claim = &taken.claim;
    let nobody =
        BeginAnswer::new(claim.principal.clone(), claim.key.clone(), taken.request, NOBODY)
            .with_dead(state.holder.name());
    if let Err(err) = state.control.answers.begin(&nobody).await {
        tracing::warn!(error = %err.chain(), "only this process knows that a request was not answered");
        state.left.add(claim.clone(), state.now());
    }
}

/// Gives a request up of which nothing has come.
pub(crate) async fn give_up(state: &SharedState, claim: &AnswerClaim) {
    if let Err(err) = state.control.answers.release(claim).await {
        tracing::warn!(error = %err.chain(), "an idempotency key was not given up");
    }
}

fn replay(answer: backend::Answer) -> Response {
    // What the answer is to is another request now, and a problem says which.
    let problem = serde_json::from_slice(&answer.body).ok().map(Answered);
    let mut response = Response::new(Body::from(answer.body));
    *response.status_mut() =
        StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    for (name, value) in answer.headers {
        if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), HeaderValue::from_str(&value)) {
            response.headers_mut().append(name, value);
        }
    }
    let headers = response.headers_mut();
    headers.insert(REPLAYED, HeaderValue::from_static("true"));
    let is_problem = headers.get(header::CONTENT_TYPE).is_some_and(|it| it == PROBLEM_JSON);
    if let Some(problem) = problem.filter(|_| is_problem) {
        response.extensions_mut().insert(problem);
    }
    response
}
