//! Requests that this process has begun and could not answer.
use deploy_core::{
    backend::{AnswerClaim, IdempotencyKey},
    id::Principal,
    time::Timestamp,
};
use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// How many are known at the most. One more is not taken in.
const MOST: usize = 16_384;

/// Claims that nobody answers any more, though what was asked for may have been done, where that could not be written down. Whoever asks
/// again takes them over.
#[derive(Debug, Default)]
pub(crate) struct Left {
    claims: Mutex<BTreeMap<(Principal, IdempotencyKey), (AnswerClaim, Timestamp)>>,
}

impl Left {
    pub(crate) fn add(&self, claim: AnswerClaim, now: Timestamp) {
        let mut claims = self.claims();
        if claims.len() < MOST {
            claims.insert((claim.principal.clone(), claim.key.clone()), (claim, now));
        }
    }

    /// Gives a claim to the one caller that takes it over.
    pub(crate) fn take(&self, principal: &Principal, key: &IdempotencyKey) -> Option<AnswerClaim> {
        let taken = self.claims().remove(&(principal.clone(), key.clone()));
        taken.map(|(claim, _)| claim)
    }

    /// Those that nobody has asked for again since `before`. They are not known any more then.
    pub(crate) fn take_older(&self, before: Timestamp) -> Vec<AnswerClaim> {
        let old = self.claims().extract_if(.., |_, (_, at)| *at < before).collect::<Vec<_>>();
        old.into_iter().map(|(_, (claim, _))| claim).collect()
    }

    fn claims(
        &self,
    ) -> MutexGuard<'_, BTreeMap<(Principal, IdempotencyKey), (AnswerClaim, Timestamp)>> {
        self.claims.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
