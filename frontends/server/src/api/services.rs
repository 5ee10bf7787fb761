use crate::{
    auth::Caller,
    precondition::{Precondition, etag},
    problem::Answer,
    request::{Asked, Body, Named, PageQuery, page},
};
use axum::{Json, response::IntoResponse};
use deploy_core::id::ServiceName;
use deploy_wire::{Page, Service, ServiceSpec, Status};

/// Services, in the order of their names
#[utoipa::path(get, path = "/services", tag = "services", params(PageQuery),
    responses((status = 200, body = Page<Service>)))]
pub(super) async fn list(
    caller: Caller,
    Asked(query): Asked<PageQuery>,
) -> Answer<Json<Page<Service>>> {
    let (limit, after) = (query.limit()?, query.after::<ServiceName>()?);
    let listed = caller.operations.services(after.as_ref(), limit).await?;
    Ok(Json(page(listed.items, listed.next, "/api/v1/services", limit, &[])))
}

/// A service
#[utoipa::path(get, path = "/services/{service}", tag = "services",
    params(("service" = String, Path)), responses((status = 200, body = Service)))]
pub(super) async fn show(caller: Caller, named: Named) -> Answer<impl IntoResponse> {
    let service = caller.operations.service(&named.get("service")?).await?;
    Ok((etag(service.revision), Json(service)))
}

/// Adds a service (`If-None-Match: *`), or changes the one that was seen (`If-Match`)
#[utoipa::path(put, path = "/services/{service}", tag = "services", request_body = ServiceSpec,
    params(
        ("service" = String, Path),
        ("If-Match" = Option<String>, Header, description = "The `ETag` of what was seen"),
        ("If-None-Match" = Option<String>, Header, description = "`*`: it must not be there"),
    ),
    responses((status = 200, body = Service), (status = 201, body = Service)))]
pub(super) async fn put(
    caller: Caller,
    named: Named,
    Precondition(revision): Precondition,
    Body(asked): Body<ServiceSpec>,
) -> Answer<impl IntoResponse> {
    let put = caller.operations.put_service(named.get("service")?, &asked, revision).await;
    let service = super::unmet(put, revision)?;
    Ok((super::put_status(revision), etag(service.revision), Json(service)))
}

/// What a service was, newest first
#[utoipa::path(get, path = "/services/{service}/history", tag = "services",
    params(("service" = String, Path), PageQuery), responses((status = 200, body = Page<Service>)))]
pub(super) async fn history(
    caller: Caller,
    named: Named,
    Asked(query): Asked<PageQuery>,
) -> Answer<Json<Page<Service>>> {
    let name: ServiceName = named.get("service")?;
    let (limit, before) = (query.limit()?, query.after::<u64>()?);
    // Revisions of a service have no gaps: the newest is as many as there are.
    let newest = caller.operations.service(&name).await?.revision;
    let skipped = before.map_or(0, |it| newest.saturating_sub(it).saturating_add(1));
    let most = usize::try_from(skipped).unwrap_or(usize::MAX).saturating_add(limit);
    let mut items = caller.operations.history(&name, most.saturating_add(1)).await?;
    items.retain(|it| before.is_none_or(|before| it.revision < before));
    let more = items.len() > limit;
    items.truncate(limit);
    let next = items.last().filter(|_| more).map(|it| it.revision.to_string());
    let path = format!("/api/v1/services/{name}/history");
    Ok(Json(page(items, next, &path, limit, &[])))
}

/// What hosts are known to run of a service
#[utoipa::path(get, path = "/services/{service}/status", tag = "services",
    params(("service" = String, Path)), responses((status = 200, body = Status)))]
pub(super) async fn status(caller: Caller, named: Named) -> Answer<Json<Status>> {
    Ok(Json(caller.operations.status(&named.get("service")?).await?))
}
