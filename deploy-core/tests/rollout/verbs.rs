//! What people may do when, and what it means.
use crate::play::{Play, host, parse, secs, waves};
use deploy_core::{
    rollout::{AttemptEnd, Input, Outcome, Phase, Reply, RolloutState, SkipKind, TaskState::*},
    spec::{Direction, Limit},
};

fn code(play: &Play, input: &Input) -> &'static str {
    play.rollout().admits(input).map_or_else(|it| it.code(), |()| "admitted")
}

fn retry(number: usize) -> Input {
    Input::Retry { host: Some(host(number)), by: parse("bob") }
}

fn skip(number: usize, kind: SkipKind) -> Input {
    Input::Skip { host: host(number), kind, by: parse("bob") }
}

#[test]
fn a_host_that_is_worked_on_cannot_be_skipped() {
    let mut play = Play::new(2, waves("100%"));
    for kind in [SkipKind::Skip, SkipKind::Exclude] {
        assert_eq!(code(&play, &skip(0, kind)), "target_running");
    }
    play.skip(0);
    assert_eq!(play.at(0), Running);
    play.kill(0);
    assert_eq!(code(&play, &skip(0, SkipKind::Skip)), "target_running", "it is being killed");
    play.reply(0, Reply::Ended(AttemptEnd::Killed));
    play.skip(0);
    assert_eq!(play.at(0), Skipped);
}

#[test]
fn skipping_the_last_host_of_a_wave_lets_the_next_wave_go() {
    let mut play = Play::new(2, waves("1"));
    play.pause();
    play.fail(0);
    play.skip(0);
    play.resume();
    assert_eq!(play.at(1), Running);
    play.succeed(1);
    assert_eq!(
        play.rollout().outcome(),
        Some(Outcome::SucceededWithDebt),
        "a skip forgives nothing"
    );
}

#[test]
fn an_excluded_host_is_forgiven() {
    let mut play = Play::new(2, waves("1"));
    play.fail(0);
    play.exclude(0);
    play.resume();
    play.succeed(1);
    assert_eq!(play.rollout().outcome(), Some(Outcome::Succeeded));
}

#[test]
fn a_rollout_of_which_every_host_was_skipped_is_over() {
    let mut play = Play::new(3, waves("1"));
    play.skip(1);
    play.skip(2);
    play.succeed(0);
    assert_eq!(play.rollout().outcome(), Some(Outcome::Succeeded));
}

#[test]
fn a_host_that_is_wanted_after_all_goes_with_its_wave() {
    let mut play = Play::new(3, waves("1"));
    play.skip(2);
    play.retry(2);
    assert_eq!(play.at(2), Pending);
    play.succeed(0);
    assert_eq!((play.at(1), play.at(2)), (Running, Pending));
}

#[test]
fn a_host_of_an_earlier_wave_is_tried_again_beside_the_wave_under_way() {
    let mut strategy = waves("1,2");
    strategy.failure_budget.rollout.max_failed = Limit::Count(1);
    let mut play = Play::new(3, strategy);
    play.fail(0);
    assert_eq!((play.at(1), play.at(2)), (Running, Running));
    play.retry(0);
    assert_eq!(play.at(0), Pending, "no more than the wave allows at a time");
    play.succeed(1);
    assert_eq!(play.at(0), Running);
    play.succeed(2);
    assert_eq!(play.rollout().outcome(), None, "the wave waits for it too");
    play.succeed(0);
    assert_eq!(play.rollout().outcome(), Some(Outcome::Succeeded));
}

#[test]
fn turning_back_takes_back_what_was_touched_and_nothing_else() {
    let mut play = Play::new(3, waves("1"));
    play.succeed(0);
    play.turn_back();
    assert_eq!(play.states(Direction::Back), [Pending, Pending, Skipped], "one at a time");
    play.reply(1, Reply::Ended(AttemptEnd::Unreachable { reason: String::new() }));
    assert_eq!(play.states(Direction::Back), [Running, Skipped, Skipped], "h1 was never touched");
    play.succeed(0);
    assert_eq!(play.rollout().outcome(), Some(Outcome::RolledBack));
}

#[test]
fn a_host_that_was_never_touched_cannot_be_taken_back() {
    let mut play = Play::new(2, waves("1"));
    play.turn_back();
    assert_eq!(play.states(Direction::Back), [Pending, Skipped]);
    assert_eq!(code(&play, &retry(1)), "target_never_touched");
    play.retry(1);
    assert_eq!(play.at(1), Skipped);
}

#[test]
fn one_host_is_tried_again_while_the_others_go_back() {
    let mut play = Play::new(2, waves("100%"));
    play.succeed(0);
    play.fail(1);
    play.turn_back();
    play.fail(0);
    assert_eq!(play.states(Direction::Back), [Failed, Running]);
    play.retry(0);
    assert_eq!(play.at(0), Running);
    play.succeed(0);
    play.succeed(1);
    assert_eq!(play.rollout().outcome(), Some(Outcome::RolledBack));
}

#[test]
fn a_host_that_could_not_go_back_fails_the_rollout() {
    let mut play = Play::new(2, waves("100%"));
    play.succeed(0);
    play.fail(1);
    play.turn_back();
    play.fail(0);
    play.succeed(1);
    assert_eq!(play.rollout().outcome(), Some(Outcome::Failed));
}

#[test]
fn a_host_that_has_gone_back_is_done() {
    let mut play = Play::new(2, waves("100%"));
    play.succeed(0);
    play.fail(1);
    play.turn_back();
    play.succeed(0);
    for kind in [SkipKind::Skip, SkipKind::Exclude] {
        assert_eq!(code(&play, &skip(0, kind)), "target_settled");
    }
    play.exclude(0);
    assert_eq!(play.at(0), Succeeded);
}

#[test]
fn an_excluded_host_is_not_taken_back() {
    let mut play = Play::new(2, waves("100%"));
    play.fail(0);
    play.exclude(0);
    play.succeed(1);
    assert_eq!(play.rollout().state(), RolloutState::Paused);
    play.turn_back();
    assert_eq!(play.states(Direction::Back), [Excluded, Running]);
}

#[test]
fn a_paused_rollout_turns_back_and_then_is_not_paused() {
    let mut play = Play::new(2, waves("1"));
    play.pause();
    play.turn_back();
    assert_eq!(play.rollout().state(), RolloutState::RollingBack);
    play.succeed(0);
    assert_eq!(play.at(0), Running, "it goes back now");
}

#[test]
fn pausing_waits_for_what_is_under_way() {
    let mut play = Play::new(2, waves("1"));
    play.pause();
    assert_eq!(play.rollout().state(), RolloutState::Pausing);
    play.succeed(0);
    assert_eq!((play.rollout().state(), play.at(1)), (RolloutState::Paused, Pending));
    play.resume();
    assert_eq!(play.at(1), Running);
}

#[test]
fn a_kill_that_comes_too_late_changes_nothing() {
    let mut play = Play::new(1, waves("1"));
    play.kill(0);
    play.succeed(0);
    assert_eq!(play.rollout().outcome(), Some(Outcome::Succeeded));
}

#[test]
fn what_is_killed_is_not_tried_again_by_itself() {
    let mut strategy = waves("1");
    strategy.retries.retries = 5;
    let mut play = Play::new(2, strategy);
    play.kill(0);
    play.fail(0);
    assert_eq!(play.at(0), Failed);
}

#[test]
fn a_clock_that_is_set_back_makes_waits_longer_and_breaks_nothing() {
    let mut strategy = waves("1");
    strategy.retries.retries = 1;
    strategy.retries.backoff = secs(10);
    let mut play = Play::new(2, strategy);
    play.set_back(secs(3_600));
    play.fail(0);
    assert_eq!(play.at(0), Waiting);
    play.pass(secs(11));
    assert_eq!(play.at(0), Running);
    play.succeed(0);
    assert_eq!((play.rollout().phase(), play.at(1)), (Phase::Rolling, Running));
}
