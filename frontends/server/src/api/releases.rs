use crate::{
    auth::Caller,
    problem::Answer,
    request::{Asked, Body, Named, PageQuery, page},
};
use axum::{
    Json,
    http::{StatusCode, header},
    response::IntoResponse,
};
use deploy_core::id::ServiceName;
use deploy_wire::{NewRelease, Page, Release, ReleaseDiff};

/// Releases of a service, newest first
#[utoipa::path(get, path = "/services/{service}/releases", tag = "releases",
    params(("service" = String, Path), PageQuery), responses((status = 200, body = Page<Release>)))]
pub(super) async fn list(
    caller: Caller,
    named: Named,
    Asked(query): Asked<PageQuery>,
) -> Answer<Json<Page<Release>>> {
    let (service, limit) = (named.get::<ServiceName>("service")?, query.limit()?);
    let listed = caller.operations.releases(&service, query.after.as_deref(), limit).await?;
    let path = format!("/api/v1/services/{service}/releases");
    Ok(Json(page(listed.items, listed.next, &path, limit, &[])))
}

/// Makes a release of artifacts that are in the store
#[utoipa::path(post, path = "/releases", tag = "releases", request_body = NewRelease,
    responses((status = 201, body = Release)))]
pub(super) async fn create(
    caller: Caller,
    Body(asked): Body<NewRelease>,
) -> Answer<impl IntoResponse> {
    let release = caller.operations.create_release(&asked).await?;
    let place = [(header::LOCATION, format!("/api/v1/releases/{}", release.id))];
    Ok((StatusCode::CREATED, place, Json(release)))
}

/// A release
#[utoipa::path(get, path = "/releases/{release}", tag = "releases",
    params(("release" = String, Path)), responses((status = 200, body = Release)))]
pub(super) async fn show(caller: Caller, named: Named) -> Answer<Json<Release>> {
    Ok(Json(caller.operations.release(&named.get("release")?).await?))
}

/// What differs between two releases
#[utoipa::path(get, path = "/releases/{release}/diff/{other}", tag = "releases",
    params(("release" = String, Path), ("other" = String, Path)),
    responses((status = 200, body = ReleaseDiff)))]
pub(super) async fn diff(caller: Caller, named: Named) -> Answer<Json<ReleaseDiff>> {
    let (from, to) = (named.get("release")?, named.get("other")?);
    Ok(Json(caller.operations.release_diff(&from, &to).await?))
}
