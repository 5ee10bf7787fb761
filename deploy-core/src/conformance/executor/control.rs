use super::{
    Act, ExecutorHarness, ScriptedStep,
    collect::collects,
    scene::{Log, Scene, failed},
};
use crate::{
    access::{Action, Resource},
    backend::{
        AttemptReport, CheckRequest, ConfirmRequest, Health, KillReport, KillRequest, Observed,
        ProbeReport, ProbeRequest, Resolution, ResolveRequest, StageRequest,
    },
    conformance::{eventually, permit, refused, sample::name},
    error::ErrorKind,
    id::Seq,
    spec::StepName,
};
use std::time::Duration;

const GRACE: Duration = Duration::from_secs(10);

/// > `probe` raises the host's fence to at least the attempt's generation before it answers `NeverStarted`
pub async fn what_never_started_never_will<H: ExecutorHarness>(harness: &H) {
    let scene = Scene::new(harness).await;
    let release = scene.install([]).await;
    assert_eq!(scene.probe(4).await, ProbeReport::NeverStarted);
    for late in [3, 4] {
        refused(scene.run(&scene.attempt(late, &release)).await, ErrorKind::Fenced);
    }
    assert_eq!(scene.runs(StepName::Install).await, 0);
    assert_eq!(scene.probe(4).await, ProbeReport::NeverStarted);
    assert_eq!(scene.probe(2).await, ProbeReport::NeverStarted);
    assert_eq!(scene.observed().await.fence, Seq::new(4), "an old probe lowered the fence");
    scene.run(&scene.attempt(5, &release)).await.unwrap();
}

/// > It changes nothing else, and gives the result of an attempt that has ended.
pub async fn probe_leaves_an_attempt_alone<H: ExecutorHarness>(harness: &H) {
    let scene = Scene::new(harness).await;
    let release = scene.install([Act::Block, Act::Exit(3)]).await;
    let follower = scene.follow(&scene.attempt(1, &release));
    scene.started(StepName::Install, 1).await;
    assert_eq!(scene.probe(1).await, ProbeReport::Running);
    assert_eq!(scene.probe(1).await, ProbeReport::Running);
    scene.unblock().await;
    let report = follower.end().await.unwrap();
    assert!(failed(StepName::Install, 3)(&report), "{report:?}");
    assert_eq!(scene.probe(1).await, ProbeReport::Ended(report));
    assert_eq!(scene.runs(StepName::Install).await, 1);
}

/// > `kill` ends all processes of an attempt and looks: `Killed` means that none is left.
pub async fn kill_leaves_no_process<H: ExecutorHarness>(harness: &H) {
    let scene = Scene::new(harness).await;
    if !scene.executor.capabilities().kill {
        return;
    }
    let release = scene.install([Act::LeaveDaemon, Act::Block]).await;
    let follower = scene.follow(&scene.attempt(1, &release));
    scene.started(StepName::Install, 1).await;
    assert_eq!(scene.kill(1, GRACE).await.unwrap(), KillReport::Killed);
    assert_eq!(harness.processes(&scene.guard).await, 0);
    assert_eq!(follower.end().await.unwrap(), AttemptReport::Killed);
    assert_eq!(scene.probe(1).await, ProbeReport::Ended(AttemptReport::Killed));
    scene.run(&scene.attempt(2, &scene.install([]).await)).await.unwrap();
}

/// > `kill` ends all processes of an attempt and looks: `Killed` means that none is left.
pub async fn kill_ends_what_ignores_term<H: ExecutorHarness>(harness: &H) {
    let scene = Scene::new(harness).await;
    if !scene.executor.capabilities().kill {
        return;
    }
    let release = scene
        .install([Act::IgnoreTerm, Act::LeaveDaemon, Act::Print(b"up".to_vec()), Act::Block])
        .await;
    let follower = scene.follow(&scene.attempt(1, &release));
    eventually("the step is up", || async { follower.log.length() == 2 }).await;
    let killed = scene.kill(1, Duration::from_secs(1)).await.unwrap();
    assert_eq!(killed, KillReport::Killed);
    assert_eq!(harness.processes(&scene.guard).await, 0);
    assert_eq!(follower.end().await.unwrap(), AttemptReport::Killed);
}

/// > It raises the fence as `probe` does.
pub async fn kill_keeps_an_attempt_from_starting<H: ExecutorHarness>(harness: &H) {
    let scene = Scene::new(harness).await;
    if !scene.executor.capabilities().kill {
        return;
    }
    let release = scene.install([]).await;
    assert_eq!(scene.kill(4, GRACE).await.unwrap(), KillReport::NeverStarted);
    for late in [3, 4] {
        refused(scene.run(&scene.attempt(late, &release)).await, ErrorKind::Fenced);
    }
    assert_eq!(scene.runs(StepName::Install).await, 0);
    let (report, _) = scene.run(&scene.attempt(5, &release)).await.unwrap();
    assert_eq!(scene.kill(5, GRACE).await.unwrap(), KillReport::Ended(report));
}

/// A release that becomes current, and whose `verify` does this.
fn verified(acts: impl Into<Vec<Act>>) -> [ScriptedStep; 2] {
    [
        ScriptedStep::new(StepName::Install, [Act::Activate]),
        ScriptedStep::new(StepName::Verify, acts),
    ]
}

/// > `check`, `collect` and `observe` change nothing on the host.
pub async fn looking_changes_nothing<H: ExecutorHarness>(harness: &H) {
    let scene = Scene::new(harness).await;
    assert_eq!(scene.observed().await, Observed::new(None, Seq::ZERO, None));
    let release = scene.release("one", &verified([])).await;
    let (report, _) = scene.run(&scene.attempt(3, &release)).await.unwrap();
    assert_eq!(report, AttemptReport::Succeeded);
    let there = Observed::new(Some(name("one")), Seq::new(3), None);
    for _ in 0..2 {
        assert_eq!(scene.observed().await, there);
        if scene.executor.capabilities().check {
            let check = CheckRequest::new(harness.on(&scene.guard), Seq::new(3), GRACE);
            let health = scene.executor.check(&scene.execute, &check).await.unwrap();
            assert_eq!(health, Health::Healthy);
        }
        if collects(&scene) {
            refused(scene.collect(&scene.output(3, "nothing")).await, ErrorKind::NotFound);
        }
    }
    assert_eq!(scene.runs(StepName::Install).await, 1);
    let next = scene.release("two", &[ScriptedStep::new(StepName::Install, [Act::Block])]).await;
    let follower = scene.follow(&scene.attempt(4, &next));
    scene.started(StepName::Install, 2).await;
    let running = Observed::new(Some(name("one")), Seq::new(4), Some(Seq::new(4)));
    assert_eq!(scene.observed().await, running);
    scene.unblock().await;
    follower.end().await.unwrap();
}

/// A check says what `verify` says.
pub async fn check_tells_ill_from_healthy<H: ExecutorHarness>(harness: &H) {
    let scene = Scene::new(harness).await;
    if !scene.executor.capabilities().check {
        return;
    }
    let release = scene.release("one", &verified([Act::Exit(9)])).await;
    let (report, _) = scene.run(&scene.attempt(1, &release)).await.unwrap();
    assert_ne!(report, AttemptReport::Succeeded);
    let check = CheckRequest::new(harness.on(&scene.guard), Seq::new(1), GRACE);
    let health = scene.executor.check(&scene.execute, &check).await.unwrap();
    assert!(matches!(health, Health::Unhealthy { .. }), "{health:?}");
}

/// The read-only check of a step is asked, and where there is none nobody can tell.
pub async fn resolve_asks_the_step<H: ExecutorHarness>(harness: &H) {
    let scene = Scene::new(harness).await;
    let steps = [
        ScriptedStep::new(StepName::Stop, []).with_check(Resolution::Done),
        ScriptedStep::new(StepName::Install, []).with_check(Resolution::NotDone),
        ScriptedStep::new(StepName::Start, []).with_check(Resolution::CannotTell),
        ScriptedStep::new(StepName::Post, []),
    ];
    let release = scene.release("one", &steps).await;
    let attempt = scene.attempt(1, &release);
    scene.run(&attempt).await.unwrap();
    for step in &steps {
        let request = ResolveRequest::new(attempt.clone(), step.step.name);
        let found = scene.executor.resolve(&scene.execute, &request).await.unwrap();
        let name = step.step.name;
        assert_eq!(found, step.check.unwrap_or(Resolution::CannotTell), "{name}");
        assert_eq!(scene.runs(name).await, 1, "asking about `{name}` ran it");
    }
}

/// > An attempt's result is kept on the host: `probe` and `run` give the same answer for it later.
pub async fn results_are_kept<H: ExecutorHarness>(harness: &H) {
    let scene = Scene::new(harness).await;
    let bad = scene.release("bad", &[ScriptedStep::new(StepName::Install, [Act::Exit(3)])]).await;
    let good = scene.release("good", &[ScriptedStep::new(StepName::Install, [])]).await;
    let first = scene.attempt(1, &bad);
    let (report, _) = scene.run(&first).await.unwrap();
    scene.run(&scene.attempt(2, &good)).await.unwrap();
    assert_eq!(scene.probe(1).await, ProbeReport::Ended(report.clone()));
    assert_eq!(scene.run(&first).await.unwrap().0, report);
    assert_eq!(scene.probe(2).await, ProbeReport::Ended(AttemptReport::Succeeded));
    assert_eq!(scene.runs(StepName::Install).await, 2);
}

/// > What the capabilities leave out is `Unsupported`.
pub async fn capabilities_tell_the_truth<H: ExecutorHarness>(harness: &H) {
    let scene = Scene::new(harness).await;
    let offered = scene.executor.capabilities();
    let release = scene.release("one", &verified([])).await;
    scene.run(&scene.attempt(1, &release)).await.unwrap();
    let killed = scene.kill(1, GRACE).await;
    if offered.kill {
        assert_eq!(killed.unwrap(), KillReport::Ended(AttemptReport::Succeeded));
    } else {
        refused(killed, ErrorKind::Unsupported);
    }
    let check = CheckRequest::new(harness.on(&scene.guard), Seq::new(1), GRACE);
    let checked = scene.executor.check(&scene.execute, &check).await;
    if offered.check {
        assert_eq!(checked.unwrap(), Health::Healthy);
    } else {
        refused(checked, ErrorKind::Unsupported);
    }
}

/// > A permit for another action or host is `PermissionDenied`
pub async fn reaching_a_host_takes_a_permit<H: ExecutorHarness>(harness: &H) {
    let scene = Scene::new(harness).await;
    let on = harness.on(&scene.guard);
    let release = scene.install([]).await;
    let attempt = scene.attempt(1, &release);
    let (host, service) = (on.host.name.clone(), on.service.clone());
    let wrong = [
        Resource::Host(name("some-other-host"), Some(service)),
        Resource::Host(host.clone(), Some(name("some-other-service"))),
        Resource::Host(host, None),
    ];
    let mut execute = vec![scene.observe.clone()];
    let mut observe = vec![scene.execute.clone()];
    for resource in wrong {
        execute.push(permit(Action::HostExecute, resource.clone()).await);
        observe.push(permit(Action::HostObserve, resource).await);
    }
    let probe = ProbeRequest::new(on.clone(), Seq::new(1), scene.token(1));
    let kill = KillRequest::new(on.clone(), Seq::new(1), scene.token(1));
    let confirm = ConfirmRequest::new(on.clone(), Seq::new(1), scene.token(1));
    let stage = StageRequest::new(on.clone(), attempt.artifacts());
    let collect = scene.output(1, "a");
    let check = CheckRequest::new(on.clone(), Seq::new(1), GRACE);
    let resolve = ResolveRequest::new(attempt.clone(), StepName::Install);
    for permit in &execute {
        let executor = &scene.executor;
        refused(executor.run(permit, &attempt, &Log::from(0)).await, ErrorKind::PermissionDenied);
        refused(executor.probe(permit, &probe).await, ErrorKind::PermissionDenied);
        refused(executor.kill(permit, &kill).await, ErrorKind::PermissionDenied);
        refused(executor.confirm(permit, &confirm).await, ErrorKind::PermissionDenied);
        refused(executor.stage(permit, &stage).await, ErrorKind::PermissionDenied);
        refused(executor.collect(permit, &collect).await, ErrorKind::PermissionDenied);
        refused(executor.check(permit, &check).await, ErrorKind::PermissionDenied);
        refused(executor.resolve(permit, &resolve).await, ErrorKind::PermissionDenied);
    }
    for permit in &observe {
        refused(scene.executor.observe(permit, &on).await, ErrorKind::PermissionDenied);
        refused(scene.executor.room(permit, &attempt).await, ErrorKind::PermissionDenied);
    }
    assert_eq!(scene.observed().await, Observed::new(None, Seq::ZERO, None));
    assert_eq!(scene.runs(StepName::Install).await, 0);
}
