//! Debt and drift, and the keepers that make them good.
use crate::fleet::{Fleet, host, parse, refused, waves};
use deploy_core::{
    access::Action,
    backend::HostInventory as _,
    engine::{Command, DriveEnd, Keeper, Kept, PlanRepair, PlanRollback, Platform, Sight},
    host::Installed,
    id::{Principal, RolloutId, Seq},
    memory::{Act, HostFaults, MemoryAuthorizer, Rule, Script},
    repair::{Cause, Hold, Left, Next},
    rollout::Outcome,
    spec::{Limit, OnDrift, Repair, StepName, Strategy},
};
use std::{sync::Arc, time::Duration};

const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(24 * 3_600);

fn lenient() -> Strategy {
    let mut strategy = waves("100%");
    strategy.failure_budget.rollout.max_unreachable = Limit::Count(1);
    strategy.failure_budget.rollout.max_failed = Limit::Count(1);
    strategy
}

async fn ask(fleet: &Fleet, change: impl FnOnce(&mut deploy_core::spec::Service)) {
    let service = fleet.platform.parts().registry.service(&parse("web")).await.unwrap();
    let mut service = service.value;
    change(&mut service);
    fleet.platform.apply_service(&fleet.me, service).await.unwrap();
}

async fn pass(by: Duration) {
    tokio::time::sleep(by).await;
}

/// Three hosts, of which the last was away during a rollout that allows that; debt is made good for a week.
async fn in_debt() -> (Fleet, RolloutId) {
    let fleet = Fleet::new(3, lenient()).await;
    fleet.executor.set_faults(&host(2), HostFaults::new().with_unreachable());
    ask(&fleet, |it| it.repair = Repair::default().with_debt(7 * DAY)).await;
    let rollout = fleet.start("1").await;
    assert_eq!(fleet.drive(&rollout).await, DriveEnd::Over(Outcome::SucceededWithDebt));
    (fleet, rollout)
}

/// A keeper that may just what keepers have to.
fn keeper(fleet: &Fleet) -> Keeper {
    let me: Principal = parse("keeper");
    let mut parts = fleet.platform.parts().clone();
    let rule = Rule::allow(parse("keeper"), [Action::HostObserve, Action::RolloutControl]);
    parts.authorizer = Arc::new(MemoryAuthorizer::new(vec![rule]));
    Keeper::new(Platform::new(parts), me)
}

async fn keep(fleet: &Fleet) -> Kept {
    keeper(fleet).keep(&parse("web")).await.unwrap().unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_host_that_was_away_gets_the_release_when_it_is_back() {
    let (fleet, rollout) = in_debt().await;
    let kept = keep(&fleet).await;
    assert_eq!((kept.started, kept.ledger.hosts.len()), (None, 1));
    assert!(kept.away[&host(2)].contains("host-002"), "{:?}", kept.away);
    fleet.executor.set_faults(&host(2), HostFaults::new());
    let repair = keep(&fleet).await.started.unwrap();
    let loaded = fleet.platform.load(&repair).await.unwrap();
    assert_eq!(loaded.plan().repairs, Some(rollout.clone()));
    assert_eq!(loaded.plan().format, 2, "who does not know repairs must not take it for a rollout");
    assert_eq!((loaded.by().as_str(), loaded.plan().target_count()), ("keeper", 1));
    assert!(matches!(keep(&fleet).await.ledger.hold, Some(Hold::Active { .. })));
    assert_eq!(fleet.drive(&repair).await, DriveEnd::Over(Outcome::Succeeded));
    assert_eq!(fleet.runs().await, vec![Some(parse("web-1")); 3]);
    let kept = keep(&fleet).await;
    assert_eq!((kept.ledger.rollout, kept.ledger.hosts, kept.started), (rollout, vec![], None));
}

#[tokio::test(start_paused = true)]
async fn a_host_that_has_the_release_already_is_seen_to_have_it_and_left_alone() {
    let (fleet, _) = in_debt().await;
    fleet.executor.set_faults(&host(2), HostFaults::new());
    fleet.executor.install(&host(2), &parse("web"), parse("web-1"));
    let kept = keep(&fleet).await;
    assert_eq!((kept.started, kept.ledger.hosts), (None, vec![]));
}

#[tokio::test(start_paused = true)]
async fn nothing_starts_outside_the_windows_of_the_service() {
    let (fleet, _) = in_debt().await;
    fleet.executor.set_faults(&host(2), HostFaults::new());
    let windows = vec![parse("daily 12:00-13:00 UTC")];
    ask(&fleet, |it| it.strategy.schedule.windows = windows).await;
    let kept = keep(&fleet).await;
    assert_eq!(kept.started, None);
    assert!(matches!(kept.ledger.hold, Some(Hold::Window { .. })), "{:?}", kept.ledger.hold);
    pass(4 * HOUR).await;
    assert!(keep(&fleet).await.started.is_some());
}

#[tokio::test(start_paused = true)]
async fn people_are_told_once_of_a_debt_that_has_become_too_old() {
    let (fleet, rollout) = in_debt().await;
    let told =
        || fleet.notifier.delivered().into_iter().filter(|it| it.key.ends_with("/debt-expired"));
    pass(6 * DAY).await;
    keep(&fleet).await;
    assert_eq!(told().count(), 0);
    pass(DAY).await;
    fleet.executor.set_faults(&host(2), HostFaults::new());
    for _ in 0..3 {
        let kept = keep(&fleet).await;
        assert_eq!(kept.started, None);
        assert!(matches!(kept.ledger.hosts[0].next, Next::Left { why: Left::Expired { .. } }));
    }
    let told: Vec<_> = told().collect();
    let [alert] = told.as_slice() else { panic!("{told:?}") };
    assert_eq!(alert.subject, "web: 1 host is still without web-1, and not repaired any more");
    assert!(alert.body.contains("host-002") && alert.body.contains(rollout.as_str()), "{alert:?}");
    // A person may want it all the same.
    let request = PlanRepair::new(parse("web"), 1);
    let (plan, _report) = fleet.platform.plan_repair(&fleet.me, request).await.unwrap();
    let repair = fleet.platform.start(&fleet.me, plan).await.unwrap();
    assert_eq!(fleet.drive(&repair).await, DriveEnd::Over(Outcome::Succeeded));
}

/// Somebody puts another release on a host, and that is noticed.
async fn drift(fleet: &Fleet, number: usize) {
    let seen = fleet.platform.parts().inventory.installed(&parse("web")).await.unwrap();
    let generation = seen.get(&host(number)).unwrap().generation;
    fleet.executor.install(&host(number), &parse("web"), parse("web-0"));
    let parts = fleet.platform.parts();
    let now = parts.clock.now();
    let seen = Installed::new(Some(parse("web-0")), None, generation, now);
    let resource = deploy_core::access::Resource::Host(host(number), Some(parse("web")));
    let permit = fleet.platform.permit(&fleet.me, Action::HostObserve, resource).await.unwrap();
    parts.inventory.record(&permit, &host(number), &parse("web"), seen).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn drift_is_reported_and_repaired_where_the_service_asks_for_it() {
    let fleet = Fleet::new(2, lenient()).await;
    let rollout = fleet.start("1").await;
    fleet.drive(&rollout).await;
    pass(HOUR).await;
    drift(&fleet, 1).await;
    let kept = keep(&fleet).await;
    assert_eq!(kept.started, None);
    assert_eq!(kept.ledger.hosts[0].cause, Cause::Drift);
    assert_eq!(kept.ledger.hosts[0].next, Next::Left { why: Left::Reported });
    ask(&fleet, |it| it.repair = Repair::default().with_drift(OnDrift::Repair)).await;
    let repair = keep(&fleet).await.started.unwrap();
    assert_eq!(fleet.drive(&repair).await, DriveEnd::Over(Outcome::Succeeded));
    assert_eq!(fleet.runs().await, vec![Some(parse("web-1")); 2]);
}

#[tokio::test(start_paused = true)]
async fn a_repair_that_fails_is_tried_again_later_each_time() {
    let (fleet, _) = in_debt().await;
    // One keeper, which reads the journal again only where that has changed.
    let keeper = keeper(&fleet);
    let keep = async |_: &Fleet| keeper.keep(&parse("web")).await.unwrap().unwrap();
    ask(&fleet, |it| it.strategy.failure_budget = Default::default()).await;
    fleet.executor.set_faults(&host(2), HostFaults::new());
    fleet.executor.script(Script::new(StepName::Install, [Act::Exit(1)]).on_host(host(2)));
    for wait in [0, 15, 30, 60] {
        if wait > 0 {
            let kept = keep(&fleet).await;
            assert_eq!(kept.started, None, "{wait}");
            assert!(matches!(kept.ledger.hosts[0].next, Next::At { .. }), "{:?}", kept.ledger);
            pass(Duration::from_secs(wait * 60)).await;
        }
        let repair = keep(&fleet).await.started.unwrap();
        // It is in nobody's way: where another rollout pauses, it ends.
        assert_eq!(fleet.drive(&repair).await, DriveEnd::Over(Outcome::Aborted));
    }
    assert_eq!(fleet.executor.runs(&host(2), StepName::Install), 4);
}

#[tokio::test(start_paused = true)]
async fn a_repair_that_a_person_has_ended_is_not_started_again() {
    let (fleet, _) = in_debt().await;
    fleet.executor.set_faults(&host(2), HostFaults::new());
    let repair = keep(&fleet).await.started.unwrap();
    fleet.command(&repair, Command::Abort { note: "not now".to_owned(), kill: false }).await;
    assert_eq!(fleet.drive(&repair).await, DriveEnd::Over(Outcome::Aborted));
    pass(DAY).await;
    let kept = keep(&fleet).await;
    assert_eq!(
        (kept.started, kept.ledger.hold),
        (None, Some(Hold::Stopped { rollout: repair, by: fleet.me.clone() }))
    );
}

#[tokio::test(start_paused = true)]
async fn of_two_keepers_on_one_journal_one_starts_a_repair() {
    let (fleet, _) = in_debt().await;
    fleet.executor.set_faults(&host(2), HostFaults::new());
    let (one, two) = tokio::join!(keep(&fleet), keep(&fleet));
    let started: Vec<RolloutId> = one.started.into_iter().chain(two.started).collect();
    assert_eq!(started.len(), 1);
    assert_eq!(fleet.drive(&started[0]).await, DriveEnd::Over(Outcome::Succeeded));
    assert_eq!(fleet.executor.runs(&host(2), StepName::Install), 1);
}

#[tokio::test(start_paused = true)]
async fn a_repair_that_was_planned_before_another_one_is_refused() {
    let (fleet, _) = in_debt().await;
    fleet.executor.set_faults(&host(2), HostFaults::new());
    fleet.executor.script(Script::new(StepName::Install, [Act::Exit(1)]).on_host(host(2)));
    let request = PlanRepair::new(parse("web"), 1);
    let (late, _report) = fleet.platform.plan_repair(&fleet.me, request).await.unwrap();
    let repair = keep(&fleet).await.started.unwrap();
    fleet.drive(&repair).await;
    let err = fleet.platform.start(&fleet.me, late).await.unwrap_err();
    refused(&err, "superseded");
    assert!(err.to_string().contains(repair.as_str()), "{err}");
}

#[tokio::test(start_paused = true)]
async fn there_is_nothing_to_repair_where_nothing_is_owed_or_nobody_knows_what() {
    let fleet = Fleet::new(1, lenient()).await;
    let planned = || fleet.platform.plan_repair(&fleet.me, PlanRepair::new(parse("web"), 1));
    refused(&planned().await.unwrap_err(), "nothing_owed");
    let rollout = fleet.start("1").await;
    refused(&planned().await.unwrap_err(), "repair_held");
    fleet.drive(&rollout).await;
    refused(&planned().await.unwrap_err(), "nothing_owed");
    assert_eq!(fleet.notifier.delivered().len(), 1);
    let (back, _report) = fleet
        .platform
        .plan_rollback(&fleet.me, PlanRollback::new(rollout.clone(), 2))
        .await
        .unwrap();
    let back = fleet.platform.start(&fleet.me, back).await.unwrap();
    fleet.drive(&back).await;
    refused(&planned().await.unwrap_err(), "repair_held");
}

#[tokio::test(start_paused = true)]
async fn hosts_are_believed_what_they_run_and_no_generation_that_nobody_gave_them() {
    let fleet = Fleet::new(2, lenient()).await;
    let rollout = fleet.start("1").await;
    fleet.drive(&rollout).await;
    let (platform, me) = (&fleet.platform, &fleet.me);
    let installed = || async { platform.parts().inventory.installed(&parse("web")).await.unwrap() };
    let before = installed().await;
    let generation = before[&host(0)].generation;
    let says = |number, release: Option<&str>, generation| {
        let sight = Sight::new(host(number), release.map(parse), generation);
        async move { platform.keep_sights(me, &parse("web"), vec![sight]).await.unwrap() }
    };
    let known = Some("web-1");
    assert_eq!(says(0, known, generation).await, 0, "nothing new is written down");
    assert_eq!(says(0, Some("web-0"), Seq::new(1_000_000)).await, 0);
    assert_eq!(says(9, known, generation).await, 0, "nobody knows that host");
    assert_eq!(installed().await, before);
    pass(HOUR).await;
    assert_eq!(says(0, known, generation).await, 1, "that it is still so is worth knowing");
    assert_eq!(says(0, None, generation).await, 1);
    assert_eq!(installed().await[&host(0)].release, None);
    assert_eq!(keep(&fleet).await.ledger.hosts[0].cause, Cause::Drift);
}
