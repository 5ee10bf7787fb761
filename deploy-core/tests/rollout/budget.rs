//! The failure budget, column by column.
use crate::play::{Play, waves};
use deploy_core::{
    rollout::{AttemptEnd, BudgetColumn, BudgetScope, Event, Reason, Reply, RolloutState},
    spec::{Budget, Limit, OnFailure, Strategy},
};

/// Any number of failures, as long as not more than `most` come one after another.
fn consecutive(sizes: &str, most: u32) -> Strategy {
    let mut strategy = waves(sizes);
    let budget = &mut strategy.failure_budget.rollout;
    *budget = lenient();
    budget.max_consecutive = Some(Limit::Count(most));
    strategy
}

fn lenient() -> Budget {
    let mut budget = Budget::default();
    budget.max_failed = Limit::Percent(100);
    budget.max_unreachable = Limit::Percent(100);
    budget.max_unknown = Limit::Percent(100);
    budget
}

fn is_stopped(play: &Play) -> bool {
    play.rollout().state() == RolloutState::Paused
        || play.rollout().state() == RolloutState::Pausing
}

fn pauses(play: &Play) -> usize {
    play.count(|it| matches!(it, Event::PauseStarted { .. }))
}

#[test]
fn a_share_of_a_tiny_fleet_that_is_less_than_one_allows_none() {
    for (hosts, limit, allowed) in [(5, "10%", 0), (1, "99%", 0), (3, "34%", 1), (1, "100%", 1)] {
        let mut strategy = waves("100%");
        strategy.failure_budget.rollout.max_failed = limit.parse().unwrap();
        let mut play = Play::new(hosts, strategy);
        for number in 0..allowed {
            play.fail(number);
            assert!(!is_stopped(&play), "{limit} of {hosts} allow {allowed}");
        }
        if allowed < hosts {
            play.fail(allowed);
            assert!(is_stopped(&play), "{limit} of {hosts} allow no more than {allowed}");
        }
    }
}

#[test]
fn failures_of_any_kind_one_after_another_stop_the_rollout() {
    let mut play = Play::new(5, consecutive("100%", 1));
    play.fail(0);
    play.succeed(1);
    play.unreachable(2);
    assert!(!is_stopped(&play), "there was a success in between");
    play.fail(3);
    let column = BudgetColumn::Consecutive;
    let want = Reason::Budget { column, scope: BudgetScope::Rollout, count: 2, limit: 1 };
    assert_eq!(play.reason(), Some(&want));
}

#[test]
fn a_row_of_failures_goes_on_from_wave_to_wave() {
    let mut play = Play::new(3, consecutive("1", 1));
    play.fail(0);
    assert!(!is_stopped(&play));
    play.fail(1);
    assert!(is_stopped(&play));
}

#[test]
fn the_row_of_a_wave_begins_with_the_wave() {
    let mut strategy = waves("2");
    strategy.failure_budget.rollout = lenient();
    let mut wave = lenient();
    wave.max_consecutive = Some(Limit::Count(1));
    strategy.failure_budget.wave = Some(wave);
    let mut play = Play::new(6, strategy);
    play.succeed(0);
    play.fail(1);
    play.fail(2);
    assert!(!is_stopped(&play), "one of each wave: {:?}", play.reason());
    play.fail(3);
    let (column, scope) = (BudgetColumn::Consecutive, BudgetScope::Wave(1));
    let want = Reason::Budget { column, scope, count: 2, limit: 1 };
    assert_eq!(play.reason(), Some(&want));
}

#[test]
fn what_a_person_tries_again_or_excludes_is_no_longer_in_the_row() {
    for again in [true, false] {
        let mut play = Play::new(4, consecutive("100%", 1));
        play.fail(0);
        play.fail(1);
        assert!(is_stopped(&play));
        for number in [0, 1] {
            if again { play.retry(number) } else { play.exclude(number) }
        }
        play.resume();
        play.fail(2);
        assert!(!is_stopped(&play), "{:?}", play.reason());
    }
}

#[test]
fn a_late_answer_does_not_count_a_host_twice() {
    let mut play = Play::new(3, consecutive("100%", 1));
    let effect = play.effect(0).unwrap();
    let reason = "it was restarted".to_owned();
    play.reply(0, Reply::Ended(AttemptEnd::Lost { step: None, reason }));
    let end = AttemptEnd::Failed { step: None, code: Some(1), reason: String::new() };
    play.reply_of(&effect, Reply::Ended(end));
    assert_eq!(play.count(|it| matches!(it, Event::AttemptEnded { .. })), 2);
    assert!(!is_stopped(&play), "{:?}", play.reason());
}

#[test]
fn more_failures_do_not_pause_what_the_budget_has_paused() {
    let mut play = Play::new(4, waves("100%"));
    play.fail(0);
    play.fail(1);
    play.fail(2);
    assert_eq!(pauses(&play), 1);
}

#[test]
fn a_person_who_resumes_is_told_what_went_wrong_meanwhile() {
    let mut play = Play::new(4, waves("100%"));
    play.pause();
    play.fail(0);
    assert!(matches!(play.reason(), Some(Reason::Budget { count: 1, limit: 0, .. })));
    play.fail(1);
    assert_eq!(pauses(&play), 2, "one by a person, one by the budget");
}

#[test]
fn an_ad_hoc_run_has_nothing_to_go_back_to_and_pauses_once() {
    let mut strategy = waves("100%");
    strategy.on_failure = OnFailure::Rollback;
    let mut play = Play::run(4, strategy);
    play.fail(0);
    play.fail(1);
    assert!(is_stopped(&play));
    assert_eq!(pauses(&play), 1);
}

#[test]
fn a_rollout_that_goes_on_over_its_budget_stops_at_the_next_failure() {
    let mut play = Play::new(3, waves("1"));
    play.fail(0);
    play.resume();
    assert!(!is_stopped(&play), "a person has decided");
    play.fail(1);
    assert!(is_stopped(&play));
}
