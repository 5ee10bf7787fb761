use super::lock;
use crate::{
    access::{Action, Permit, Resource},
    agent::{Agent, AgentFacts, AgentState, KeyFingerprint},
    backend::{AgentRegistry, CertifyAgent, CreateJoinToken, EnrollAgent, JoinGrant},
    error::{BackendError, BackendResult, ErrorKind},
    id::{BootId, HostName, TokenId},
    time::Timestamp,
    token::SecretHash,
};
use async_trait::async_trait;
use std::{
    collections::BTreeMap,
    ops::Bound::{Excluded, Unbounded},
    sync::Mutex,
};

/// Keeps agents and join tokens in memory.
#[derive(Debug, Default)]
pub struct MemoryAgentRegistry {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    grants: BTreeMap<TokenId, (JoinGrant, SecretHash)>,
    agents: BTreeMap<HostName, Agent>,
}

impl State {
    /// Whose key it is, or was.
    fn owner(&self, key: &KeyFingerprint) -> Option<&Agent> {
        self.agents.values().find(|it| it.keys().any(|mine| mine == key))
    }

    fn owner_mut(
        &mut self,
        key: &KeyFingerprint,
        operation: &'static str,
    ) -> BackendResult<&mut Agent> {
        let owner = self.agents.values_mut().find(|it| it.keys().any(|mine| mine == key));
        let stranger = || BackendError::new(ErrorKind::Unauthenticated, operation).with("key", key);
        owner.ok_or_else(stranger)
    }

    fn agent_mut(&mut self, host: &HostName, operation: &'static str) -> BackendResult<&mut Agent> {
        self.agents.get_mut(host).ok_or_else(|| missing(operation, host))
    }

    fn enroll(&mut self, request: &EnrollAgent) -> BackendResult<Agent> {
        let EnrollAgent { key, natural_key, now, .. } = request;
        let grant = self.grants.get(&request.token);
        let grant = grant.filter(|(_, kept)| kept.matches(&request.secret));
        let grant = grant.ok_or_else(|| request.refused("there is no such join token"))?.0.clone();
        let known = self.agents.values().find(|it| it.natural_key == *natural_key);
        if let Some(agent) = known.filter(|it| request.was_granted(it)) {
            agent.demand_active(ENROLL)?;
            return Ok(agent.clone());
        }
        if let Some(why) = grant.refusal_of(request) {
            return Err(request.refused(why));
        }
        let taken = |what, value: &dyn std::fmt::Display| {
            Err(BackendError::new(ErrorKind::AlreadyExists, ENROLL).with(what, value))
        };
        if self.owner(key).is_some() {
            return taken("key", key);
        }
        let agent = match known {
            None if self.agents.contains_key(&request.host) => return taken("host", &request.host),
            None => {
                let (host, token) = (request.host.clone(), request.token.clone());
                Agent::new(host, natural_key.clone(), *key, grant.labels, token, *now)
            }
            Some(known) => {
                known.demand_active(ENROLL)?;
                let mut agent = known.clone();
                agent.reinstall(*key, grant.labels, request.token.clone(), *now);
                agent
            }
        };
        if let Some((grant, _)) = self.grants.get_mut(&request.token) {
            grant.used += 1;
        }
        self.agents.insert(agent.host.clone(), agent.clone());
        Ok(agent)
    }
}

impl MemoryAgentRegistry {
    /// A registry without agents.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

const ENROLL: &str = "agent.enroll";

#[async_trait]
impl AgentRegistry for MemoryAgentRegistry {
    async fn create_join_token(
        &self,
        permit: &Permit,
        request: &CreateJoinToken,
    ) -> BackendResult<JoinGrant> {
        const CREATE: &str = "agent.create_join_token";
        permit.demand(Action::HostEnroll, &Resource::System, CREATE)?;
        let error = |kind| BackendError::new(kind, CREATE).with("token", &request.id);
        if request.expires_at <= request.created_at {
            let why = "it would have expired before it is made";
            return Err(error(ErrorKind::InvalidInput).with("reason", why));
        }
        let mut state = lock(&self.state);
        if state.grants.contains_key(&request.id) {
            return Err(error(ErrorKind::AlreadyExists));
        }
        let grant = JoinGrant::new(request, permit.principal().clone());
        state.grants.insert(request.id.clone(), (grant.clone(), request.secret));
        Ok(grant)
    }

    async fn join_tokens(
        &self,
        after: Option<&TokenId>,
        limit: usize,
    ) -> BackendResult<Vec<JoinGrant>> {
        let state = lock(&self.state);
        let rest = state.grants.range::<TokenId, _>((after.map_or(Unbounded, Excluded), Unbounded));
        Ok(rest.map(|(_, (grant, _))| grant).take(limit).cloned().collect())
    }

    async fn revoke_join_token(
        &self,
        permit: &Permit,
        id: &TokenId,
        now: Timestamp,
    ) -> BackendResult<()> {
        const REVOKE: &str = "agent.revoke_join_token";
        permit.demand(Action::HostEnroll, &Resource::System, REVOKE)?;
        let mut state = lock(&self.state);
        let missing = || BackendError::new(ErrorKind::NotFound, REVOKE).with("token", id);
        let (grant, _) = state.grants.get_mut(id).ok_or_else(missing)?;
        grant.revoked_at.get_or_insert(now);
        Ok(())
    }

    async fn enroll(&self, request: &EnrollAgent) -> BackendResult<Agent> {
        lock(&self.state).enroll(request)
    }

    async fn identify(&self, key: &KeyFingerprint) -> BackendResult<Agent> {
        const IDENTIFY: &str = "agent.identify";
        let mut state = lock(&self.state);
        let agent = state.owner_mut(key, IDENTIFY)?;
        agent.present(key);
        agent.demand_active(IDENTIFY)?;
        Ok(agent.clone())
    }

    async fn certify(&self, request: &CertifyAgent) -> BackendResult<Agent> {
        const CERTIFY: &str = "agent.certify";
        let mut state = lock(&self.state);
        let owner = state.owner(&request.key).map(|it| it.host.clone());
        let agent = state.owner_mut(&request.holder, CERTIFY)?;
        agent.present(&request.holder);
        agent.demand_active(CERTIFY)?;
        if owner.is_some() && !agent.has_key(&request.key) {
            return Err(BackendError::new(ErrorKind::AlreadyExists, CERTIFY)
                .with("host", &agent.host)
                .with("key", request.key));
        }
        agent.certify(request.key, request.certificate.clone());
        Ok(agent.clone())
    }

    async fn arrive(&self, host: &HostName, boot: &BootId, now: Timestamp) -> BackendResult<Agent> {
        const ARRIVE: &str = "agent.arrive";
        let mut state = lock(&self.state);
        let agent = state.agent_mut(host, ARRIVE)?;
        agent.arrive(boot);
        agent.demand_active(ARRIVE)?;
        agent.see(now);
        Ok(agent.clone())
    }

    async fn hear(&self, host: &HostName, now: Timestamp) -> BackendResult<()> {
        const HEAR: &str = "agent.hear";
        let mut state = lock(&self.state);
        let agent = state.agent_mut(host, HEAR)?;
        agent.demand_active(HEAR)?;
        agent.see(now);
        Ok(())
    }

    async fn describe(&self, host: &HostName, facts: &AgentFacts) -> BackendResult<()> {
        const DESCRIBE: &str = "agent.describe";
        let mut state = lock(&self.state);
        let agent = state.agent_mut(host, DESCRIBE)?;
        agent.demand_active(DESCRIBE)?;
        facts.clone_into(&mut agent.facts);
        Ok(())
    }

    async fn agent(&self, host: &HostName) -> BackendResult<Agent> {
        let state = lock(&self.state);
        state.agents.get(host).cloned().ok_or_else(|| missing("agent.agent", host))
    }

    async fn agents(&self, after: Option<&HostName>, limit: usize) -> BackendResult<Vec<Agent>> {
        let state = lock(&self.state);
        let rest =
            state.agents.range::<HostName, _>((after.map_or(Unbounded, Excluded), Unbounded));
        Ok(rest.map(|(_, agent)| agent).take(limit).cloned().collect())
    }

    async fn kept_out(&self) -> BackendResult<Vec<HostName>> {
        let state = lock(&self.state);
        let kept_out = state.agents.values().filter(|it| it.state != AgentState::Active);
        Ok(kept_out.map(|it| it.host.clone()).collect())
    }

    async fn decide(
        &self,
        permit: &Permit,
        host: &HostName,
        decided: AgentState,
        reason: &str,
    ) -> BackendResult<Agent> {
        const DECIDE: &str = "agent.decide";
        permit.demand(Action::HostEnroll, &Resource::Host(host.clone(), None), DECIDE)?;
        let mut state = lock(&self.state);
        let agent = state.agent_mut(host, DECIDE)?;
        agent.decide(decided, reason);
        Ok(agent.clone())
    }

    async fn remove(&self, permit: &Permit, host: &HostName) -> BackendResult<()> {
        const REMOVE: &str = "agent.remove";
        permit.demand(Action::HostEnroll, &Resource::Host(host.clone(), None), REMOVE)?;
        let removed = lock(&self.state).agents.remove(host);
        removed.map(drop).ok_or_else(|| missing(REMOVE, host))
    }
}

fn missing(operation: &'static str, host: &HostName) -> BackendError {
    BackendError::new(ErrorKind::NotFound, operation).with("host", host)
}
