//! Rollouts from start to end.
use crate::fleet::{Fleet, host, parse, waves};
use deploy_core::{
    backend::HostInventory as _,
    engine::{Command, DriveEnd, PlanRollback},
    memory::{Act, HostFaults, Script},
    rollout::{Outcome, RolloutState, TaskState},
    spec::{Confirm, Direction, Effect, Limit, OnFailure, StepName},
};
use std::time::Duration;

#[tokio::test(start_paused = true)]
async fn a_release_goes_onto_every_host() {
    let fleet = Fleet::new(20, waves("2,*3")).await;
    let rollout = fleet.start("1").await;
    assert_eq!(fleet.drive(&rollout).await, DriveEnd::Over(Outcome::Succeeded));
    assert_eq!(fleet.runs().await, vec![Some(parse("web-1")); 20]);
    let loaded = fleet.platform.load(&rollout).await.unwrap();
    assert_eq!(loaded.view().waves.iter().map(|it| it.targets).collect::<Vec<_>>(), [2, 6, 12]);
    let told: Vec<String> = fleet.notifier.delivered().into_iter().map(|it| it.subject).collect();
    assert_eq!(told, [format!("rollout {rollout} is over: succeeded")]);
}

#[tokio::test(start_paused = true)]
async fn hosts_that_run_the_release_are_left_alone() {
    let fleet = Fleet::new(3, waves("1")).await;
    let first = fleet.start("1").await;
    fleet.drive(&first).await;
    let release = parse("web-1");
    let request = deploy_core::engine::PlanRelease::new(parse("web"), release, 8);
    let (plan, _report) = fleet.platform.plan(&fleet.me, request).await.unwrap();
    assert_eq!((plan.waves.len(), plan.no_ops.len()), (0, 3));
    let err = fleet.platform.start(&fleet.me, plan).await.unwrap_err();
    crate::fleet::refused(&err, "nothing_to_do");
}

#[tokio::test(start_paused = true)]
async fn a_canary_waits_to_be_confirmed() {
    let mut strategy = waves("1,*2");
    strategy.confirm = Confirm::AfterFirst;
    strategy.bake_time = Duration::from_secs(60);
    let fleet = Fleet::new(4, strategy).await;
    let rollout = fleet.start("1").await;
    assert_eq!(fleet.drive(&rollout).await, DriveEnd::NeedsPerson);
    let view = fleet.platform.load(&rollout).await.unwrap().view();
    assert!(view.awaits_confirm);
    assert_eq!(view.counts.get(&TaskState::Succeeded), Some(&1));
    let why = fleet.platform.why(&rollout, &host(3)).await.unwrap();
    assert_eq!(
        why.to_string(),
        "wave 3 of 3: pending; waits for somebody to confirm the wave before"
    );
    fleet.command(&rollout, Command::Confirm).await;
    assert_eq!(fleet.drive(&rollout).await, DriveEnd::Over(Outcome::Succeeded));
}

#[tokio::test(start_paused = true)]
async fn a_release_that_fails_its_check_is_rolled_back() {
    let mut strategy = waves("1,*2");
    strategy.on_failure = OnFailure::Rollback;
    let fleet = Fleet::new(4, strategy).await;
    let first = fleet.start("1").await;
    fleet.drive(&first).await;
    let broken = Script::new(StepName::Verify, [Act::Exit(7)]).of_release(parse("web-2"));
    fleet.executor.script(broken);
    let second = fleet.start("2").await;
    assert_eq!(fleet.drive(&second).await, DriveEnd::Over(Outcome::RolledBack));
    assert_eq!(fleet.runs().await, vec![Some(parse("web-1")); 4]);
    let loaded = fleet.platform.load(&second).await.unwrap();
    assert_eq!(loaded.task(&host(1), Direction::Back).map(|it| it.state), Some(TaskState::Skipped));
}

#[tokio::test(start_paused = true)]
async fn every_trouble_counts_in_its_own_column() {
    let mut strategy = waves("100%");
    strategy.failure_budget.rollout.max_failed = Limit::Count(1);
    strategy.failure_budget.rollout.max_unreachable = Limit::Count(1);
    let fleet = Fleet::new(5, strategy).await;
    fleet.executor.set_faults(&host(1), HostFaults::new().with_unreachable());
    fleet.executor.script(Script::new(StepName::Start, [Act::Exit(3)]).on_host(host(2)));
    let rollout = fleet.start("1").await;
    assert_eq!(fleet.drive(&rollout).await, DriveEnd::Over(Outcome::SucceededWithDebt));
    let view = fleet.platform.load(&rollout).await.unwrap().view();
    assert_eq!(view.counts.get(&TaskState::Failed), Some(&1));
    assert_eq!(view.counts.get(&TaskState::Unreachable), Some(&1));
    let why = fleet.platform.why(&rollout, &host(2)).await.unwrap();
    assert!(why.to_string().contains("failed in start with code 3"), "{why}");
}

#[tokio::test(start_paused = true)]
async fn one_failure_too_many_pauses_and_a_retry_goes_on() {
    let fleet = Fleet::new(6, waves("2")).await;
    fleet.executor.script(Script::new(StepName::Install, [Act::Exit(1)]).on_host(host(1)));
    let rollout = fleet.start("1").await;
    assert_eq!(fleet.drive(&rollout).await, DriveEnd::NeedsPerson);
    let why = fleet.platform.why(&rollout, &host(5)).await.unwrap();
    assert!(why.to_string().contains("paused by the failure budget: failed 1/0"), "{why}");
    fleet.executor.script(Script::new(StepName::Install, [Act::Activate]).on_host(host(1)));
    fleet.command(&rollout, Command::Retry(None)).await;
    fleet.command(&rollout, Command::Resume).await;
    assert_eq!(fleet.drive(&rollout).await, DriveEnd::Over(Outcome::Succeeded));
    assert_eq!(fleet.runs().await, vec![Some(parse("web-1")); 6]);
}

#[tokio::test(start_paused = true)]
async fn a_rollout_that_is_over_is_undone_by_a_plan_of_its_own() {
    let fleet = Fleet::new(3, waves("1")).await;
    for version in ["1", "2"] {
        let rollout = fleet.start(version).await;
        fleet.drive(&rollout).await;
    }
    let newest = fleet.platform.rollouts(None, 1).await.unwrap().remove(0);
    let planned = fleet
        .platform
        .plan_rollback(&fleet.me, PlanRollback::new(newest.id().clone(), 9))
        .await
        .unwrap();
    let rollout = fleet.platform.start(&fleet.me, planned.0).await.unwrap();
    assert_eq!(fleet.drive(&rollout).await, DriveEnd::Over(Outcome::Succeeded));
    assert_eq!(fleet.runs().await, vec![Some(parse("web-1")); 3]);
}

#[tokio::test(start_paused = true)]
async fn an_undo_that_fails_does_not_put_the_release_back() {
    let mut strategy = waves("1");
    strategy.on_failure = OnFailure::Rollback;
    let fleet = Fleet::new(2, strategy).await;
    for version in ["1", "2"] {
        let rollout = fleet.start(version).await;
        fleet.drive(&rollout).await;
    }
    let newest = fleet.platform.rollouts(None, 1).await.unwrap().remove(0);
    fleet.executor.script(Script::new(StepName::Rollback, [Act::Exit(1)]).on_host(host(1)));
    let planned = fleet
        .platform
        .plan_rollback(&fleet.me, PlanRollback::new(newest.id().clone(), 9))
        .await
        .unwrap();
    let undo = fleet.platform.start(&fleet.me, planned.0).await.unwrap();
    assert_eq!(fleet.drive(&undo).await, DriveEnd::NeedsPerson);
    assert_eq!(fleet.runs().await, [Some(parse("web-1")), Some(parse("web-2"))]);
}

#[tokio::test(start_paused = true)]
async fn a_first_release_that_is_undone_leaves_nothing() {
    let fleet = Fleet::new(2, waves("1")).await;
    let rollout = fleet.start("1").await;
    fleet.drive(&rollout).await;
    let planned = fleet
        .platform
        .plan_rollback(&fleet.me, PlanRollback::new(rollout.clone(), 9))
        .await
        .unwrap();
    let undo = fleet.platform.start(&fleet.me, planned.0).await.unwrap();
    assert_eq!(fleet.drive(&undo).await, DriveEnd::Over(Outcome::Succeeded));
    assert_eq!(fleet.runs().await, [None, None]);
}

#[tokio::test(start_paused = true)]
async fn a_host_that_falls_ill_while_its_wave_is_watched_stops_the_rollout() {
    let mut strategy = waves("1");
    strategy.bake_time = Duration::from_secs(120);
    strategy.on_failure = OnFailure::Rollback;
    let fleet = Fleet::new(2, strategy).await.with_effect(Effect::Idempotent);
    let rollout = fleet.start("1").await;
    let ill = async {
        tokio::time::sleep_until(tokio::time::Instant::now() + Duration::from_secs(30)).await;
        fleet.executor.script(Script::new(StepName::Verify, [Act::Exit(1)]));
    };
    let (end, ()) = tokio::join!(fleet.drive(&rollout), ill);
    assert_eq!(end, DriveEnd::Over(Outcome::RolledBack));
    assert_eq!(fleet.platform.load(&rollout).await.unwrap().state(), RolloutState::RolledBack);
    let installed = fleet.platform.parts().inventory.installed(&parse("web")).await.unwrap();
    assert!(installed.values().all(|it| it.release.is_none()));
}

#[tokio::test(start_paused = true)]
async fn retries_wait_longer_each_time_and_begin_where_it_failed() {
    let mut strategy = waves("100%");
    strategy.retries.retries = 2;
    strategy.retries.backoff = Duration::from_secs(10);
    let fleet = Fleet::new(1, strategy).await;
    fleet.executor.script(Script::new(StepName::Start, [Act::Exit(1)]));
    let rollout = fleet.start("1").await;
    let began = tokio::time::Instant::now();
    assert_eq!(fleet.drive(&rollout).await, DriveEnd::NeedsPerson);
    let took = began.elapsed();
    assert!(took >= Duration::from_secs(30) && took < Duration::from_secs(34), "{took:?}");
    assert_eq!(fleet.executor.runs(&host(0), StepName::Install), 1);
    assert_eq!(fleet.executor.runs(&host(0), StepName::Start), 3);
}

/// Hosts that wait a minute to be told to keep a release.
fn to_be_confirmed() -> deploy_core::spec::Strategy {
    let mut strategy = waves("100%");
    strategy.health.confirm_timeout = Some(Duration::from_secs(60));
    strategy
}

#[tokio::test(start_paused = true)]
async fn hosts_are_told_to_keep_what_they_have_put_in_place() {
    let fleet = Fleet::new(3, to_be_confirmed()).await;
    let rollout = fleet.start("1").await;
    fleet.executor.set_faults(&host(1), HostFaults::new().with_lost_replies(4));
    assert_eq!(fleet.drive(&rollout).await, DriveEnd::Over(Outcome::Succeeded));
    assert_eq!(fleet.runs().await, vec![Some(parse("web-1")); 3]);
    assert_eq!(fleet.executor.runs(&host(1), StepName::Rollback), 0);
}

#[tokio::test(start_paused = true)]
async fn a_host_that_is_out_of_reach_once_it_is_changed_goes_back() {
    let fleet = Fleet::new(2, to_be_confirmed()).await;
    let first = fleet.start("1").await;
    fleet.drive(&first).await;
    // The release itself takes the host off the network.
    let slow = Script::new(StepName::Verify, []).on_host(host(1)).taking(Duration::from_secs(20));
    fleet.executor.script(slow.of_release(parse("web-2")));
    let second = fleet.start("2").await;
    let (driven, ()) = tokio::join!(fleet.drive(&second), async {
        tokio::time::sleep(Duration::from_secs(10)).await;
        fleet.executor.set_faults(&host(1), HostFaults::new().with_unreachable());
        tokio::time::sleep(Duration::from_secs(100)).await;
        fleet.executor.set_faults(&host(1), HostFaults::new());
    });
    assert_eq!(driven, DriveEnd::NeedsPerson);
    assert_eq!(fleet.state(&second, 1).await, TaskState::SelfReverted);
    assert_eq!(fleet.runs().await, [Some(parse("web-2")), Some(parse("web-1"))]);
    assert_eq!(fleet.executor.runs(&host(1), StepName::Rollback), 1);
}

#[tokio::test(start_paused = true)]
async fn an_abort_takes_back_what_waits() {
    let mut strategy = to_be_confirmed();
    strategy.health.confirm_timeout = Some(Duration::from_secs(3_000));
    let fleet = Fleet::new(1, strategy).await;
    fleet.executor.script(Script::new(StepName::Verify, []).taking(Duration::from_secs(20)));
    let rollout = fleet.start("1").await;
    let (driven, ()) = tokio::join!(fleet.drive(&rollout), async {
        tokio::time::sleep(Duration::from_secs(10)).await;
        fleet.executor.set_faults(&host(0), HostFaults::new().with_unreachable());
        tokio::time::sleep(Duration::from_secs(30)).await;
        let (note, kill) = (String::new(), false);
        fleet.command(&rollout, Command::Abort { note, kill }).await;
        fleet.executor.set_faults(&host(0), HostFaults::new());
    });
    assert_eq!(driven, DriveEnd::Over(Outcome::Aborted));
    assert_eq!(fleet.state(&rollout, 0).await, TaskState::SelfReverted);
    assert_eq!(fleet.runs().await, [None]);
}

#[tokio::test(start_paused = true)]
async fn a_plan_that_wants_more_than_hosts_can_do_is_refused() {
    let fleet = Fleet::new(1, to_be_confirmed()).await;
    let release = fleet.release("1").await;
    let request = deploy_core::engine::PlanRelease::new(parse("web"), release, 7);
    let mut parts = fleet.platform.parts().clone();
    let plan = fleet.platform.plan(&fleet.me, request.clone()).await.unwrap().0;
    let plain = deploy_core::backend::ExecutorCapabilities::default();
    parts.executor = std::sync::Arc::new(fleet.executor.clone().with_capabilities(plain));
    let platform = deploy_core::engine::Platform::new(parts);
    let err = platform.plan(&fleet.me, request).await.unwrap_err();
    crate::fleet::refused(&err, "cannot_confirm");
    assert_eq!(
        err.to_string(),
        "host `host-000` cannot go back by itself, as `confirm_timeout` wants it: only hosts with an agent can; leave it out, or the hosts"
    );
    crate::fleet::refused(&platform.start(&fleet.me, plan).await.unwrap_err(), "cannot_confirm");
}
