use crate::{auth::Caller, problem::Answer, request::Body};
use axum::Json;
use deploy_wire::{NewPlan, NewRollbackPlan, Plan};

/// Plans a release onto the hosts of its service, and changes nothing
#[utoipa::path(post, path = "/plans", tag = "rollouts", request_body = NewPlan,
    responses((status = 200, body = Plan)))]
pub(super) async fn create(caller: Caller, Body(asked): Body<NewPlan>) -> Answer<Json<Plan>> {
    Ok(Json(caller.operations.plan(&asked).await?))
}

/// Plans to take back what a rollout did that is over, and changes nothing
#[utoipa::path(post, path = "/plans/rollback", tag = "rollouts", request_body = NewRollbackPlan,
    responses((status = 200, body = Plan)))]
pub(super) async fn rollback(
    caller: Caller,
    Body(asked): Body<NewRollbackPlan>,
) -> Answer<Json<Plan>> {
    Ok(Json(caller.operations.plan_rollback(&asked).await?))
}
