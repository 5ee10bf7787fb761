//! Drivers that go away, and others that take over.
use crate::fleet::{Fleet, host, is_conflict, parse, waves};
use deploy_core::{
    backend::{BackendError, BackendResult, ErrorKind},
    engine::{DriveEnd, DriveOptions, NoObserver, Platform, PlatformError},
    layer::{Layer, Layered, Operation},
    memory::{Act, HostFaults, Script},
    rollout::{LOST_AFTER, Outcome, TaskState},
    spec::{Limit, StepName},
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};
use tokio::time::{Instant, timeout};

#[tokio::test(start_paused = true)]
async fn a_driver_dropped_at_any_moment_is_taken_over_and_nothing_runs_twice() {
    for moment in 0..60 {
        let fleet = Fleet::new(6, waves("2,*2")).await;
        for step in [StepName::Fetch, StepName::Install, StepName::Start] {
            let acts: &[Act] = if step == StepName::Install { &[Act::Activate] } else { &[] };
            let says = Act::Print(format!("{step}\n").into_bytes());
            let acts = [&[says], acts].concat();
            fleet.executor.script(Script::new(step, acts).taking(Duration::from_millis(300)));
        }
        let rollout = fleet.start("1").await;
        let cut = Duration::from_millis(37 + moment * 61);
        let first = timeout(cut, fleet.try_drive(&rollout, "one")).await;
        let end = match first {
            Ok(end) => end.unwrap(),
            Err(_elapsed) => {
                let options = DriveOptions::new("two").with_dead_holder(Some("one".to_owned()));
                let platform = &fleet.platform;
                platform.drive(&fleet.me, &rollout, options, &NoObserver).await.unwrap()
            }
        };
        assert_eq!(end, DriveEnd::Over(Outcome::Succeeded), "cut after {cut:?}");
        assert_eq!(fleet.runs().await, vec![Some(parse("web-1")); 6]);
        for number in 0..6 {
            assert_eq!(fleet.executor.runs(&host(number), StepName::Start), 1, "cut after {cut:?}");
            let log = String::from_utf8(fleet.log(&rollout, &host(number)).await).unwrap();
            assert_eq!(log, "fetch\ninstall\nstart\n", "host {number}, cut after {cut:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn two_drivers_do_not_fight() {
    let fleet = Fleet::new(3, waves("1")).await;
    let slow = Script::new(StepName::Start, []).taking(Duration::from_secs(60));
    fleet.executor.script(slow);
    let rollout = fleet.start("1").await;
    let second = async {
        tokio::time::sleep_until(Instant::now() + Duration::from_secs(30)).await;
        fleet.try_drive(&rollout, "two").await
    };
    let (first, second) = tokio::join!(fleet.try_drive(&rollout, "one"), second);
    assert_eq!(first.unwrap(), DriveEnd::Over(Outcome::Succeeded));
    match second.unwrap_err() {
        PlatformError::Backend(err) => assert!(is_conflict(err.kind()), "{err}"),
        other => panic!("{other}"),
    }
}

#[tokio::test(start_paused = true)]
async fn lost_requests_and_replies_are_probed_and_nothing_runs_twice() {
    let fleet = Fleet::new(4, waves("100%")).await;
    fleet.executor.set_faults(&host(0), HostFaults::new().with_lost_replies(2));
    fleet.executor.set_faults(&host(1), HostFaults::new().with_lost_requests(1));
    fleet.executor.set_faults(&host(2), HostFaults::new().with_lost_replies(1));
    let mut strategy = waves("100%");
    strategy.retries.retries = 2;
    fleet.set_strategy(strategy).await;
    let rollout = fleet.start("1").await;
    assert_eq!(fleet.drive(&rollout).await, DriveEnd::Over(Outcome::Succeeded));
    for number in 0..4 {
        assert_eq!(fleet.executor.runs(&host(number), StepName::Start), 1, "host {number}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_reboot_in_a_step_that_must_not_run_twice_is_for_a_person() {
    let fleet = Fleet::new(1, waves("100%")).await;
    fleet.executor.script(Script::new(StepName::Start, [Act::Block]));
    let rollout = fleet.start("1").await;
    let reboot = async {
        while fleet.executor.runs(&host(0), StepName::Start) == 0 {
            tokio::time::sleep_until(Instant::now() + Duration::from_millis(50)).await;
        }
        fleet.executor.reboot(&host(0));
    };
    let (end, ()) = tokio::join!(fleet.drive(&rollout), reboot);
    assert_eq!(end, DriveEnd::NeedsPerson);
    let why = fleet.platform.why(&rollout, &host(0)).await.unwrap().to_string();
    assert!(why.contains("unknown") && why.contains("start"), "{why}");
    assert_eq!(fleet.executor.runs(&host(0), StepName::Start), 1);
}

/// Loses the connection so often before an attempt says anything.
#[derive(Clone, Debug)]
struct Cut(Arc<AtomicU32>);

impl Layer for Cut {
    async fn around<T: Send, F: Future<Output = BackendResult<T>> + Send>(
        &self,
        operation: Operation,
        mut call: impl FnMut() -> F + Send,
    ) -> BackendResult<T> {
        let one_less = |left: u32| left.checked_sub(1);
        if operation.name == "executor.run"
            && self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less).is_ok()
        {
            return Err(BackendError::new(ErrorKind::Unavailable, operation.name));
        }
        call().await
    }
}

#[tokio::test(start_paused = true)]
async fn output_is_not_lost_when_the_connection_is_cut_that_fetches_it() {
    let fleet = Fleet::new(1, waves("100%")).await;
    let says = Act::Print(b"started\n".to_vec());
    let slow = Script::new(StepName::Start, [says]).taking(Duration::from_secs(3));
    fleet.executor.script(slow);
    let rollout = fleet.start("1").await;
    let first = timeout(Duration::from_secs(1), fleet.try_drive(&rollout, "one")).await;
    assert!(first.is_err(), "the first driver is gone in the middle of it");
    tokio::time::sleep(Duration::from_secs(10)).await;
    let mut parts = fleet.platform.parts().clone();
    let cuts = Arc::new(AtomicU32::new(4));
    parts.executor = Arc::new(Layered::new(parts.executor, Cut(Arc::clone(&cuts))));
    let options = DriveOptions::new("two").with_dead_holder(Some("one".to_owned()));
    let driven = Platform::new(parts).drive(&fleet.me, &rollout, options, &NoObserver).await;
    assert_eq!(driven.unwrap(), DriveEnd::Over(Outcome::Succeeded));
    assert_eq!(cuts.load(Ordering::Relaxed), 0, "the output was not asked for");
    let log = String::from_utf8(fleet.log(&rollout, &host(0)).await).unwrap();
    assert_eq!(log, "started\n");
}

/// Never answers a probe.
#[derive(Clone, Debug)]
struct Mute;

impl Layer for Mute {
    async fn around<T: Send, F: Future<Output = BackendResult<T>> + Send>(
        &self,
        operation: Operation,
        mut call: impl FnMut() -> F + Send,
    ) -> BackendResult<T> {
        if operation.name == "executor.probe" {
            std::future::pending::<()>().await;
        }
        call().await
    }
}

#[tokio::test(start_paused = true)]
async fn a_host_that_never_answers_is_given_up() {
    let fleet = Fleet::new(1, waves("100%")).await;
    fleet.executor.set_faults(&host(0), HostFaults::new().with_lost_replies(1));
    let rollout = fleet.start("1").await;
    let mut parts = fleet.platform.parts().clone();
    parts.executor = Arc::new(Layered::new(parts.executor, Mute));
    let (options, began) = (DriveOptions::new("driver"), Instant::now());
    let driven = Platform::new(parts).drive(&fleet.me, &rollout, options, &NoObserver).await;
    assert_eq!(driven.unwrap(), DriveEnd::NeedsPerson);
    assert!(began.elapsed() < LOST_AFTER + Duration::from_secs(60), "{:?}", began.elapsed());
    let why = fleet.platform.why(&rollout, &host(0)).await.unwrap().to_string();
    assert!(why.contains("gave no answer for too long: the host did not answer"), "{why}");
}

#[tokio::test(start_paused = true)]
async fn a_host_that_comes_back_after_it_was_given_up_says_what_became_of_its_attempt() {
    let mut strategy = waves("1");
    strategy.failure_budget.rollout.max_unknown = Limit::Count(1);
    let fleet = Fleet::new(2, strategy).await;
    let slow = Script::new(StepName::Start, []).taking(Duration::from_secs(90)).on_host(host(1));
    fleet.executor.script(slow);
    let lost = HostFaults::new().with_lost_replies(1_000);
    fleet.executor.set_faults(&host(0), lost);
    let rollout = fleet.start("1").await;
    let comes_back = async {
        while fleet.state(&rollout, 0).await != TaskState::Unknown {
            tokio::time::sleep_until(Instant::now() + Duration::from_secs(1)).await;
        }
        fleet.executor.set_faults(&host(0), HostFaults::new());
    };
    let (end, ()) = tokio::join!(fleet.drive(&rollout), comes_back);
    assert_eq!(end, DriveEnd::Over(Outcome::Succeeded));
    assert_eq!(fleet.executor.runs(&host(0), StepName::Start), 1);
    assert_eq!(fleet.state(&rollout, 0).await, TaskState::Succeeded);
}
