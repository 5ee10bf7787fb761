//! What a host does with an attempt that has to be confirmed, when agent, shim or host are lost meanwhile.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
mod support;

use deploy_agent::{Followed, HostSide as _};
use deploy_agent_protocol::v1::{self, Outcome, Refusal, answer::Kind};
use rustix::process::Signal;
use std::{fs, os::unix::fs::symlink};
use support::{
    Fixture,
    scripts::{Told, eventually, follow_of, kill_of, probe_of, signal, told},
};

const LONG: u64 = 300_000;
const SHORT: u64 = 300;
const FORWARD: [(&str, &str); 2] =
    [("install", "echo new >$P_DIR/runs; echo went"), ("start", "echo up")];
const BACK: [(&str, &str); 2] =
    [("rollback", "echo old >$P_DIR/runs; echo $DEPLOY_DIRECTION"), ("start", "echo again")];

/// The attempt 1, which is to be confirmed within so many milliseconds.
async fn order(fixture: &Fixture, after_ms: u64, back: &[(&str, &str)]) -> v1::Attempt {
    let mut order = fixture.order(1, &FORWARD).await;
    let mut back = fixture.order(1, back).await;
    "back".clone_into(&mut back.direction);
    "web-0".clone_into(&mut back.release);
    order.revert = Some(Box::new(v1::Revert { after_ms, back: Some(Box::new(back)) }));
    order
}

fn confirm_of(order: &v1::Attempt) -> v1::Confirm {
    let v1::Follow { place, generation, token, .. } = follow_of(order);
    v1::Confirm { place, generation, token }
}

/// Starts the attempt and follows it to where it waits.
async fn wait_for_confirm(fixture: &Fixture, order: &v1::Attempt) {
    let told = fixture.run(order).await;
    assert_eq!(told.end, Followed::AwaitsConfirm, "{told:?}");
    assert_eq!((&*told.text(), told.steps.len()), ("went\nup\n", 2));
    assert_eq!(fixture.trace("runs"), "new\n");
}

/// Follows it to its end, however often it says that it waits.
async fn end(fixture: &Fixture, order: &v1::Attempt) -> Told {
    eventually("the attempt ends", || fixture.attempt(1).join("ended").exists()).await;
    told(&fixture.host(), order).await
}

async fn confirmed(fixture: &Fixture, order: &v1::Attempt) -> Outcome {
    match fixture.host().confirm(confirm_of(order)).await {
        Kind::Ended(ended) => ended.outcome(),
        other => panic!("{other:?}"),
    }
}

/// Kills the shim that was the first, and waits until another has its place.
async fn lose_shim(fixture: &Fixture) {
    signal(fixture.shim(1), Signal::KILL);
    eventually("another shim is there", || newest_place(fixture).is_some()).await;
}

/// The newest of the places that shims after the first have taken.
fn newest_place(fixture: &Fixture) -> Option<String> {
    let places = (1..32).map(|it| fixture.attempt(1).join(format!("started.{it}")));
    let texts = places.filter_map(|it| fs::read_to_string(it).ok());
    texts.filter(|it| !it.starts_with("nobody")).last()
}

#[tokio::test]
async fn a_host_that_nobody_tells_goes_back() {
    let fixture = Fixture::new("auto").await;
    let order = order(&fixture, SHORT, &BACK).await;
    fixture.start(&order).await.unwrap();
    let told = end(&fixture, &order).await;
    assert_eq!(told.outcome(), (Outcome::SelfReverted, 0, "confirm_timeout"));
    assert_eq!(told.text(), "went\nup\nback\nagain\n");
    assert_eq!(told.steps, ["install", "start", "rollback", "start"]);
    assert_eq!(fixture.trace("runs"), "old\n");
    assert_eq!(confirmed(&fixture, &order).await, Outcome::SelfReverted, "it is too late");
}

#[tokio::test]
async fn the_timer_goes_off_without_an_agent() {
    let fixture = Fixture::new("auto").await;
    let order = order(&fixture, SHORT, &BACK).await;
    wait_for_confirm(&fixture, &order).await;
    fixture.host().shutdown().await;
    eventually("the host has gone back", || fixture.attempt(1).join("ended").exists()).await;
    assert_eq!(fixture.trace("runs"), "old\n");
    fixture.reopen().await;
    assert_eq!(end(&fixture, &order).await.ended().outcome(), Outcome::SelfReverted);
}

#[tokio::test]
async fn a_host_whose_shim_was_lost_still_waits() {
    for agent_is_there in [true, false] {
        let fixture = Fixture::new("auto").await;
        let order = order(&fixture, LONG, &BACK).await;
        wait_for_confirm(&fixture, &order).await;
        if agent_is_there {
            lose_shim(&fixture).await;
        } else {
            fixture.host().shutdown().await;
            signal(fixture.shim(1), Signal::KILL);
            fixture.reopen().await;
            eventually("another shim is there", || newest_place(&fixture).is_some()).await;
        }
        let Kind::AwaitsConfirm(_) = fixture.host().probe(probe_of(&order)).await else { panic!() };
        assert_eq!(confirmed(&fixture, &order).await, Outcome::Succeeded);
        let told = end(&fixture, &order).await;
        assert_eq!(
            (told.outcome(), told.text().as_str()),
            ((Outcome::Succeeded, 0, ""), "went\nup\n")
        );
        assert_eq!(fixture.trace("runs"), "new\n");
    }
}

#[tokio::test]
async fn a_host_that_was_restarted_while_it_waited_goes_back() {
    let fixture = Fixture::new("auto").await;
    let order = order(&fixture, LONG, &BACK).await;
    wait_for_confirm(&fixture, &order).await;
    fixture.host().shutdown().await;
    signal(fixture.shim(1), Signal::KILL);
    // As another boot has left it.
    let (waiting, started) =
        (fixture.attempt(1).join("waiting"), fixture.attempt(1).join("started"));
    fs::remove_file(&waiting).unwrap();
    symlink("99999999999 another-boot", waiting).unwrap();
    fs::write(started, "1 1 another-boot\n").unwrap();
    fixture.reopen().await;
    let told = end(&fixture, &order).await;
    assert_eq!(told.outcome(), (Outcome::SelfReverted, 0, "rebooted"));
    assert_eq!(told.text(), "went\nup\nback\nagain\n");
    assert_eq!(fixture.trace("runs"), "old\n");
}

#[tokio::test]
async fn a_host_that_has_lost_its_way_back_says_so() {
    let fixture = Fixture::new("auto").await;
    let order = order(&fixture, LONG, &BACK).await;
    wait_for_confirm(&fixture, &order).await;
    fixture.host().shutdown().await;
    signal(fixture.shim(1), Signal::KILL);
    fs::write(fixture.attempt(1).join("order"), "").unwrap();
    fixture.reopen().await;
    // It waits still, until somebody has looked.
    let died = loop {
        match told(&fixture.host(), &order).await.end {
            Followed::AwaitsConfirm => tokio::task::yield_now().await,
            Followed::Died(died) => break died,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!((&*died.reason, died.reverting), ("shim_lost", true));
}

#[tokio::test]
async fn a_way_back_that_was_cut_is_told_as_that() {
    let fixture = Fixture::new("auto").await;
    let hangs =
        [("rollback", "echo old >$P_DIR/runs"), ("start", "echo up >$P_DIR/up; sleep 1000")];
    let order = order(&fixture, SHORT, &hangs).await;
    fixture.start(&order).await.unwrap();
    fixture.wait_for("up").await;
    signal(fixture.shim(1), Signal::KILL);
    let told = told(&fixture.host(), &order).await;
    let Followed::Died(died) = &told.end else { panic!("{told:?}") };
    assert_eq!((&*died.reason, &*died.step, died.reverting), ("shim_lost", "start", true));
    assert_eq!(fixture.processes(), [0; 0]);
}

#[tokio::test]
async fn a_kill_sends_a_host_back_and_does_not_end_that() {
    let fixture = Fixture::new("auto").await;
    let waits = "until [ -e $P_DIR/go ]; do sleep 0.01; done; echo old >$P_DIR/runs";
    let order = order(&fixture, LONG, &[("rollback", waits)]).await;
    wait_for_confirm(&fixture, &order).await;
    for _ in 0..2 {
        let answer = fixture.host().kill(kill_of(&order, 0)).await;
        assert!(matches!(answer, Kind::Reverting(_)), "{answer:?}");
    }
    let answer = fixture.host().confirm(confirm_of(&order)).await;
    assert!(matches!(answer, Kind::Running(_)), "{answer:?}");
    fs::write(fixture.dir.path().join("go"), "").unwrap();
    assert_eq!(end(&fixture, &order).await.outcome(), (Outcome::SelfReverted, 0, "kill_request"));
    assert_eq!(fixture.trace("runs"), "old\n");
}

#[tokio::test]
async fn what_the_way_back_needs_is_there_before_anything_runs() {
    let fixture = Fixture::new("auto").await;
    let mut order = order(&fixture, LONG, &BACK).await;
    back_of(&mut order).descriptor.as_mut().unwrap().digest = vec![9; 32];
    let refused = fixture.start(&order).await.unwrap_err();
    assert_eq!(refused.code(), Refusal::Artifact, "{}", refused.message);
    assert_eq!(fixture.trace("runs"), "");
    back_of(&mut order).token = "f".repeat(32);
    let refused = fixture.start(&order).await.unwrap_err();
    assert_eq!(refused.code(), Refusal::Invalid, "{}", refused.message);
}

fn back_of(order: &mut v1::Attempt) -> &mut v1::Attempt {
    order.revert.as_mut().unwrap().back.as_mut().unwrap()
}
