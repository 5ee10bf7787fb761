//! What an attempt is, in the words of the protocol.
use deploy_agent_protocol::v1;
use deploy_core::{
    backend::{AttemptRequest, HostRequest},
    digest::Digest,
    error::{BackendError, BackendResult, ErrorKind},
    plan::PlannedRelease,
    spec::{ArtifactRef, Direction, Effect, Signed, SignedKeys, Step},
};
use deploy_host::{
    descriptor::{Descriptor, Script},
    duration::whole_seconds,
    executor::environment,
};
use deploy_package::publisher::Statement;
use std::time::Duration;

/// How long processes have between TERM and KILL when a step's time is up.
const KILL_GRACE_SECONDS: u32 = 10;
/// How much an attempt may print.
const LOG_LIMIT: u64 = 64 << 20;

/// The attempt that `request` asks for, by what its release's descriptor says.
pub(crate) fn attempt(
    request: &AttemptRequest,
    descriptor: &Descriptor,
) -> BackendResult<v1::Attempt> {
    let release = &request.release;
    let previous = request.previous.as_ref();
    let package = release.package.filter(|_| request.keeps_release);
    let key = format!("{}/{}", request.rollout, request.on.host.name);
    let steps: Vec<_> =
        request.steps().map(|it| step(it, descriptor)).collect::<BackendResult<_>>()?;
    if steps.is_empty() {
        return Err(invalid("the attempt has no steps"));
    }
    Ok(v1::Attempt {
        place: Some(place(&request.on)),
        generation: request.generation.get(),
        token: request.token.clone(),
        rollout: request.rollout.to_string(),
        release: release.id.to_string(),
        version: release.version.to_string(),
        previous_release: previous.map_or_else(String::new, |it| it.id.to_string()),
        previous_version: previous.map_or_else(String::new, |it| it.version.to_string()),
        direction: request.direction.as_str().to_owned(),
        keeps_release: request.keeps_release,
        step_key_prefix: Digest::of(key.as_bytes()).short(),
        steps,
        environment: environment(request, descriptor)?.into_iter().collect(),
        descriptor: Some(artifact(release.descriptor)),
        package: package.map(artifact),
        min_healthy_s: seconds(request.health.min_healthy_time),
        healthy_deadline_s: seconds(request.health.healthy_deadline),
        kill_grace_s: KILL_GRACE_SECONDS,
        log_limit: LOG_LIMIT,
        log_offset: request.log_offset,
        masked: Vec::new(),
        revert: None,
        delivery: None,
        published: release.signed.as_ref().map(published),
        downgrade: request.direction == Direction::Back || is_older(release, previous),
    })
}

fn published(signed: &Signed) -> v1::Published {
    let keys = |it: &SignedKeys| v1::SignedKeys {
        list: it.list.clone(),
        signatures: it.signatures.clone(),
    };
    v1::Published {
        statement: signed.statement.clone(),
        signatures: signed.signatures.clone(),
        key_lists: signed.key_lists.iter().map(keys).collect(),
    }
}

/// Whether its publishers have made it before what the host runs: a plan said so, and was let go.
fn is_older(release: &PlannedRelease, previous: Option<&PlannedRelease>) -> bool {
    let issued = |it: &PlannedRelease| {
        let statement = it.signed.as_ref()?.statement.as_bytes();
        Some(Statement::read_unverified(statement).ok()?.issued)
    };
    issued(release) < previous.and_then(issued)
}

/// The way back that goes with an attempt.
pub(crate) fn revert(after: Duration, back: v1::Attempt) -> Box<v1::Revert> {
    let after_ms = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
    Box::new(v1::Revert { after_ms, back: Some(Box::new(back)) })
}

fn step(step: &Step, descriptor: &Descriptor) -> BackendResult<v1::Step> {
    let described = descriptor.step(step.name).ok_or_else(|| {
        invalid("the release has a step that its descriptor does not have").with("step", step.name)
    })?;
    Ok(v1::Step {
        name: step.name.to_string(),
        timeout_s: seconds(step.timeout).max(1),
        script: match &described.script {
            Script::Custom(path) => path.clone(),
            Script::Default => String::new(),
        },
        check: described.check.clone().unwrap_or_default(),
        rerunnable: step.effect == Effect::Idempotent,
    })
}

/// The service on its host.
pub(crate) fn place(on: &HostRequest) -> v1::Place {
    v1::Place {
        service: on.service.to_string(),
        deploy_path: on.deploy_path.to_string(),
        account: on.account.as_ref().map_or_else(String::new, ToString::to_string),
    }
}

/// Whole seconds, rounded up, as the protocol has them.
pub(crate) fn seconds(duration: Duration) -> u32 {
    u32::try_from(whole_seconds(duration)).unwrap_or(u32::MAX)
}

/// Bytes that the host may fetch.
pub(crate) fn artifact(artifact: ArtifactRef) -> v1::Artifact {
    v1::Artifact { digest: artifact.digest.as_bytes().to_vec(), size: artifact.size }
}

fn invalid(why: &'static str) -> BackendError {
    BackendError::new(ErrorKind::InvalidInput, "executor.run").because(why)
}
