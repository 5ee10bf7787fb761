use super::lock;
use crate::{
    backend::{Answer, AnswerClaim, AnswerStore, BeginAnswer, Begun, IdempotencyKey},
    digest::Digest,
    error::{BackendError, BackendResult, ErrorKind},
    id::Principal,
    time::Timestamp,
};
use async_trait::async_trait;
use std::{collections::BTreeMap, sync::Mutex};

/// Keeps answers in memory.
#[derive(Debug, Default)]
pub struct MemoryAnswerStore {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    requests: BTreeMap<(Principal, IdempotencyKey), Request>,
    /// The last epoch given out, over all keys: one that is free again must not repeat its own.
    epoch: u64,
}

#[derive(Debug)]
struct Request {
    digest: Digest,
    epoch: u64,
    holder: String,
    answer: Option<(Answer, Timestamp)>,
}

impl MemoryAnswerStore {
    /// A store without answers.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

#[async_trait]
impl AnswerStore for MemoryAnswerStore {
    async fn begin(&self, request: &BeginAnswer) -> BackendResult<Begun> {
        if request.holder.is_empty() {
            return Err(
                BackendError::new(ErrorKind::InvalidInput, "answer.begin").with("holder", "")
            );
        }
        let mut state = lock(&self.state);
        let key = (request.principal.clone(), request.key.clone());
        match state.requests.get(&key) {
            Some(there) if there.digest != request.request => return Ok(Begun::Other),
            Some(Request { answer: Some((answer, _)), .. }) => {
                return Ok(Begun::Answered(answer.clone()));
            }
            Some(there) if request.dead.as_ref() != Some(&there.holder) => {
                return Ok(Begun::Running { holder: there.holder.clone() });
            }
            Some(_) | None => {}
        }
        state.epoch += 1;
        let claim = AnswerClaim::new(key.0.clone(), key.1.clone(), state.epoch);
        let (digest, holder) = (request.request, request.holder.clone());
        let begun = Request { digest, epoch: state.epoch, holder, answer: None };
        state.requests.insert(key, begun);
        Ok(Begun::New(claim))
    }

    async fn finish(
        &self,
        claim: &AnswerClaim,
        answer: &Answer,
        now: Timestamp,
    ) -> BackendResult<()> {
        let error = |kind| BackendError::new(kind, "answer.finish").with("key", &claim.key);
        let mut state = lock(&self.state);
        let there = state.requests.get_mut(&(claim.principal.clone(), claim.key.clone()));
        let mine = there.filter(|it| it.epoch == claim.epoch);
        let mine = mine.ok_or_else(|| error(ErrorKind::Fenced))?;
        match &mine.answer {
            None => mine.answer = Some((answer.clone(), now)),
            Some((there, _)) if there == answer => {}
            Some(_) => return Err(error(ErrorKind::Conflict)),
        }
        Ok(())
    }

    async fn release(&self, claim: &AnswerClaim) -> BackendResult<()> {
        let key = (claim.principal.clone(), claim.key.clone());
        let mut state = lock(&self.state);
        let mine = |it: &Request| it.epoch == claim.epoch && it.answer.is_none();
        if state.requests.get(&key).is_some_and(mine) {
            state.requests.remove(&key);
        }
        Ok(())
    }

    async fn forget(&self, before: Timestamp) -> BackendResult<u64> {
        let mut state = lock(&self.state);
        let had = state.requests.len();
        let is_old = |it: &Request| it.answer.as_ref().is_some_and(|(_, at)| *at < before);
        state.requests.retain(|_, request| !is_old(request));
        Ok(u64::try_from(had - state.requests.len()).unwrap_or(u64::MAX))
    }
}
