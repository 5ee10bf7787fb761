//! The progress deadline counts the time in which there could have been progress, and no other.
use crate::play::{Play, secs, waves};
use deploy_core::{
    rollout::{Reason, TaskState::*},
    spec::{OnFailure, Strategy},
};
use std::{num::NonZeroU32, time::Duration};

const DAY: Duration = secs(24 * 60 * 60);

fn one_at_a_time() -> Strategy {
    let mut strategy = waves("100%");
    strategy.max_parallel = NonZeroU32::new(1);
    strategy.on_failure = OnFailure::Rollback;
    strategy
}

fn late(play: &Play) -> bool {
    matches!(play.reason(), Some(Reason::ProgressDeadline))
}

#[test]
fn an_attempt_that_does_not_get_anywhere_is_noticed() {
    let mut play = Play::new(2, one_at_a_time());
    play.pass(secs(599));
    assert!(!late(&play));
    assert_eq!(play.rollout().wake_at(play.now()), Some(play.now().after(secs(1))));
    play.pass(secs(1));
    assert!(late(&play));
}

#[test]
fn a_success_begins_the_time_anew() {
    let mut play = Play::new(2, one_at_a_time());
    play.pass(secs(599));
    play.succeed(0);
    play.pass(secs(599));
    assert!(!late(&play));
    play.pass(secs(1));
    assert!(late(&play));
}

#[test]
fn a_window_that_closes_midway_holds_the_time_too() {
    let mut strategy = one_at_a_time();
    strategy.schedule.windows = vec!["fri 12:00-12:01 UTC".parse().unwrap()];
    let mut play = Play::new(3, strategy);
    play.succeed(0);
    play.pass(secs(70));
    play.succeed(1);
    assert_eq!(play.at(2), Pending);
    let opens = play.now().after(7 * DAY - secs(70));
    assert_eq!(play.rollout().wake_at(play.now()), Some(opens));
    play.pass(7 * DAY - secs(70));
    assert!(!late(&play), "{:?}", play.reason());
    assert_eq!(play.at(2), Running);
    play.pass(secs(599));
    assert!(!late(&play));
    play.pass(secs(1));
    assert!(late(&play), "what goes on for longer than that after the window opened is late");
}

#[test]
fn a_retry_that_a_closed_window_keeps_waiting_is_not_late() {
    let mut strategy = one_at_a_time();
    strategy.retries.retries = 1;
    strategy.schedule.windows = vec!["fri 12:00-12:01 UTC".parse().unwrap()];
    let mut play = Play::new(1, strategy);
    play.pass(secs(59));
    play.fail(0);
    assert_eq!(play.at(0), Waiting);
    play.pass(secs(3_600));
    assert!(!late(&play), "it waits for the window");
    play.pass(7 * DAY - secs(3_659));
    assert!(!late(&play), "{:?}", play.reason());
    assert_eq!(play.at(0), Running);
}

#[test]
fn the_wait_before_a_retry_counts() {
    let mut strategy = one_at_a_time();
    strategy.retries.retries = 9;
    strategy.retries.backoff = secs(1_000);
    strategy.retries.max_backoff = secs(1_000);
    let mut play = Play::new(1, strategy);
    play.fail(0);
    play.pass(secs(599));
    assert!(!late(&play));
    play.pass(secs(1));
    assert!(late(&play));
}

#[test]
fn a_stagger_longer_than_the_deadline_is_not_late() {
    let mut strategy = one_at_a_time();
    strategy.stagger.fixed = secs(900);
    let mut play = Play::new(3, strategy);
    for number in 0..3 {
        assert_eq!(play.at(number), Running);
        play.pass(secs(60));
        play.succeed(number);
        play.pass(secs(840));
        assert!(!late(&play), "{:?}", play.reason());
    }
    assert!(play.rollout().outcome().is_some());
}

#[test]
fn a_pause_begins_the_time_anew() {
    let mut play = Play::new(2, one_at_a_time());
    play.pass(secs(500));
    play.pause();
    play.pass(secs(500));
    assert!(!late(&play), "nothing is late while nothing is wanted");
    play.resume();
    play.pass(secs(599));
    assert!(!late(&play));
    play.pass(secs(1));
    assert!(late(&play));
}
