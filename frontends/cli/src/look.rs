//! Looks at many hosts at a time.
use crate::{
    app::Embedded,
    problem::{IntoProblem as _, OrProblem as _},
};
use deploy_core::{
    access::{Action, Permit, Resource},
    backend::{HostRequest, Observed},
    host::Host,
    id::{AccountName, HostName, ServiceName},
    spec::AbsolutePath,
};
use deploy_wire::{Problem, ProblemCode};
use std::{sync::Arc, time::Duration};
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
        Err(_late) => {
            let message = format!("no answer within {} seconds", PATIENCE.as_secs());
            Err(Problem::new(ProblemCode::Unavailable, message))
        }
    };
    let elapsed = parts.clock.now().since(begin);
    Look { host: request.host.name, seen, elapsed }
}
