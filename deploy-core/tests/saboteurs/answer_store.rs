use async_trait::async_trait;
use deploy_core::{
    backend::{
        Answer, AnswerClaim, AnswerStore, BackendError, BackendResult, BeginAnswer, Begun,
        ErrorKind,
    },
    conformance::{Harness, sample},
    memory::MemoryAnswerStore,
    time::Timestamp,
};
use std::sync::{Arc, Mutex};

sabotages! {
    AnswersAnything,
    BuriesTheAnswered,
    BuriesTheLiving,
    ChangesItsAnswers,
    CountsWrong,
    ForgetsAtACrash,
    ForgetsEpochs,
    ForgetsEverything,
    ForgetsHeaders,
    GivesKeysToEverybody,
    HidesTheHolder,
    IgnoresTheDead,
    IsAlone,
    LetsTheDeadAnswer,
    LooksBeforeItBegins,
    RefusesToRepeat,
    ReleasesAnything,
    SharesKeys,
    SwallowsBodies,
}

type State = Arc<Kept>;

#[derive(Debug, Default)]
pub(crate) struct Kept {
    plain: MemoryAnswerStore,
    /// All that was begun, oldest first.
    begun: Mutex<Vec<(BeginAnswer, AnswerClaim)>>,
    finished: Mutex<Vec<AnswerClaim>>,
}

saboteurs!(AnswerStore, State);

fn state(_: Sabotage) -> State {
    State::default()
}

fn open(sabotage: Sabotage, kept: &State) -> Arc<dyn AnswerStore> {
    Arc::new(Saboteur(kept.clone(), sabotage))
}

#[derive(Debug)]
struct Saboteur(State, Sabotage);

impl Saboteur {
    /// The newest claim on the key of `claim`, and the request it is for.
    fn newest(&self, claim: &AnswerClaim) -> Option<(BeginAnswer, AnswerClaim)> {
        let begun = self.0.begun.lock().unwrap();
        let same = |it: &&(BeginAnswer, AnswerClaim)| {
            (&it.1.principal, &it.1.key) == (&claim.principal, &claim.key)
        };
        begun.iter().rev().find(same).cloned()
    }

    /// What is asked of the store beneath, and what is asked for it.
    async fn twist(&self, request: &BeginAnswer) -> BackendResult<BeginAnswer> {
        let mut request = request.clone();
        let there = AnswerClaim::new(request.principal.clone(), request.key.clone(), 0);
        let there = self.newest(&there);
        match (self.1, there) {
            (Sabotage::AnswersAnything, Some((before, _))) => request.request = before.request,
            (Sabotage::BuriesTheLiving, Some((before, _))) if request.dead.is_some() => {
                request.dead = Some(before.holder);
            }
            (Sabotage::GivesKeysToEverybody, Some((before, _))) => {
                request.dead = Some(before.holder);
            }
            (Sabotage::BuriesTheAnswered, Some(_)) if request.dead.is_some() => {
                self.0.plain.forget(Timestamp::from_millis(u64::MAX)).await?;
            }
            (Sabotage::IgnoresTheDead, _) => request.dead = None,
            (Sabotage::SharesKeys, _) => request.principal = sample::principal("everybody"),
            _ => {}
        }
        Ok(request)
    }

    /// Looks first, and takes what was free a moment ago.
    async fn begin_if_free(&self, request: &mut BeginAnswer) -> BackendResult<Begun> {
        let key = AnswerClaim::new(request.principal.clone(), request.key.clone(), 0);
        let free = self.newest(&key).is_none();
        for _ in 0..50 {
            tokio::task::yield_now().await;
        }
        match self.0.plain.begin(request).await? {
            Begun::Running { holder } if free => {
                request.dead = Some(holder);
                self.0.plain.begin(request).await
            }
            begun => Ok(begun),
        }
    }
}

#[async_trait]
impl AnswerStore for Saboteur {
    async fn begin(&self, request: &BeginAnswer) -> BackendResult<Begun> {
        let mut asked = self.twist(request).await?;
        let mut begun = match self.1 {
            Sabotage::LooksBeforeItBegins => self.begin_if_free(&mut asked).await?,
            _ => self.0.plain.begin(&asked).await?,
        };
        if let Begun::New(claim) = &begun {
            self.0.begun.lock().unwrap().push((asked, claim.clone()));
        }
        match (self.1, &mut begun) {
            (Sabotage::ForgetsEpochs, Begun::New(claim)) => claim.epoch = 1,
            (Sabotage::ForgetsHeaders, Begun::Answered(answer)) => answer.headers.clear(),
            (Sabotage::HidesTheHolder, Begun::Running { holder }) => holder.clear(),
            (Sabotage::SwallowsBodies, Begun::Answered(answer)) => answer.body.truncate(65_536),
            _ => {}
        }
        Ok(begun)
    }

    async fn finish(
        &self,
        claim: &AnswerClaim,
        answer: &Answer,
        now: Timestamp,
    ) -> BackendResult<()> {
        let Self(kept, sabotage) = self;
        let done = kept.plain.finish(claim, answer, now).await;
        match (sabotage, done.as_ref().map_err(BackendError::kind)) {
            (Sabotage::ChangesItsAnswers, Err(ErrorKind::Conflict)) => Ok(()),
            (Sabotage::ForgetsEpochs | Sabotage::LetsTheDeadAnswer, Err(ErrorKind::Fenced)) => {
                match self.newest(claim) {
                    Some((_, newest)) => kept.plain.finish(&newest, answer, now).await,
                    None => done,
                }
            }
            (Sabotage::RefusesToRepeat, Ok(())) => {
                let mut finished = kept.finished.lock().unwrap();
                if finished.contains(claim) {
                    return Err(BackendError::new(ErrorKind::Conflict, "answer.finish"));
                }
                finished.push(claim.clone());
                done
            }
            _ => done,
        }
    }

    async fn release(&self, claim: &AnswerClaim) -> BackendResult<()> {
        let newest = self.newest(claim).map(|(_, newest)| newest);
        match (self.1, newest) {
            (Sabotage::ForgetsEpochs | Sabotage::ReleasesAnything, Some(newest)) => {
                self.0.plain.release(&newest).await
            }
            _ => self.0.plain.release(claim).await,
        }
    }

    async fn forget(&self, before: Timestamp) -> BackendResult<u64> {
        let before = match self.1 {
            Sabotage::ForgetsEverything => Timestamp::from_millis(u64::MAX),
            _ => before,
        };
        let dropped = self.0.plain.forget(before).await?;
        Ok(if self.1 == Sabotage::CountsWrong { dropped + 1 } else { dropped })
    }
}
