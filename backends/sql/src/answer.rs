use crate::{
    arg::{Arg, int},
    database::Database,
    row::{Damage, Row},
    store::{Store, Transaction},
};
use async_trait::async_trait;
use deploy_core::{
    backend::{Answer, AnswerClaim, AnswerStore, BeginAnswer, Begun, IdempotencyKey},
    error::{BackendError, BackendResult, ErrorKind},
    id::Principal,
    time::Timestamp,
};

const BEGIN: &str = "answer.begin";
const FINISH: &str = "answer.finish";
const FORGET: &str = "answer.forget";
const RELEASE: &str = "answer.release";

/// Keeps answers to requests with idempotency keys in SQL.
#[derive(Clone, Debug)]
pub struct SqlAnswerStore {
    store: Store,
}

/// What the row of a request says.
struct Request {
    digest: Vec<u8>,
    epoch: i64,
    holder: String,
    answer: Option<Answer>,
}

impl SqlAnswerStore {
    /// The answers in `database`.
    #[must_use]
    pub fn new(database: &Database) -> Self {
        Self { store: database.main().clone() }
    }

    async fn take(
        &self,
        transaction: &mut Transaction,
        request: &BeginAnswer,
    ) -> BackendResult<Begun> {
        if let Some(begun) = self.insert(transaction, request).await? {
            return Ok(begun);
        }
        let there = self.find(transaction, BEGIN, &request.principal, &request.key).await?;
        let begun = match there {
            Some(there) if there.digest != request.request.as_bytes() => Some(Begun::Other),
            Some(Request { answer: Some(answer), .. }) => Some(Begun::Answered(answer)),
            Some(there) if request.dead.as_ref() == Some(&there.holder) => {
                drop_claim(transaction, there.epoch).await?;
                self.insert(transaction, request).await?
            }
            Some(there) => Some(Begun::Running { holder: there.holder }),
            None => None,
        };
        let contended = "somebody else begins it at the same time: try again";
        let error = || self.store.error(ErrorKind::Unavailable, BEGIN).with("reason", contended);
        begun.ok_or_else(error)
    }

    /// Takes a free key; `None` if it is not.
    async fn insert(
        &self,
        transaction: &mut Transaction,
        request: &BeginAnswer,
    ) -> BackendResult<Option<Begun>> {
        const SQL: &str = "INSERT INTO answers (principal, idempotency_key, request, holder) \
             VALUES ($1, $2, $3, $4) ON CONFLICT (principal, idempotency_key) DO NOTHING \
             RETURNING epoch";
        let args = [
            request.principal.as_str().into(),
            request.key.as_str().into(),
            request.request.as_bytes().as_slice().into(),
            request.holder.as_str().into(),
        ];
        let rows = transaction.fetch(SQL, &args).await?;
        let epochs = self.store.place(BEGIN, "answers").decode_all(&rows, |row| row.number(0))?;
        let claim = |epoch| AnswerClaim::new(request.principal.clone(), request.key.clone(), epoch);
        Ok(epochs.into_iter().next().map(|epoch| Begun::New(claim(epoch))))
    }

    async fn find(
        &self,
        transaction: &mut Transaction,
        operation: &'static str,
        principal: &Principal,
        key: &IdempotencyKey,
    ) -> BackendResult<Option<Request>> {
        const SQL: &str = "SELECT idempotency_key, epoch, request, holder, answered_at, status, headers, content \
             FROM answers WHERE principal = $1 AND idempotency_key = $2";
        let args = [principal.as_str().into(), key.as_str().into()];
        let rows = transaction.fetch(SQL, &args).await?;
        let found = self.store.place(operation, "answers").decode_all(&rows, decode_request)?;
        Ok(found.into_iter().next())
    }

    async fn keep(
        &self,
        transaction: &mut Transaction,
        claim: &AnswerClaim,
        answer: &Answer,
        now: Timestamp,
    ) -> BackendResult<()> {
        const SQL: &str = "UPDATE answers SET answered_at = $4, status = $5, headers = $6, content = $7 \
             WHERE principal = $1 AND idempotency_key = $2 AND epoch = $3 AND answered_at IS NULL";
        let headers = serde_json::to_string(&answer.headers)
            .map_err(|err| BackendError::new(ErrorKind::Internal, FINISH).because(err))?;
        let args = [
            claim.principal.as_str().into(),
            claim.key.as_str().into(),
            epoch(claim),
            int(FINISH, "now", now.as_millis())?.into(),
            i64::from(answer.status).into(),
            headers.as_str().into(),
            answer.body.as_slice().into(),
        ];
        if transaction.execute(SQL, &args).await? > 0 {
            return Ok(());
        }
        let error = |kind| self.store.error(kind, FINISH).with("key", &claim.key);
        let there = self.find(transaction, FINISH, &claim.principal, &claim.key).await?;
        match there.filter(|it| i64::try_from(claim.epoch) == Ok(it.epoch)) {
            Some(there) if there.answer.as_ref() == Some(answer) => Ok(()),
            Some(_) => Err(error(ErrorKind::Conflict)),
            None => Err(error(ErrorKind::Fenced)),
        }
    }
}

#[async_trait]
impl AnswerStore for SqlAnswerStore {
    async fn begin(&self, request: &BeginAnswer) -> BackendResult<Begun> {
        if request.holder.is_empty() || request.holder.contains('\0') {
            return Err(BackendError::new(ErrorKind::InvalidInput, BEGIN)
                .with("holder", request.holder.escape_debug()));
        }
        let mut transaction = self.store.begin(BEGIN).await?;
        let outcome = self.take(&mut transaction, request).await;
        transaction.finish(outcome).await
    }

    async fn finish(
        &self,
        claim: &AnswerClaim,
        answer: &Answer,
        now: Timestamp,
    ) -> BackendResult<()> {
        let mut transaction = self.store.begin(FINISH).await?;
        let outcome = self.keep(&mut transaction, claim, answer, now).await;
        transaction.finish(outcome).await
    }

    async fn release(&self, claim: &AnswerClaim) -> BackendResult<()> {
        const SQL: &str = "DELETE FROM answers \
             WHERE principal = $1 AND idempotency_key = $2 AND epoch = $3 AND answered_at IS NULL";
        let args = [claim.principal.as_str().into(), claim.key.as_str().into(), epoch(claim)];
        let mut transaction = self.store.begin(RELEASE).await?;
        let released = transaction.execute(SQL, &args).await;
        transaction.finish(released).await.map(drop)
    }

    async fn forget(&self, before: Timestamp) -> BackendResult<u64> {
        const SQL: &str = "DELETE FROM answers WHERE answered_at < $1";
        // No answer is younger than what no column can hold.
        let before = i64::try_from(before.as_millis()).unwrap_or(i64::MAX);
        let mut transaction = self.store.begin(FORGET).await?;
        let forgotten = transaction.execute(SQL, &[before.into()]).await;
        transaction.finish(forgotten).await
    }
}

/// Ends the claim of somebody who is gone, unless it has been answered or taken over meanwhile.
async fn drop_claim(transaction: &mut Transaction, epoch: i64) -> BackendResult<()> {
    const SQL: &str = "DELETE FROM answers WHERE epoch = $1 AND answered_at IS NULL";
    transaction.execute(SQL, &[epoch.into()]).await.map(drop)
}

/// An epoch that no column can hold is none that is there.
fn epoch(claim: &AnswerClaim) -> Arg<'static> {
    i64::try_from(claim.epoch).unwrap_or(i64::MAX).into()
}

fn decode_request(row: &Row) -> Result<Request, Damage> {
    let answer = match row.maybe_int(4)? {
        Some(_) => Some(decode_answer(row)?),
        None => None,
    };
    Ok(Request { epoch: row.int(1)?, digest: row.bytes(2)?, holder: row.text(3)?, answer })
}

fn decode_answer(row: &Row) -> Result<Answer, Damage> {
    let status = u16::try_from(row.int(5)?)?;
    let headers = serde_json::from_str(&row.text(6)?)?;
    Ok(Answer::new(status, row.bytes(7)?).with_headers(headers))
}
