//! Commands of people, and what is refused.
use crate::fleet::{Fleet, host, parse, refused, waves};
use deploy_core::{
    backend::BackendResult,
    engine::{Command, DriveEnd, Platform},
    host::{Connection, Host},
    layer::{Layer, Layered, Operation},
    memory::{Act, Script},
    rollout::{Outcome, TaskState},
    spec::{Direction, StepName},
};
use std::{sync::Arc, time::Duration};

#[tokio::test(start_paused = true)]
async fn a_second_rollout_of_the_service_is_refused_with_who_when_and_which_plan() {
    let fleet = Fleet::new(2, waves("1")).await;
    let first = fleet.start("1").await;
    let plan = fleet.plan("2").await;
    let err = fleet.platform.start(&fleet.me, plan).await.unwrap_err();
    refused(&err, "active_rollout");
    let text = err.to_string();
    let digest = fleet.platform.load(&first).await.unwrap().plan().digest().short();
    for part in [first.as_str(), "ann", "2027-01-15T", &digest] {
        assert!(text.contains(part), "`{part}` is missing from: {text}");
    }
}

/// Lets others go first before each call.
#[derive(Clone, Debug)]
struct Yielding;

impl Layer for Yielding {
    async fn around<T: Send, F: Future<Output = BackendResult<T>> + Send>(
        &self,
        _operation: Operation,
        mut call: impl FnMut() -> F + Send,
    ) -> BackendResult<T> {
        tokio::task::yield_now().await;
        call().await
    }
}

#[tokio::test(start_paused = true)]
async fn of_two_rollouts_started_at_once_the_slower_is_told_about_the_other() {
    let fleet = Fleet::new(2, waves("1")).await;
    let (one, two) = (fleet.plan("1").await, fleet.plan("2").await);
    let mut parts = fleet.platform.parts().clone();
    parts.journal = Arc::new(Layered::new(parts.journal, Yielding));
    let platform = Platform::new(parts);
    let (one, two) = tokio::join!(platform.start(&fleet.me, one), platform.start(&fleet.me, two));
    let (first, err) = match (one, two) {
        (Ok(first), Err(err)) | (Err(err), Ok(first)) => (first, err),
        both => panic!("one of them has to win: {both:?}"),
    };
    refused(&err, "active_rollout");
    assert!(err.to_string().contains(first.as_str()), "{err}");
}

#[tokio::test(start_paused = true)]
async fn a_plan_for_another_inventory_is_refused_with_the_difference() {
    let fleet = Fleet::new(2, waves("1")).await;
    let plan = fleet.plan("1").await;
    let new = Host::new(host(7), Connection::Local { root: "/srv/hosts/7".to_owned() });
    fleet.platform.apply_host(&fleet.me, new).await.unwrap();
    let err = fleet.platform.start(&fleet.me, plan).await.unwrap_err();
    refused(&err, "inventory_changed");
    assert!(err.to_string().contains("host-007"), "{err}");
    let plan = fleet.plan("2").await;
    fleet.platform.remove_host(&fleet.me, &host(7)).await.unwrap();
    let err = fleet.platform.start(&fleet.me, plan).await.unwrap_err();
    refused(&err, "inventory_changed");
    assert!(err.to_string().contains("host-007"), "{err}");
}

#[tokio::test(start_paused = true)]
async fn whoever_no_rule_names_may_nothing() {
    let fleet = Fleet::new(1, waves("1")).await;
    let rollout = fleet.start("1").await;
    let bob = parse("bob");
    let err = fleet.platform.command(&bob, &rollout, Command::Resume).await.unwrap_err();
    refused(&err, "denied");
    assert!(err.to_string().contains("bob may not rollout_control on service/web"), "{err}");
}

#[tokio::test(start_paused = true)]
async fn commands_that_mean_nothing_are_refused_and_change_nothing() {
    let fleet = Fleet::new(1, waves("1")).await;
    let rollout = fleet.start("1").await;
    let head = fleet.platform.load(&rollout).await.unwrap().head();
    let refusals = [
        (Command::Confirm, "nothing_to_confirm"),
        (Command::Resume, "rollout_not_paused"),
        (Command::Kill(host(0)), "target_not_running"),
        (Command::Skip(host(9)), "not_a_target"),
        (Command::Retry(Some(host(0))), "target_not_in_trouble"),
    ];
    for (command, code) in refusals {
        let err = fleet.platform.command(&fleet.me, &rollout, command).await.unwrap_err();
        refused(&err, code);
    }
    assert_eq!(fleet.platform.load(&rollout).await.unwrap().head(), head);
    fleet.drive(&rollout).await;
    let late = Command::Abort { note: String::new(), kill: false };
    refused(&fleet.platform.command(&fleet.me, &rollout, late).await.unwrap_err(), "rollout_over");
}

#[tokio::test(start_paused = true)]
async fn the_driver_follows_commands_from_elsewhere() {
    let fleet = Fleet::new(4, waves("1")).await;
    let slow = Script::new(StepName::Start, []).taking(Duration::from_secs(20));
    fleet.executor.script(slow);
    let rollout = fleet.start("1").await;
    let elsewhere = async {
        tokio::time::sleep_until(tokio::time::Instant::now() + Duration::from_secs(5)).await;
        fleet.command(&rollout, Command::Skip(host(2))).await;
        fleet.command(&rollout, Command::Pause { note: "lunch".to_owned() }).await;
    };
    let (end, ()) = tokio::join!(fleet.drive(&rollout), elsewhere);
    assert_eq!(end, DriveEnd::NeedsPerson);
    let loaded = fleet.platform.load(&rollout).await.unwrap();
    assert_eq!(loaded.view().counts.get(&TaskState::Succeeded), Some(&1));
    fleet.command(&rollout, Command::Resume).await;
    assert_eq!(fleet.drive(&rollout).await, DriveEnd::Over(Outcome::Succeeded));
    assert_eq!(fleet.executor.runs(&host(2), StepName::Start), 0);
}

#[tokio::test(start_paused = true)]
async fn a_killed_attempt_leaves_nothing_and_an_abort_ends_the_rollout() {
    let fleet = Fleet::new(2, waves("1")).await;
    fleet.executor.script(Script::new(StepName::Start, [Act::Block]).on_host(host(0)));
    let rollout = fleet.start("1").await;
    let elsewhere = async {
        while fleet.executor.runs(&host(0), StepName::Start) == 0 {
            tokio::time::sleep_until(tokio::time::Instant::now() + Duration::from_millis(50)).await;
        }
        fleet.command(&rollout, Command::Kill(host(0))).await;
        fleet.command(&rollout, Command::Abort { note: String::new(), kill: false }).await;
    };
    let (end, ()) = tokio::join!(fleet.drive(&rollout), elsewhere);
    assert_eq!(end, DriveEnd::Over(Outcome::Aborted));
    assert_eq!(fleet.executor.processes(&host(0)), 0);
    let loaded = fleet.platform.load(&rollout).await.unwrap();
    let state = |it| loaded.task(&host(it), Direction::Forward).map(|it| it.state);
    assert_eq!((state(0), state(1)), (Some(TaskState::Killed), Some(TaskState::Pending)));
}
