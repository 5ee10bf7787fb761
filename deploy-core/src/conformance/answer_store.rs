//! Cases for [`AnswerStore`]. They need no more than a [`Harness`].
use super::{ConcurrentHarness, DurableHarness, Harness, race, refused, sample};
use crate::{
    backend::{Answer, AnswerClaim, AnswerStore, BeginAnswer, Begun},
    digest::Digest,
    error::ErrorKind,
};
use sample::{at, name, principal};
use std::sync::Arc;

/// The request `what` of `ann` under the key `k1`.
fn begin(what: &str, holder: &str) -> BeginAnswer {
    BeginAnswer::new(principal("ann"), name("k1"), Digest::of(what.as_bytes()), holder)
}

fn answer(body: &[u8]) -> Answer {
    let headers = [("location", "/api/v1/rollouts/r1"), ("x-odd", "ü\u{0}")];
    let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned()));
    Answer::new(201, body.to_vec()).with_headers(headers.to_vec())
}

async fn claim(store: &Arc<dyn AnswerStore>, request: &BeginAnswer) -> AnswerClaim {
    match store.begin(request).await.unwrap() {
        Begun::New(claim) => claim,
        other => panic!("gave {other:?} where a claim was due"),
    }
}

fn running(holder: &str) -> Begun {
    Begun::Running { holder: holder.to_owned() }
}

/// > `begin` of a key that is free gives `New`, with a claim. Each principal has keys of its own.
pub async fn a_free_key_is_given<H: Harness<dyn AnswerStore>>(harness: &H) {
    let (store, _guard) = harness.fresh().await;
    let mine = claim(&store, &begin("a", "s1")).await;
    assert_eq!((mine.principal.as_str(), mine.key.as_str()), ("ann", "k1"));
    let mut theirs = begin("a", "s1");
    theirs.principal = principal("bob");
    claim(&store, &theirs).await;
    let mut second = begin("a", "s1");
    second.key = name("k2");
    claim(&store, &second).await;
}

/// > Of any number of callers that begin one request at once, one gets `New`.
pub async fn one_of_many_callers_wins<H: Harness<dyn AnswerStore>>(harness: &H) {
    let (store, _guard) = harness.fresh().await;
    one_wins(&vec![store; 8]).await;
}

async fn one_wins(handles: &[Arc<dyn AnswerStore>]) {
    let callers = handles.iter().enumerate().map(|(at, store)| {
        let store = Arc::clone(store);
        async move {
            let holder = format!("server-{at}");
            (store.begin(&begin("a", &holder)).await.unwrap(), holder)
        }
    });
    let done = race(callers).await;
    let won: Vec<_> = done.iter().filter(|it| matches!(it.0, Begun::New(_))).collect();
    assert_eq!(won.len(), 1, "{done:?}");
    let others = done.iter().filter(|it| !matches!(it.0, Begun::New(_)));
    others.for_each(|(begun, _)| assert_eq!(*begun, running(&won[0].1)));
}

/// > `begin` of a request that somebody is at gives `Running` and names the holder
pub async fn a_request_is_answered_by_one<H: Harness<dyn AnswerStore>>(harness: &H) {
    let (store, _guard) = harness.fresh().await;
    claim(&store, &begin("a", "s1")).await;
    for again in [begin("a", "s2"), begin("a", "s1"), begin("a", "s2").with_dead("s3")] {
        assert_eq!(store.begin(&again).await.unwrap(), running("s1"));
    }
}

/// > unless `dead` names that very holder: then it is `New`, with a greater epoch.
pub async fn what_the_dead_began_is_begun_anew<H: Harness<dyn AnswerStore>>(harness: &H) {
    let (store, _guard) = harness.fresh().await;
    let old = claim(&store, &begin("a", "s1")).await;
    let new = claim(&store, &begin("a", "s2").with_dead("s1")).await;
    assert!(new.epoch > old.epoch, "{} is not greater than {}", new.epoch, old.epoch);
    assert_eq!(store.begin(&begin("a", "s3").with_dead("s1")).await.unwrap(), running("s2"));
    store.finish(&new, &answer(b"new"), at(1)).await.unwrap();
    let dead = begin("a", "s3").with_dead("s2");
    assert_eq!(store.begin(&dead).await.unwrap(), Begun::Answered(answer(b"new")));
}

/// > `begin` under the key of another request gives `Other`, answered or not.
pub async fn a_key_is_for_one_request<H: Harness<dyn AnswerStore>>(harness: &H) {
    let (store, _guard) = harness.fresh().await;
    let mine = claim(&store, &begin("a", "s1")).await;
    for other in [begin("b", "s1"), begin("b", "s2").with_dead("s1")] {
        assert_eq!(store.begin(&other).await.unwrap(), Begun::Other);
    }
    store.finish(&mine, &answer(b"{}"), at(1)).await.unwrap();
    assert_eq!(store.begin(&begin("b", "s1")).await.unwrap(), Begun::Other);
}

/// > `begin` of a request that was answered gives `Answered`, with every byte of the answer.
pub async fn an_answer_is_given_again_whole<H: Harness<dyn AnswerStore>>(harness: &H) {
    let (store, _guard) = harness.fresh().await;
    let given = answer(&sample::noise(100_000));
    let mine = claim(&store, &begin("a", "s1")).await;
    store.finish(&mine, &given, at(1)).await.unwrap();
    for holder in ["s1", "s2"] {
        let again = store.begin(&begin("a", holder)).await.unwrap();
        assert_eq!(again, Begun::Answered(given.clone()));
    }
}

/// > `finish` with a claim that another has taken over is `Fenced`, and changes nothing.
pub async fn who_was_taken_for_dead_cannot_answer<H: Harness<dyn AnswerStore>>(harness: &H) {
    let (store, _guard) = harness.fresh().await;
    let old = claim(&store, &begin("a", "s1")).await;
    let new = claim(&store, &begin("a", "s2").with_dead("s1")).await;
    refused(store.finish(&old, &answer(b"old"), at(1)).await, ErrorKind::Fenced);
    assert_eq!(store.begin(&begin("a", "s1")).await.unwrap(), running("s2"));
    store.finish(&new, &answer(b"new"), at(2)).await.unwrap();
    refused(store.finish(&old, &answer(b"new"), at(3)).await, ErrorKind::Fenced);

    let mut second = begin("a", "s1");
    second.key = name("k2");
    let old = claim(&store, &second).await;
    store.release(&old).await.unwrap();
    refused(store.finish(&old, &answer(b"old"), at(4)).await, ErrorKind::Fenced);
    let new = claim(&store, &second).await;
    assert_ne!(new.epoch, old.epoch, "a free key has been given under the same epoch again");
    refused(store.finish(&old, &answer(b"old"), at(5)).await, ErrorKind::Fenced);
}

/// > `finish` twice with the same answer is no error; with another it is `Conflict`.
pub async fn an_answer_stays_as_it_was_given<H: Harness<dyn AnswerStore>>(harness: &H) {
    let (store, _guard) = harness.fresh().await;
    let mine = claim(&store, &begin("a", "s1")).await;
    for seconds in [1, 2] {
        store.finish(&mine, &answer(b"{}"), at(seconds)).await.unwrap();
    }
    let mut failed = answer(b"{}");
    failed.status = 500;
    let bare = Answer::new(201, b"{}".to_vec());
    for other in [answer(b"[]"), failed, bare] {
        refused(store.finish(&mine, &other, at(3)).await, ErrorKind::Conflict);
    }
    let again = store.begin(&begin("a", "s1")).await.unwrap();
    assert_eq!(again, Begun::Answered(answer(b"{}")));
}

/// > `release` frees the key of a claim that has no answer. A claim that has moved on, or is answered, stays as it is, which is no error.
pub async fn release_frees_only_that_claim<H: Harness<dyn AnswerStore>>(harness: &H) {
    let (store, _guard) = harness.fresh().await;
    let first = claim(&store, &begin("a", "s1")).await;
    store.release(&first).await.unwrap();
    store.release(&first).await.unwrap();
    let second = claim(&store, &begin("b", "s2")).await;
    store.release(&first).await.unwrap();
    assert_eq!(store.begin(&begin("b", "s3")).await.unwrap(), running("s2"));
    store.finish(&second, &answer(b"{}"), at(1)).await.unwrap();
    store.release(&second).await.unwrap();
    let again = store.begin(&begin("b", "s3")).await.unwrap();
    assert_eq!(again, Begun::Answered(answer(b"{}")));
}

/// > `forget` drops answers given before an instant and says how many; their keys are free again. What somebody is at stays.
pub async fn old_answers_are_forgotten<H: Harness<dyn AnswerStore>>(harness: &H) {
    let (store, _guard) = harness.fresh().await;
    let under = |key: &str| {
        let mut request = begin("a", "s1");
        request.key = name(key);
        request
    };
    for (key, seconds) in [("k1", 10), ("k2", 20), ("k3", 30)] {
        let mine = claim(&store, &under(key)).await;
        store.finish(&mine, &answer(b"{}"), at(seconds)).await.unwrap();
    }
    claim(&store, &under("k4")).await;
    assert_eq!(store.forget(at(20)).await.unwrap(), 1);
    assert_eq!(store.forget(at(20)).await.unwrap(), 0);
    claim(&store, &under("k1")).await;
    for key in ["k2", "k3"] {
        let there = store.begin(&under(key)).await.unwrap();
        assert_eq!(there, Begun::Answered(answer(b"{}")), "{key}");
    }
    assert_eq!(store.forget(at(1_000)).await.unwrap(), 2);
    assert_eq!(store.begin(&under("k4")).await.unwrap(), running("s1"));
}

/// > `begin` of a request that was answered gives `Answered`, with every byte of the answer.
pub async fn answers_and_claims_survive_a_crash<H: DurableHarness<dyn AnswerStore>>(harness: &H) {
    let (store, guard) = harness.fresh().await;
    let mine = claim(&store, &begin("a", "s1")).await;
    store.finish(&mine, &answer(b"{}"), at(1)).await.unwrap();
    let mut second = begin("a", "s1");
    second.key = name("k2");
    let old = claim(&store, &second).await;
    let store = harness.reopen(store, &guard).await;
    let again = store.begin(&begin("a", "s2")).await.unwrap();
    assert_eq!(again, Begun::Answered(answer(b"{}")));
    assert_eq!(store.begin(&second).await.unwrap(), running("s1"));
    second.holder = "s2".to_owned();
    let new = claim(&store, &second.with_dead("s1")).await;
    refused(store.finish(&old, &answer(b"old"), at(2)).await, ErrorKind::Fenced);
    store.finish(&new, &answer(b"new"), at(3)).await.unwrap();
}

/// > Of any number of callers that begin one request at once, one gets `New`.
pub async fn one_of_two_processes_wins<H: ConcurrentHarness<dyn AnswerStore>>(harness: &H) {
    let (one, guard) = harness.fresh().await;
    let two = harness.another(&guard).await;
    one_wins(&[&one, &two, &one, &two, &one, &two].map(Arc::clone)).await;
}

/// One test for each case of [`AnswerStore`]; see [`conformance`](crate::conformance).
#[macro_export]
macro_rules! answer_store_conformance {
    ($harness:expr, $($tier:ident),+ $(,)?) => {
        $( $crate::answer_store_conformance!(@$tier [$crate::conformance_tests] $harness); )+
    };
    (@core [$($then:tt)+] $harness:expr) => {
        $($then)+! {
            answer_store, $harness;
            a_free_key_is_given
            one_of_many_callers_wins
            a_request_is_answered_by_one
            what_the_dead_began_is_begun_anew
            a_key_is_for_one_request
            an_answer_is_given_again_whole
            who_was_taken_for_dead_cannot_answer
            an_answer_stays_as_it_was_given
            release_frees_only_that_claim
            old_answers_are_forgotten
        }
    };
    (@durable [$($then:tt)+] $harness:expr) => {
        $($then)+! {
            answer_store, $harness;
            answers_and_claims_survive_a_crash
        }
    };
    (@concurrent [$($then:tt)+] $harness:expr) => {
        $($then)+! {
            answer_store, $harness;
            one_of_two_processes_wins
        }
    };
}
