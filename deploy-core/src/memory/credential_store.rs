use super::lock;
use crate::{
    access::{Action, Permit, Resource},
    backend::{CreateToken, CredentialStore, Token},
    error::{BackendError, BackendResult, ErrorKind},
    id::TokenId,
    time::Timestamp,
    token::SecretHash,
};
use async_trait::async_trait;
use std::{
    collections::BTreeMap,
    ops::Bound::{Excluded, Unbounded},
    sync::Mutex,
};

/// Keeps API tokens in memory.
#[derive(Debug, Default)]
pub struct MemoryCredentialStore {
    tokens: Mutex<BTreeMap<TokenId, (Token, SecretHash)>>,
}

impl MemoryCredentialStore {
    /// A store without tokens.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

#[async_trait]
impl CredentialStore for MemoryCredentialStore {
    async fn create(&self, permit: &Permit, request: &CreateToken) -> BackendResult<Token> {
        const CREATE: &str = "credential.create";
        permit.demand(Action::TokenWrite, &Resource::System, CREATE)?;
        let error = |kind| BackendError::new(kind, CREATE).with("token", &request.id);
        if request.expires_at <= request.created_at {
            let why = "it would have expired before it is made";
            return Err(error(ErrorKind::InvalidInput).with("reason", why));
        }
        let mut tokens = lock(&self.tokens);
        if tokens.contains_key(&request.id) {
            return Err(error(ErrorKind::AlreadyExists));
        }
        let token = Token::new(request, permit.principal().clone());
        tokens.insert(request.id.clone(), (token.clone(), request.secret));
        Ok(token)
    }

    async fn authenticate(
        &self,
        id: &TokenId,
        secret: &SecretHash,
        now: Timestamp,
    ) -> BackendResult<Token> {
        let mut tokens = lock(&self.tokens);
        let known = tokens.get_mut(id).filter(|(_, kept)| kept.matches(secret));
        let (token, _) = known.ok_or_else(|| refused(id, "there is no such token"))?;
        if let Some(why) = token.refusal(now) {
            return Err(refused(id, why));
        }
        if token.notes_use_at(now) {
            token.last_used_at = Some(now);
        }
        Ok(token.clone())
    }

    async fn tokens(&self, after: Option<&TokenId>, limit: usize) -> BackendResult<Vec<Token>> {
        let tokens = lock(&self.tokens);
        let rest = tokens.range::<TokenId, _>((after.map_or(Unbounded, Excluded), Unbounded));
        Ok(rest.map(|(_, (token, _))| token).take(limit).cloned().collect())
    }

    async fn revoke(&self, permit: &Permit, id: &TokenId, now: Timestamp) -> BackendResult<()> {
        const REVOKE: &str = "credential.revoke";
        permit.demand(Action::TokenWrite, &Resource::System, REVOKE)?;
        let mut tokens = lock(&self.tokens);
        let missing = || BackendError::new(ErrorKind::NotFound, REVOKE).with("token", id);
        let (token, _) = tokens.get_mut(id).ok_or_else(missing)?;
        token.revoked_at.get_or_insert(now);
        Ok(())
    }
}

fn refused(id: &TokenId, why: &'static str) -> BackendError {
    BackendError::new(ErrorKind::Unauthenticated, "credential.authenticate")
        .with("token", id)
        .with("reason", why)
}
