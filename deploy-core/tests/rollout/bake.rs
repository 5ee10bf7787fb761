//! Waves under watch, and people who let them go.
use crate::play::{Play, secs, waves};
use deploy_core::{
    rollout::{EffectKind, Event, Outcome, Phase, Reply, RolloutState, TaskState::*},
    spec::{Confirm, OnFailure, Strategy},
};

fn watched(sizes: &str) -> Strategy {
    let mut strategy = waves(sizes);
    strategy.bake_time = secs(60);
    strategy
}

fn is_baking(play: &Play) -> bool {
    matches!(play.rollout().phase(), Phase::Baking { .. })
}

#[test]
fn a_wave_is_watched_until_the_last_of_its_hosts_has_answered() {
    let mut play = Play::new(3, watched("2"));
    play.succeed(0);
    play.succeed(1);
    assert!(is_baking(&play));
    play.pass(secs(60));
    // Both are still being looked at: there is nothing to wake up for.
    assert_eq!(play.rollout().wake_at(play.now()), None);
    play.reply(0, Reply::Healthy);
    assert!(is_baking(&play));
    play.reply(1, Reply::Healthy);
    assert_eq!(play.at(2), Running);
}

#[test]
fn a_wave_that_is_watched_by_nobody_any_more_waits_its_time() {
    let mut strategy = watched("1");
    strategy.failure_budget.rollout.max_failed = "1".parse().unwrap();
    let mut play = Play::new(2, strategy);
    play.succeed(0);
    play.reply(0, Reply::Unhealthy { reason: "503".to_owned() });
    assert!(is_baking(&play));
    assert_eq!(play.rollout().wake_at(play.now()), Some(play.now().after(secs(60))));
    play.pass(secs(60));
    assert_eq!(play.at(1), Running);
}

#[test]
fn time_under_watch_goes_on_while_the_rollout_is_paused() {
    let mut play = Play::new(2, watched("1"));
    play.succeed(0);
    play.pause();
    assert_eq!(play.rollout().state(), RolloutState::Paused);
    assert!(matches!(play.effect(0).unwrap().kind, EffectKind::Watch { .. }));
    play.pass(secs(60));
    play.reply(0, Reply::Healthy);
    assert_eq!((play.rollout().phase(), play.at(1)), (Phase::Baked, Pending));
    play.resume();
    assert_eq!(play.at(1), Running);
}

#[test]
fn a_host_that_gets_ill_while_the_rollout_is_paused_still_stops_it() {
    let mut strategy = watched("1");
    strategy.on_failure = OnFailure::Rollback;
    let mut play = Play::new(2, strategy);
    play.succeed(0);
    play.pause();
    play.reply(0, Reply::Unhealthy { reason: "503".to_owned() });
    assert_eq!(play.rollout().state(), RolloutState::RollingBack);
}

#[test]
fn a_retry_has_the_wave_watched_from_the_beginning() {
    let mut strategy = watched("2");
    strategy.failure_budget.rollout.max_failed = "1".parse().unwrap();
    let mut play = Play::new(3, strategy);
    play.succeed(0);
    play.fail(1);
    play.pass(secs(59));
    play.retry(1);
    assert_eq!((play.rollout().phase(), play.at(1)), (Phase::Rolling, Running));
    assert_eq!(play.effect(0), None, "nobody watches a wave that is not in place");
    play.succeed(1);
    let until = play.now().after(secs(60));
    assert_eq!(play.rollout().phase(), Phase::Baking { until });
    assert!([0, 1].iter().all(|it| play.effect(*it).is_some()));
}

#[test]
fn a_wave_without_any_success_is_not_watched() {
    let mut play = Play::new(2, watched("1"));
    play.pause();
    play.fail(0);
    play.skip(0);
    play.resume();
    assert_eq!(play.at(1), Running, "there is nothing of wave 1 to watch");
    assert_eq!(play.count(|it| matches!(it, Event::BakeStarted { .. })), 0);
}

#[test]
fn waves_that_people_have_emptied_are_walked_through() {
    let mut play = Play::new(4, watched("1"));
    for number in 1..=2 {
        play.exclude(number);
    }
    play.succeed(0);
    play.pass(secs(60));
    play.reply(0, Reply::Healthy);
    assert_eq!(play.at(3), Running);
    play.succeed(3);
    play.pass(secs(60));
    play.reply(3, Reply::Healthy);
    assert_eq!(play.rollout().outcome(), Some(Outcome::Succeeded));
}

#[test]
fn a_confirmation_is_asked_for_even_if_the_wave_was_emptied() {
    let mut strategy = waves("1");
    strategy.confirm = Confirm::AfterFirst;
    let mut play = Play::new(3, strategy);
    play.pause();
    play.fail(0);
    play.exclude(0);
    play.resume();
    assert_eq!(play.rollout().phase(), Phase::AwaitingConfirm, "the gate before the rest stands");
    play.confirm();
    assert_eq!(play.at(1), Running);
}

#[test]
fn excluding_the_last_open_host_of_a_wave_ends_the_wave() {
    let mut strategy = watched("2");
    strategy.retries.retries = 3;
    let mut play = Play::new(3, strategy);
    play.succeed(0);
    play.fail(1);
    assert_eq!(play.at(1), Waiting);
    play.exclude(1);
    assert!(is_baking(&play));
    assert_eq!(play.effect(1), None);
}

#[test]
fn excluding_a_watched_host_leaves_it_alone() {
    let mut play = Play::new(2, watched("1"));
    play.succeed(0);
    play.exclude(0);
    assert_eq!(play.effect(0), None);
    play.pass(secs(60));
    assert_eq!(play.at(1), Running);
}

#[test]
fn every_wave_waits_to_be_confirmed_but_the_last() {
    let mut strategy = watched("1");
    strategy.confirm = Confirm::EveryWave;
    let mut play = Play::new(3, strategy);
    for number in 0..3 {
        play.succeed(number);
        play.pass(secs(60));
        play.reply(number, Reply::Healthy);
        assert_eq!(play.rollout().phase() == Phase::AwaitingConfirm, number < 2);
        play.confirm();
    }
    assert_eq!(play.rollout().outcome(), Some(Outcome::Succeeded));
}

#[test]
fn a_rollout_that_waits_to_be_confirmed_can_be_aborted() {
    let mut strategy = waves("1");
    strategy.confirm = Confirm::EveryWave;
    let mut play = Play::new(2, strategy);
    play.succeed(0);
    play.abort();
    assert_eq!(play.rollout().outcome(), Some(Outcome::Aborted));
    assert!(!play.rollout().view().awaits_confirm);
}

#[test]
fn a_rollout_that_waits_to_be_confirmed_can_turn_back_and_be_aborted_on_its_way() {
    let mut strategy = waves("1");
    strategy.confirm = Confirm::EveryWave;
    let mut play = Play::new(2, strategy);
    play.succeed(0);
    play.turn_back();
    assert_eq!((play.at(0), play.at(1)), (Running, Skipped));
    play.confirm();
    assert_eq!(play.at(1), Skipped, "nothing is confirmed on the way back");
    play.abort();
    assert_eq!(play.rollout().state(), RolloutState::Aborting);
    play.succeed(0);
    assert_eq!(play.rollout().outcome(), Some(Outcome::Aborted));
}

#[test]
fn a_rollout_that_is_over_is_not_under_watch() {
    let mut play = Play::new(2, watched("1"));
    play.succeed(0);
    assert!(play.rollout().view().bakes_until.is_some());
    play.abort();
    assert_eq!(play.rollout().view().bakes_until, None);
}
