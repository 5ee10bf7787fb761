//! Attempts of which nobody knows what became of them.
use crate::play::{Play, host, secs, waves};
use deploy_core::{
    rollout::{
        AttemptEnd, BudgetColumn, EffectKind, Input, LOST_AFTER, Outcome, Phase, Reason, Reply,
        RolloutState, TaskState::*,
    },
    spec::{Direction, Limit, StepName, Strategy},
};

fn patient() -> Strategy {
    let mut strategy = waves("1");
    strategy.failure_budget.rollout.max_unknown = Limit::Count(1);
    strategy.progress_deadline = secs(86_400);
    strategy
}

/// A rollout onto two hosts, the first of which does not answer any more.
fn unanswered() -> Play {
    let mut play = Play::new(2, patient());
    play.lose(0);
    play.pass(LOST_AFTER);
    play.lose(0);
    play
}

#[test]
fn a_host_is_given_up_only_after_it_was_asked() {
    let mut strategy = waves("1");
    strategy.progress_deadline = secs(7 * 86_400);
    let mut play = Play::new(1, strategy);
    play.lose(0);
    assert_eq!(play.at(0), Uncertain);
    play.pass(LOST_AFTER - secs(1));
    play.lose(0);
    assert_eq!(play.at(0), Uncertain);
    // Whoever drove it was away for a day: that nobody asked does not mean that nobody would have answered.
    play.pass(secs(86_400));
    assert_eq!(play.at(0), Uncertain);
    play.lose(0);
    assert_eq!(play.at(0), Unknown);
    let Some(Reason::Budget { column, .. }) = play.reason() else { panic!("{:?}", play.reason()) };
    assert_eq!(*column, BudgetColumn::Unknown);
}

#[test]
fn a_kill_nobody_answers_is_given_up_too() {
    let mut play = Play::new(1, waves("1"));
    play.kill(0);
    play.lose(0);
    assert_eq!(play.at(0), Killing);
    play.pass(LOST_AFTER);
    play.lose(0);
    assert_eq!(play.at(0), Unknown);
}

#[test]
fn why_a_host_gives_no_answer_is_known_and_written_once() {
    let mut play = Play::new(1, waves("1"));
    play.kill(0);
    let facts = play.journal().len();
    let unknown = |reason: &str| Reply::Unknown { reason: reason.to_owned() };
    let says = |play: &Play, doubt: &str| {
        let killing = "wave 1 of 1: killing; its attempt is under way";
        assert_eq!(play.why(0), format!("{killing}{doubt}"));
    };
    says(&play, "");
    for _ in 0..3 {
        play.reply(0, unknown("no route"));
        says(&play, ", but nobody knows how it goes: no route");
    }
    assert_eq!(play.journal().len(), facts + 1);
    play.reply(0, unknown("the disk is full"));
    says(&play, ", but nobody knows how it goes: the disk is full");

    // To have been asked again does not make the attempt any younger.
    play.pass(LOST_AFTER);
    play.reply(0, unknown("no route"));
    assert_eq!(play.at(0), Unknown);
    assert_eq!(play.rollout().task_of(&host(0)).unwrap().doubt, None);
}

#[test]
fn an_answer_in_time_is_the_truth() {
    let mut play = Play::new(1, waves("1"));
    play.lose(0);
    assert_eq!(play.effect(0).unwrap().kind, EffectKind::Probe);
    play.reply(0, Reply::StillRunning);
    assert_eq!(play.effect(0).unwrap().kind, EffectKind::Run);
    play.succeed(0);
    assert_eq!(play.rollout().outcome(), Some(Outcome::Succeeded));
}

#[test]
fn a_host_that_gave_no_answer_is_asked_on_while_the_rollout_lasts() {
    let mut play = unanswered();
    assert_eq!((play.at(0), play.at(1)), (Unknown, Running));
    assert_eq!(play.effect(0).unwrap().kind, EffectKind::Probe);
    play.lose(0);
    play.reply(0, Reply::StillRunning);
    assert_eq!(play.at(0), Unknown, "it counts as unknown until its end is known");
    play.succeed(0);
    assert_eq!((play.at(0), play.effect(0)), (Succeeded, None));
    play.succeed(1);
    assert_eq!(play.rollout().outcome(), Some(Outcome::Succeeded), "no debt is left");
}

#[test]
fn a_late_answer_that_nothing_was_started_is_the_truth_too() {
    let mut play = unanswered();
    play.reply(0, Reply::NeverStarted);
    assert_eq!((play.at(0), play.effect(0)), (Unreachable, None));
}

#[test]
fn a_host_that_cannot_tell_is_not_asked_on() {
    let mut play = unanswered();
    let reason = "it was restarted".to_owned();
    let lost = AttemptEnd::Lost { step: Some(StepName::Start), reason };
    play.reply(0, Reply::Ended(lost));
    assert_eq!((play.at(0), play.effect(0)), (Unknown, None));
    assert!(play.why(0).contains("lost in start"), "{}", play.why(0));
    play.succeed(1);
    assert_eq!(play.rollout().outcome(), Some(Outcome::SucceededWithDebt));
}

#[test]
fn a_host_that_a_person_takes_out_or_tries_again_is_not_asked_on() {
    for verb in [Play::skip, Play::exclude] {
        let mut play = unanswered();
        verb(&mut play, 0);
        assert_eq!(play.effect(0), None);
    }
    let mut play = unanswered();
    let old = play.effect(0).unwrap().generation;
    play.retry(0);
    play.succeed(1);
    let new = play.effect(0).unwrap();
    assert!(new.kind == EffectKind::Run && new.generation > old);
}

#[test]
fn an_unknown_attempt_can_be_killed() {
    let mut play = unanswered();
    play.kill(0);
    assert_eq!((play.at(0), play.effect(0).unwrap().kind), (Killing, EffectKind::Kill));
    play.succeed(1);
    assert_eq!(play.rollout().outcome(), None, "a kill is under way");
    play.reply(0, Reply::Ended(AttemptEnd::Killed));
    assert_eq!(play.at(0), Killed);
    assert_eq!(play.rollout().outcome(), Some(Outcome::SucceededWithDebt));
}

#[test]
fn the_wave_after_an_unknown_one_waits_for_its_kill() {
    let mut strategy = patient();
    strategy.confirm = deploy_core::spec::Confirm::EveryWave;
    let mut play = Play::new(2, strategy);
    play.lose(0);
    play.pass(LOST_AFTER);
    play.lose(0);
    assert_eq!(play.rollout().phase(), Phase::AwaitingConfirm);
    play.kill(0);
    assert_eq!(play.rollout().phase(), Phase::Rolling);
    play.confirm();
    assert_eq!(play.at(1), Pending);
    play.reply(0, Reply::Ended(AttemptEnd::Killed));
    assert_eq!(play.rollout().phase(), Phase::AwaitingConfirm);
}

#[test]
fn what_has_ended_cannot_be_killed() {
    let mut play = Play::new(2, patient());
    play.fail(0);
    let kill = Input::Kill { host: host(0), by: "bob".parse().unwrap() };
    assert_eq!(play.rollout().admits(&kill).unwrap_err().code(), "target_not_running");
}

#[test]
fn a_rollout_that_turns_back_takes_unknown_hosts_along() {
    let mut play = unanswered();
    play.turn_back();
    assert_eq!(play.states(Direction::Back), [Pending, Pending], "one at a time");
    assert_eq!((play.effect(0), play.at(1)), (None, Running), "its way forward has to end first");
    play.succeed(1);
    play.succeed(0);
    play.succeed(1);
    assert_eq!(play.rollout().outcome(), Some(Outcome::RolledBack));
}

#[test]
fn a_paused_rollout_learns_what_became_of_its_unknown_hosts() {
    let mut play = Play::new(2, waves("1"));
    play.lose(0);
    play.pass(LOST_AFTER);
    play.lose(0);
    assert_eq!(play.rollout().state(), RolloutState::Paused);
    play.succeed(0);
    assert_eq!(play.rollout().state(), RolloutState::Paused, "a person still has to look");
    play.resume();
    assert_eq!(play.at(1), Running);
}
