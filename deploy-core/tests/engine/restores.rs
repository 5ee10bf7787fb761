//! Journals that were brought back to an earlier state, while hosts were not.
use crate::fleet::{Fleet, host, parse, waves};
use deploy_core::{
    access::{Action, Resource},
    backend::{AppendError, Journal as _, JournalExt as _},
    engine::{
        Command, DriveEnd, DriveOptions, Keeper, NoObserver, Parts, Platform, Restored, Sight,
    },
    id::{RolloutId, Seq, StreamId},
    memory::{Act, MemoryJournal, MemoryLeaseStore, Script},
    repair::Hold,
    rollout::{AttemptEnd, Event, Outcome, Record, Rollout},
    spec::{OnDrift, OnFailure, Repair, StepName},
};
use std::{sync::Arc, time::Duration};

fn web() -> StreamId {
    StreamId::Service(parse("web"))
}

async fn all_records(fleet: &Fleet) -> Vec<Record> {
    fleet.platform.parts().journal.read(&web(), Seq::ZERO, usize::MAX).await.unwrap()
}

/// The fleet over a journal that has these records and no others.
async fn bring_back(mut fleet: Fleet, records: &[Record]) -> Fleet {
    let journal = MemoryJournal::new();
    let permit =
        fleet.platform.permit(&fleet.me, Action::RolloutControl, Resource::System).await.unwrap();
    if !records.is_empty() {
        journal.append(&permit, &web(), Seq::ZERO, records).await.unwrap();
    }
    let parts = fleet.platform.parts().clone();
    let leases = Arc::new(MemoryLeaseStore::new(parts.clock.clone()));
    fleet.platform = Platform::new(Parts { journal: Arc::new(journal), leases, ..parts });
    fleet
}

async fn declare(fleet: &Fleet) -> Restored {
    fleet.platform.declare_restored(&fleet.me).await.unwrap()
}

async fn generations(fleet: &Fleet, rollout: &RolloutId) -> Vec<u64> {
    let loaded = fleet.platform.load(rollout).await.unwrap();
    loaded.tasks().map(|it| it.generation.get()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_new_rollout_is_above_all_that_hosts_have_seen() {
    let fleet = Fleet::new(3, waves("100%")).await;
    let first = fleet.start("1").await;
    fleet.drive(&first).await;
    let backup = all_records(&fleet).await;
    for version in ["2", "3"] {
        let lost = fleet.start(version).await;
        assert_eq!(fleet.drive(&lost).await, DriveEnd::Over(Outcome::Succeeded));
    }
    let fleet = bring_back(fleet, &backup).await;
    let restored = declare(&fleet).await;
    assert_eq!(restored.paused, []);
    let next = fleet.start("4").await;
    assert_eq!(fleet.drive(&next).await, DriveEnd::Over(Outcome::Succeeded));
    assert_eq!(fleet.runs().await, vec![Some(parse("web-4")); 3]);
    assert!(generations(&fleet, &next).await.iter().all(|it| *it > restored.floor.get()));
}

#[tokio::test(start_paused = true)]
async fn a_service_that_the_backup_does_not_know_is_rolled_out_as_well() {
    let fleet = Fleet::new(2, waves("100%")).await;
    for version in ["1", "2"] {
        let lost = fleet.start(version).await;
        fleet.drive(&lost).await;
    }
    let fleet = bring_back(fleet, &[]).await;
    declare(&fleet).await;
    let next = fleet.start("3").await;
    assert_eq!(fleet.drive(&next).await, DriveEnd::Over(Outcome::Succeeded));
}

#[tokio::test(start_paused = true)]
async fn a_rollout_under_way_waits_for_a_person_and_then_goes_on() {
    let fleet = Fleet::new(3, waves("1,*1")).await;
    let rollout = fleet.start("1").await;
    let all = {
        fleet.drive(&rollout).await;
        all_records(&fleet).await
    };
    for kept in 1..all.len() {
        let fleet = Fleet::new(3, waves("1,*1")).await;
        assert_eq!(fleet.start("1").await, rollout);
        fleet.drive(&rollout).await;
        let fleet = bring_back(fleet, &all[..kept]).await;
        let before = fleet.platform.load(&rollout).await.unwrap();
        let restored = declare(&fleet).await;
        assert_eq!(
            restored.paused,
            std::slice::from_ref(&rollout),
            "{kept} of {} records",
            all.len()
        );
        assert_eq!(fleet.drive(&rollout).await, DriveEnd::NeedsPerson);
        let paused = fleet.platform.load(&rollout).await.unwrap();
        assert_eq!(started(&paused), started(&before), "something was started by itself");
        fleet.command(&rollout, Command::Resume).await;
        assert_eq!(fleet.drive(&rollout).await, DriveEnd::Over(Outcome::Succeeded));
        for generation in generations(&fleet, &rollout).await {
            let known = started(&before).contains(&generation);
            assert!(known || generation > restored.floor.get(), "{generation}");
        }
        let at = fleet.platform.parts().journal.rollout(&rollout).await.unwrap();
        let records = fleet.platform.parts().journal.records(&at).await.unwrap();
        assert_eq!(
            Rollout::replay(&records).unwrap(),
            fleet.platform.load(&rollout).await.unwrap()
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_rollout_under_way_does_not_turn_back_by_itself() {
    for on_failure in [OnFailure::Rollback, OnFailure::Abort] {
        let mut strategy = waves("1,*1");
        strategy.on_failure = on_failure;
        let fleet = Fleet::new(2, strategy).await;
        let first = fleet.start("1").await;
        fleet.drive(&first).await;
        let fails = Script::new(StepName::Install, [Act::Exit(1)]).on_host(host(1));
        fleet.executor.script(fails.of_release(parse("web-2")));
        let second = fleet.start("2").await;
        fleet.drive(&second).await;
        let all = all_records(&fleet).await;
        // As it was before anybody knew of the failure.
        let failed = all.iter().position(|it| ended_badly(&it.event)).unwrap();
        let fleet = bring_back(fleet, &all[..failed]).await;
        declare(&fleet).await;
        assert_eq!(fleet.drive(&second).await, DriveEnd::NeedsPerson);
        let since = all_records(&fleet).await.split_off(failed);
        assert!(since.iter().any(|it| ended_badly(&it.event)), "what became of it is known");
        assert!(!since.iter().any(|it| acts_by_itself(&it.event)), "{since:?}");
        let note = String::new();
        fleet.command(&second, Command::Rollback { note }).await;
        assert_eq!(fleet.drive(&second).await, DriveEnd::Over(Outcome::RolledBack));
    }
}

const fn ended_badly(event: &Event) -> bool {
    matches!(event, Event::AttemptEnded { end: AttemptEnd::Failed { .. }, .. })
}

const fn acts_by_itself(event: &Event) -> bool {
    matches!(
        event,
        Event::AbortStarted { .. } | Event::AttemptStarted { .. } | Event::RollbackStarted { .. }
    )
}

/// The generations of all attempts that were begun.
fn started(rollout: &Rollout) -> Vec<u64> {
    rollout.tasks().map(|it| it.generation.get()).filter(|it| *it > 0).collect()
}

#[tokio::test(start_paused = true)]
async fn a_driver_goes_on_above_a_floor_that_was_raised_under_it() {
    let fleet = Fleet::new(2, waves("1,*1")).await;
    let slow = Script::new(StepName::Start, []).taking(Duration::from_secs(60));
    fleet.executor.script(slow);
    let rollout = fleet.start("1").await;
    let raise = async {
        tokio::time::sleep(Duration::from_secs(30)).await;
        let me = &fleet.me;
        let permit = fleet.platform.permit(me, Action::RolloutControl, Resource::System).await;
        let journal = &fleet.platform.parts().journal;
        journal.raise_floor(&permit.unwrap(), Seq::new(1 << 50)).await.unwrap();
    };
    let (end, ()) = tokio::join!(fleet.drive(&rollout), raise);
    assert_eq!(end, DriveEnd::Over(Outcome::Succeeded));
    let generations = generations(&fleet, &rollout).await;
    assert!(generations[0] < 100 && generations[1] > 1 << 50, "{generations:?}");
    for number in 0..2 {
        assert_eq!(fleet.executor.runs(&host(number), StepName::Start), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_driver_that_waits_for_people_hears_them_above_a_floor() {
    let fleet = Fleet::new(2, waves("100%")).await;
    let rollout = fleet.start("1").await;
    fleet.command(&rollout, Command::Pause { note: String::new() }).await;
    let people = async {
        tokio::time::sleep(Duration::from_secs(30)).await;
        assert_eq!(declare(&fleet).await.paused, [], "it starts nothing as it is");
        fleet.command(&rollout, Command::Resume).await;
    };
    let options = DriveOptions::new("driver").with_wait_for_person(true);
    let driven = fleet.platform.drive(&fleet.me, &rollout, options, &NoObserver);
    let (end, ()) = tokio::join!(driven, people);
    assert_eq!(end.unwrap(), DriveEnd::Over(Outcome::Succeeded));
}

#[tokio::test(start_paused = true)]
async fn nobody_appends_from_a_history_that_is_lost() {
    let fleet = Fleet::new(1, waves("100%")).await;
    let rollout = fleet.start("1").await;
    let lost = fleet.platform.load(&rollout).await.unwrap();
    let backup = all_records(&fleet).await;
    let fleet = bring_back(fleet, &backup).await;
    declare(&fleet).await;
    let pending =
        lost.decide(&deploy_core::rollout::Input::Tick, fleet.platform.parts().clock.now());
    let permit = fleet.platform.permit(&fleet.me, Action::RolloutControl, Resource::System).await;
    let journal = &fleet.platform.parts().journal;
    let done =
        journal.append(&permit.unwrap(), &web(), pending.expected(), pending.records()).await;
    assert!(matches!(done, Err(AppendError::Conflict { .. })), "{done:?}");
}

#[tokio::test(start_paused = true)]
async fn what_looks_like_drift_after_a_restore_is_left_to_people() {
    let fleet = Fleet::new(2, waves("100%")).await;
    let first = fleet.start("1").await;
    fleet.drive(&first).await;
    let mut service = fleet.platform.parts().registry.service(&parse("web")).await.unwrap().value;
    service.repair = Repair::default().with_drift(OnDrift::Repair);
    fleet.platform.apply_service(&fleet.me, service).await.unwrap();
    let backup = all_records(&fleet).await;
    let lost = fleet.start("2").await;
    fleet.drive(&lost).await;
    let generation = generations(&fleet, &lost).await[0];
    let fleet = bring_back(fleet, &backup).await;
    declare(&fleet).await;

    let sight = Sight::new(host(0), Some(parse("web-2")), Seq::new(generation));
    fleet.platform.keep_sights(&fleet.me, &parse("web"), vec![sight]).await.unwrap();
    let keeper = Keeper::new(fleet.platform.clone(), fleet.me.clone());
    let kept = keeper.keep(&parse("web")).await.unwrap().unwrap();
    assert_eq!((kept.started, kept.ledger.hosts.len()), (None, 2));
    assert_eq!(kept.ledger.hold, Some(Hold::Restored { rollout: first }));

    let next = fleet.start("3").await;
    fleet.drive(&next).await;
    let kept = keeper.keep(&parse("web")).await.unwrap().unwrap();
    assert_eq!((kept.ledger.hold, kept.ledger.hosts), (None, vec![]));
}
