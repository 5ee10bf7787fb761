use crate::{auth::Caller, problem::Answer, request::Body};
use axum::Json;
use deploy_wire::{NewPlan, Plan};

/// Plans a release onto the hosts of its service, and changes nothing
#[utoipa::path(post, path = "/plans", tag = "rollouts", request_body = NewPlan,
    responses((status = 200, body = Plan)))]
pub(super) async fn create(caller: Caller, Body(asked): Body<NewPlan>) -> Answer<Json<Plan>> {
    Ok(Json(caller.operations.plan(&asked).await?))
}
