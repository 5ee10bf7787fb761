//! Commit-confirm: what the machine makes of hosts that wait to be told to keep a release.
use crate::play::{Play, secs, waves};
use deploy_core::{
    rollout::{
        AttemptEnd, EffectKind, Event, LOST_AFTER, Outcome, Reply, RolloutState,
        TaskState::{
            AwaitingConfirm, Failed, Killing, Pending, Running, SelfReverted, Skipped, Succeeded,
            Unknown,
        },
    },
    spec::{Direction, OnFailure},
};

fn play(hosts: usize) -> Play {
    let mut strategy = waves("100%");
    strategy.health.confirm_timeout = Some(secs(60));
    Play::new(hosts, strategy)
}

fn reverted() -> Reply {
    Reply::Ended(AttemptEnd::SelfReverted { reason: "nobody confirmed it in time".to_owned() })
}

fn kind(play: &Play, number: usize) -> Option<EffectKind> {
    play.effect(number).map(|it| it.kind)
}

#[test]
fn a_host_that_waits_is_told_and_has_the_last_word() {
    let mut play = play(1);
    play.reply(0, Reply::AwaitsConfirm);
    assert_eq!((play.at(0), kind(&play, 0)), (AwaitingConfirm, Some(EffectKind::Confirm)));
    assert_eq!(play.count(|it| matches!(it, Event::AttemptConfirmed { .. })), 1);
    assert_eq!(play.rollout().outcome(), None, "a decision is no verdict");
    assert_eq!(
        play.why(0),
        "wave 1 of 1: awaiting_confirm; its host was told what becomes of the release, and has to say that it does so"
    );
    play.succeed(0);
    assert_eq!(play.rollout().outcome(), Some(Outcome::Succeeded));
}

#[test]
fn a_host_that_went_back_is_as_it_was_and_counts_as_failed() {
    let mut play = play(2);
    play.reply(0, Reply::AwaitsConfirm);
    play.reply(0, reverted());
    assert_eq!((play.at(0), play.rollout().state()), (SelfReverted, RolloutState::Pausing));
    assert_eq!(
        play.why(0),
        "wave 1 of 1: self_reverted; last attempt was not confirmed in time, and the host went back by itself: nobody confirmed it in time"
    );
    play.succeed(1);
    play.turn_back();
    assert_eq!(play.states(Direction::Back), [Skipped, Running], "there is nothing to take back");
}

#[test]
fn a_way_back_that_failed_leaves_something_to_take_back() {
    let mut play = play(1);
    play.reply(0, Reply::AwaitsConfirm);
    let (step, reason) = (None, "the disk is full".to_owned());
    play.reply(0, Reply::Ended(AttemptEnd::RevertFailed { step, code: None, reason }));
    assert_eq!(play.at(0), Failed);
    play.turn_back();
    assert_eq!(play.states(Direction::Back), [Running]);
}

#[test]
fn a_host_on_its_way_back_is_followed() {
    let mut play = play(1);
    play.reply(0, Reply::AwaitsConfirm);
    play.reply(0, Reply::StillRunning);
    assert_eq!((play.at(0), kind(&play, 0)), (Running, Some(EffectKind::Run)));
    // What comes late changes nothing: it is not confirmed twice.
    play.reply(0, Reply::AwaitsConfirm);
    assert_eq!(kind(&play, 0), Some(EffectKind::Confirm));
    assert_eq!(play.count(|it| matches!(it, Event::AttemptConfirmed { .. })), 1);
    play.reply(0, reverted());
    assert_eq!(play.at(0), SelfReverted);
}

#[test]
fn a_pause_does_not_keep_a_host_from_being_told() {
    let mut play = play(1);
    play.pause();
    play.reply(0, Reply::AwaitsConfirm);
    assert_eq!(kind(&play, 0), Some(EffectKind::Confirm));
    play.succeed(0);
    assert_eq!(play.rollout().state(), RolloutState::Paused);
}

#[test]
fn nothing_is_confirmed_of_a_rollout_that_is_aborted() {
    let mut play = play(2);
    play.reply(0, Reply::AwaitsConfirm);
    play.abort();
    assert_eq!(kind(&play, 0), Some(EffectKind::Kill), "it goes back at once");
    play.reply(1, Reply::AwaitsConfirm);
    assert_eq!(kind(&play, 1), Some(EffectKind::Kill));
    assert_eq!(play.count(|it| matches!(it, Event::AttemptConfirmed { .. })), 1);
    play.succeed(0); // it was told before
    play.reply(1, Reply::StillRunning);
    play.reply(1, reverted());
    assert_eq!(play.states(Direction::Forward), [Succeeded, SelfReverted]);
    assert_eq!(play.rollout().outcome(), Some(Outcome::Aborted));
}

#[test]
fn hosts_that_wait_go_back_with_the_rollout() {
    let mut play = play(2);
    play.reply(0, Reply::AwaitsConfirm);
    play.turn_back();
    assert_eq!(kind(&play, 0), Some(EffectKind::Kill));
    play.reply(1, Reply::AwaitsConfirm);
    assert_eq!(kind(&play, 1), Some(EffectKind::Kill));
    play.reply(0, reverted());
    play.reply(1, reverted());
    assert_eq!(play.rollout().outcome(), Some(Outcome::RolledBack));
}

#[test]
fn a_host_that_gives_no_verdict_counts_as_unknown_and_is_believed_later() {
    let mut strategy = waves("1");
    strategy.health.confirm_timeout = Some(secs(60));
    strategy.on_failure = OnFailure::Rollback;
    let mut play = Play::new(2, strategy);
    play.reply(0, Reply::AwaitsConfirm);
    play.lose(0);
    assert_eq!(kind(&play, 0), Some(EffectKind::Confirm), "it is told again");
    play.pass(LOST_AFTER);
    let confirm = play.effect(0).unwrap();
    play.lose(0);
    assert_eq!(play.states(Direction::Forward), [Unknown, Pending]);
    // It had gone back before it was reached, and the way back that was about to begin is not needed.
    play.reply_of(&confirm, reverted());
    assert_eq!(play.states(Direction::Forward), [SelfReverted, Pending]);
}

#[test]
fn a_kill_is_asked_for_until_the_host_is_back() {
    let mut play = play(1);
    play.reply(0, Reply::AwaitsConfirm);
    play.kill(0);
    play.reply(0, Reply::StillRunning);
    assert_eq!((play.at(0), kind(&play, 0)), (Killing, Some(EffectKind::Kill)));
    play.reply(0, reverted());
    assert_eq!(play.at(0), SelfReverted);
    play.retry(0);
    assert_eq!(play.at(0), Pending, "a person may try again, once the rollout is resumed");
}
