//! A host whose disk is full while a step prints: its log says how much of it is missing, and its end is its own.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
mod support;

use deploy_agent::HostSide as _;
use deploy_agent_protocol::v1::Outcome;
use deploy_test_support::mounts::{Memory, own_mounts};
use std::{fs, io::Write as _};
use support::{Fixture, scripts::*};

/// What every step prints that finds no room.
const PRINTED: usize = 4_000_000;

#[test]
fn a_log_that_finds_no_room_says_how_much_of_it_is_missing() {
    if own_mounts("a_log_that_finds_no_room_says_how_much_of_it_is_missing") {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        runtime.block_on(fill());
    }
}

async fn fill() {
    let fixture = Fixture::new("none").await;
    fixture.host().shutdown().await;
    let disk = Memory::over(&fixture.state(), "80m,mode=711").unwrap();
    fixture.reopen().await;
    let script = format!(
        "echo first; echo up >$P_DIR/up; until [ -e $P_DIR/go ]; do sleep 0.01; done
        head -c {PRINTED} /dev/zero | tr '\\0' x; exit 5"
    );
    let order = fixture.order(1, &[("install", &script)]).await;
    fixture.start(&order).await.unwrap();
    fixture.wait_for("up").await;
    let ballast = fixture.state().join("ballast");
    let mut full = fs::File::create(&ballast).unwrap();
    for piece in [1 << 16, 1 << 12, 1] {
        while full.write_all(&vec![1; piece]).is_ok() {}
    }
    drop(full);
    fs::write(fixture.dir.path().join("go"), "").unwrap();
    let told = told(&fixture.host(), &order).await;
    assert_eq!(told.outcome(), (Outcome::Failed, 5, "exit_code"));
    let text = told.text();
    assert!(text.starts_with("first\n"), "{} bytes", text.len());
    let kept = text.bytes().filter(|it| *it == b'x').count();
    if let Some((_, missing)) = text.split_once("\n[") {
        let missing: usize = missing.split(' ').next().unwrap().parse().unwrap();
        assert_eq!(kept + missing, PRINTED, "{kept} bytes are kept");
    } else {
        // There was no room for that line either: then the record of the end says how long the log is.
        assert_eq!(told.ended().log_length, told.log.len() as u64);
        assert!(kept < PRINTED, "it found room");
    }
    fs::remove_file(ballast).unwrap();
    let again = fixture.order(2, &[("install", "echo ran")]).await;
    assert_eq!(fixture.run(&again).await.text(), "ran\n");
    fixture.host().shutdown().await;
    drop(disk);
}
