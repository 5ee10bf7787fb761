//! Looks at many hosts at a time.
use crate::{
    app::Embedded,
    problem::{IntoProblem as _, OrProblem as _},
};
use deploy_core::{
    access::{Action, Permit, Resource},
    backend::{HostRequest, Observed},
    error::BackendResult,
    host::Host,
    id::{AccountName, HostName, ServiceName},
    spec::AbsolutePath,
};
use deploy_host::{
    quote::quote,
    transport::{HostCommand, HostOutput, Transport},
};
use deploy_wire::{Problem, ProblemCode};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::{sync::Semaphore, task::JoinSet};

/// How many hosts are looked at at a time.
const AT_A_TIME: usize = 64;

/// How long a look at one host may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a host was seen to run.
#[derive(Debug)]
pub(crate) struct Look {
    pub(crate) host: HostName,
    pub(crate) seen: Result<Observed, Problem>,
    pub(crate) elapsed: Duration,
}

/// Looks what each of `hosts` runs of a service, in the order of their names.
pub(crate) async fn look_at(
    embedded: &Embedded,
    service: &ServiceName,
    path: &AbsolutePath,
    account: Option<&AccountName>,
    hosts: Vec<Host>,
) -> Result<Vec<Look>, Problem> {
    let permits = Arc::new(Semaphore::new(AT_A_TIME));
    let mut looking = JoinSet::new();
    for host in hosts {
        let resource = Resource::Host(host.name.clone(), Some(service.clone()));
        let permit = embedded
            .platform
            .permit(&embedded.principal, Action::HostObserve, resource)
            .await
            .or_problem()?;
        let request =
            HostRequest::new(host, service.clone(), path.clone()).with_account(account.cloned());
        let parts = embedded.parts().clone();
        let permits = Arc::clone(&permits);
        looking.spawn(async move {
            let _turn = permits.acquire_owned().await;
            look(parts, permit, request).await
        });
    }
    let mut looks = looking.join_all().await;
    looks.sort_unstable_by(|a, b| a.host.cmp(&b.host));
    Ok(looks)
}

fn late() -> Problem {
    let message = format!("no answer within {} seconds", PATIENCE.as_secs());
    Problem::new(ProblemCode::Unavailable, message)
}

/// The problem of a host that whoever shows it names beside it.
fn unnamed(mut problem: Problem, host: &HostName) -> Problem {
    if let Some(message) = problem.message.strip_prefix(&format!("host `{host}`: ")) {
        problem.message = message.to_owned();
    }
    problem
}

async fn look(parts: deploy_core::engine::Parts, permit: Permit, request: HostRequest) -> Look {
    let begin = parts.clock.now();
    let seen = tokio::time::timeout(PATIENCE, parts.executor.observe(&permit, &request)).await;
    let seen = match seen {
        Ok(seen) => seen.map_err(|err| unnamed(err.into_problem(), &request.host.name)),
        Err(_late) => Err(late()),
    };
    let elapsed = parts.clock.now().since(begin);
    Look { host: request.host.name, seen, elapsed }
}

/// What a host needs to run steps; see `docs/host-contract.md`.
pub(crate) const TOOLS: [&str; 5] = ["flock", "setsid", "tar", "gzip", "sha256sum"];

/// The tools that each of `hosts` lacks.
pub(crate) async fn lacking_at(
    embedded: &Embedded,
    hosts: Vec<Host>,
) -> BTreeMap<HostName, Result<Vec<&'static str>, Problem>> {
    let permits = Arc::new(Semaphore::new(AT_A_TIME));
    let mut looking = JoinSet::new();
    for host in hosts {
        let (executor, permits) = (Arc::clone(&embedded.executor), Arc::clone(&permits));
        looking.spawn(async move {
            let _turn = permits.acquire_owned().await;
            let asked = tokio::time::timeout(PATIENCE, lacking(executor.transport(), &host)).await;
            let lacking = match asked {
                Ok(lacking) => lacking.map_err(|err| unnamed(err.into_problem(), &host.name)),
                Err(_late) => Err(late()),
            };
            (host.name, lacking)
        });
    }
    looking.join_all().await.into_iter().collect()
}

/// The tools that a host lacks.
async fn lacking(transport: &dyn Transport, host: &Host) -> BackendResult<Vec<&'static str>> {
    let tools = TOOLS.join(" ");
    let line = format!("for t in {tools}; do command -v \"$t\" >/dev/null || echo \"$t\"; done");
    let command = HostCommand::new(format!("sh -c {}", quote(&line)));
    let mut process = transport.open(host, &command).await?;
    drop(process.stdin());
    let mut said = Vec::new();
    while let Some(output) = process.next().await? {
        if let HostOutput::Stdout(bytes) = output {
            said.extend_from_slice(&bytes);
        }
    }
    let said = String::from_utf8_lossy(&said);
    Ok(TOOLS.into_iter().filter(|tool| said.lines().any(|it| it == *tool)).collect())
}
