//! Builds at the server: the builder, and the webhooks that start builds.
use super::config::{BuildConfig, HookConfig, HostsConfig};
use crate::embedded::DataDir;
use async_trait::async_trait;
use deploy_build::{
    BuildHosts, FileSecrets, LocalBuilder, RemoteBuilder, RemotePolicy, Secrets, WebhookError,
};
use deploy_core::{
    backend::{Builder, Clock},
    engine::Parts,
    error::ErrorKind,
};
use deploy_operations::problem::{IntoProblem as _, OrProblem as _};
use deploy_server::{BuildControl, Delivery, Hooks, PushedTag};
use deploy_wire::{Problem, ProblemCode};
use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// How often it is looked for builds on hosts that nobody works on.
const RESUMED_EVERY: Duration = Duration::from_secs(60);

/// What builds, as the configuration says: this machine, or hosts that the executor of `parts` reaches.
pub(super) async fn control(
    config: &BuildConfig,
    data_dir: &DataDir,
    parts: &Parts,
) -> Result<BuildControl, Problem> {
    let builder: Arc<dyn Builder> = match &config.on {
        Some(hosts) => Arc::new(remote(config, hosts, data_dir, parts).await?),
        None => Arc::new(local(config, data_dir, parts)?),
    };
    let secrets = Arc::new(FileSecrets::new(data_dir.builds().join("secrets")));
    let hooks = ForgeHooks { hooks: config.hooks.clone(), secrets };
    Ok(BuildControl { builder, hooks: Arc::new(hooks) })
}

fn local(config: &BuildConfig, data_dir: &DataDir, parts: &Parts) -> Result<LocalBuilder, Problem> {
    let builder = LocalBuilder::open(data_dir.builds(), Arc::clone(&parts.clock)).or_problem()?;
    // Whoever may write a service chooses its remote, and need not be who runs the server.
    let policy =
        if config.private_remotes { RemotePolicy::own() } else { RemotePolicy::outsiders() };
    Ok(builder
        .with_tools(&config.tools)
        .or_problem()?
        .with_sandbox(config.sandbox)
        .with_limit(config.at_a_time)
        .with_policy(policy)
        .with_name("tag:deploy,2026:builder/server"))
}

/// What a server before this one has left under way on hosts is gone on with.
async fn remote(
    config: &BuildConfig,
    on: &HostsConfig,
    data_dir: &DataDir,
    parts: &Parts,
) -> Result<RemoteBuilder, Problem> {
    let hosts = BuildHosts {
        executor: Arc::clone(&parts.executor),
        inventory: Arc::clone(&parts.inventory),
        artifacts: Arc::clone(&parts.artifacts),
        authorizer: Arc::clone(&parts.authorizer),
    };
    let (folder, selector) = (data_dir.remote_builds(), on.selector.clone());
    let builder = RemoteBuilder::open(folder, hosts, selector, Arc::clone(&parts.clock));
    let mut builder = builder
        .or_problem()?
        .with_tools(config.tools.clone())
        .with_sandbox(config.sandbox)
        .with_at_a_time(config.at_a_time)
        .with_private_remotes(config.private_remotes)
        .with_account(on.account.clone());
    if let Some(path) = &on.path {
        builder = builder.with_root(path.clone());
    }
    if let Some(program) = &on.program {
        builder = builder.with_program(program);
    }
    builder.resume().await.or_problem()?;
    tokio::spawn(resume(builder.clone(), Arc::clone(&parts.clock)));
    Ok(builder)
}

/// Also what nobody works on any more while the server goes on, such as a build whose end did not fit on a full disk.
async fn resume(builder: RemoteBuilder, clock: Arc<dyn Clock>) {
    loop {
        clock.sleep_until(clock.now().after(RESUMED_EVERY)).await;
        if let Err(err) = builder.resume().await {
            tracing::warn!(error = %err.chain(), "builds that were left cannot be looked for");
        }
    }
}

/// The webhooks of the configuration.
#[derive(Debug)]
struct ForgeHooks {
    hooks: BTreeMap<String, HookConfig>,
    secrets: Arc<dyn Secrets>,
}

#[async_trait]
impl Hooks for ForgeHooks {
    async fn read(&self, name: &str, delivery: &Delivery) -> Result<Option<PushedTag>, Problem> {
        let hook = self.hooks.get(name).ok_or_else(|| {
            let message = format!("there is no webhook `{}`", name.escape_debug());
            Problem::new(ProblemCode::NotFound, message).with_hint(
                "`[hooks.NAME]` in the configuration of the server sets one up: docs/server.md",
            )
        })?;
        // It is read each time, so that a new one holds at once.
        let secret = self.secrets.secret(&hook.service, &hook.secret).await.map_err(|err| {
            tracing::warn!(hook = name, error = %err.chain(), "the secret of a webhook cannot be used");
            match err.kind() {
                ErrorKind::NotFound | ErrorKind::InvalidInput => unusable(name),
                _ => err.into_problem(),
            }
        })?;
        let read = hook.forge.read(&secret, |it| delivery.header(it), delivery.body());
        let push = read.map_err(|err| {
            tracing::info!(hook = name, reason = err.as_str(), "a webhook was refused");
            refused(err).with_context("hook", name).with_context("reason", err.as_str())
        })?;
        let pushed = push.filter(|it| it.revision.as_str().starts_with("refs/tags/"));
        Ok(pushed.map(|it| PushedTag {
            service: hook.service.clone(),
            remotes: it.remotes,
            tag: it.revision,
            release: hook.release,
            parameters: hook.parameters.clone(),
        }))
    }
}

/// Whoever sends webhooks does not learn where secrets lie; the log says it.
fn unusable(name: &str) -> Problem {
    Problem::new(
        ProblemCode::Unavailable,
        format!("the webhook `{name}` has no secret that can be used"),
    )
    .with_hint("the log of the server says what is wrong with it")
}

fn refused(err: WebhookError) -> Problem {
    let code = match err {
        WebhookError::TooLarge => ProblemCode::TooLarge,
        WebhookError::Unreadable => ProblemCode::InvalidInput,
        _ => ProblemCode::AccessDenied,
    };
    Problem::new(code, err.to_string())
}
