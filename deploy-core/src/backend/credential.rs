use crate::{
    access::Permit,
    error::BackendResult,
    id::{Principal, TokenId},
    time::Timestamp,
    token::{SecretHash, TokenScope},
};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use std::{fmt, time::Duration};

/// What is known of an API token. Its secret is not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Token {
    /// The public half.
    pub id: TokenId,
    /// Whom it speaks for.
    pub principal: Principal,
    /// What it may be used for.
    pub scope: TokenScope,
    /// What it is for, in words of whoever made it.
    pub note: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// Who made it.
    pub created_by: Principal,
    /// From when on it is worth nothing.
    pub expires_at: Timestamp,
    /// When it was last used, to about [`Token::USE_STEP`]; `None` if it never was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_used_at: Option<Timestamp>,
    /// Since when it is worth nothing, by somebody's decision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<Timestamp>,
}

impl Token {
    /// A later use is written down only if it is this much later: a busy client is not a write a request.
    pub const USE_STEP: Duration = Duration::from_secs(60);

    /// The token that `request` makes, by `created_by`.
    #[must_use]
    pub fn new(request: &CreateToken, created_by: Principal) -> Self {
        Self {
            id: request.id.clone(),
            principal: request.principal.clone(),
            scope: request.scope.clone(),
            note: request.note.clone(),
            created_at: request.created_at,
            created_by,
            expires_at: request.expires_at,
            last_used_at: None,
            revoked_at: None,
        }
    }

    /// Why it is worth nothing at `now`; `None` while it is worth something.
    #[must_use]
    pub fn refusal(&self, now: Timestamp) -> Option<&'static str> {
        match self.revoked_at {
            Some(_) => Some("it was revoked"),
            None if self.expires_at <= now => Some("it has expired"),
            None => None,
        }
    }

    /// Whether a use at `now` is to be written down.
    #[must_use]
    pub fn notes_use_at(&self, now: Timestamp) -> bool {
        self.last_used_at.is_none_or(|last| now.since(last) >= Self::USE_STEP)
    }
}

/// The API token to make.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CreateToken {
    /// Its public half, never used before.
    pub id: TokenId,
    /// What is kept of its secret half.
    pub secret: SecretHash,
    /// Whom it speaks for.
    pub principal: Principal,
    /// What it may be used for.
    pub scope: TokenScope,
    /// What it is for, in words.
    pub note: String,
    /// Now.
    pub created_at: Timestamp,
    /// From when on it is worth nothing.
    pub expires_at: Timestamp,
}

impl CreateToken {
    /// A token for `principal` that is worth something from `created_at` until `expires_at`.
    #[must_use]
    pub const fn new(
        id: TokenId,
        secret: SecretHash,
        principal: Principal,
        scope: TokenScope,
        created_at: Timestamp,
        expires_at: Timestamp,
    ) -> Self {
        Self { id, secret, principal, scope, note: String::new(), created_at, expires_at }
    }

    /// Saying what it is for.
    #[must_use]
    pub fn with_note(mut self, note: impl Into<String>) -> Self {
        self.note = note.into();
        self
    }
}

/// Keeps API tokens: who speaks, and what for.
///
/// # Contract
/// * `create` keeps a token, made by whom the permit is for; an id that was ever used is `AlreadyExists`, and a token that is worth
///   nothing from the start is `InvalidInput`.
/// * `authenticate` gives the token of an id and its secret's hash. A wrong secret is `Unauthenticated`, and told in the same words
///   as an unknown id.
/// * A token that has expired at the given instant is `Unauthenticated`.
/// * A token that was revoked is `Unauthenticated` from then on, wherever it is presented.
/// * `authenticate` notes the use of a token. A use within a minute after the noted one is not noted, and neither is a refused one.
/// * `revoke` keeps the first instant: doing it again is no error. An unknown id is `NotFound`.
/// * `tokens` gives tokens in the order of their ids, after the id given, no more than asked for, and also those worth nothing.
/// * A permit for another action than `TokenWrite` is `PermissionDenied`, from `create` and `revoke` alike.
///
/// ```
/// use deploy_core::{
///     access::{Action, Resource},
///     backend::{CreateToken, CredentialStore, ErrorKind, authorize},
///     id::TokenId,
///     memory::{MemoryAuthorizer, MemoryCredentialStore, Rule},
///     time::Timestamp,
///     token::{ApiToken, TokenScope, TokenSecret},
/// };
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let rules = MemoryAuthorizer::new(vec![Rule::allow("ann".parse()?, [Action::TokenWrite])]);
/// let permit = authorize(&rules, "ann".parse()?, Action::TokenWrite, Resource::System).await?;
///
/// let token = ApiToken::new(TokenId::from_bits(7), TokenSecret::from_bytes([1; 32]));
/// let (from, until) = (Timestamp::from_millis(0), Timestamp::from_millis(60_000));
/// let scope = TokenScope::new([Action::RolloutControl]);
/// let ci = CreateToken::new(token.id.clone(), token.secret.hash(), "ci".parse()?, scope, from, until);
///
/// let store = MemoryCredentialStore::new();
/// store.create(&permit, &ci.with_note("the build server")).await?;
/// let presented: ApiToken = token.reveal().parse()?;
/// let found = store.authenticate(&presented.id, &presented.secret.hash(), from).await?;
/// assert_eq!(found.principal.as_str(), "ci");
/// let late = store.authenticate(&presented.id, &presented.secret.hash(), until).await;
/// assert_eq!(late.unwrap_err().kind(), ErrorKind::Unauthenticated);
/// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
/// ```
#[async_trait]
pub trait CredentialStore: fmt::Debug + Send + Sync + 'static {
    /// Makes a token.
    async fn create(&self, permit: &Permit, request: &CreateToken) -> BackendResult<Token>;

    /// Whose token it is that was presented at `now`.
    async fn authenticate(
        &self,
        id: &TokenId,
        secret: &SecretHash,
        now: Timestamp,
    ) -> BackendResult<Token>;

    /// Up to `limit` tokens after `after`.
    async fn tokens(&self, after: Option<&TokenId>, limit: usize) -> BackendResult<Vec<Token>>;

    /// Makes a token worth nothing from `now` on.
    async fn revoke(&self, permit: &Permit, id: &TokenId, now: Timestamp) -> BackendResult<()>;
}
