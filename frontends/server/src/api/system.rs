//! Whether the server lives, what it counts, and how it describes itself.
use crate::{
    page,
    problem::{Answer, HttpProblem},
    state::SharedState,
};
use axum::{
    Json, Router,
    extract::State,
    http::{HeaderValue, header},
    response::{Html, IntoResponse},
    routing::get,
};
use deploy_wire::{ProblemCode, ServerInfo};
use std::sync::Arc;
use utoipa::openapi::OpenApi;

/// The process lives.
pub(super) async fn healthz() -> &'static str {
    "ok\n"
}

/// Requests can be answered: the backends can be read, and the server is not about to stop.
pub(super) async fn readyz(State(state): State<SharedState>) -> Answer<&'static str> {
    if state.is_stopping() {
        return Err(HttpProblem::new(ProblemCode::Unavailable, "the server is about to stop"));
    }
    let parts = &state.control.parts;
    // Whoever asks has shown no token: what is wrong is for the log.
    let unready = |err: deploy_core::error::BackendError| {
        tracing::warn!(error = %err.chain(), "not ready");
        HttpProblem::new(ProblemCode::Unavailable, "a backend cannot be read")
    };
    parts.registry.services(None, 1).await.map_err(unready)?;
    parts.journal.rollouts(None, 1).await.map_err(unready)?;
    state.control.credentials.tokens(None, 1).await.map_err(unready)?;
    Ok("ready\n")
}

/// What this server is
#[utoipa::path(get, path = "/server", tag = "server", responses((status = 200, body = ServerInfo)))]
pub(super) async fn server(State(state): State<SharedState>) -> Json<ServerInfo> {
    Json(ServerInfo {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        driven: u64::try_from(state.pool.count()).unwrap_or(u64::MAX),
        now: state.now().to_string(),
    })
}

/// What Prometheus asks for.
pub(super) async fn metrics(State(state): State<SharedState>) -> Answer<impl IntoResponse> {
    let driven = i64::try_from(state.pool.count()).unwrap_or(i64::MAX);
    state.metrics.driven.set(driven);
    state.metrics.agents(&*state.control.agents.links);
    let text = state
        .metrics
        .text()
        .map_err(|_| HttpProblem::new(ProblemCode::Internal, "the metrics cannot be written"))?;
    let kind =
        HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
    Ok(([(header::CONTENT_TYPE, kind)], text))
}

/// How the API describes itself, for programs and for people.
pub(super) fn description(document: Arc<OpenApi>) -> Router<SharedState> {
    let page: Arc<str> = page::render(&document).into();
    let page = move || {
        let page = Arc::clone(&page);
        async move {
            let policy = HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'");
            ([(header::CONTENT_SECURITY_POLICY, policy)], Html(page.to_string()))
        }
    };
    let document = move || {
        let document = Arc::clone(&document);
        async move { Json((*document).clone()) }
    };
    Router::new().route("/api/v1/openapi.json", get(document)).route("/api/v1/docs", get(page))
}
