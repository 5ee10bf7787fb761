//! Agents, and the join tokens by which machines become hosts.
use crate::{Client, ClientError, PageOf, http::Asked, query::encoded};
use deploy_wire::{Agent, AgentDecision, IssuedJoinToken, JoinToken, NewJoinToken, Page, Relay};
use hyper::Method;

/// # Errors
/// All methods: what the server refuses, and that there is no answer.
impl Client {
    /// Agents, in the order of their hosts.
    pub async fn agents(&self, page: &PageOf) -> Result<Page<Agent>, ClientError> {
        self.get(page.path("/api/v1/agents", &[])).await
    }

    /// The agent of a host.
    pub async fn agent(&self, host: &str) -> Result<Agent, ClientError> {
        self.get(format!("/api/v1/agents/{}", encoded(host))).await
    }

    /// Lets an agent in that was kept out, or keeps it out: at once.
    pub async fn decide_agent(
        &self,
        host: &str,
        decision: &AgentDecision,
    ) -> Result<Agent, ClientError> {
        self.post(&format!("/api/v1/agents/{}/decisions", encoded(host)), decision).await
    }

    /// Forgets an agent, so that its machine may enrol as a new one. The host stays.
    pub async fn remove_agent(&self, host: &str) -> Result<(), ClientError> {
        self.delete(format!("/api/v1/agents/{}", encoded(host))).await
    }

    /// Relays, in the order of their names.
    pub async fn relays(&self, page: &PageOf) -> Result<Page<Relay>, ClientError> {
        self.get(page.path("/api/v1/relays", &[])).await
    }

    /// Join tokens, also those that are worth nothing any more.
    pub async fn join_tokens(&self, page: &PageOf) -> Result<Page<JoinToken>, ClientError> {
        self.get(page.path("/api/v1/join-tokens", &[])).await
    }

    /// Makes a join token. Its secret is in the answer and nowhere else, so this is sent once: if there is no answer, look whether there is
    /// a token.
    pub async fn create_join_token(
        &self,
        token: &NewJoinToken,
    ) -> Result<IssuedJoinToken, ClientError> {
        let asked = Asked::new(Method::POST, "/api/v1/join-tokens").with_json(token)?;
        self.http.json(asked).await
    }

    /// Revokes a join token, at once and for good. Hosts that it has let in stay.
    pub async fn revoke_join_token(&self, id: &str) -> Result<(), ClientError> {
        self.delete(format!("/api/v1/join-tokens/{}", encoded(id))).await
    }
}
