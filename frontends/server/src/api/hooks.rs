//! Webhooks: the one way in without a token. Who sends them has signed them, and may start builds of one service and nothing else.
use super::builds::publish_later;
use crate::{
    builds::{Delivery, PushedTag},
    problem::{Answer, HttpProblem},
    state::{SharedState, State as Shared},
};
use axum::{
    Json,
    body::Bytes,
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse as _, Response},
};
use deploy_core::{
    access::Action,
    backend::{self, AnswerClaim, BeginAnswer, Begun, IdempotencyKey},
    digest::Digest,
    engine::Platform,
    id::Principal,
    layer::ScopedAuthorizer,
    token::TokenScope,
};
use deploy_operations::{Builds, Operations, parse::field, problem::OrProblem as _};
use deploy_wire::{HookAnswer, NewBuild, ProblemCode, Publication};
use std::sync::Arc;

/// Takes a webhook of a forge, and starts the build that it asks for.
pub(super) async fn receive(
    State(state): State<SharedState>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Answer<Response> {
    let Some(control) = &state.control.builds else { return Err(nothing(&name)) };
    let delivery = Delivery::new(headers, body);
    let Some(pushed) = control.hooks.read(&name, &delivery).await? else {
        return Ok(Json(HookAnswer { build: None }).into_response());
    };
    let principal: Principal = field("hook", &format!("hook-{name}"))?;
    let builds = Builds::new(operations(&state, &principal, &pushed), Arc::clone(&control.builder));
    if !builds.is_source_of(&pushed.service, &pushed.remotes).await? {
        let message =
            format!("the webhook is about another repository than that of `{}`", pushed.service);
        return Err(HttpProblem::new(ProblemCode::InvalidInput, message)
            .with_hint("`build.remote` of the service says which that is"));
    }
    let claim = claim(&state, principal, delivery.body()).await?;
    match start(&state, &builds, &claim, pushed).await {
        Ok(response) => Ok(response),
        Err(problem) => {
            // What has come to nothing may come again.
            crate::idempotency::give_up(&state, &claim).await;
            Err(problem)
        }
    }
}

pub(super) fn nothing(name: &str) -> HttpProblem {
    let message = format!("there is no webhook `{}`", name.escape_debug());
    HttpProblem::new(ProblemCode::NotFound, message)
        .with_hint("`[hooks.NAME]` in the configuration of the server sets one up: docs/server.md")
}

/// All that may be done in the name of a webhook: to its service alone, and no more than it takes.
fn operations(state: &Shared, principal: &Principal, pushed: &PushedTag) -> Operations {
    let mut parts = state.control.parts.clone();
    let releases: &[Action] =
        if pushed.release { &[Action::ArtifactWrite, Action::ServiceWrite] } else { &[] };
    let actions = releases.iter().copied().chain([Action::BuildRun]);
    let scope = TokenScope::new(actions).with_services([pushed.service.clone()]);
    let (rules, hosts) = (Arc::clone(&parts.authorizer), Arc::clone(&parts.inventory));
    parts.authorizer = Arc::new(ScopedAuthorizer::new(rules, scope, hosts));
    Operations::new(Platform::new(parts), principal.clone())
}

/// Takes what a forge says once: forges sign no time and no number, so that the same bytes are the same webhook, whoever sends them again.
async fn claim(state: &Shared, principal: Principal, body: &[u8]) -> Answer<AnswerClaim> {
    let digest = Digest::of(body);
    let key: IdempotencyKey = field("hook", &digest.hex())?;
    let begin = BeginAnswer::new(principal, key, digest, state.holder.name());
    let answers = &state.control.answers;
    let mut begun = answers.begin(&begin).await.or_problem()?;
    if let Begun::Running { holder } = &begun
        && state.holder.is_gone(holder)
    {
        begun = answers.begin(&begin.with_dead(holder)).await.or_problem()?;
    }
    match begun {
        Begun::New(claim) => Ok(claim),
        Begun::Answered(_) | Begun::Other => Err(HttpProblem::new(
            ProblemCode::AlreadyExists,
            "this webhook was taken before: the same one starts one build",
        )
        .with_hint("`deploy build SERVICE --rev TAG` builds again")),
        Begun::Running { .. } => Err(HttpProblem::new(
            ProblemCode::InProgress,
            "this webhook is being taken at this moment",
        )
        .retry_after(1)),
    }
}

async fn start(
    state: &Shared,
    builds: &Builds,
    claim: &AnswerClaim,
    pushed: PushedTag,
) -> Answer<Response> {
    let then = pushed.release.then(|| Publication {
        release: true,
        parameters: pushed.parameters,
        ..Publication::default()
    });
    let asked = NewBuild {
        service: pushed.service.to_string(),
        revision: pushed.tag.to_string(),
        then: then.clone(),
        ..NewBuild::default()
    };
    let build = builds.start(&asked).await?;
    let id = field("build", &build.id)?;
    let status = StatusCode::ACCEPTED;
    let answer = backend::Answer::new(status.as_u16(), build.id.clone().into_bytes());
    if let Err(err) = state.control.answers.finish(claim, &answer, state.now()).await {
        tracing::warn!(error = %err.chain(), "that a webhook was taken is not known to others");
    }
    if let Some(then) = then {
        publish_later(builds.clone(), id, then);
    }
    Ok((status, Json(HookAnswer { build: Some(build) })).into_response())
}
