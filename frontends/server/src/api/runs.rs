use super::rollouts::place;
use crate::{auth::Caller, problem::Answer, request::Body, state::SharedState};
use axum::{Json, extract::State, http::StatusCode, response::IntoResponse};
use deploy_wire::{NewRun, Plan, Rollout};

/// Plans to run a script on hosts, and changes nothing
#[utoipa::path(post, path = "/plans/run", tag = "rollouts", request_body = NewRun,
    responses((status = 200, body = Plan)))]
pub(super) async fn plan(caller: Caller, Body(asked): Body<NewRun>) -> Answer<Json<Plan>> {
    Ok(Json(caller.operations.plan_run(&asked).await?))
}

/// Runs a script on hosts, as a rollout that the server drives to its end
#[utoipa::path(post, path = "/runs", tag = "rollouts", request_body = NewRun,
    responses((status = 202, body = Rollout)))]
pub(super) async fn start(
    State(state): State<SharedState>,
    caller: Caller,
    Body(asked): Body<NewRun>,
) -> Answer<impl IntoResponse> {
    let id = caller.operations.start_run(&asked).await?;
    state.pool.wake();
    let rollout = caller.operations.rollout(&id, false).await?;
    Ok((StatusCode::ACCEPTED, place(&rollout), Json(rollout)))
}
