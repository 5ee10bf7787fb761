//! Layers around the traits that say who speaks.
use super::{Layer, Layered, Operation};
use crate::{
    access::Permit,
    backend::{
        Answer, AnswerClaim, AnswerStore, BeginAnswer, Begun, CreateToken, CredentialStore, Token,
    },
    error::BackendResult,
    id::TokenId,
    time::Timestamp,
    token::SecretHash,
};
use async_trait::async_trait;

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
