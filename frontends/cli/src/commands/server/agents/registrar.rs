use async_trait::async_trait;
use deploy_agent_gateway::Registrar;
use deploy_core::{
    access::{Action, Resource},
    agent::Agent,
    backend::{Expect, Versioned},
    engine::{Parts, Platform},
    error::{BackendError, BackendResult, ErrorKind},
    host::{Connection, Host},
    id::{HostName, Principal},
    memory::{MemoryAuthorizer, Rule},
};
use std::sync::Arc;

/// In whose name hosts come into the inventory.
const ENROLLER: &str = "deploy-enroller";
/// How often a record is read again that somebody else has just changed.
const TRIES: u32 = 5;

/// Puts the hosts of agents into the inventory, and may do nothing else.
#[derive(Debug)]
pub(super) struct InventoryRegistrar {
    platform: Platform,
    principal: Principal,
}

impl InventoryRegistrar {
    /// Into the inventory of `parts`.
    pub(super) fn new(parts: &Parts) -> BackendResult<Self> {
        const NEW: &str = "agent.register";
        let invalid = |err| BackendError::new(ErrorKind::Internal, NEW).because(err);
        let rule = Rule::allow(ENROLLER.parse().map_err(invalid)?, [Action::HostWrite]);
        let mut parts = parts.clone();
        parts.authorizer = Arc::new(MemoryAuthorizer::new(vec![rule]));
        let principal = ENROLLER.parse().map_err(invalid)?;
        Ok(Self { platform: Platform::new(parts), principal })
    }

    async fn known(&self, name: &HostName) -> BackendResult<Option<Versioned<Host>>> {
        match self.platform.parts().inventory.host(name).await {
            Ok(host) => Ok(Some(host)),
            Err(err) if err.kind() == ErrorKind::NotFound => Ok(None),
            Err(err) => Err(err),
        }
    }

    async fn put(&self, agent: &Agent) -> BackendResult<()> {
        let name = &agent.host;
        let known = self.known(name).await?;
        let (host, expect) = match known {
            None => {
                let host = Host::new(name.clone(), Connection::Agent);
                (host.with_labels(agent.labels.clone()), Expect::Absent)
            }
            Some(known) => {
                demand_agent(&known.value)?;
                let mut host = known.value.clone();
                for (key, value) in &agent.labels {
                    host.labels.entry(key.clone()).or_insert_with(|| value.clone());
                }
                if host == known.value {
                    return Ok(());
                }
                (host, Expect::At(known.revision))
            }
        };
        let resource = Resource::Host(name.clone(), None);
        let permit = self.platform.permit(&self.principal, Action::HostWrite, resource).await;
        let permit = permit
            .map_err(|err| BackendError::new(ErrorKind::PermissionDenied, REGISTER).because(err))?;
        self.platform.parts().inventory.put(&permit, host, expect).await.map(drop)
    }
}

const REGISTER: &str = "agent.register";

/// A token lets machines in, and not in place of hosts that are reached in another way.
fn demand_agent(host: &Host) -> BackendResult<()> {
    if host.connection == Connection::Agent {
        return Ok(());
    }
    Err(BackendError::new(ErrorKind::AlreadyExists, REGISTER).with("host", &host.name).because(
        "a host of this name is there, and reached in another way: let a person remove it from the inventory, or give the machine \
         another name with `--name`",
    ))
}

#[async_trait]
impl Registrar for InventoryRegistrar {
    async fn admit(&self, host: &HostName) -> BackendResult<()> {
        self.known(host).await?.map_or(Ok(()), |known| demand_agent(&known.value))
    }

    async fn register(&self, agent: &Agent) -> BackendResult<()> {
        let mut tries = 1;
        loop {
            match self.put(agent).await {
                Err(err)
                    if matches!(err.kind(), ErrorKind::AlreadyExists | ErrorKind::Conflict)
                        && tries < TRIES =>
                {
                    tries += 1;
                }
                done => return done,
            }
        }
    }
}
