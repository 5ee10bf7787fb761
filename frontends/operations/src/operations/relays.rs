use super::{Agents, Listed, Operations};
use crate::problem::OrProblem as _;
use deploy_core::{agent::Agent, id::HostName};
use deploy_wire::{Problem, Relay, RelayWork};
use std::collections::BTreeMap;

/// How many agents are looked at together, for the relays among them.
const AT_A_TIME: usize = 1_000;

impl Operations {
    /// Relays, in the order of their names.
    ///
    /// # Errors
    /// If they cannot be read.
    pub async fn relays(
        &self,
        agents: &Agents,
        after: Option<&HostName>,
        limit: usize,
    ) -> Result<Listed<Relay>, Problem> {
        let (mut found, mut after) = (Vec::new(), after.cloned());
        while found.len() <= limit {
            let read = agents.registry.agents(after.as_ref(), AT_A_TIME).await.or_problem()?;
            after = read.last().map(|it| it.host.clone());
            let is_last = read.len() < AT_A_TIME;
            found.extend(read.into_iter().filter(Agent::is_relay));
            if is_last {
                break;
            }
        }
        let alive = agents.links.relays();
        let listed = Listed::first(found, limit, |it| it.host.to_string());
        Ok(listed.map(|it| document(&it, alive.as_ref())))
    }
}

fn document(relay: &Agent, alive: Option<&BTreeMap<HostName, RelayWork>>) -> Relay {
    let work = alive.and_then(|it| it.get(&relay.host)).cloned();
    Relay {
        name: relay.host.to_string(),
        zone: relay.zone().map(ToString::to_string),
        state: relay.state.as_str().to_owned(),
        alive: alive.map(|_| work.is_some()),
        last_seen_at: relay.last_seen_at.map(|it| it.to_string()),
        enrolled_at: relay.enrolled_at.to_string(),
        work,
    }
}
