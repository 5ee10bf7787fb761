//! Join tokens as they lie in their table.
use super::{CREATE, ENROLL, REVOKE, SqlAgentRegistry, millis};
use crate::{
    arg::limit,
    body::{Body, FORMAT, decode},
    credential::secret,
    row::{Damage, Row},
    store::Transaction,
};
use deploy_core::{
    backend::{EnrollAgent, JoinGrant},
    error::BackendResult,
    id::TokenId,
    time::Timestamp,
    token::SecretHash,
};

impl SqlAgentRegistry {
    pub(super) async fn insert_grant(
        &self,
        grant: &JoinGrant,
        secret: &SecretHash,
    ) -> BackendResult<u64> {
        const SQL: &str = "INSERT INTO join_tokens \
             (id, secret, uses, used, expires_at, format, checksum, body) \
             VALUES ($1, $2, $3, 0, $4, $5, $6, $7) ON CONFLICT (id) DO NOTHING";
        let body = Body::encode(CREATE, FORMAT, grant)?;
        let [format, checksum, json] = body.args();
        let args = [
            grant.id.as_str().into(),
            secret.as_bytes().as_slice().into(),
            i64::from(grant.uses.get()).into(),
            millis(CREATE, grant.expires_at)?.into(),
            format,
            checksum,
            json,
        ];
        let mut transaction = self.store.begin(CREATE).await?;
        let written = transaction.execute(SQL, &args).await;
        transaction.finish(written).await
    }

    pub(super) async fn grants_after(
        &self,
        after: Option<&TokenId>,
        most: usize,
    ) -> BackendResult<Vec<JoinGrant>> {
        const JOIN_TOKENS: &str = "agent.join_tokens";
        const SQL: &str = "SELECT id, used, revoked_at, format, checksum, body FROM join_tokens \
             WHERE id > $1 ORDER BY id LIMIT $2";
        // Every id is greater than the empty text, which is none.
        let after = after.map_or("", TokenId::as_str);
        let rows = self.store.fetch(JOIN_TOKENS, SQL, &[after.into(), limit(most)]).await?;
        self.store.place(JOIN_TOKENS, "join_tokens").decode_all(&rows, decode_grant)
    }

    /// Gives the number of tokens that are revoked now.
    pub(super) async fn revoke_grant(&self, id: &TokenId, now: Timestamp) -> BackendResult<u64> {
        const SQL: &str =
            "UPDATE join_tokens SET revoked_at = COALESCE(revoked_at, $2) WHERE id = $1";
        let now = millis(REVOKE, now)?;
        let mut transaction = self.store.begin(REVOKE).await?;
        let revoked = transaction.execute(SQL, &[id.as_str().into(), now.into()]).await;
        transaction.finish(revoked).await
    }

    /// The join token that a host presents, if it has its secret.
    pub(super) async fn presented(&self, request: &EnrollAgent) -> BackendResult<JoinGrant> {
        const SQL: &str = "SELECT id, used, revoked_at, format, checksum, body, secret \
             FROM join_tokens WHERE id = $1";
        let rows = self.store.fetch(ENROLL, SQL, &[request.token.as_str().into()]).await?;
        let decode = |row: &Row| Ok((decode_grant(row)?, secret(row, 6)?));
        let found = self.store.place(ENROLL, "join_tokens").decode_all(&rows, decode)?;
        let found = found.into_iter().find(|(_, kept)| kept.matches(&request.secret));
        found.map(|(grant, _)| grant).ok_or_else(|| request.refused("there is no such join token"))
    }

    /// Uses a join token, if it is worth anything: one step, whoever else is at it.
    pub(super) async fn use_token(
        &self,
        transaction: &mut Transaction,
        request: &EnrollAgent,
    ) -> BackendResult<Option<JoinGrant>> {
        const SQL: &str = "UPDATE join_tokens SET used = used + 1 \
             WHERE id = $1 AND used < uses AND expires_at > $2 AND revoked_at IS NULL \
             RETURNING id, used, revoked_at, format, checksum, body";
        let args = [request.token.as_str().into(), millis(ENROLL, request.now)?.into()];
        let rows = transaction.fetch(SQL, &args).await?;
        let used = self.store.place(ENROLL, "join_tokens").decode_all(&rows, decode_grant)?;
        Ok(used.into_iter().next())
    }
}

/// Reads the columns `id, used, revoked_at, format, checksum, body`.
fn decode_grant(row: &Row) -> Result<JoinGrant, Damage> {
    let mut grant: JoinGrant = decode(row, 3, FORMAT)?;
    if grant.id.as_str() != row.text(0)? {
        return Err(Damage::Contradiction("its body is that of another join token"));
    }
    grant.used = u32::try_from(row.int(1)?)?;
    grant.revoked_at = row.maybe_time(2)?;
    Ok(grant)
}
