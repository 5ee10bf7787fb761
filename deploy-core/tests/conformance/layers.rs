//! What each layer does beyond passing the kit.
use crate::harness::{Nowhere, Through};
use deploy_core::{
    access::{Action, Resource},
    backend::{
        AttemptReport, AttemptRequest, BackendError, BackendResult, ErrorKind, Executor,
        HostRequest, Journal as _, KillReport, KillRequest, Notification, Notifier as _,
    },
    conformance::{
        Harness as _,
        executor::{Act, ExecutorHarness as _, ScriptedStep},
        permit, sample,
    },
    id::Seq,
    layer::{Layer, Layered, LimitLayer, Operation, RetryLayer, TimeoutLayer},
    memory::{ManualClock, MemoryJournal, MemoryNotifier},
    spec::StepName,
};
use std::{
    num::NonZeroUsize,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

/// A bad connection: every other call that can be repeated does not get through.
#[derive(Debug)]
pub(crate) struct FailsEveryOther(AtomicU32);

impl FailsEveryOther {
    pub(crate) const fn new() -> Self {
        Self(AtomicU32::new(0))
    }
}

impl Layer for FailsEveryOther {
    async fn around<T: Send, F: Future<Output = BackendResult<T>> + Send>(
        &self,
        operation: Operation,
        mut call: impl FnMut() -> F + Send,
    ) -> BackendResult<T> {
        if operation.repeatable && self.0.fetch_add(1, SeqCst).is_multiple_of(2) {
            return Err(BackendError::new(ErrorKind::Unavailable, operation.name));
        }
        call().await
    }
}

/// Fails every call like this, and counts them.
#[derive(Debug)]
struct Fails(ErrorKind, AtomicU32);

impl Layer for Fails {
    async fn around<T: Send, F: Future<Output = BackendResult<T>> + Send>(
        &self,
        operation: Operation,
        _: impl FnMut() -> F + Send,
    ) -> BackendResult<T> {
        self.1.fetch_add(1, SeqCst);
        Err(BackendError::new(self.0, operation.name))
    }
}

/// Never comes back, and counts how many calls it holds at once.
#[derive(Debug, Default)]
struct Hangs {
    now: AtomicUsize,
    most: AtomicUsize,
}

impl Layer for Hangs {
    async fn around<T: Send, F: Future<Output = BackendResult<T>> + Send>(
        &self,
        _: Operation,
        _: impl FnMut() -> F + Send,
    ) -> BackendResult<T> {
        let now = self.now.fetch_add(1, SeqCst) + 1;
        self.most.fetch_max(now, SeqCst);
        std::future::pending().await
    }
}

fn manual() -> Arc<ManualClock> {
    Arc::new(ManualClock::at(sample::at(0)))
}

/// Lets every task go as far as it can.
async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn retries_are_bounded_and_spread_out() {
    let fails = Arc::new(Fails(ErrorKind::Unavailable, AtomicU32::new(0)));
    let clock = manual();
    let retry = RetryLayer::new(clock.clone())
        .with_retries(4)
        .with_backoff(Duration::from_secs(1))
        .with_max_backoff(Duration::from_secs(3));
    let journal = Layered::new(Layered::new(MemoryJournal::new(), fails.clone()), retry);
    let reading = tokio::spawn(async move { journal.head(&sample::stream("web")).await });
    for (calls, wait) in [(1, 1), (2, 2), (3, 3), (4, 3)] {
        settle().await;
        assert_eq!(fails.1.load(SeqCst), calls);
        clock.advance(Duration::from_secs(wait) - Duration::from_millis(1));
        settle().await;
        assert_eq!(fails.1.load(SeqCst), calls, "it did not wait for {wait} s");
        clock.advance(Duration::from_millis(1));
    }
    let err = reading.await.unwrap().unwrap_err();
    assert_eq!((err.kind(), fails.1.load(SeqCst)), (ErrorKind::Unavailable, 5));
}

#[tokio::test]
async fn what_may_have_happened_is_not_retried() {
    for kind in [ErrorKind::OutcomeUnknown, ErrorKind::Conflict, ErrorKind::Corrupt] {
        let fails = Arc::new(Fails(kind, AtomicU32::new(0)));
        let journal = Layered::new(MemoryJournal::new(), fails.clone());
        let journal = Layered::new(journal, RetryLayer::new(manual()));
        let err = journal.head(&sample::stream("web")).await.unwrap_err();
        assert_eq!((err.kind(), fails.1.load(SeqCst)), (kind, 1));
    }
}

#[tokio::test]
async fn a_read_that_takes_too_long_is_unavailable_and_a_write_unknown() {
    let clock = manual();
    let hangs = Arc::new(Hangs::default());
    let timeout = TimeoutLayer::new(clock.clone(), Duration::from_secs(5));
    let journal = Layered::new(Layered::new(MemoryJournal::new(), hangs.clone()), timeout.clone());
    let notifier = Layered::new(Layered::new(MemoryNotifier::new(), hangs), timeout);
    let read = tokio::spawn(async move { journal.head(&sample::stream("web")).await });
    let write =
        tokio::spawn(async move { notifier.notify(&Notification::new("a", "b", "c")).await });
    settle().await;
    clock.advance(Duration::from_millis(4_999));
    settle().await;
    assert!(!read.is_finished() && !write.is_finished());
    clock.advance(Duration::from_millis(1));
    assert_eq!(read.await.unwrap().unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(write.await.unwrap().unwrap_err().kind(), ErrorKind::OutcomeUnknown);
}

#[tokio::test]
async fn no_more_calls_than_the_limit_are_under_way() {
    let hangs = Arc::new(Hangs::default());
    let limit = LimitLayer::new(NonZeroUsize::new(3).unwrap());
    let journal = Layered::new(Layered::new(MemoryJournal::new(), hangs.clone()), limit);
    let journal = Arc::new(journal);
    let reading: Vec<_> = (0..10)
        .map(|_| {
            let journal = journal.clone();
            tokio::spawn(async move { journal.head(&sample::stream("web")).await })
        })
        .collect();
    settle().await;
    assert_eq!(hangs.most.load(SeqCst), 3);
    reading.into_iter().for_each(|it| it.abort());
}

#[tokio::test]
async fn a_kill_does_not_wait_in_line_behind_attempts() {
    let harness = Through::<dyn Executor>(|it| it);
    let (executor, hosts) = harness.fresh().await;
    let limit = LimitLayer::new(NonZeroUsize::new(1).unwrap());
    let executor = Arc::new(Layered::new(executor, limit));
    let on: HostRequest = harness.on(&hosts);
    let release = [ScriptedStep::new(StepName::Install, [Act::Block])];
    let release = harness.release(&hosts, "one", &release).await;
    let (generation, token) = (Seq::new(1), "0".repeat(32));
    let attempt =
        AttemptRequest::new(on.clone(), sample::name("r1"), generation, token.clone(), release);
    let permit = permit(Action::HostExecute, Resource::System).await;
    let running = {
        let (executor, permit) = (executor.clone(), permit.clone());
        tokio::spawn(async move { executor.run(&permit, &attempt, &Nowhere).await })
    };
    settle().await;
    assert_eq!(hosts.runs(&on.host.name, StepName::Install), 1);
    let killed = executor.kill(&permit, &KillRequest::new(on, generation, token)).await.unwrap();
    assert_eq!(killed, KillReport::Killed);
    assert_eq!(running.await.unwrap().unwrap(), AttemptReport::Killed);
}

#[tokio::test]
async fn a_body_is_not_sent_twice() {
    use deploy_core::{
        backend::{ArtifactKind, ArtifactStore as _, PutArtifact},
        digest::Digest,
        memory::MemoryArtifactStore,
    };
    let fails = Arc::new(Fails(ErrorKind::Unavailable, AtomicU32::new(0)));
    let store = Layered::new(MemoryArtifactStore::new(), fails.clone());
    let store = Layered::new(store, RetryLayer::new(manual()));
    let permit = permit(Action::ArtifactWrite, Resource::System).await;
    let (web, one) = (sample::name("web"), sample::name("1"));
    let request =
        PutArtifact::new(Digest::of(b"a"), 1, web, ArtifactKind::Package, one, sample::at(1));
    let err = store.put(&permit, request, &mut &b"a"[..]).await.unwrap_err();
    assert_eq!((err.kind(), fails.1.load(SeqCst)), (ErrorKind::Unavailable, 1));
}
