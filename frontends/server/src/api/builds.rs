use super::{
    events::{Source, resumed, stream},
    query::{BuildsQuery, StreamQuery},
};
use crate::{
    auth::Caller,
    problem::{Answer, HttpProblem},
    request::{Asked, Body, Named, PageQuery, page},
    state::{SharedState, State as Shared},
};
use axum::{
    Json,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::IntoResponse,
};
use deploy_core::id::{BuildId, ServiceName};
use deploy_operations::{BuildFeed, Builds, parse::field};
use deploy_wire::{Build, NewBuild, Page, ProblemCode, Publication, PublishedBuild};
use std::sync::Arc;

/// What the caller can do to builds, where there are any.
fn builds(state: &Shared, caller: &Caller) -> Answer<Builds> {
    let control = state.control.builds.as_ref().ok_or_else(|| {
        HttpProblem::new(ProblemCode::Unsupported, "this server builds nothing")
            .with_hint("`build.enabled` in its configuration says otherwise: docs/server.md")
    })?;
    Ok(Builds::new(caller.operations.clone(), Arc::clone(&control.builder)))
}

/// Publishes a build once it has succeeded, whether anybody waits for that or not.
pub(super) fn publish_later(builds: Builds, id: BuildId, publication: Publication) {
    let work = async move {
        match builds.publish_when_over(&id, &publication).await {
            Ok(Some(_)) => tracing::info!(build = %id, "a build was published"),
            Ok(None) => tracing::info!(build = %id, "a build did not succeed"),
            Err(problem) => {
                tracing::warn!(build = %id, error = %problem.message, "a build was not published");
            }
        }
    };
    tokio::spawn(work);
}

/// Builds, newest first
#[utoipa::path(get, path = "/builds", tag = "builds", params(BuildsQuery),
    responses((status = 200, body = Page<Build>)))]
pub(super) async fn list(
    State(state): State<SharedState>,
    caller: Caller,
    Asked(BuildsQuery { service, limit, after }): Asked<BuildsQuery>,
) -> Answer<Json<Page<Build>>> {
    let limit = PageQuery { limit, after: None }.limit()?;
    let of: Option<ServiceName> = service.as_ref().map(|it| field("service", it)).transpose()?;
    let listed = builds(&state, &caller)?.page(of, after.as_deref(), limit).await?;
    let more = [("service", service.as_deref())];
    Ok(Json(page(listed.items, listed.next, "/api/v1/builds", limit, &more)))
}

/// Starts a build, which begins in its turn
#[utoipa::path(post, path = "/builds", tag = "builds", request_body = NewBuild,
    responses((status = 202, body = Build)))]
pub(super) async fn start(
    State(state): State<SharedState>,
    caller: Caller,
    Body(asked): Body<NewBuild>,
) -> Answer<impl IntoResponse> {
    let builds = builds(&state, &caller)?;
    let build = builds.start(&asked).await?;
    if let Some(then) = asked.then {
        publish_later(builds, field("build", &build.id)?, then);
    }
    let place = [(header::LOCATION, format!("/api/v1/builds/{}", build.id))];
    Ok((StatusCode::ACCEPTED, place, Json(build)))
}

/// A build
#[utoipa::path(get, path = "/builds/{build}", tag = "builds", params(("build" = String, Path)),
    responses((status = 200, body = Build)))]
pub(super) async fn show(
    State(state): State<SharedState>,
    caller: Caller,
    named: Named,
) -> Answer<Json<Build>> {
    Ok(Json(builds(&state, &caller)?.show(&named.get("build")?).await?))
}

/// What a build prints: events of type `BuildLogLine`, whose ids are positions in the log
#[utoipa::path(get, path = "/builds/{build}/log", tag = "builds",
    params(
        ("build" = String, Path), StreamQuery,
        ("Last-Event-ID" = Option<String>, Header, description = "The id of the last event that was seen"),
    ),
    responses((status = 200, content_type = "text/event-stream", body = String)))]
pub(super) async fn log(
    State(state): State<SharedState>,
    caller: Caller,
    named: Named,
    Asked(query): Asked<StreamQuery>,
    headers: HeaderMap,
) -> Answer<impl IntoResponse> {
    let after = resumed(&headers, query.after)?;
    let feed = BuildFeed::open(builds(&state, &caller)?, named.get("build")?, after).await?;
    let follow = query.follow.unwrap_or(true);
    stream(state, caller, follow, Source::Build(Box::new(feed)))
}

/// Has a build end; what is over stays what it is
#[utoipa::path(post, path = "/builds/{build}/cancel", tag = "builds", params(("build" = String, Path)),
    responses((status = 202, body = Build)))]
pub(super) async fn cancel(
    State(state): State<SharedState>,
    caller: Caller,
    named: Named,
) -> Answer<impl IntoResponse> {
    let build = builds(&state, &caller)?.cancel(&named.get("build")?).await?;
    Ok((StatusCode::ACCEPTED, Json(build)))
}

/// Puts what a build made into the store, and makes the release of it if that is asked for
#[utoipa::path(post, path = "/builds/{build}/publish", tag = "builds", params(("build" = String, Path)),
    request_body = Publication, responses((status = 200, body = PublishedBuild)))]
pub(super) async fn publish(
    State(state): State<SharedState>,
    caller: Caller,
    named: Named,
    Body(publication): Body<Publication>,
) -> Answer<Json<PublishedBuild>> {
    Ok(Json(builds(&state, &caller)?.publish(&named.get("build")?, &publication).await?))
}
