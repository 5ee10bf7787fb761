use super::{
    Act, ExecutorHarness, ScriptedStep,
    scene::{Log, Scene, failed},
};
use crate::{
    backend::{AttemptReport, Executor, Observed, ProbeReport},
    conformance::{ConcurrentHarness, DurableHarness, eventually, race, refused, sample::noise},
    error::ErrorKind,
    id::Seq,
    spec::{Direction, StepName},
};
use std::{sync::Arc, time::Duration};

/// > a second `run` under the same generation attaches to the first
pub async fn run_starts_an_attempt_at_most_once<H: ExecutorHarness>(harness: &H) {
    let scene = Scene::new(harness).await;
    let release = scene.install([Act::Print(b"hello".to_vec())]).await;
    let attempt = scene.attempt(1, &release);
    for _ in 0..3 {
        let (report, log) = scene.run(&attempt).await.unwrap();
        assert_eq!((report, log.as_slice()), (AttemptReport::Succeeded, &b"hello"[..]));
    }
    assert_eq!(scene.runs(StepName::Install).await, 1);
}

/// > however many callers there are and whatever became of them.
pub async fn many_callers_share_an_attempt<H: ExecutorHarness>(harness: &H) {
    let scene = Scene::new(harness).await;
    let release = scene.install([Act::Print(b"once".to_vec()), Act::Block, Act::Exit(3)]).await;
    let attempt = scene.attempt(1, &release);
    let gone = scene.follow(&attempt);
    scene.started(StepName::Install, 1).await;
    gone.vanish().await;
    let followers: Vec<_> = (0..4).map(|_| scene.follow(&attempt)).collect();
    scene.unblock().await;
    for follower in followers {
        let log = Arc::clone(&follower.log);
        let report = follower.end().await.unwrap();
        assert!(failed(StepName::Install, 3)(&report), "{report:?}");
        assert_eq!(log.bytes(), b"once");
    }
    assert_eq!(scene.runs(StepName::Install).await, 1);
}

/// > delivers its log from the offset asked for
pub async fn attaching_delivers_from_an_offset<H: ExecutorHarness>(harness: &H) {
    let scene = Scene::new(harness).await;
    let release = scene.install([Act::Print(b"0123456789".to_vec())]).await;
    let mut attempt = scene.attempt(1, &release);
    scene.run(&attempt).await.unwrap();
    for (offset, rest) in [(0, &b"0123456789"[..]), (4, b"456789"), (10, b"")] {
        attempt.log_offset = offset;
        let (report, log) = scene.run(&attempt).await.unwrap();
        assert_eq!((report, log.as_slice()), (AttemptReport::Succeeded, rest));
    }
}

/// > `run` under a generation older than the newest that the host has seen for the service is `Fenced`
pub async fn an_older_generation_is_fenced<H: ExecutorHarness>(harness: &H) {
    let scene = Scene::new(harness).await;
    let release = scene.install([]).await;
    scene.run(&scene.attempt(5, &release)).await.unwrap();
    for old in [1, 4] {
        refused(scene.run(&scene.attempt(old, &release)).await, ErrorKind::Fenced);
    }
    assert_eq!(scene.runs(StepName::Install).await, 1);
    scene.run(&scene.attempt(6, &release)).await.unwrap();
    assert_eq!(scene.runs(StepName::Install).await, 2);
}

/// > Comparing and setting the generation is one atomic act with the start.
pub async fn of_racing_starts_one_takes_place<H: ExecutorHarness>(harness: &H) {
    let scene = Scene::new(harness).await;
    let release = scene.install([Act::Block]).await;
    let attempts = (1..=6).map(|generation| scene.attempt(generation, &release));
    let (executor, permit) = (Arc::clone(&scene.executor), scene.execute.clone());
    let racers = attempts.map(|attempt| {
        let (executor, permit) = (Arc::clone(&executor), permit.clone());
        async move { executor.run(&permit, &attempt, &Log::from(0)).await }
    });
    let racers: Vec<_> = racers.collect();
    let race = tokio::spawn(race(racers.into_iter()));
    scene.started(StepName::Install, 1).await;
    scene.unblock().await;
    let mut ended = 0;
    for done in race.await.unwrap() {
        match done {
            Ok(report) => {
                assert_eq!(report, AttemptReport::Succeeded);
                ended += 1;
            }
            Err(err) => {
                let kind = err.kind();
                assert!(matches!(kind, ErrorKind::Conflict | ErrorKind::Fenced), "{}", err.chain());
            }
        }
    }
    assert_eq!(scene.runs(StepName::Install).await, ended, "a start that was refused took place");
    assert!(ended >= 1);
}

/// > `run` while another attempt of the service is alive on the host is `Conflict`, and starts nothing.
pub async fn one_attempt_at_a_time<H: ExecutorHarness>(harness: &H) {
    let scene = Scene::new(harness).await;
    let release = scene.install([Act::Block]).await;
    let first = scene.follow(&scene.attempt(1, &release));
    scene.started(StepName::Install, 1).await;
    let second = scene.release("two", &[ScriptedStep::new(StepName::Install, [])]).await;
    refused(scene.run(&scene.attempt(2, &second)).await, ErrorKind::Conflict);
    assert_eq!(scene.probe(1).await, ProbeReport::Running);
    scene.unblock().await;
    assert_eq!(first.end().await.unwrap(), AttemptReport::Succeeded);
    assert_eq!(scene.runs(StepName::Install).await, 1);
    scene.run(&scene.attempt(3, &release)).await.unwrap();
}

/// The steps of a whole descriptor, each of which prints its name.
fn all_steps() -> Vec<ScriptedStep> {
    let names =
        StepName::ALL.into_iter().filter(|it| !matches!(it, StepName::Run | StepName::Verify));
    names.map(|it| ScriptedStep::new(it, [Act::Print(format!("{it} ").into_bytes())])).collect()
}

/// > Steps run in order
pub async fn steps_run_in_order<H: ExecutorHarness>(harness: &H) {
    let scene = Scene::new(harness).await;
    let release = scene.release("one", &all_steps()).await;
    let (report, log) = scene.run(&scene.attempt(1, &release)).await.unwrap();
    assert_eq!(report, AttemptReport::Succeeded);
    let forward = "fetch pre_stop drain stop install start undrain post ";
    assert_eq!(String::from_utf8(log).unwrap(), forward);
    let mut back = scene.attempt(2, &release);
    back.direction = Direction::Back;
    let (_, log) = scene.run(&back).await.unwrap();
    assert_eq!(String::from_utf8(log).unwrap(), forward.replace("install", "rollback"));
}

/// > the first that does not end with 0 ends the attempt.
pub async fn a_step_that_fails_ends_the_attempt<H: ExecutorHarness>(harness: &H) {
    let scene = Scene::new(harness).await;
    let mut steps = all_steps();
    steps[3].acts.push(Act::Exit(7));
    let release = scene.release("one", &steps).await;
    let (report, log) = scene.run(&scene.attempt(1, &release)).await.unwrap();
    assert!(failed(StepName::Stop, 7)(&report), "{report:?}");
    assert_eq!(String::from_utf8(log).unwrap(), "fetch pre_stop drain stop ");
    assert_eq!(scene.runs(StepName::Install).await, 0);
}

/// > Steps before `first_step` are not run.
pub async fn an_attempt_begins_at_its_first_step<H: ExecutorHarness>(harness: &H) {
    let scene = Scene::new(harness).await;
    let release = scene.release("one", &all_steps()).await;
    let mut attempt = scene.attempt(1, &release);
    attempt.first_step = StepName::Install;
    let (report, log) = scene.run(&attempt).await.unwrap();
    assert_eq!(report, AttemptReport::Succeeded);
    assert_eq!(String::from_utf8(log).unwrap(), "install start undrain post ");
    assert_eq!(scene.runs(StepName::Stop).await, 0);
}

/// > The log arrives byte for byte
pub async fn the_log_is_exact<H: ExecutorHarness>(harness: &H) {
    let scene = Scene::new(harness).await;
    let (one, two) = (noise(1 << 20), b"deploy:exit code=0\r\n\0".to_vec());
    let steps = [
        ScriptedStep::new(StepName::Install, [Act::Print(one.clone())]),
        ScriptedStep::new(StepName::Start, [Act::Print(two.clone()), Act::Print(b"!".to_vec())]),
    ];
    let release = scene.release("one", &steps).await;
    let (report, log) = scene.run(&scene.attempt(1, &release)).await.unwrap();
    assert_eq!(report, AttemptReport::Succeeded);
    assert!(log == [&one[..], &two, b"!"].concat(), "{} bytes came, or others", log.len());
}

/// > no byte is lost or delivered twice, whatever was cut in between.
pub async fn the_log_survives_a_cut<H: ExecutorHarness>(harness: &H) {
    let scene = Scene::new(harness).await;
    let (one, two) = (noise(300_000), noise(200_000));
    let acts = [Act::Print(one.clone()), Act::Block, Act::Print(two.clone())];
    let release = scene.install(acts).await;
    let mut attempt = scene.attempt(1, &release);
    let mut bytes = Vec::new();
    for enough in [1, 250_000, 300_000] {
        attempt.log_offset = u64::try_from(bytes.len()).unwrap();
        let follower = scene.follow(&attempt);
        let arrived = || async { bytes.len() + follower.log.length() >= enough };
        eventually("the log arrives", arrived).await;
        scene.harness.cut(&scene.guard).await;
        bytes.extend(follower.vanish().await);
    }
    scene.unblock().await;
    attempt.log_offset = u64::try_from(bytes.len()).unwrap();
    let (report, rest) = scene.run(&attempt).await.unwrap();
    bytes.extend(rest);
    assert_eq!(report, AttemptReport::Succeeded);
    assert!(bytes == [one, two].concat(), "{} bytes came, or others", bytes.len());
    assert_eq!(scene.runs(StepName::Install).await, 1);
}

/// > promise that nothing was started.
pub async fn what_is_refused_starts_nothing<H: ExecutorHarness>(harness: &H) {
    let scene = Scene::new(harness).await;
    let release = scene.install([]).await;
    for bad in ["", "short", &scene.token(1)[1..], &format!("{}x", &scene.token(1)[1..])] {
        let mut attempt = scene.attempt(1, &release);
        attempt.token = bad.to_owned();
        refused(scene.run(&attempt).await, ErrorKind::InvalidInput);
    }
    assert_eq!(scene.observed().await, Observed::new(None, Seq::ZERO, None));
    scene.run(&scene.attempt(1, &release)).await.unwrap();
    assert_eq!(scene.runs(StepName::Install).await, 1);
}

/// > Dropping the future of `run` does not end the attempt.
pub async fn an_attempt_outlives_its_caller<H: ExecutorHarness>(harness: &H) {
    let scene = Scene::new(harness).await;
    let steps = [
        ScriptedStep::new(StepName::Install, [Act::Block, Act::Print(b"one ".to_vec())]),
        ScriptedStep::new(StepName::Start, [Act::Print(b"two".to_vec())]),
    ];
    let release = scene.release("one", &steps).await;
    let attempt = scene.attempt(1, &release);
    let follower = scene.follow(&attempt);
    scene.started(StepName::Install, 1).await;
    follower.vanish().await;
    scene.harness.cut(&scene.guard).await;
    scene.unblock().await;
    scene.started(StepName::Start, 1).await;
    let (report, log) = scene.run(&attempt).await.unwrap();
    assert_eq!((report, log.as_slice()), (AttemptReport::Succeeded, &b"one two"[..]));
    assert_eq!(scene.runs(StepName::Install).await, 1);
}

/// A step that takes too long is ended, and nothing of it is left.
pub async fn a_step_has_a_time_limit<H: ExecutorHarness>(harness: &H) {
    let scene = Scene::new(harness).await;
    let slow = ScriptedStep::new(StepName::Install, [Act::Print(b"up".to_vec()), Act::Block]);
    let steps = [slow.with_timeout(Duration::from_secs(1)), ScriptedStep::new(StepName::Start, [])];
    let release = scene.release("one", &steps).await;
    let (report, log) = scene.run(&scene.attempt(1, &release)).await.unwrap();
    assert_eq!(report, AttemptReport::TimedOut { step: StepName::Install });
    assert_eq!(log, b"up");
    assert_eq!(scene.runs(StepName::Start).await, 0);
    scene.deserted().await;
}

/// > An attempt's result is kept on the host
pub async fn an_attempt_outlives_the_executor<H: ExecutorHarness + DurableHarness<dyn Executor>>(
    harness: &H,
) {
    let scene = Scene::new(harness).await;
    let release = scene.install([Act::Print(b"hello".to_vec()), Act::Block]).await;
    let attempt = scene.attempt(1, &release);
    let follower = scene.follow(&attempt);
    scene.started(StepName::Install, 1).await;
    follower.vanish().await;
    let scene = scene.reopen().await;
    assert_eq!(scene.probe(1).await, ProbeReport::Running);
    let second = scene.release("two", &[ScriptedStep::new(StepName::Install, [])]).await;
    refused(scene.run(&scene.attempt(2, &second)).await, ErrorKind::Conflict);
    scene.unblock().await;
    let (report, log) = scene.run(&attempt).await.unwrap();
    assert_eq!((report.clone(), log.as_slice()), (AttemptReport::Succeeded, &b"hello"[..]));
    let scene = scene.reopen().await;
    assert_eq!(scene.probe(1).await, ProbeReport::Ended(report));
    assert_eq!(scene.runs(StepName::Install).await, 1);
}

/// > `run` starts an attempt **at most once**
pub async fn two_processes_start_an_attempt_once<
    H: ExecutorHarness + ConcurrentHarness<dyn Executor>,
>(
    harness: &H,
) {
    let scene = Scene::new(harness).await;
    let other = harness.another(&scene.guard).await;
    let release = scene.install([Act::Print(b"once".to_vec())]).await;
    let handles = [&scene.executor, &other, &scene.executor, &other].map(Arc::clone);
    let attempt = scene.attempt(1, &release);
    let racers = handles.map(|executor| {
        let (permit, attempt) = (scene.execute.clone(), attempt.clone());
        async move {
            let log = Log::from(0);
            let report = executor.run(&permit, &attempt, &log).await;
            (report, log.bytes())
        }
    });
    for (report, log) in race(racers.into_iter()).await {
        assert_eq!((report.unwrap(), log.as_slice()), (AttemptReport::Succeeded, &b"once"[..]));
    }
    assert_eq!(scene.runs(StepName::Install).await, 1);
}
