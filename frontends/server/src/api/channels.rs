use super::{
    artifacts::kind_of,
    query::{ChannelsQuery, ResolveQuery},
};
use crate::{
    auth::Caller,
    precondition::{Precondition, etag},
    problem::Answer,
    request::{Asked, Body, Named, PageQuery, page},
};
use axum::{Json, response::IntoResponse};
use deploy_core::backend::ChannelKey;
use deploy_operations::parse::field;
use deploy_wire::{Artifact, Channel, ChannelMove, ChannelSpec, Page};

/// Channels that lead somewhere, in the order of repository, kind and name
#[utoipa::path(get, path = "/channels", tag = "artifacts", params(ChannelsQuery),
    responses((status = 200, body = Page<Channel>)))]
pub(super) async fn list(
    caller: Caller,
    Asked(ChannelsQuery { repository, limit, after }): Asked<ChannelsQuery>,
) -> Answer<Json<Page<Channel>>> {
    let limit = PageQuery { limit, after: None }.limit()?;
    let of = repository.as_ref().map(|it| field("repository", it)).transpose()?;
    let listed = caller.operations.channels(of.as_ref(), after.as_deref(), limit).await?;
    let more = [("repository", repository.as_deref())];
    Ok(Json(page(listed.items, listed.next, "/api/v1/channels", limit, &more)))
}

/// A channel, also where it is closed
#[utoipa::path(get, path = "/channels/{repository}/{kind}/{channel}", tag = "artifacts",
    params(("repository" = String, Path), ("kind" = String, Path), ("channel" = String, Path)),
    responses((status = 200, body = Channel)))]
pub(super) async fn show(caller: Caller, named: Named) -> Answer<impl IntoResponse> {
    let channel = caller.operations.channel(&key(&named)?).await?;
    Ok((etag(channel.revision), Json(channel)))
}

/// Adds a channel (`If-None-Match: *`), or moves the one that was seen (`If-Match`)
#[utoipa::path(put, path = "/channels/{repository}/{kind}/{channel}", tag = "artifacts",
    request_body = ChannelSpec,
    params(
        ("repository" = String, Path),
        ("kind" = String, Path),
        ("channel" = String, Path),
        ("If-Match" = Option<String>, Header, description = "The `ETag` of what was seen"),
        ("If-None-Match" = Option<String>, Header, description = "`*`: it must not be there"),
    ),
    responses((status = 200, body = Channel), (status = 201, body = Channel)))]
pub(super) async fn put(
    caller: Caller,
    named: Named,
    Precondition(revision): Precondition,
    Body(asked): Body<ChannelSpec>,
) -> Answer<impl IntoResponse> {
    let moved = caller.operations.move_channel(key(&named)?, &asked, revision).await;
    let channel = super::unmet(moved, revision)?;
    Ok((super::put_status(revision), etag(channel.revision), Json(channel)))
}

/// How a channel was moved, newest first
#[utoipa::path(get, path = "/channels/{repository}/{kind}/{channel}/history", tag = "artifacts",
    params(
        ("repository" = String, Path),
        ("kind" = String, Path),
        ("channel" = String, Path),
        PageQuery,
    ),
    responses((status = 200, body = Page<ChannelMove>)))]
pub(super) async fn history(
    caller: Caller,
    named: Named,
    Asked(query): Asked<PageQuery>,
) -> Answer<Json<Page<ChannelMove>>> {
    let (key, limit, before) = (key(&named)?, query.limit()?, query.after::<u64>()?);
    let listed = caller.operations.channel_history(&key, before, limit).await?;
    let path = format!("/api/v1/channels/{key}/history");
    Ok(Json(page(listed.items, listed.next, &path, limit, &[])))
}

/// The artifact that a digest, its beginning, a version, or a channel means now
#[utoipa::path(get, path = "/artifacts/resolve", tag = "artifacts", params(ResolveQuery),
    responses((status = 200, body = Artifact)))]
pub(super) async fn resolve(
    caller: Caller,
    Asked(ResolveQuery { name, kind, repository }): Asked<ResolveQuery>,
) -> Answer<Json<Artifact>> {
    let repository = repository.as_ref().map(|it| field("repository", it)).transpose()?;
    let found = caller.operations.resolve(&name, kind_of(&kind)?, repository.as_ref()).await?;
    Ok(Json(found))
}

fn key(named: &Named) -> Answer<ChannelKey> {
    let kind = kind_of(&named.get::<String>("kind")?)?;
    Ok(ChannelKey::new(named.get("repository")?, kind, named.get("channel")?))
}
