//! Layers around the traits that say who speaks.
use super::{Layer, Layered, Operation};
use crate::{
    access::Permit,
    agent::{Agent, AgentFacts, AgentState, KeyFingerprint},
    backend::{
        AgentRegistry, Answer, AnswerClaim, AnswerStore, BeginAnswer, Begun, CertifyAgent,
        CreateJoinToken, CreateToken, CredentialStore, EnrollAgent, JoinGrant, Token,
    },
    error::BackendResult,
    id::{BootId, HostName, TokenId},
    time::Timestamp,
    token::SecretHash,
};
use async_trait::async_trait;

#[async_trait]
impl<B: AgentRegistry, L: Layer> AgentRegistry for Layered<B, L> {
    async fn create_join_token(
        &self,
        permit: &Permit,
        request: &CreateJoinToken,
    ) -> BackendResult<JoinGrant> {
        let operation = Operation::write("agent.create_join_token");
        self.layer.around(operation, || self.backend.create_join_token(permit, request)).await
    }

    async fn join_tokens(
        &self,
        after: Option<&TokenId>,
        limit: usize,
    ) -> BackendResult<Vec<JoinGrant>> {
        let operation = Operation::read("agent.join_tokens");
        self.layer.around(operation, || self.backend.join_tokens(after, limit)).await
    }

    async fn revoke_join_token(
        &self,
        permit: &Permit,
        id: &TokenId,
        now: Timestamp,
    ) -> BackendResult<()> {
        let operation = Operation::write("agent.revoke_join_token");
        self.layer.around(operation, || self.backend.revoke_join_token(permit, id, now)).await
    }

    async fn enroll(&self, request: &EnrollAgent) -> BackendResult<Agent> {
        let operation = Operation::write("agent.enroll");
        self.layer.around(operation, || self.backend.enroll(request)).await
    }

    async fn identify(&self, key: &KeyFingerprint) -> BackendResult<Agent> {
        let operation = Operation::write("agent.identify");
        self.layer.around(operation, || self.backend.identify(key)).await
    }

    async fn certify(&self, request: &CertifyAgent) -> BackendResult<Agent> {
        let operation = Operation::write("agent.certify");
        self.layer.around(operation, || self.backend.certify(request)).await
    }

    async fn arrive(&self, host: &HostName, boot: &BootId, now: Timestamp) -> BackendResult<Agent> {
        let operation = Operation::write("agent.arrive");
        self.layer.around(operation, || self.backend.arrive(host, boot, now)).await
    }

    async fn hear(&self, host: &HostName, now: Timestamp) -> BackendResult<()> {
        let operation = Operation::write("agent.hear");
        self.layer.around(operation, || self.backend.hear(host, now)).await
    }

    async fn describe(&self, host: &HostName, facts: &AgentFacts) -> BackendResult<()> {
        let operation = Operation::write("agent.describe");
        self.layer.around(operation, || self.backend.describe(host, facts)).await
    }

    async fn agent(&self, host: &HostName) -> BackendResult<Agent> {
        let operation = Operation::read("agent.agent");
        self.layer.around(operation, || self.backend.agent(host)).await
    }

    async fn agents(&self, after: Option<&HostName>, limit: usize) -> BackendResult<Vec<Agent>> {
        let operation = Operation::read("agent.agents");
        self.layer.around(operation, || self.backend.agents(after, limit)).await
    }

    async fn kept_out(&self) -> BackendResult<Vec<HostName>> {
        let operation = Operation::read("agent.kept_out");
        self.layer.around(operation, || self.backend.kept_out()).await
    }

    async fn decide(
        &self,
        permit: &Permit,
        host: &HostName,
        state: AgentState,
        reason: &str,
    ) -> BackendResult<Agent> {
        let operation = Operation::write("agent.decide");
        self.layer.around(operation, || self.backend.decide(permit, host, state, reason)).await
    }

    async fn remove(&self, permit: &Permit, host: &HostName) -> BackendResult<()> {
        let operation = Operation::write("agent.remove");
        self.layer.around(operation, || self.backend.remove(permit, host)).await
    }
}

#[async_trait]
impl<B: AnswerStore, L: Layer> AnswerStore for Layered<B, L> {
    async fn begin(&self, request: &BeginAnswer) -> BackendResult<Begun> {
        let operation = Operation::write("answer.begin");
        self.layer.around(operation, || self.backend.begin(request)).await
    }

    async fn finish(
        &self,
        claim: &AnswerClaim,
        answer: &Answer,
        now: Timestamp,
    ) -> BackendResult<()> {
        let operation = Operation::write("answer.finish");
        self.layer.around(operation, || self.backend.finish(claim, answer, now)).await
    }

    async fn release(&self, claim: &AnswerClaim) -> BackendResult<()> {
        let operation = Operation::write("answer.release");
        self.layer.around(operation, || self.backend.release(claim)).await
    }

    async fn forget(&self, before: Timestamp) -> BackendResult<u64> {
        let operation = Operation::write("answer.forget");
        self.layer.around(operation, || self.backend.forget(before)).await
    }
}

#[async_trait]
impl<B: CredentialStore, L: Layer> CredentialStore for Layered<B, L> {
    async fn create(&self, permit: &Permit, request: &CreateToken) -> BackendResult<Token> {
        let operation = Operation::write("credential.create");
        self.layer.around(operation, || self.backend.create(permit, request)).await
    }

    async fn authenticate(
        &self,
        id: &TokenId,
        secret: &SecretHash,
        now: Timestamp,
    ) -> BackendResult<Token> {
        // It may note the use of the token, which nobody has to look after: without an answer, the caller is a stranger.
        let operation = Operation::read("credential.authenticate");
        self.layer.around(operation, || self.backend.authenticate(id, secret, now)).await
    }

    async fn tokens(&self, after: Option<&TokenId>, limit: usize) -> BackendResult<Vec<Token>> {
        let operation = Operation::read("credential.tokens");
        self.layer.around(operation, || self.backend.tokens(after, limit)).await
    }

    async fn revoke(&self, permit: &Permit, id: &TokenId, now: Timestamp) -> BackendResult<()> {
        let operation = Operation::write("credential.revoke");
        self.layer.around(operation, || self.backend.revoke(permit, id, now)).await
    }
}
