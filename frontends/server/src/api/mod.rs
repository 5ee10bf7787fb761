//! The routes, one file a resource.
mod agents;
mod artifacts;
mod builds;
mod channels;
mod events;
mod hooks;
mod hosts;
mod limits;
mod plans;
mod query;
mod releases;
mod rollouts;
mod runs;
mod services;
mod system;
mod tokens;
mod upkeep;

use crate::{
    auth, idempotency, limits as request_limits, openapi,
    problem::HttpProblem,
    state::{Server, SharedState},
    trace,
};
use axum::{
    Router,
    extract::{DefaultBodyLimit, OriginalUri},
    http::{Method, StatusCode},
    middleware::{from_fn, from_fn_with_state},
    routing::{get, post},
};
use deploy_core::backend::Revision;
use deploy_wire::{Problem, ProblemCode};
use std::sync::Arc;
use utoipa_axum::{router::OpenApiRouter, routes};

/// Where the API lies.
const BASE: &str = "/api/v1";

/// All routes that need a token, with their description.
pub(crate) fn routes() -> OpenApiRouter<SharedState> {
    let routes = OpenApiRouter::new()
        .routes(routes!(services::list))
        .routes(routes!(services::show, services::put))
        .routes(routes!(services::history))
        .routes(routes!(services::status))
        .routes(routes!(upkeep::refresh))
        .routes(routes!(releases::list))
        .routes(routes!(releases::create))
        .routes(routes!(releases::show))
        .routes(routes!(releases::diff))
        .routes(routes!(hosts::list, hosts::add))
        .routes(routes!(hosts::import))
        .routes(routes!(upkeep::check))
        .routes(routes!(upkeep::remove))
        .routes(routes!(hosts::show, hosts::put, hosts::label, hosts::remove))
        .routes(routes!(artifacts::list))
        .routes(routes!(channels::resolve))
        .routes(routes!(channels::list))
        .routes(routes!(channels::show, channels::put))
        .routes(routes!(channels::history))
        .routes(routes!(artifacts::upload, artifacts::put))
        .routes(routes!(artifacts::content))
        .routes(routes!(artifacts::verify))
        .routes(routes!(artifacts::holders))
        .routes(routes!(artifacts::pin))
        .routes(routes!(artifacts::unpin))
        .routes(routes!(upkeep::collect))
        .routes(routes!(upkeep::descriptor))
        .routes(routes!(builds::list, builds::start))
        .routes(routes!(builds::show))
        .routes(routes!(builds::log))
        .routes(routes!(builds::cancel))
        .routes(routes!(builds::publish))
        .routes(routes!(plans::create))
        .routes(routes!(plans::rollback))
        .routes(routes!(runs::plan))
        .routes(routes!(runs::start))
        .routes(routes!(system::server))
        .routes(routes!(rollouts::list, rollouts::start))
        .routes(routes!(rollouts::show))
        .routes(routes!(rollouts::command))
        .routes(routes!(rollouts::why))
        .routes(routes!(events::events))
        .routes(routes!(events::logs))
        .routes(routes!(agents::list))
        .routes(routes!(agents::show, agents::remove))
        .routes(routes!(agents::decide))
        .routes(routes!(agents::relays))
        .routes(routes!(agents::join_tokens, agents::create_join_token))
        .routes(routes!(agents::revoke_join_token))
        .routes(routes!(limits::list))
        .routes(routes!(limits::set, limits::clear))
        .routes(routes!(tokens::list, tokens::create))
        .routes(routes!(tokens::current))
        .routes(routes!(tokens::revoke));
    OpenApiRouter::with_openapi(openapi::empty()).nest(BASE, routes)
}

/// Everything that is answered.
pub(crate) fn router(server: Server) -> Router {
    let state = server.state;
    let (known, document) = routes().split_for_parts();
    let document = Arc::new(openapi::finish(document));
    let known = known
        .route("/metrics", get(system::metrics))
        .method_not_allowed_fallback(method_not_allowed)
        .fallback(not_found)
        .layer(from_fn_with_state(Arc::clone(&state), idempotency::once))
        .layer(DefaultBodyLimit::max(state.limits.body_bytes))
        .layer(from_fn_with_state(Arc::clone(&state), request_limits::rate))
        .layer(from_fn_with_state(Arc::clone(&state), auth::authenticate));
    // What anybody may see: whether the server lives, and how it is to be talked to.
    let open = Router::new()
        .route("/healthz", get(system::healthz))
        .route("/readyz", get(system::readyz))
        .merge(webhooks(&state))
        .merge(system::description(document))
        .method_not_allowed_fallback(method_not_allowed);
    known
        .merge(open)
        .layer(from_fn_with_state(Arc::clone(&state), request_limits::at_once))
        .layer(from_fn(no_sniffing))
        .layer(from_fn_with_state(Arc::clone(&state), trace::request))
        .with_state(state)
}

/// What forges send. They have no token, but have signed it: who has not is told that, and nothing is read of it.
fn webhooks(state: &SharedState) -> Router<SharedState> {
    Router::new()
        .route("/hooks/{hook}", post(hooks::receive))
        .layer(DefaultBodyLimit::max(state.limits.body_bytes))
}

async fn not_found(OriginalUri(uri): OriginalUri) -> HttpProblem {
    let message = format!("there is nothing at `{}`", uri.path());
    HttpProblem::new(ProblemCode::NotFound, message)
        .with_hint(format!("{BASE}/docs shows what there is"))
}

async fn method_not_allowed(method: Method, OriginalUri(uri): OriginalUri) -> HttpProblem {
    let message = format!("`{}` does not know the method {method}", uri.path());
    HttpProblem::new(ProblemCode::MethodNotAllowed, message)
}

/// Browsers take answers for what they say they are.
async fn no_sniffing(
    request: axum::extract::Request,
    next: axum::middleware::Next,
) -> axum::response::Response {
    let mut response = next.run(request).await;
    let nosniff = axum::http::HeaderValue::from_static("nosniff");
    response.headers_mut().insert(axum::http::header::X_CONTENT_TYPE_OPTIONS, nosniff);
    response
}

/// How a put is answered: something new is `201 Created`.
const fn put_status(revision: Option<Revision>) -> StatusCode {
    if revision.is_some() { StatusCode::OK } else { StatusCode::CREATED }
}

/// What is there although it must not be is a precondition that was not met, where one was named.
fn unmet<T>(put: Result<T, Problem>, revision: Option<Revision>) -> Result<T, Problem> {
    put.map_err(|mut problem| {
        if revision.is_none() && problem.code == ProblemCode::AlreadyExists {
            problem.code = ProblemCode::PreconditionFailed;
        }
        problem
    })
}
