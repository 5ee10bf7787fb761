use crate::{
    auth::Caller,
    idempotency::Instead,
    problem::Answer,
    request::{Asked, Body, Named, PageQuery, page},
    state::SharedState,
};
use axum::{
    Extension, Json,
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
};
use deploy_core::id::TokenId;
use deploy_operations::{Tokens, token};
use deploy_wire::{IssuedToken, NewToken, Page, Problem, ProblemCode, Token};
use std::sync::Arc;

/// Tokens, also those that are worth nothing any more
#[utoipa::path(get, path = "/tokens", tag = "tokens", params(PageQuery),
    responses((status = 200, body = Page<Token>)))]
pub(super) async fn list(
    State(state): State<SharedState>,
    caller: Caller,
    Asked(query): Asked<PageQuery>,
) -> Answer<Json<Page<Token>>> {
    let (limit, after) = (query.limit()?, query.after::<TokenId>()?);
    let listed = tokens(&state, &caller).list(after.as_ref(), limit).await?;
    Ok(Json(page(listed.items, listed.next, "/api/v1/tokens", limit, &[])))
}

/// Makes a token; its secret is shown this once
#[utoipa::path(post, path = "/tokens", tag = "tokens", request_body = NewToken,
    responses((status = 201, body = IssuedToken)))]
pub(super) async fn create(
    State(state): State<SharedState>,
    caller: Caller,
    Body(asked): Body<NewToken>,
) -> Answer<impl IntoResponse> {
    let issued = tokens(&state, &caller).create(asked).await?;
    let place = [(header::LOCATION, format!("/api/v1/tokens/{}", issued.token.id))];
    // Answers are kept, and secrets are not.
    let again = Problem::new(ProblemCode::Conflict, "the secret of a token is shown only once")
        .with_hint("revoke the token, and make another")
        .with_context("token", &issued.token.id);
    Ok((StatusCode::CREATED, place, Extension(Instead(again)), Json(issued)))
}

/// The token that this request is made with
#[utoipa::path(get, path = "/tokens/current", tag = "tokens", responses((status = 200, body = Token)))]
pub(super) async fn current(caller: Caller) -> Json<Token> {
    Json(token(&caller.token))
}

/// Revokes a token; at once, and for good
#[utoipa::path(delete, path = "/tokens/{token}", tag = "tokens", params(("token" = String, Path)),
    responses((status = 204)))]
pub(super) async fn revoke(
    State(state): State<SharedState>,
    caller: Caller,
    named: Named,
) -> Answer<StatusCode> {
    tokens(&state, &caller).revoke(&named.get("token")?).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn tokens(state: &SharedState, caller: &Caller) -> Tokens {
    let credentials = Arc::clone(&state.control.credentials);
    Tokens::new(caller.operations.clone(), credentials, Some(caller.token.scope.clone()))
}
