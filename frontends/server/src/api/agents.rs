//! Agents, and the join tokens by which machines become hosts.
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
use deploy_core::id::{HostName, TokenId};
use deploy_wire::{
    Agent, AgentDecision, IssuedJoinToken, JoinToken, NewJoinToken, Page, Problem, ProblemCode,
    Relay,
};

/// Agents, in the order of their hosts
#[utoipa::path(get, path = "/agents", tag = "agents", params(PageQuery),
    responses((status = 200, body = Page<Agent>)))]
pub(super) async fn list(
    State(state): State<SharedState>,
    caller: Caller,
    Asked(query): Asked<PageQuery>,
) -> Answer<Json<Page<Agent>>> {
    let (limit, after) = (query.limit()?, query.after::<HostName>()?);
    let agents = &state.control.agents;
    let listed = caller.operations.agents(agents, after.as_ref(), limit).await?;
    Ok(Json(page(listed.items, listed.next, "/api/v1/agents", limit, &[])))
}

/// The agent of a host
#[utoipa::path(get, path = "/agents/{host}", tag = "agents", params(("host" = String, Path)),
    responses((status = 200, body = Agent)))]
pub(super) async fn show(
    State(state): State<SharedState>,
    caller: Caller,
    named: Named,
) -> Answer<Json<Agent>> {
    Ok(Json(caller.operations.agent(&state.control.agents, &named.get("host")?).await?))
}

/// Lets an agent in that was kept out, or keeps it out: at once
#[utoipa::path(post, path = "/agents/{host}/decisions", tag = "agents", request_body = AgentDecision,
    params(("host" = String, Path)), responses((status = 200, body = Agent)))]
pub(super) async fn decide(
    State(state): State<SharedState>,
    caller: Caller,
    named: Named,
    Body(decision): Body<AgentDecision>,
) -> Answer<Json<Agent>> {
    let (agents, host) = (&state.control.agents, named.get("host")?);
    Ok(Json(caller.operations.decide_agent(agents, &host, &decision).await?))
}

/// Forgets an agent, so that its machine may enrol as a new one; the host stays
#[utoipa::path(delete, path = "/agents/{host}", tag = "agents", params(("host" = String, Path)),
    responses((status = 204)))]
pub(super) async fn remove(
    State(state): State<SharedState>,
    caller: Caller,
    named: Named,
) -> Answer<StatusCode> {
    caller.operations.remove_agent(&state.control.agents, &named.get("host")?).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Relays, in the order of their names
#[utoipa::path(get, path = "/relays", tag = "agents", params(PageQuery),
    responses((status = 200, body = Page<Relay>)))]
pub(super) async fn relays(
    State(state): State<SharedState>,
    caller: Caller,
    Asked(query): Asked<PageQuery>,
) -> Answer<Json<Page<Relay>>> {
    let (limit, after) = (query.limit()?, query.after::<HostName>()?);
    let listed = caller.operations.relays(&state.control.agents, after.as_ref(), limit).await?;
    Ok(Json(page(listed.items, listed.next, "/api/v1/relays", limit, &[])))
}

/// Join tokens, also those that are worth nothing any more
#[utoipa::path(get, path = "/join-tokens", tag = "agents", params(PageQuery),
    responses((status = 200, body = Page<JoinToken>)))]
pub(super) async fn join_tokens(
    State(state): State<SharedState>,
    caller: Caller,
    Asked(query): Asked<PageQuery>,
) -> Answer<Json<Page<JoinToken>>> {
    let (limit, after) = (query.limit()?, query.after::<TokenId>()?);
    let agents = &state.control.agents;
    let listed = caller.operations.join_tokens(agents, after.as_ref(), limit).await?;
    Ok(Json(page(listed.items, listed.next, "/api/v1/join-tokens", limit, &[])))
}

/// Makes a join token; its secret is shown this once
#[utoipa::path(post, path = "/join-tokens", tag = "agents", request_body = NewJoinToken,
    responses((status = 201, body = IssuedJoinToken)))]
pub(super) async fn create_join_token(
    State(state): State<SharedState>,
    caller: Caller,
    Body(asked): Body<NewJoinToken>,
) -> Answer<impl IntoResponse> {
    let issued = caller.operations.create_join_token(&state.control.agents, &asked).await?;
    let place = [(header::LOCATION, format!("/api/v1/join-tokens/{}", issued.token.id))];
    // Answers are kept, and secrets are not.
    let again =
        Problem::new(ProblemCode::Conflict, "the secret of a join token is shown only once")
            .with_hint("revoke the join token, and make another")
            .with_context("token", &issued.token.id);
    Ok((StatusCode::CREATED, place, Extension(Instead(again)), Json(issued)))
}

/// Revokes a join token, at once and for good; hosts that it has let in stay
#[utoipa::path(delete, path = "/join-tokens/{token}", tag = "agents",
    params(("token" = String, Path)), responses((status = 204)))]
pub(super) async fn revoke_join_token(
    State(state): State<SharedState>,
    caller: Caller,
    named: Named,
) -> Answer<StatusCode> {
    let (agents, token) = (&state.control.agents, named.get("token")?);
    caller.operations.revoke_join_token(agents, &token).await?;
    Ok(StatusCode::NO_CONTENT)
}
