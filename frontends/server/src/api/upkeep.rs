//! What is done to many things at once.
use crate::{
    auth::Caller,
    problem::Answer,
    request::{Body, Named},
};
use axum::{Json, http::header, response::IntoResponse};
use deploy_core::{digest::Digest, spec::Selector};
use deploy_operations::parse::field;
use deploy_wire::{
    Garbage, GarbageToCollect, HostCheck, HostsToCheck, HostsToRemove, Removed, Status,
};

/// Says whether hosts can be reached, and what they lack
#[utoipa::path(post, path = "/hosts/check", tag = "hosts", request_body = HostsToCheck,
    responses((status = 200, body = Vec<HostCheck>)))]
pub(super) async fn check(
    caller: Caller,
    Body(asked): Body<HostsToCheck>,
) -> Answer<Json<Vec<HostCheck>>> {
    let selector = asked.selector.as_ref();
    let selector: Option<Selector> = selector.map(|it| field("selector", it)).transpose()?;
    Ok(Json(caller.operations.check_hosts(selector.as_ref()).await?))
}

/// Removes hosts from the inventory, all or none; what runs on them goes on running
#[utoipa::path(post, path = "/hosts/remove", tag = "hosts", request_body = HostsToRemove,
    responses((status = 200, body = Removed)))]
pub(super) async fn remove(
    caller: Caller,
    Body(asked): Body<HostsToRemove>,
) -> Answer<Json<Removed>> {
    Ok(Json(caller.operations.remove_hosts(&asked).await?))
}

/// Looks what hosts run of a service, and keeps that
#[utoipa::path(post, path = "/services/{service}/refresh", tag = "services",
    params(("service" = String, Path)), responses((status = 200, body = Status)))]
pub(super) async fn refresh(caller: Caller, named: Named) -> Answer<Json<Status>> {
    Ok(Json(caller.operations.refresh(&named.get("service")?).await?))
}

/// Removes old versions that no release and no rollout needs
#[utoipa::path(post, path = "/artifacts/collect", tag = "artifacts", request_body = GarbageToCollect,
    responses((status = 200, body = Garbage)))]
pub(super) async fn collect(
    caller: Caller,
    Body(asked): Body<GarbageToCollect>,
) -> Answer<Json<Garbage>> {
    Ok(Json(caller.operations.collect_garbage(&asked).await?))
}

/// The archive of a descriptor
#[utoipa::path(get, path = "/artifacts/{digest}/descriptor", tag = "artifacts",
    params(("digest" = String, Path)),
    responses((status = 200, content_type = "application/octet-stream", body = Vec<u8>)))]
pub(super) async fn descriptor(caller: Caller, named: Named) -> Answer<impl IntoResponse> {
    let archive = caller.operations.descriptor_archive(&named.get::<Digest>("digest")?).await?;
    Ok(([(header::CONTENT_TYPE, "application/octet-stream")], archive))
}
