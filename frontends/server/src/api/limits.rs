//! How fast bytes may travel to hosts.
use crate::{
    auth::Caller,
    problem::Answer,
    request::{Asked, Body, Named, PageQuery, page},
    state::{SharedState, State as ServerState},
};
use axum::{Json, extract::State, http::StatusCode};
use deploy_core::limit::LimitScope;
use deploy_operations::LimitFile;
use deploy_wire::{Limit, LimitSpec, Page, Problem, ProblemCode};

/// Limits, in the order of what they are for
#[utoipa::path(get, path = "/limits", tag = "limits", params(PageQuery),
    responses((status = 200, body = Page<Limit>)))]
pub(super) async fn list(
    State(state): State<SharedState>,
    caller: Caller,
    Asked(query): Asked<PageQuery>,
) -> Answer<Json<Page<Limit>>> {
    let (limit, after) = (query.limit()?, query.after::<LimitScope>()?);
    let listed = caller.operations.limits(file(&state)?, after.as_ref(), limit).await?;
    Ok(Json(page(listed.items, listed.next, "/api/v1/limits", limit, &[])))
}

/// Sets a limit; it counts at once, also for what is on its way
#[utoipa::path(put, path = "/limits/{scope}", tag = "limits", request_body = LimitSpec,
    params(("scope" = String, Path)), responses((status = 200, body = Limit)))]
pub(super) async fn set(
    State(state): State<SharedState>,
    caller: Caller,
    named: Named,
    Body(asked): Body<LimitSpec>,
) -> Answer<Json<Limit>> {
    let scope = named.get("scope")?;
    let (file, agents) = (file(&state)?, &state.control.agents);
    Ok(Json(caller.operations.set_limit(file, agents, &scope, &asked).await?))
}

/// Takes a limit back, at once
#[utoipa::path(delete, path = "/limits/{scope}", tag = "limits",
    params(("scope" = String, Path)), responses((status = 204)))]
pub(super) async fn clear(
    State(state): State<SharedState>,
    caller: Caller,
    named: Named,
) -> Answer<StatusCode> {
    caller.operations.clear_limit(file(&state)?, &named.get("scope")?).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn file(state: &ServerState) -> Result<&LimitFile, Problem> {
    let none = || Problem::new(ProblemCode::Unsupported, "this server keeps no limits");
    state.control.limits.as_deref().ok_or_else(none)
}
