//! Why a host is where it is.
use crate::play::{Play, host, secs, waves};
use deploy_core::{
    rollout::{LOST_AFTER, Reply},
    spec::Confirm,
};
use std::num::NonZeroU32;

#[track_caller]
fn says(play: &Play, number: usize, want: &str) {
    assert_eq!(play.why(number), want);
}

#[test]
fn a_host_waits_for_waves_places_turns_and_people() {
    let mut strategy = waves("3,1");
    strategy.max_parallel = NonZeroU32::new(1);
    strategy.stagger.fixed = secs(30);
    strategy.confirm = Confirm::AfterFirst;
    strategy.bake_time = secs(60);
    let mut play = Play::new(4, strategy);
    says(&play, 0, "wave 1 of 2: running; its attempt is under way");
    says(&play, 1, "wave 1 of 2: pending; waits for a place: 1 of 1 are taken");
    says(&play, 3, "wave 2 of 2: pending; waits for wave 1, of which 3 are not done");
    play.succeed(0);
    says(&play, 1, "wave 1 of 2: pending; waits for its turn until 2027-01-15T12:00:30.000Z");
    play.pause();
    says(&play, 1, "wave 1 of 2: pending; the rollout is paused by bob: lunch");
    play.resume();
    for number in [1, 2] {
        play.pass(secs(30));
        play.succeed(number);
    }
    says(&play, 0, "wave 1 of 2: succeeded; its wave is watched until 2027-01-15T12:02:00.000Z");
    play.pass(secs(60));
    (0..3).for_each(|it| play.reply(it, Reply::Healthy));
    says(&play, 3, "wave 2 of 2: pending; waits for somebody to confirm the wave before");
}

#[test]
fn a_host_waits_for_its_next_try_and_for_a_window() {
    let mut strategy = waves("1");
    strategy.retries.retries = 1;
    strategy.retries.backoff = secs(30);
    strategy.retries.max_backoff = secs(30);
    strategy.schedule.windows = vec!["fri 12:00-12:01 UTC".parse().unwrap()];
    let mut play = Play::new(2, strategy);
    play.pass(secs(40));
    play.fail(0);
    let why = play.why(0);
    let waits = "wave 1 of 2: waiting; last attempt failed in start with code 1; next retry ";
    assert!(why.starts_with(&format!("{waits}2027-01-15T12:01:1")), "{why}");
    play.pass(secs(60));
    assert!(
        play.why(0).ends_with("; the window opens 2027-01-22T12:00:00.000Z"),
        "{}",
        play.why(0)
    );
}

#[test]
fn a_budget_that_is_used_up_says_which_and_how_far() {
    let mut play = Play::new(3, waves("1"));
    play.fail(0);
    says(&play, 2, "wave 3 of 3: pending; the rollout is paused by the failure budget: failed 1/0");
}

#[test]
fn a_host_that_was_taken_out_says_by_whom() {
    let mut play = Play::new(3, waves("1"));
    play.skip(1);
    says(&play, 1, "wave 2 of 3: skipped by bob");
    play.exclude(2);
    says(&play, 2, "wave 3 of 3: excluded by bob");
    play.retry(1);
    says(&play, 1, "wave 2 of 3: pending; waits for wave 1, of which 1 are not done");
    play.skip(1);
    play.succeed(0);
    says(&play, 1, "wave 2 of 3: skipped by bob");
}

#[test]
fn a_host_that_was_never_touched_says_so_on_the_way_back() {
    let mut play = Play::new(2, waves("1"));
    play.turn_back();
    says(&play, 1, "wave 2 of 2: going back, skipped: there is nothing to take back");
}

#[test]
fn a_host_that_gave_no_answer_says_that_it_is_asked_on() {
    let mut play = Play::new(2, waves("1"));
    play.lose(0);
    play.pass(LOST_AFTER);
    play.lose(0);
    says(
        &play,
        0,
        "wave 1 of 2: unknown; last attempt gave no answer for too long: the connection was lost; \
         its host is asked again and again",
    );
    assert_eq!(play.rollout().why(&host(9), play.now()), None);
}
