use crate::{
    arg::{int, limit},
    body::{Body, FORMAT, decode},
    database::Database,
    row::{Damage, Row},
    store::Store,
};
use async_trait::async_trait;
use deploy_core::{
    access::{Action, Permit, Resource},
    backend::{CreateToken, CredentialStore, Token},
    error::{BackendError, BackendResult, ErrorKind},
    id::TokenId,
    telemetry::{ERROR_KIND, TARGET_BACKEND},
    time::Timestamp,
    token::SecretHash,
};

const AUTHENTICATE: &str = "credential.authenticate";
const CREATE: &str = "credential.create";
const REVOKE: &str = "credential.revoke";

/// Keeps API tokens in SQL.
#[derive(Clone, Debug)]
pub struct SqlCredentialStore {
    store: Store,
}

impl SqlCredentialStore {
    /// The tokens in `database`.
    #[must_use]
    pub fn new(database: &Database) -> Self {
        Self { store: database.main().clone() }
    }

    async fn insert(&self, token: &Token, secret: &SecretHash) -> BackendResult<u64> {
        const SQL: &str = "INSERT INTO api_tokens (id, secret, format, checksum, body) \
             VALUES ($1, $2, $3, $4, $5) ON CONFLICT (id) DO NOTHING";
        let body = Body::encode(CREATE, FORMAT, token)?;
        let [format, checksum, json] = body.args();
        let secret = secret.as_bytes().as_slice().into();
        let mut transaction = self.store.begin(CREATE).await?;
        let written = transaction
            .execute(SQL, &[token.id.as_str().into(), secret, format, checksum, json])
            .await;
        transaction.finish(written).await
    }

    async fn find(&self, id: &TokenId) -> BackendResult<Option<(Token, SecretHash)>> {
        const SQL: &str = "SELECT id, last_used_at, revoked_at, format, checksum, body, secret \
             FROM api_tokens WHERE id = $1";
        let rows = self.store.fetch(AUTHENTICATE, SQL, &[id.as_str().into()]).await?;
        let decode = |row: &Row| Ok((decode_token(row)?, secret(row, 6)?));
        let found = self.store.place(AUTHENTICATE, "api_tokens").decode_all(&rows, decode)?;
        Ok(found.into_iter().next())
    }

    /// Notes a use, unless another process has just done it.
    async fn note_use(&self, id: &TokenId, now: Timestamp) -> BackendResult<()> {
        const SQL: &str = "UPDATE api_tokens SET last_used_at = $2 \
             WHERE id = $1 AND (last_used_at IS NULL OR last_used_at <= $3)";
        let step = u64::try_from(Token::USE_STEP.as_millis()).unwrap_or(u64::MAX);
        let millis = int(AUTHENTICATE, "now", now.as_millis())?;
        let before = int(AUTHENTICATE, "now", now.as_millis().saturating_sub(step))?;
        let mut transaction = self.store.begin(AUTHENTICATE).await?;
        let args = [id.as_str().into(), millis.into(), before.into()];
        let noted = transaction.execute(SQL, &args).await;
        transaction.finish(noted).await.map(drop)
    }
}

#[async_trait]
impl CredentialStore for SqlCredentialStore {
    async fn create(&self, permit: &Permit, request: &CreateToken) -> BackendResult<Token> {
        permit.demand(Action::TokenWrite, &Resource::System, CREATE)?;
        let error = |kind| self.store.error(kind, CREATE).with("token", &request.id);
        if request.expires_at <= request.created_at {
            let why = "it would have expired before it is made";
            return Err(error(ErrorKind::InvalidInput).with("reason", why));
        }
        let token = Token::new(request, permit.principal().clone());
        match self.insert(&token, &request.secret).await? {
            0 => Err(error(ErrorKind::AlreadyExists)),
            _ => Ok(token),
        }
    }

    async fn authenticate(
        &self,
        id: &TokenId,
        secret: &SecretHash,
        now: Timestamp,
    ) -> BackendResult<Token> {
        let found = self.find(id).await?.filter(|(_, kept)| kept.matches(secret));
        let (mut token, _) = found.ok_or_else(|| refused(id, "there is no such token"))?;
        if let Some(why) = token.refusal(now) {
            return Err(refused(id, why));
        }
        if token.notes_use_at(now) {
            token.last_used_at = Some(now);
            // Whoever may speak may also do so while nothing can be written.
            if let Err(err) = self.note_use(id, now).await {
                tracing::warn!(
                    target: TARGET_BACKEND,
                    { { ERROR_KIND } = err.kind().as_str(), token = id.as_str(), error = err.chain() },
                    "use of a token could not be noted"
                );
            }
        }
        Ok(token)
    }

    async fn tokens(&self, after: Option<&TokenId>, most: usize) -> BackendResult<Vec<Token>> {
        const TOKENS: &str = "credential.tokens";
        const SQL: &str = "SELECT id, last_used_at, revoked_at, format, checksum, body \
             FROM api_tokens WHERE id > $1 ORDER BY id LIMIT $2";
        // Every id is greater than the empty text, which is none.
        let after = after.map_or("", TokenId::as_str);
        let rows = self.store.fetch(TOKENS, SQL, &[after.into(), limit(most)]).await?;
        self.store.place(TOKENS, "api_tokens").decode_all(&rows, decode_token)
    }

    async fn revoke(&self, permit: &Permit, id: &TokenId, now: Timestamp) -> BackendResult<()> {
        const SQL: &str =
            "UPDATE api_tokens SET revoked_at = COALESCE(revoked_at, $2) WHERE id = $1";
        permit.demand(Action::TokenWrite, &Resource::System, REVOKE)?;
        let millis = int(REVOKE, "now", now.as_millis())?;
        let mut transaction = self.store.begin(REVOKE).await?;
        let revoked = transaction.execute(SQL, &[id.as_str().into(), millis.into()]).await;
        match transaction.finish(revoked).await? {
            0 => Err(self.store.error(ErrorKind::NotFound, REVOKE).with("token", id)),
            _ => Ok(()),
        }
    }
}

/// Without the database: whoever is refused is a stranger.
fn refused(id: &TokenId, why: &'static str) -> BackendError {
    BackendError::new(ErrorKind::Unauthenticated, AUTHENTICATE)
        .with("token", id)
        .with("reason", why)
}

/// Reads the columns `id, last_used_at, revoked_at, format, checksum, body`.
fn decode_token(row: &Row) -> Result<Token, Damage> {
    let mut token: Token = decode(row, 3, FORMAT)?;
    if token.id.as_str() != row.text(0)? {
        return Err(Damage::Contradiction("its body is that of another token"));
    }
    token.last_used_at = row.maybe_time(1)?;
    token.revoked_at = row.maybe_time(2)?;
    Ok(token)
}

/// Reads the hash of a secret.
pub(crate) fn secret(row: &Row, at: usize) -> Result<SecretHash, Damage> {
    let bytes = <[u8; 32]>::try_from(row.bytes(at)?);
    let bytes = bytes.map_err(|_| Damage::Contradiction("the hash in it is not one"))?;
    Ok(SecretHash::from_bytes(bytes))
}
