use crate::{
    auth::Caller,
    idempotency::Instead,
    problem::{Answer, HttpProblem},
    random,
    request::{Asked, Body, Named, PageQuery, page},
    state::SharedState,
};
use axum::{
    Extension, Json,
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
};
use deploy_core::{
    access::{Action, Permit, Resource},
    backend::{self, CreateToken},
    id::{ServiceName, TokenId},
    spec::Selector,
    token::TokenScope,
};
use deploy_operations::{parse::field, problem::OrProblem as _};
use deploy_wire::{IssuedToken, NewToken, Page, Problem, ProblemCode, Token};
use std::{collections::BTreeSet, time::Duration};

/// How long a token is worth something if nothing is said of it.
const USUAL: Duration = Duration::from_secs(90 * 86_400);
/// The longest that it may be.
const LONGEST: Duration = Duration::from_secs(366 * 86_400);

/// Tokens, also those that are worth nothing any more
#[utoipa::path(get, path = "/tokens", tag = "tokens", params(PageQuery),
    responses((status = 200, body = Page<Token>)))]
pub(super) async fn list(
    State(state): State<SharedState>,
    caller: Caller,
    Asked(query): Asked<PageQuery>,
) -> Answer<Json<Page<Token>>> {
    permit(&caller).await?;
    let (limit, after) = (query.limit()?, query.after::<TokenId>()?);
    let tokens = state.control.credentials.tokens(after.as_ref(), limit.saturating_add(1)).await;
    let mut tokens = tokens.or_problem()?;
    let more = tokens.len() > limit;
    tokens.truncate(limit);
    let next = tokens.last().filter(|_| more).map(|it| it.id.to_string());
    let items = tokens.iter().map(document).collect();
    Ok(Json(page(items, next, "/api/v1/tokens", limit, &[])))
}

/// Makes a token; its secret is shown this once
#[utoipa::path(post, path = "/tokens", tag = "tokens", request_body = NewToken,
    responses((status = 201, body = IssuedToken)))]
pub(super) async fn create(
    State(state): State<SharedState>,
    caller: Caller,
    Body(asked): Body<NewToken>,
) -> Answer<impl IntoResponse> {
    let permit = permit(&caller).await?;
    let scope = scope(&asked)?;
    within(&scope, &caller.token.scope)?;
    let lifetime = lifetime(asked.expires_in_secs)?;
    let (token, now) = (random::token()?, state.now());
    let principal = field("principal", &asked.principal)?;
    let (id, hash) = (token.id.clone(), token.secret.hash());
    let request = CreateToken::new(id, hash, principal, scope, now, now.after(lifetime))
        .with_note(asked.note);
    let made = state.control.credentials.create(&permit, &request).await.or_problem()?;
    let issued = IssuedToken { token: document(&made), secret: token.reveal() };
    let place = [(header::LOCATION, format!("/api/v1/tokens/{}", made.id))];
    // Answers are kept, and secrets are not.
    let again = Problem::new(ProblemCode::Conflict, "the secret of a token is shown only once")
        .with_hint("revoke the token, and make another")
        .with_context("token", &made.id);
    Ok((StatusCode::CREATED, place, Extension(Instead(again)), Json(issued)))
}

/// The token that this request is made with
#[utoipa::path(get, path = "/tokens/current", tag = "tokens", responses((status = 200, body = Token)))]
pub(super) async fn current(caller: Caller) -> Json<Token> {
    Json(document(&caller.token))
}

/// Revokes a token; at once, and for good
#[utoipa::path(delete, path = "/tokens/{token}", tag = "tokens", params(("token" = String, Path)),
    responses((status = 204)))]
pub(super) async fn revoke(
    State(state): State<SharedState>,
    caller: Caller,
    named: Named,
) -> Answer<StatusCode> {
    let permit = permit(&caller).await?;
    let id: TokenId = named.get("token")?;
    state.control.credentials.revoke(&permit, &id, state.now()).await.or_problem()?;
    Ok(StatusCode::NO_CONTENT)
}

async fn permit(caller: &Caller) -> Result<Permit, Problem> {
    let operations = &caller.operations;
    let platform = operations.platform();
    let asked = platform.permit(operations.principal(), Action::TokenWrite, Resource::System);
    asked.await.or_problem()
}

fn lifetime(secs: Option<u64>) -> Answer<Duration> {
    let lifetime = secs.map_or(USUAL, Duration::from_secs);
    if lifetime.is_zero() || lifetime > LONGEST {
        let message = format!("`expires_in_secs` must be 1 to {}", LONGEST.as_secs());
        return Err(HttpProblem::new(ProblemCode::InvalidInput, message)
            .with_context("field", "expires_in_secs"));
    }
    Ok(lifetime)
}

fn scope(asked: &NewToken) -> Result<TokenScope, Problem> {
    let action = |name: &String| {
        Action::ALL.into_iter().find(|it| it.as_str() == name).ok_or_else(|| {
            let known: Vec<_> = Action::ALL.iter().map(|it| it.as_str()).collect();
            let message = format!("`{}` is no action", name.escape_debug());
            Problem::new(ProblemCode::InvalidInput, message)
                .with_hint(format!("there are {}", known.join(", ")))
                .with_context("field", "actions")
        })
    };
    let actions: Vec<Action> = asked.actions.iter().map(action).collect::<Result<_, _>>()?;
    let mut scope = TokenScope::new(actions);
    if let Some(services) = &asked.services {
        let services = services.iter().map(|it| field("services", it));
        scope.services = Some(services.collect::<Result<BTreeSet<ServiceName>, _>>()?);
    }
    let hosts = asked.hosts.as_ref();
    scope.hosts = hosts.map(|it| field::<Selector>("hosts", it)).transpose()?;
    Ok(scope)
}

/// Nobody gives away what they do not have.
fn within(scope: &TokenScope, mine: &TokenScope) -> Answer<()> {
    let services = match (&scope.services, &mine.services) {
        (_, None) => true,
        (Some(given), Some(mine)) => given.is_subset(mine),
        (None, Some(_)) => false,
    };
    let hosts = mine.hosts.is_none() || scope.hosts == mine.hosts;
    if scope.actions.is_subset(&mine.actions) && services && hosts {
        return Ok(());
    }
    let message = "a token may allow no more than the one that it is made with";
    Err(HttpProblem::new(ProblemCode::AccessDenied, message)
        .with_hint("`/api/v1/tokens/current` shows what yours allows"))
}

fn document(token: &backend::Token) -> Token {
    let services = token.scope.services.as_ref();
    Token {
        id: token.id.to_string(),
        principal: token.principal.to_string(),
        note: token.note.clone(),
        actions: token.scope.actions.iter().map(|it| it.as_str().to_owned()).collect(),
        services: services.map(|all| all.iter().map(ToString::to_string).collect()),
        hosts: token.scope.hosts.as_ref().map(ToString::to_string),
        created_at: token.created_at.to_string(),
        created_by: token.created_by.to_string(),
        expires_at: token.expires_at.to_string(),
        revoked_at: token.revoked_at.map(|it| it.to_string()),
        last_used_at: token.last_used_at.map(|it| it.to_string()),
    }
}
