use super::query::{RolloutQuery, RolloutsQuery};
use crate::{
    auth::Caller,
    problem::Answer,
    request::{Asked, Body, Named, PageQuery, page},
    state::SharedState,
};
use axum::{
    Json,
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
};
use deploy_core::id::ServiceName;
use deploy_operations::parse::field;
use deploy_wire::{Explanation, NewRollout, Page, Rollout, RolloutCommand, RolloutSummary};

/// Rollouts, newest first
#[utoipa::path(get, path = "/rollouts", tag = "rollouts", params(RolloutsQuery),
    responses((status = 200, body = Page<RolloutSummary>)))]
pub(super) async fn list(
    caller: Caller,
    Asked(RolloutsQuery { service, limit, after }): Asked<RolloutsQuery>,
) -> Answer<Json<Page<RolloutSummary>>> {
    let limit = PageQuery { limit, after: None }.limit()?;
    let of: Option<ServiceName> = service.as_ref().map(|it| field("service", it)).transpose()?;
    let listed = caller.operations.rollouts(of, after.as_deref(), limit).await?;
    let more = [("service", service.as_deref())];
    Ok(Json(page(listed.items, listed.next, "/api/v1/rollouts", limit, &more)))
}

/// Starts a rollout, which the server drives to its end
#[utoipa::path(post, path = "/rollouts", tag = "rollouts", request_body = NewRollout,
    responses((status = 202, body = Rollout)))]
pub(super) async fn start(
    State(state): State<SharedState>,
    caller: Caller,
    Body(asked): Body<NewRollout>,
) -> Answer<impl IntoResponse> {
    let id = caller.operations.start(&asked).await?;
    state.pool.wake();
    let rollout = caller.operations.rollout(&id, false).await?;
    Ok((StatusCode::ACCEPTED, place(&rollout), Json(rollout)))
}

/// A rollout: its id, or a service for its newest one
#[utoipa::path(get, path = "/rollouts/{rollout}", tag = "rollouts",
    params(("rollout" = String, Path), RolloutQuery), responses((status = 200, body = Rollout)))]
pub(super) async fn show(
    caller: Caller,
    named: Named,
    Asked(query): Asked<RolloutQuery>,
) -> Answer<Json<Rollout>> {
    let id = caller.operations.find_rollout(&named.get::<String>("rollout")?).await?;
    Ok(Json(caller.operations.rollout(&id, query.hosts).await?))
}

/// Tells a rollout what to do; the answer is the rollout that does it
#[utoipa::path(post, path = "/rollouts/{rollout}/commands", tag = "rollouts",
    request_body = RolloutCommand, params(("rollout" = String, Path)),
    responses((status = 202, body = Rollout)))]
pub(super) async fn command(
    State(state): State<SharedState>,
    caller: Caller,
    named: Named,
    Body(asked): Body<RolloutCommand>,
) -> Answer<impl IntoResponse> {
    let rollout = caller.operations.command(&named.get("rollout")?, &asked).await?;
    state.pool.wake();
    Ok((StatusCode::ACCEPTED, place(&rollout), Json(rollout)))
}

/// What a host of a rollout waits for, or why it ended as it did
#[utoipa::path(get, path = "/rollouts/{rollout}/hosts/{host}", tag = "rollouts",
    params(("rollout" = String, Path), ("host" = String, Path)),
    responses((status = 200, body = Explanation)))]
pub(super) async fn why(caller: Caller, named: Named) -> Answer<Json<Explanation>> {
    let id = caller.operations.find_rollout(&named.get::<String>("rollout")?).await?;
    Ok(Json(caller.operations.why(&id, &named.get("host")?).await?))
}

pub(super) fn place(rollout: &Rollout) -> [(header::HeaderName, String); 1] {
    [(header::LOCATION, format!("/api/v1/rollouts/{}", rollout.id))]
}
