use super::{
    Act, ExecutorHarness, ScriptedStep,
    scene::{Log, Scene},
};
use crate::{
    backend::{
        AttemptReport, AttemptRequest, BackendResult, ConfirmRequest, Confirmation, ErrorKind,
        Executor, KillReport, ProbeReport, Revert,
    },
    conformance::{DurableHarness, eventually, refused, sample::name},
    id::Seq,
    plan::PlannedRelease,
    spec::StepName,
};
use std::time::Duration;

/// Longer than any case takes.
const LONG: Duration = Duration::from_secs(300);
const SHORT: Duration = Duration::from_secs(1);
const GRACE: Duration = Duration::from_secs(10);

impl<H: ExecutorHarness> Scene<'_, H> {
    async fn confirm(&self, generation: u64) -> BackendResult<Confirmation> {
        let on = self.harness.on(&self.guard);
        let request = ConfirmRequest::new(on, Seq::new(generation), self.token(generation));
        self.executor.confirm(&self.execute, &request).await
    }

    /// A release with a way back whose `rollback` does this after it has put the release back.
    async fn returning(&self, id: &str, acts: impl IntoIterator<Item = Act>) -> PlannedRelease {
        let rollback = [Act::Activate].into_iter().chain(acts).collect::<Vec<_>>();
        let steps = [
            ScriptedStep::new(StepName::Install, [Act::Activate]),
            ScriptedStep::new(StepName::Rollback, rollback),
        ];
        self.release(id, &steps).await
    }

    /// The attempt 2 at another release, on a host that runs `one` by attempt 1.
    async fn unconfirmed(&self, one: &PlannedRelease, after: Duration) -> AttemptRequest {
        let (report, _) = self.run(&self.attempt(1, one)).await.unwrap();
        assert_eq!(report, AttemptReport::Succeeded);
        let two = self.returning("two", []).await;
        self.attempt(2, &two).with_revert(Revert::new(after, one.clone()))
    }

    /// Follows an attempt that nobody confirms to its end.
    async fn end(&self, attempt: &AttemptRequest) -> (AttemptReport, Vec<u8>) {
        let generation = attempt.generation.get();
        eventually("the host goes back by itself", || async {
            matches!(self.probe(generation).await, ProbeReport::Ended(_))
        })
        .await;
        self.run(attempt).await.unwrap()
    }

    async fn runs_release(&self, id: &str) {
        assert_eq!(self.observed().await.release, Some(name(id)));
    }
}

/// Whether hosts go back by themselves.
fn goes_back<H: ExecutorHarness>(scene: &Scene<'_, H>) -> bool {
    scene.executor.capabilities().confirm
}

fn is_reverted(report: &AttemptReport) -> bool {
    matches!(report, AttemptReport::SelfReverted { .. })
}

/// > An attempt with a [`Revert`] does not end with its last step: its host waits, and `run` and `probe` say `AwaitsConfirm`.
pub async fn what_is_confirmed_stays<H: ExecutorHarness>(harness: &H) {
    let scene = Scene::new(harness).await;
    if !goes_back(&scene) {
        return;
    }
    let one = scene.returning("one", []).await;
    let attempt = scene.unconfirmed(&one, LONG).await;
    for _ in 0..2 {
        assert_eq!(scene.run(&attempt).await.unwrap().0, AttemptReport::AwaitsConfirm);
        assert_eq!(scene.probe(2).await, ProbeReport::AwaitsConfirm);
    }
    assert_eq!(scene.observed().await.running, Some(Seq::new(2)));
    for _ in 0..2 {
        assert_eq!(scene.confirm(2).await.unwrap(), Confirmation::Confirmed);
    }
    assert_eq!(scene.run(&attempt).await.unwrap().0, AttemptReport::Succeeded);
    assert_eq!(scene.probe(2).await, ProbeReport::Ended(AttemptReport::Succeeded));
    scene.runs_release("two").await;
    assert_eq!(scene.runs(StepName::Rollback).await, 0);
    let ended = KillReport::Ended(AttemptReport::Succeeded);
    assert_eq!(scene.kill(2, GRACE).await.unwrap(), ended, "a kill comes too late");
}

/// > `confirm` in time makes it `Succeeded`; else the host goes back by itself, and the attempt ends as `SelfReverted`
pub async fn what_nobody_confirms_goes_back<H: ExecutorHarness>(harness: &H) {
    let scene = Scene::new(harness).await;
    if !goes_back(&scene) {
        return;
    }
    let one = scene.returning("one", [Act::Print(b"gone back".to_vec())]).await;
    let attempt = scene.unconfirmed(&one, SHORT).await;
    scene.run(&attempt).await.unwrap();
    let (report, log) = scene.end(&attempt).await;
    assert!(is_reverted(&report), "{report:?}");
    assert_eq!(log, b"gone back");
    scene.runs_release("one").await;
    for _ in 0..2 {
        let late = scene.confirm(2).await.unwrap();
        assert_eq!(late, Confirmation::Ended(report.clone()), "a confirmation comes too late");
    }
    assert_eq!(scene.probe(2).await, ProbeReport::Ended(report.clone()));
    assert_eq!(scene.runs(StepName::Rollback).await, 1);
    let next = scene.returning("three", []).await;
    let (next, _) = scene.run(&scene.attempt(3, &next)).await.unwrap();
    assert_eq!(next, AttemptReport::Succeeded, "the host is free again");
}

/// > While steps are still under way, or the host goes back already, it answers `Running` and changes nothing.
pub async fn nothing_is_confirmed_in_advance<H: ExecutorHarness>(harness: &H) {
    let scene = Scene::new(harness).await;
    if !goes_back(&scene) {
        return;
    }
    let one = scene.returning("one", []).await;
    scene.run(&scene.attempt(1, &one)).await.unwrap();
    let steps = [ScriptedStep::new(StepName::Install, [Act::Block, Act::Activate])];
    let two = scene.release("two", &steps).await;
    let attempt = scene.attempt(2, &two).with_revert(Revert::new(LONG, one));
    let follower = scene.follow(&attempt);
    scene.started(StepName::Install, 2).await;
    assert_eq!(scene.confirm(2).await.unwrap(), Confirmation::Running);
    scene.unblock().await;
    assert_eq!(follower.end().await.unwrap(), AttemptReport::AwaitsConfirm);
    let unheard = scene.confirm(3).await.unwrap();
    assert!(matches!(unheard, Confirmation::Ended(AttemptReport::Lost { .. })), "{unheard:?}");
    assert_eq!(scene.observed().await.fence, Seq::new(2), "a confirmation raises no fence");
    assert_eq!(scene.confirm(2).await.unwrap(), Confirmation::Confirmed);
}

/// > `kill` of an attempt that waits to be confirmed makes the host go back at once
pub async fn kill_takes_back_what_waits<H: ExecutorHarness>(harness: &H) {
    let scene = Scene::new(harness).await;
    if !goes_back(&scene) {
        return;
    }
    let one = scene.returning("one", []).await;
    let attempt = scene.unconfirmed(&one, LONG).await;
    assert_eq!(scene.run(&attempt).await.unwrap().0, AttemptReport::AwaitsConfirm);
    match scene.kill(2, GRACE).await.unwrap() {
        KillReport::Reverting => {}
        KillReport::Ended(report) => assert!(is_reverted(&report), "{report:?}"),
        other => panic!("{other:?}"),
    }
    let late = scene.confirm(2).await.unwrap();
    assert_ne!(late, Confirmation::Confirmed);
    let (report, _) = scene.run(&attempt).await.unwrap();
    assert!(is_reverted(&report), "{report:?}");
    scene.runs_release("one").await;
    assert_eq!(scene.kill(2, GRACE).await.unwrap(), KillReport::Ended(report));
}

/// > the attempt ends as `SelfReverted` or `RevertFailed`
pub async fn a_way_back_that_fails_is_told<H: ExecutorHarness>(harness: &H) {
    let scene = Scene::new(harness).await;
    if !goes_back(&scene) {
        return;
    }
    let one = scene.returning("one", [Act::Exit(3)]).await;
    let attempt = scene.unconfirmed(&one, LONG).await;
    assert_eq!(scene.run(&attempt).await.unwrap().0, AttemptReport::AwaitsConfirm);
    scene.kill(2, GRACE).await.unwrap();
    let (report, _) = scene.run(&attempt).await.unwrap();
    let failed = |it: &AttemptReport| {
        matches!(
            it,
            AttemptReport::RevertFailed { step: Some(StepName::Rollback), code: Some(3), .. }
        )
    };
    assert!(failed(&report), "{report:?}");
    assert_eq!(scene.confirm(2).await.unwrap(), Confirmation::Ended(report));
}

/// > The verdict is the host's, durable, and **one**
pub async fn a_host_has_one_verdict<H: ExecutorHarness>(harness: &H) {
    let scene = Scene::new(harness).await;
    if !goes_back(&scene) {
        return;
    }
    let one = scene.returning("one", []).await;
    let attempt = scene.unconfirmed(&one, LONG).await;
    assert_eq!(scene.run(&attempt).await.unwrap().0, AttemptReport::AwaitsConfirm);
    let (first, killed, second) =
        tokio::join!(scene.confirm(2), scene.kill(2, GRACE), scene.confirm(2));
    let (report, _) = scene.run(&attempt).await.unwrap();
    let kept = report == AttemptReport::Succeeded;
    for confirmed in [first.unwrap(), second.unwrap()] {
        assert_eq!(confirmed == Confirmation::Confirmed, kept, "{report:?}");
    }
    match killed.unwrap() {
        KillReport::Ended(told) => assert_eq!(told, report),
        other => assert!(other == KillReport::Reverting && !kept, "{other:?}, and {report:?}"),
    }
    scene.runs_release(if kept { "two" } else { "one" }).await;
    assert_eq!(scene.runs(StepName::Rollback).await, u32::from(!kept));
}

/// > What the capabilities leave out is `Unsupported`.
pub async fn hosts_that_stay_say_so<H: ExecutorHarness>(harness: &H) {
    let scene = Scene::new(harness).await;
    if goes_back(&scene) {
        return;
    }
    let one = scene.returning("one", []).await;
    let attempt = scene.attempt(1, &one).with_revert(Revert::new(LONG, one.clone()));
    let ran = scene.executor.run(&scene.execute, &attempt, &Log::from(0)).await;
    refused(ran, ErrorKind::Unsupported);
    assert_eq!(scene.runs(StepName::Install).await, 0);
    refused(scene.confirm(1).await, ErrorKind::Unsupported);
}

/// The timer is the host's: it goes off whether there is an executor or not, and a host that waits hears the next one.
pub async fn a_host_waits_without_an_executor<H>(harness: &H)
where
    H: ExecutorHarness + DurableHarness<dyn Executor>,
{
    let scene = Scene::new(harness).await;
    if !goes_back(&scene) {
        return;
    }
    let one = scene.returning("one", []).await;
    let attempt = scene.unconfirmed(&one, LONG).await;
    assert_eq!(scene.run(&attempt).await.unwrap().0, AttemptReport::AwaitsConfirm);
    let scene = scene.reopen().await;
    assert_eq!(scene.probe(2).await, ProbeReport::AwaitsConfirm);
    assert_eq!(scene.confirm(2).await.unwrap(), Confirmation::Confirmed);
    let two = attempt.release;
    let three = scene.returning("three", []).await;
    let attempt = scene.attempt(3, &three).with_revert(Revert::new(SHORT, two));
    scene.run(&attempt).await.unwrap();
    let scene = scene.reopen().await;
    let (report, _) = scene.end(&attempt).await;
    assert!(is_reverted(&report), "{report:?}");
    scene.runs_release("two").await;
}
