use super::query::HostsQuery;
use crate::{
    auth::Caller,
    precondition::{Precondition, etag},
    problem::{Answer, HttpProblem},
    request::{Asked, Body, Named, PageQuery, page},
    state::SharedState,
};
use axum::{
    Json,
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
};
use deploy_core::{id::HostName, spec::Selector};
use deploy_operations::parse::field;
use deploy_wire::{
    Connection, Host, HostSpec, HostsToImport, Import, LabelChanges, NewHost, Page, ProblemCode,
};

/// Hosts, in the order of their names
#[utoipa::path(get, path = "/hosts", tag = "hosts", params(HostsQuery),
    responses((status = 200, body = Page<Host>)))]
pub(super) async fn list(
    caller: Caller,
    Asked(HostsQuery { selector, limit, after }): Asked<HostsQuery>,
) -> Answer<Json<Page<Host>>> {
    let query = PageQuery { limit, after };
    let (limit, after) = (query.limit()?, query.after::<HostName>()?);
    let selects: Option<Selector> =
        selector.as_ref().map(|it| field("selector", it)).transpose()?;
    let listed = caller.operations.hosts(selects.as_ref(), after.as_ref(), limit).await?;
    let more = [("selector", selector.as_deref())];
    Ok(Json(page(listed.items, listed.next, "/api/v1/hosts", limit, &more)))
}

/// Adds a host
#[utoipa::path(post, path = "/hosts", tag = "hosts", request_body = NewHost,
    responses((status = 201, body = Host)))]
pub(super) async fn add(
    State(state): State<SharedState>,
    caller: Caller,
    Body(asked): Body<NewHost>,
) -> Answer<impl IntoResponse> {
    let NewHost { name, connection, labels } = asked;
    refuse_local(&state, [&connection])?;
    let name: HostName = field("name", &name)?;
    let host = caller.operations.put_host(name, &HostSpec { connection, labels }, None).await?;
    let place = [(header::LOCATION, format!("/api/v1/hosts/{}", host.name))];
    Ok((StatusCode::CREATED, place, etag(host.revision), Json(host)))
}

/// Adds hosts, and changes those that are there and otherwise
#[utoipa::path(post, path = "/hosts/import", tag = "hosts", request_body = HostsToImport,
    responses((status = 200, body = Import)))]
pub(super) async fn import(
    State(state): State<SharedState>,
    caller: Caller,
    Body(asked): Body<HostsToImport>,
) -> Answer<Json<Import>> {
    refuse_local(&state, asked.hosts.iter().map(|it| &it.connection))?;
    Ok(Json(caller.operations.import_hosts(asked).await?))
}

/// A host
#[utoipa::path(get, path = "/hosts/{host}", tag = "hosts", params(("host" = String, Path)),
    responses((status = 200, body = Host)))]
pub(super) async fn show(caller: Caller, named: Named) -> Answer<impl IntoResponse> {
    let host = caller.operations.host(&named.get("host")?).await?;
    Ok((etag(host.revision), Json(host)))
}

/// Adds a host (`If-None-Match: *`), or changes the one that was seen (`If-Match`)
#[utoipa::path(put, path = "/hosts/{host}", tag = "hosts", request_body = HostSpec,
    params(
        ("host" = String, Path),
        ("If-Match" = Option<String>, Header, description = "The `ETag` of what was seen"),
        ("If-None-Match" = Option<String>, Header, description = "`*`: it must not be there"),
    ),
    responses((status = 200, body = Host), (status = 201, body = Host)))]
pub(super) async fn put(
    State(state): State<SharedState>,
    caller: Caller,
    named: Named,
    Precondition(revision): Precondition,
    Body(asked): Body<HostSpec>,
) -> Answer<impl IntoResponse> {
    refuse_local(&state, [&asked.connection])?;
    let put = caller.operations.put_host(named.get("host")?, &asked, revision).await;
    let host = super::unmet(put, revision)?;
    Ok((super::put_status(revision), etag(host.revision), Json(host)))
}

/// Changes labels of a host
#[utoipa::path(patch, path = "/hosts/{host}", tag = "hosts", request_body = LabelChanges,
    params(
        ("host" = String, Path),
        ("If-Match" = Option<String>, Header, description = "The `ETag` of what was seen"),
    ),
    responses((status = 200, body = Host)))]
pub(super) async fn label(
    caller: Caller,
    named: Named,
    Precondition(revision): Precondition,
    Body(asked): Body<LabelChanges>,
) -> Answer<impl IntoResponse> {
    let revision = revision.ok_or_else(|| {
        HttpProblem::malformed("labels are changed where there is a host: send `If-Match`")
    })?;
    let host = caller.operations.label_host(&named.get("host")?, &asked, revision).await?;
    Ok((etag(host.revision), Json(host)))
}

/// Removes a host from the inventory; what runs on it goes on running
#[utoipa::path(delete, path = "/hosts/{host}", tag = "hosts", params(("host" = String, Path)),
    responses((status = 204)))]
pub(super) async fn remove(caller: Caller, named: Named) -> Answer<StatusCode> {
    caller.operations.remove_host(&named.get("host")?).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A host that is a folder of the server's machine would let whoever adds it run programs as the server.
fn refuse_local<'a>(
    state: &SharedState,
    connections: impl IntoIterator<Item = &'a Connection>,
) -> Answer<()> {
    let local = connections.into_iter().any(|it| it.via == "local");
    if !local || state.limits.local_hosts {
        return Ok(());
    }
    let message = "this server takes no host that is a folder of its own machine";
    Err(HttpProblem::new(ProblemCode::AccessDenied, message)
        .with_hint("`local_hosts = true` in the server's configuration allows it"))
}
