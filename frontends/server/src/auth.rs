//! Who speaks, and what they may do.
use crate::{
    problem::{Answer, HttpProblem},
    state::{SharedState, State},
};
use axum::{
    extract::{self, FromRequestParts, Request},
    http::{HeaderMap, header, request::Parts as Head},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use deploy_core::{
    backend::Token,
    engine::Platform,
    error::ErrorKind,
    id::TokenId,
    layer::ScopedAuthorizer,
    token::{ApiToken, SecretHash},
};
use deploy_operations::{Operations, problem::IntoProblem as _};
use deploy_wire::{Problem, ProblemCode};
use std::sync::Arc;

/// Whoever makes a request: known, and with what their token lets them do.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    pub(crate) operations: Operations,
    pub(crate) token: Arc<Token>,
    presented: SecretHash,
}

impl Caller {
    pub(crate) fn token_id(&self) -> &TokenId {
        &self.token.id
    }

    /// Whether the token is still good: what goes on for long has to ask again.
    pub(crate) async fn check(&self, state: &State) -> Result<(), Problem> {
        let credentials = &state.control.credentials;
        let found = credentials.authenticate(&self.token.id, &self.presented, state.now()).await;
        found.map(drop).map_err(|err| match err.kind() {
            ErrorKind::Unauthenticated => {
                Problem::new(ProblemCode::Unauthenticated, "the token is not valid any more")
            }
            _ => err.into_problem(),
        })
    }
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = HttpProblem;

    async fn from_request_parts(head: &mut Head, _: &S) -> Result<Self, HttpProblem> {
        // What no layer has let in is not let in.
        head.extensions.get().cloned().ok_or_else(nobody)
    }
}

fn nobody() -> HttpProblem {
    HttpProblem::new(ProblemCode::Unauthenticated, "this needs a token")
        .with_hint("send `Authorization: Bearer dpl_…`")
}

/// Lets in who has a token. What a route does, it does within the scope of that.
pub(crate) async fn authenticate(
    extract::State(state): extract::State<SharedState>,
    mut request: Request,
    next: Next,
) -> Response {
    match caller(&state, request.headers()).await {
        Ok(caller) => {
            request.extensions_mut().insert(caller.clone());
            let mut response = next.run(request).await;
            // The log says whose request it was.
            response.extensions_mut().insert(caller);
            response
        }
        Err(problem) => problem.into_response(),
    }
}

async fn caller(state: &SharedState, headers: &HeaderMap) -> Answer<Caller> {
    let mut sent = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(header), None) = (sent.next(), sent.next()) else { return Err(nobody()) };
    let credentials = header.to_str().ok().and_then(|it| it.split_once(' '));
    let (_, presented) = credentials
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .ok_or_else(nobody)?;
    let presented: ApiToken = presented.trim().parse().map_err(|_| refused())?;
    let secret = presented.secret.hash();
    let found = state.control.credentials.authenticate(&presented.id, &secret, state.now()).await;
    let token = found.map_err(|err| match err.kind() {
        // Whether it is wrong, expired or revoked is nobody's business but the log's.
        ErrorKind::Unauthenticated => {
            tracing::info!(token = %presented.id, reason = %err.chain(), "a token was refused");
            refused()
        }
        _ => err.into_problem().into(),
    })?;
    let control = &state.control;
    let (rules, hosts) =
        (Arc::clone(&control.parts.authorizer), Arc::clone(&control.parts.inventory));
    let mut parts = control.parts.clone();
    parts.authorizer = Arc::new(ScopedAuthorizer::new(rules, token.scope.clone(), hosts));
    let operations = Operations::new(Platform::new(parts), token.principal.clone())
        .with_upkeep(control.upkeep.clone());
    Ok(Caller { operations, token: Arc::new(token), presented: secret })
}

fn refused() -> HttpProblem {
    HttpProblem::new(ProblemCode::Unauthenticated, "the token is not valid")
        .with_hint("it is wrong, has expired or was revoked: ask for a new one")
}
