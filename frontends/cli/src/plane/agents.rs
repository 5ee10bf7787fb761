//! The agents of hosts, and the join tokens by which machines become hosts.
use super::{OwnPlane, RemotePlane, remote::first};
use crate::problem::invalid;
use async_trait::async_trait;
use deploy_core::id::{HostName, TokenId};
use deploy_wire::{Agent, AgentDecision, IssuedJoinToken, JoinToken, NewJoinToken, Problem, Relay};

/// What commands ask for about agents. Lists come whole, however long.
#[async_trait]
pub(crate) trait AgentPlane {
    async fn agents(&self) -> Result<Vec<Agent>, Problem>;
    async fn agent(&self, host: &HostName) -> Result<Agent, Problem>;
    async fn decide_agent(
        &self,
        host: &HostName,
        decision: &AgentDecision,
    ) -> Result<Agent, Problem>;
    async fn remove_agent(&self, host: &HostName) -> Result<(), Problem>;

    async fn relays(&self) -> Result<Vec<Relay>, Problem>;
    async fn join_tokens(&self) -> Result<Vec<JoinToken>, Problem>;
    async fn create_join_token(&self, token: &NewJoinToken) -> Result<IssuedJoinToken, Problem>;
    async fn revoke_join_token(&self, id: &TokenId) -> Result<(), Problem>;
}

/// How many are read at a time.
const AT_A_TIME: usize = 1_000;

#[async_trait]
impl AgentPlane for OwnPlane {
    async fn agents(&self) -> Result<Vec<Agent>, Problem> {
        let (agents, mut all, mut after) = (self.embedded.agents()?, Vec::new(), None);
        loop {
            let page = self.operations.agents(&agents, after.as_ref(), AT_A_TIME).await?;
            all.extend(page.items);
            after = page.next.as_deref().map(str::parse).transpose().map_err(invalid)?;
            if after.is_none() {
                return Ok(all);
            }
        }
    }

    async fn agent(&self, host: &HostName) -> Result<Agent, Problem> {
        self.operations.agent(&self.embedded.agents()?, host).await
    }

    async fn decide_agent(
        &self,
        host: &HostName,
        decision: &AgentDecision,
    ) -> Result<Agent, Problem> {
        self.operations.decide_agent(&self.embedded.agents()?, host, decision).await
    }

    async fn remove_agent(&self, host: &HostName) -> Result<(), Problem> {
        self.operations.remove_agent(&self.embedded.agents()?, host).await
    }

    async fn relays(&self) -> Result<Vec<Relay>, Problem> {
        let (agents, mut all, mut after) = (self.embedded.agents()?, Vec::new(), None);
        loop {
            let page = self.operations.relays(&agents, after.as_ref(), AT_A_TIME).await?;
            all.extend(page.items);
            after = page.next.as_deref().map(str::parse).transpose().map_err(invalid)?;
            if after.is_none() {
                return Ok(all);
            }
        }
    }

    async fn join_tokens(&self) -> Result<Vec<JoinToken>, Problem> {
        let (agents, mut all, mut after) = (self.embedded.agents()?, Vec::new(), None);
        loop {
            let page = self.operations.join_tokens(&agents, after.as_ref(), AT_A_TIME).await?;
            all.extend(page.items);
            after = page.next.as_deref().map(str::parse).transpose().map_err(invalid)?;
            if after.is_none() {
                return Ok(all);
            }
        }
    }

    async fn create_join_token(&self, token: &NewJoinToken) -> Result<IssuedJoinToken, Problem> {
        self.operations.create_join_token(&self.embedded.agents()?, token).await
    }

    async fn revoke_join_token(&self, id: &TokenId) -> Result<(), Problem> {
        self.operations.revoke_join_token(&self.embedded.agents()?, id).await
    }
}

#[async_trait]
impl AgentPlane for RemotePlane {
    async fn agents(&self) -> Result<Vec<Agent>, Problem> {
        self.all(self.client.agents(&first(usize::MAX)).await, usize::MAX).await
    }

    async fn agent(&self, host: &HostName) -> Result<Agent, Problem> {
        self.told(self.client.agent(host.as_str()).await)
    }

    async fn decide_agent(
        &self,
        host: &HostName,
        decision: &AgentDecision,
    ) -> Result<Agent, Problem> {
        self.told(self.client.decide_agent(host.as_str(), decision).await)
    }

    async fn remove_agent(&self, host: &HostName) -> Result<(), Problem> {
        self.told(self.client.remove_agent(host.as_str()).await)
    }

    async fn relays(&self) -> Result<Vec<Relay>, Problem> {
        self.all(self.client.relays(&first(usize::MAX)).await, usize::MAX).await
    }

    async fn join_tokens(&self) -> Result<Vec<JoinToken>, Problem> {
        self.all(self.client.join_tokens(&first(usize::MAX)).await, usize::MAX).await
    }

    async fn create_join_token(&self, token: &NewJoinToken) -> Result<IssuedJoinToken, Problem> {
        self.told(self.client.create_join_token(token).await)
    }

    async fn revoke_join_token(&self, id: &TokenId) -> Result<(), Problem> {
        self.told(self.client.revoke_join_token(id.as_str()).await)
    }
}
