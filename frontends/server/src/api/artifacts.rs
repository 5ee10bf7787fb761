use super::query::{ArtifactsQuery, UploadQuery};
use crate::{
    auth::Caller,
    problem::{Answer, HttpProblem},
    request::{Asked, Body, Named, PageQuery, page},
    state::SharedState,
};
use axum::{
    Json, body,
    extract::State,
    http::{HeaderMap, HeaderName, StatusCode, header},
    response::IntoResponse,
};
use deploy_core::{backend::ArtifactKind, digest::Digest};
use deploy_operations::{ArtifactSearch, ArtifactUpload, parse::field};
use deploy_wire::{Artifact, Holders, NewPin, Page, ProblemCode, Upload, Verification};
use futures_util::TryStreamExt as _;
use std::{io, time::Duration};
use tokio_util::io::{ReaderStream, StreamReader};

/// How much of an artifact is read at a time, in bytes.
const CHUNK: usize = 128 << 10;

/// The header that says where in an artifact an upload begins.
const OFFSET: HeaderName = HeaderName::from_static("upload-offset");

/// What is in the store, in the order of repository, kind and version
#[utoipa::path(get, path = "/artifacts", tag = "artifacts", params(ArtifactsQuery),
    responses((status = 200, body = Page<Artifact>)))]
pub(super) async fn list(
    caller: Caller,
    Asked(query): Asked<ArtifactsQuery>,
) -> Answer<Json<Page<Artifact>>> {
    let limit = PageQuery { limit: query.limit, after: None }.limit()?;
    let search = search(&query)?;
    let listed = caller.operations.artifacts(&search, query.after.as_deref(), limit).await?;
    let since = query.since_s.map(|it| it.to_string());
    let more = [
        ("repository", query.repository.as_deref()),
        ("kind", query.kind.as_deref()),
        ("version", query.version.as_deref()),
        ("digest", query.digest.as_deref()),
        ("channel", query.channel.as_deref()),
        ("since_s", since.as_deref()),
    ];
    Ok(Json(page(listed.items, listed.next, "/api/v1/artifacts", limit, &more)))
}

fn search(query: &ArtifactsQuery) -> Answer<ArtifactSearch> {
    Ok(ArtifactSearch {
        repository: query.repository.as_ref().map(|it| field("repository", it)).transpose()?,
        kind: query.kind.as_deref().map(kind_of).transpose()?,
        version: query.version.clone(),
        digest: query.digest.as_ref().map(|it| field("digest", it)).transpose()?,
        channel: query.channel.as_ref().map(|it| field("channel", it)).transpose()?,
        since: query.since_s.map(Duration::from_secs),
    })
}

/// How far the upload of an artifact is
#[utoipa::path(get, path = "/artifacts/{digest}/upload", tag = "artifacts",
    params(("digest" = String, Path)), responses((status = 200, body = Upload)))]
pub(super) async fn upload(caller: Caller, named: Named) -> Answer<Json<Upload>> {
    Ok(Json(caller.operations.upload(&named.get("digest")?).await?))
}

/// Uploads an artifact, or the rest of one whose upload was cut off
#[utoipa::path(put, path = "/artifacts/{digest}/upload", tag = "artifacts",
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    params(
        ("digest" = String, Path),
        UploadQuery,
        ("Upload-Offset" = Option<u64>, Header, description = "Where it begins: what a look at the upload said, or 0"),
    ),
    responses((status = 201, body = Artifact)))]
pub(super) async fn put(
    State(state): State<SharedState>,
    caller: Caller,
    named: Named,
    Asked(query): Asked<UploadQuery>,
    headers: HeaderMap,
    body: body::Body,
) -> Answer<impl IntoResponse> {
    let binary =
        headers.get(header::CONTENT_TYPE).is_some_and(|it| it == "application/octet-stream");
    if !binary {
        let message = "an upload must say `Content-Type: application/octet-stream`";
        return Err(HttpProblem::new(ProblemCode::UnsupportedMediaType, message));
    }
    let limit = state.limits.artifact_bytes;
    if query.size > limit {
        let message = format!("an artifact may have {limit} bytes at the most");
        return Err(HttpProblem::new(ProblemCode::TooLarge, message).with_context("limit", limit));
    }
    let upload = ArtifactUpload {
        digest: named.get::<Digest>("digest")?,
        size: query.size,
        repository: field("repository", &query.repository)?,
        kind: kind_of(&query.kind)?,
        version: field("version", &query.version)?,
        offset: offset(&headers)?,
    };
    let mut body = StreamReader::new(body.into_data_stream().map_err(io::Error::other));
    let artifact = caller.operations.put_artifact(upload, &mut body).await?;
    Ok((StatusCode::CREATED, Json(artifact)))
}

fn offset(headers: &HeaderMap) -> Answer<u64> {
    let Some(sent) = headers.get(OFFSET) else { return Ok(0) };
    let parsed = sent.to_str().ok().and_then(|it| it.parse().ok());
    parsed.ok_or_else(|| HttpProblem::malformed("`Upload-Offset` must be a number of bytes"))
}

pub(super) fn kind_of(text: &str) -> Answer<ArtifactKind> {
    ArtifactKind::from_name(text).ok_or_else(|| {
        let message = "`kind` must be `package`, `descriptor` or `provenance`";
        HttpProblem::new(ProblemCode::InvalidInput, message).with_context("field", "kind")
    })
}

/// The bytes of an artifact. An answer that ends early is of one that has rotted: compare what came with the digest
#[utoipa::path(get, path = "/artifacts/{digest}/content", tag = "artifacts",
    params(("digest" = String, Path)),
    responses((status = 200, content_type = "application/octet-stream", body = Vec<u8>)))]
pub(super) async fn content(caller: Caller, named: Named) -> Answer<impl IntoResponse> {
    let reader = caller.operations.open_artifact(&named.get::<Digest>("digest")?).await?;
    let content = body::Body::from_stream(ReaderStream::with_capacity(reader, CHUNK));
    Ok(([(header::CONTENT_TYPE, "application/octet-stream")], content))
}

/// Reads an artifact whole, and says whether its bytes are those that were put
#[utoipa::path(post, path = "/artifacts/{digest}/verify", tag = "artifacts",
    params(("digest" = String, Path)), responses((status = 200, body = Verification)))]
pub(super) async fn verify(caller: Caller, named: Named) -> Answer<Json<Verification>> {
    Ok(Json(caller.operations.verify_artifact(&named.get("digest")?).await?))
}

/// Who keeps an artifact from being removed
#[utoipa::path(get, path = "/artifacts/{digest}/holders", tag = "artifacts",
    params(("digest" = String, Path)), responses((status = 200, body = Holders)))]
pub(super) async fn holders(caller: Caller, named: Named) -> Answer<Json<Holders>> {
    Ok(Json(caller.operations.holders(&named.get("digest")?).await?))
}

/// Keeps an artifact, whether anything runs it or not
#[utoipa::path(post, path = "/artifacts/{digest}/pins", tag = "artifacts", request_body = NewPin,
    params(("digest" = String, Path)), responses((status = 200, body = Holders)))]
pub(super) async fn pin(
    caller: Caller,
    named: Named,
    Body(NewPin { name }): Body<NewPin>,
) -> Answer<Json<Holders>> {
    let name = field("name", &name)?;
    Ok(Json(caller.operations.pin(&named.get("digest")?, &name).await?))
}

/// Keeps an artifact no longer for that reason
#[utoipa::path(delete, path = "/artifacts/{digest}/pins/{name}", tag = "artifacts",
    params(("digest" = String, Path), ("name" = String, Path)),
    responses((status = 204)))]
pub(super) async fn unpin(caller: Caller, named: Named) -> Answer<StatusCode> {
    caller.operations.unpin(&named.get("digest")?, &named.get("name")?).await?;
    Ok(StatusCode::NO_CONTENT)
}
