//! Staging: what the machine has hosts fetch ahead of their attempts, and what it makes of their answers.
use crate::play::{Play, secs, waves};
use deploy_core::{
    rollout::{
        EffectKind, Event, Outcome, Reason, Reply,
        TaskState::{self, Pending, Running, Skipped, Staged, Staging as Fetching, Succeeded},
    },
    spec::{Confirm, Direction, Limit, Staging, Strategy},
};
use std::num::NonZeroU32;

/// With so many hosts that fetch at a time.
fn staging(sizes: &str, at_once: u32) -> Strategy {
    let mut strategy = waves(sizes);
    strategy.staging = NonZeroU32::new(at_once).map(Staging::new);
    strategy
}

fn states(play: &Play) -> Vec<TaskState> {
    play.states(Direction::Forward)
}

fn not_staged() -> Reply {
    Reply::NotStaged { reason: "the disk is full".to_owned() }
}

#[test]
fn hosts_fetch_in_their_order_and_so_many_at_a_time() {
    let mut play = Play::new(5, staging("1", 2));
    assert_eq!(states(&play), [Running, Fetching, Fetching, Pending, Pending]);
    assert_eq!(play.effect(1).unwrap().kind, EffectKind::Stage);
    play.reply(2, Reply::Staged);
    assert_eq!(states(&play), [Running, Fetching, Staged, Fetching, Pending]);
    assert_eq!(play.effect(2), None);
    assert_eq!(play.why(2), "wave 3 of 5: staged; waits for wave 1, of which 1 are not done");
    play.reply(3, not_staged());
    assert_eq!(states(&play), [Running, Fetching, Staged, Pending, Fetching]);
    assert_eq!(play.effect(3), None, "its attempt fetches what is missing");
    assert_eq!(
        play.why(3),
        "wave 4 of 5: pending; could not be staged: the disk is full; waits for wave 1, of which 1 are not done"
    );
}

#[test]
fn the_attempt_takes_the_place_of_what_is_fetched() {
    let mut play = Play::new(3, staging("1", 1));
    let fetching = play.effect(1).unwrap();
    play.succeed(0);
    assert_eq!(play.effect(1).unwrap().kind, EffectKind::Run);
    assert_eq!(states(&play), [Succeeded, Running, Fetching], "its place is free");
    let before = play.journal().len();
    play.reply_of(&fetching, Reply::Staged);
    assert_eq!(play.journal().len(), before, "an answer that comes late means nothing");
    play.reply(2, not_staged());
    play.succeed(1);
    assert_eq!(play.rollout().task_of(&crate::play::host(2)).unwrap().not_staged, None);
    play.succeed(2);
    assert_eq!(play.rollout().outcome(), Some(Outcome::Succeeded), "nothing has failed");
}

#[test]
fn hosts_of_the_open_wave_fetch_while_they_wait_for_a_place() {
    let mut strategy = staging("100%", 5);
    strategy.max_parallel = NonZeroU32::new(1);
    let mut play = Play::new(3, strategy);
    assert_eq!(states(&play), [Running, Fetching, Fetching]);
    play.reply(2, Reply::Staged);
    play.succeed(0);
    assert_eq!(states(&play), [Succeeded, Running, Staged], "nobody jumps the queue");
}

#[test]
fn nothing_is_fetched_while_the_rollout_is_held() {
    let mut play = Play::new(3, staging("1", 2));
    let fetching = play.effect(1).unwrap();
    play.reply(2, Reply::Staged);
    play.pause();
    assert_eq!((states(&play), play.effect(1)), (vec![Running, Pending, Staged], None));
    let before = play.journal().len();
    play.reply_of(&fetching, Reply::Staged);
    assert_eq!(play.journal().len(), before);
    play.resume();
    assert_eq!(states(&play), [Running, Fetching, Staged]);
    play.turn_back();
    assert_eq!(states(&play), [Running, Pending, Staged]);
    assert_eq!(play.states(Direction::Back), [Pending, Skipped, Skipped], "none was touched");
}

#[test]
fn an_abort_ends_it() {
    let mut play = Play::new(2, staging("1", 2));
    play.abort();
    assert_eq!((states(&play), play.effect(1)), (vec![Running, Pending], None));
    play.succeed(0);
    assert_eq!(play.rollout().outcome(), Some(Outcome::Aborted));
}

#[test]
fn who_is_taken_out_fetches_no_more_and_who_is_back_does_again() {
    let mut play = Play::new(4, staging("1", 1));
    play.skip(1);
    assert_eq!(states(&play), [Running, Skipped, Fetching, Pending]);
    play.exclude(3);
    play.retry(1);
    assert_eq!((play.at(1), play.at(2)), (Pending, Fetching), "it waits for the place");
    play.reply(2, Reply::Staged);
    assert_eq!(play.at(1), Fetching);
}

#[test]
fn a_rollout_that_waits_for_a_person_has_its_hosts_fetch_first() {
    let mut strategy = staging("1,100%", 5);
    strategy.confirm = Confirm::AfterFirst;
    let mut play = Play::new(2, strategy);
    play.succeed(0);
    assert!(!play.rollout().waits_for_person(), "something goes on by itself");
    play.reply(1, Reply::Staged);
    assert!(play.rollout().waits_for_person());
    play.confirm();
    assert_eq!(states(&play), [Succeeded, Running]);
}

#[test]
fn windows_are_for_starts() {
    let mut strategy = staging("100%", 5);
    strategy.schedule.windows = vec!["fri 13:00-14:00 UTC".parse().unwrap()];
    let mut play = Play::new(1, strategy);
    assert_eq!(play.at(0), Fetching);
    play.reply(0, Reply::Staged);
    play.pass(secs(1_800));
    assert_eq!(play.at(0), Staged);
    play.pass(secs(1_800));
    assert_eq!(play.at(0), Running);
}

/// One host fetches at a time, and a wave waits for so many of its own.
fn gated(sizes: &str, min_staged: Limit) -> Strategy {
    let mut strategy = staging(sizes, 1);
    strategy.staging = strategy.staging.map(|it| it.with_min_staged(min_staged));
    strategy
}

#[test]
fn a_wave_waits_for_its_hosts_to_have_fetched() {
    let mut play = Play::new(3, gated("1,100%", Limit::Percent(100)));
    assert_eq!(states(&play), [Fetching, Pending, Pending]);
    let waits =
        "the next wave begins once no more than 0 of its targets are not staged, and 1 are not";
    assert_eq!(play.why(0), format!("wave 1 of 2: staging; {waits}"));
    assert_eq!(play.rollout().wake_at(play.now()), None, "no time begins it");
    play.reply(0, Reply::Staged);
    assert_eq!(states(&play), [Running, Fetching, Pending]);
    play.succeed(0);
    assert_eq!(states(&play), [Succeeded, Fetching, Pending]);
    play.reply(1, Reply::Staged);
    assert_eq!(states(&play), [Succeeded, Staged, Fetching], "one of two is not enough");
    play.reply(2, Reply::Staged);
    assert_eq!(states(&play), [Succeeded, Running, Running]);
}

#[test]
fn as_many_may_be_missing_as_the_strategy_says() {
    for (min_staged, begins) in
        [("50%", true), ("2", true), ("67%", false), ("3", false), ("9", false)]
    {
        let mut play = Play::new(4, gated("100%", min_staged.parse().unwrap()));
        play.reply(0, Reply::Staged);
        play.reply(1, not_staged());
        play.reply(2, Reply::Staged);
        assert_eq!(play.at(0) == Running, begins, "{min_staged}");
    }
}

#[test]
fn a_wave_whose_hosts_cannot_fetch_is_left_to_a_person() {
    let mut play = Play::new(2, gated("100%", Limit::Percent(100)));
    play.reply(0, not_staged());
    assert_eq!(states(&play), [Pending, Fetching], "the other may still");
    play.reply(1, Reply::Staged);
    assert_eq!(play.reason(), Some(&Reason::Unstaged { wave: 0, missing: 1, limit: 0 }));
    assert!(play.rollout().waits_for_person());
    assert_eq!(
        play.why(1),
        "wave 1 of 1: staged; the rollout is paused because 1 of the targets of wave 1 could not be staged, and 0 may be missing; \
         `resume` begins it all the same"
    );
    play.resume();
    assert_eq!(states(&play), [Running, Running], "they fetch with their attempts");
    play.succeed(0);
    play.succeed(1);
    assert_eq!(
        play.rollout().outcome(),
        Some(Outcome::Succeeded),
        "it spent nothing of the budget"
    );
}

#[test]
fn nobody_waits_for_who_is_taken_out() {
    let mut play = Play::new(2, gated("100%", Limit::Percent(100)));
    play.reply(0, Reply::Staged);
    play.skip(1);
    assert_eq!(states(&play), [Running, Skipped]);
    let mut play = Play::new(3, gated("1,100%", Limit::Percent(100)));
    play.reply(0, Reply::Staged);
    play.skip(1);
    play.reply(2, Reply::Staged);
    play.retry(1);
    play.succeed(0);
    assert_eq!(states(&play), [Succeeded, Fetching, Staged], "and who is back counts again");
}

#[test]
fn what_is_not_staged_is_written_as_before() {
    let format = |play: &Play| play.journal().iter().map(|it| it.format).max();
    let mut without = Play::new(2, waves("1"));
    without.succeed(0);
    assert_eq!(format(&without), Some(1));
    assert_eq!(without.count(|it| matches!(it, Event::TargetStaged { .. })), 0);
    assert_eq!(format(&Play::new(2, staging("1", 1))), Some(2), "an older program must not go on");
}
