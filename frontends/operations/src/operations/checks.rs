//! Looks at many hosts at a time.
use super::{Operations, hosts::select, status_of};
use crate::{Upkeep, parse::field, problem::OrProblem as _};
use deploy_core::{
    access::{Action, Permit, Resource},
    backend::{HostInventoryExt as _, HostRequest, Observed},
    engine::Parts,
    host::{Host, Installed},
    id::{AccountName, HostName, ServiceName},
    spec::{AbsolutePath, Selector, Service},
};
use deploy_wire::{HostCheck, Problem, ProblemCode, Status};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::{sync::Semaphore, task::JoinSet};

/// How many hosts are looked at at a time.
const AT_A_TIME: usize = 64;

/// How long a look at one host may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a look at a host has shown.
#[derive(Debug)]
struct Look {
    host: HostName,
    seen: Result<Observed, Problem>,
    /// What it lacks, where that was asked.
    lacking: Vec<String>,
    elapsed: Duration,
}

/// What is looked for on hosts.
#[derive(Clone, Debug)]
struct Sought {
    service: ServiceName,
    path: AbsolutePath,
    account: Option<AccountName>,
    /// Who can say what a host lacks, where that is asked.
    upkeep: Option<Arc<dyn Upkeep>>,
}

impl Operations {
    /// Whether hosts can be reached, and what they lack: those that `selector` selects, or all.
    ///
    /// # Errors
    /// If the principal may not look at one of them, or it selects none.
    pub async fn check_hosts(
        &self,
        selector: Option<&Selector>,
    ) -> Result<Vec<HostCheck>, Problem> {
        let hosts = select(self.parts(), selector).await?;
        if hosts.is_empty() {
            let hint = "a host is selected by `host=NAME`, others by labels: `deploy host list` shows both";
            return Err(
                Problem::new(ProblemCode::EmptySelection, "it selects no host").with_hint(hint)
            );
        }
        // Asked what runs on it, an answer of any kind proves that commands can be run on a host.
        let sought = Sought {
            service: field("service", "host-check")?,
            path: field("path", "/tmp")?,
            account: None,
            upkeep: self.upkeep.clone(),
        };
        let hosts = hosts.into_iter().map(|it| it.value).collect();
        Ok(self.look_at(&sought, hosts).await?.into_iter().map(Look::check).collect())
    }

    /// Looks at all hosts that a service selects, keeps what is seen, and gives its status.
    ///
    /// # Errors
    /// If the principal may not look at one of them, or there is no such service.
    pub async fn refresh(&self, service: &ServiceName) -> Result<Status, Problem> {
        let service = self.parts().registry.service(service).await.or_problem()?.value;
        let hosts = self.parts().inventory.all_hosts().await.or_problem()?;
        let problems = self.look_again(&service, &hosts).await?;
        status_of(self.parts(), &service, &hosts, problems).await
    }

    /// Keeps what is seen of `service` on hosts. Gives what went wrong, by host.
    async fn look_again(
        &self,
        service: &Service,
        hosts: &[Host],
    ) -> Result<BTreeMap<HostName, String>, Problem> {
        let selected = hosts.iter().filter(|it| service.selector.matches(it)).cloned().collect();
        let sought = Sought {
            service: service.name.clone(),
            path: service.deploy_path.clone(),
            account: service.account.clone(),
            upkeep: None,
        };
        let mut problems = BTreeMap::new();
        for Look { host, seen, .. } in self.look_at(&sought, selected).await? {
            match seen {
                Ok(seen) => self.keep(&host, &service.name, seen).await?,
                Err(problem) => drop(problems.insert(host, problem.message)),
            }
        }
        Ok(problems)
    }

    async fn keep(
        &self,
        host: &HostName,
        service: &ServiceName,
        seen: Observed,
    ) -> Result<(), Problem> {
        let parts = self.parts();
        let release = match &seen.release {
            Some(id) => parts.registry.release(id).await.ok(),
            None => None,
        };
        let package = release.and_then(|it| it.package).map(|it| it.digest);
        let installed = Installed::new(seen.release, package, seen.fence, parts.clock.now());
        let resource = Resource::Host(host.clone(), Some(service.clone()));
        let permit = self.permit(Action::HostObserve, resource).await?;
        parts.inventory.record(&permit, host, service, installed).await.or_problem()
    }

    /// Looks at each of `hosts`, and gives what is seen in the order of their names.
    async fn look_at(&self, sought: &Sought, hosts: Vec<Host>) -> Result<Vec<Look>, Problem> {
        let turns = Arc::new(Semaphore::new(AT_A_TIME));
        let mut looking = JoinSet::new();
        for host in hosts {
            let resource = Resource::Host(host.name.clone(), Some(sought.service.clone()));
            let permit = self.permit(Action::HostObserve, resource).await?;
            let (parts, turns, sought) = (self.parts().clone(), Arc::clone(&turns), sought.clone());
            looking.spawn(async move {
                let _turn = turns.acquire_owned().await;
                look(&parts, &permit, &sought, host).await
            });
        }
        let mut looks = looking.join_all().await;
        looks.sort_unstable_by(|a, b| a.host.cmp(&b.host));
        Ok(looks)
    }
}

async fn look(parts: &Parts, permit: &Permit, sought: &Sought, host: Host) -> Look {
    let begin = parts.clock.now();
    let name = host.name.clone();
    let unnamed = |problem: Problem| unnamed(problem, &name);
    let request = HostRequest::new(host.clone(), sought.service.clone(), sought.path.clone())
        .with_account(sought.account.clone());
    let seen = tokio::time::timeout(PATIENCE, parts.executor.observe(permit, &request)).await;
    let mut seen = seen.map_err(|_late| late()).and_then(|it| it.or_problem().map_err(unnamed));
    let elapsed = parts.clock.now().since(begin);
    let mut missing = Vec::new();
    if let (Ok(_), Some(upkeep)) = (&seen, &sought.upkeep) {
        let asked = tokio::time::timeout(PATIENCE, upkeep.lacking(permit, &host)).await;
        match asked.map_err(|_late| late()).and_then(|it| it.or_problem().map_err(unnamed)) {
            Ok(lacking) => missing = lacking,
            Err(problem) => seen = Err(problem),
        }
    }
    Look { host: host.name, seen, lacking: missing, elapsed }
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

impl Look {
    fn check(self) -> HostCheck {
        let reachable = self.seen.is_ok();
        let problem = match self.seen {
            Err(problem) => Some(problem),
            Ok(_) if self.lacking.is_empty() => None,
            Ok(_) => {
                let message =
                    format!("the host has no {}: install that there", self.lacking.join(", "));
                Some(Problem::new(ProblemCode::Unhealthy, message))
            }
        };
        let (code, reason) = problem.map(|it| (it.code.to_string(), it.message)).unzip();
        let elapsed_ms = u64::try_from(self.elapsed.as_millis()).unwrap_or(u64::MAX);
        HostCheck { host: self.host.to_string(), reachable, code, reason, elapsed_ms }
    }
}
