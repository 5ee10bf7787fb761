//! Staging over a fleet: what hosts have before their waves begin, and what that is worth.
use crate::fleet::{Fleet, host, parse, waves};
use deploy_core::{
    backend::{ExecutorCapabilities, JournalExt as _, RolloutRef},
    engine::{Command, DriveEnd, DriveOptions, NoObserver, PlanRelease, Platform},
    id::{Seq, StreamId},
    memory::HostFaults,
    plan::Warning,
    rollout::{Event, Outcome, TaskState},
    spec::{Confirm, Limit, Staging, Strategy},
};
use std::{num::NonZeroU32, sync::Arc, time::Duration};

/// A first wave that has to be confirmed, and all others after it.
fn staging() -> Strategy {
    let mut strategy = waves("1,100%");
    strategy.confirm = Confirm::AfterFirst;
    strategy.staging = Some(Staging::default());
    strategy
}

#[tokio::test(start_paused = true)]
async fn what_is_there_needs_no_room_when_its_wave_begins() {
    let fleet = Fleet::new(4, staging()).await;
    let rollout = fleet.start("1").await;
    assert_eq!(fleet.drive(&rollout).await, DriveEnd::NeedsPerson);
    for number in 1..4 {
        assert_eq!(fleet.state(&rollout, number).await, TaskState::Staged);
        assert_eq!(fleet.executor.attempts(&host(number), &parse("web")), [], "nothing is run");
        fleet.executor.set_faults(&host(number), HostFaults::new().with_full());
    }
    fleet.command(&rollout, Command::Confirm).await;
    assert_eq!(fleet.drive(&rollout).await, DriveEnd::Over(Outcome::Succeeded));
}

#[tokio::test(start_paused = true)]
async fn a_host_that_could_not_fetch_has_not_failed() {
    let fleet = Fleet::new(3, staging()).await;
    let rollout = fleet.start("1").await;
    fleet.executor.set_faults(&host(1), HostFaults::new().with_full());
    fleet.executor.set_faults(&host(2), HostFaults::new().with_unreachable());
    assert_eq!(fleet.drive(&rollout).await, DriveEnd::NeedsPerson);
    let loaded = fleet.platform.load(&rollout).await.unwrap();
    for (number, says) in [(1, "space"), (2, "unavailable")] {
        let task = loaded.task_of(&host(number)).unwrap();
        assert_eq!(task.state, TaskState::Pending);
        let why = task.not_staged.unwrap();
        assert!(why.contains(says), "{why}");
        fleet.executor.set_faults(&host(number), HostFaults::new());
    }
    fleet.command(&rollout, Command::Confirm).await;
    assert_eq!(fleet.drive(&rollout).await, DriveEnd::Over(Outcome::Succeeded));
}

#[tokio::test(start_paused = true)]
async fn answers_that_are_lost_are_asked_for_again() {
    let mut strategy = staging();
    strategy.staging = NonZeroU32::new(1).map(Staging::new);
    let fleet = Fleet::new(4, strategy).await;
    let rollout = fleet.start("1").await;
    let faults = HostFaults::new().with_lost_requests(2).with_lost_replies(2);
    fleet.executor.set_faults(&host(2), faults);
    assert_eq!(fleet.drive(&rollout).await, DriveEnd::NeedsPerson);
    for number in 1..4 {
        assert_eq!(fleet.state(&rollout, number).await, TaskState::Staged);
    }
}

#[tokio::test(start_paused = true)]
async fn a_wave_does_not_wait_for_what_is_fetched() {
    let mut strategy = waves("1");
    strategy.staging = Some(Staging::default());
    let fleet = Fleet::new(3, strategy).await;
    let rollout = fleet.start("1").await;
    // Whatever is asked of it takes two minutes to get there.
    let slow = HostFaults::new().with_delay(Duration::from_secs(120));
    fleet.executor.set_faults(&host(1), slow);
    assert_eq!(fleet.drive(&rollout).await, DriveEnd::Over(Outcome::Succeeded));
    let stream = StreamId::Service(parse("web"));
    let at = RolloutRef::new(rollout, stream, Seq::new(1), None);
    let records = fleet.platform.parts().journal.records(&at).await.unwrap();
    let staged = records.iter().filter_map(|it| match &it.event {
        Event::TargetStaged { host } => Some(host.clone()),
        _ => None,
    });
    assert_eq!(staged.collect::<Vec<_>>(), [host(2)]);
}

#[tokio::test(start_paused = true)]
async fn a_plan_says_which_hosts_cannot_stage() {
    let fleet = Fleet::new(2, staging()).await;
    let request = PlanRelease::new(parse("web"), fleet.release("1").await, 7);
    let mut parts = fleet.platform.parts().clone();
    let plain = ExecutorCapabilities::default().with_check(true).with_kill(true);
    parts.executor = Arc::new(fleet.executor.clone().with_capabilities(plain));
    let platform = Platform::new(parts);
    let (_, report) = platform.plan(&fleet.me, request.clone()).await.unwrap();
    let hosts = vec![host(0), host(1)];
    let warning = Warning::CannotStage { hosts };
    assert!(report.warnings.contains(&warning), "{:?}", report.warnings);
    assert_eq!(warning.code(), "cannot_stage");
    let (plan, report) = fleet.platform.plan(&fleet.me, request).await.unwrap();
    assert!(!report.warnings.contains(&warning));

    let mut gated = plan.clone();
    gated.strategy.staging = Some(Staging::default().with_min_staged(Limit::Percent(90)));
    let refused = platform.start(&fleet.me, gated).await.unwrap_err();
    crate::fleet::refused(&refused, "cannot_stage");

    let rollout = platform.start(&fleet.me, plan).await.unwrap();
    let options = DriveOptions::new("driver");
    platform.drive(&fleet.me, &rollout, options, &NoObserver).await.unwrap();
    fleet.command(&rollout, Command::Confirm).await;
    assert_eq!(fleet.drive(&rollout).await, DriveEnd::Over(Outcome::Succeeded));
}
