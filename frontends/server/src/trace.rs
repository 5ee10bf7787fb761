//! Every request has a name, a span, a line in the log and a place in the metrics.
use crate::{
    auth::Caller,
    problem::{Answered, write},
    random,
    state::SharedState,
};
use axum::{
    extract::{MatchedPath, Request, State},
    http::{HeaderName, HeaderValue},
    middleware::Next,
    response::Response,
};
use tracing::Instrument as _;

/// The header that names a request, in both directions.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The longest name that is taken over from a client.
const LONGEST: usize = 64;

/// Sees a request in, and its answer out.
pub(crate) async fn request(
    State(state): State<SharedState>,
    request: Request,
    next: Next,
) -> Response {
    let id = given(&request).unwrap_or_else(random::request_id);
    let method = request.method().as_str().to_owned();
    let route = request.extensions().get::<MatchedPath>().map(|it| it.as_str().to_owned());
    // A path that is none would make a series of its own for everything that anybody tries.
    let route = route.unwrap_or_else(|| "none".to_owned());
    let span = tracing::info_span!("request", id, method, route);
    let begin = state.now();
    state.metrics.in_flight.inc();
    let mut response = next.run(request).instrument(span.clone()).await;
    state.metrics.in_flight.dec();
    let took = state.now().since(begin);
    let status = response.status().as_u16();
    state.metrics.answered(&method, &route, status, took);
    span.in_scope(|| {
        let token = response.extensions().get::<Caller>().map(|it| it.token_id().to_string());
        let elapsed_secs = took.as_secs_f64();
        tracing::info!(status, elapsed_secs, token, "request answered");
        if let Some(Answered(details)) = response.extensions().get()
            && status >= 500
        {
            tracing::error!(code = %details.code, detail = %details.detail, "request failed");
        }
    });
    if let Some(Answered(details)) = response.extensions().get::<Answered>().cloned() {
        *response.body_mut() = write(&details.with_request_id(&id)).into_body();
        response.headers_mut().remove(axum::http::header::CONTENT_LENGTH);
    }
    if let Ok(id) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}

/// The name that the client gave, if it is one that can stand in a log.
fn given(request: &Request) -> Option<String> {
    let id = request.headers().get(REQUEST_ID)?.to_str().ok()?;
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.:".contains(&b);
    let fits = !id.is_empty() && id.len() <= LONGEST && id.bytes().all(plain);
    fits.then(|| id.to_owned())
}
