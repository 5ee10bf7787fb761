//! The programs of this workspace, as they were built, and the patience that they ask for.
use std::{
    env,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

/// How often it is looked whether something holds.
const GLANCE: Duration = Duration::from_millis(20);

/// A program of this workspace, beside the tests that ask for it.
///
/// # Panics
/// If it was not built.
#[track_caller]
#[must_use]
#[expect(clippy::expect_used, reason = "a test fails by panicking")]
pub fn program(name: &str) -> PathBuf {
    let tests = env::current_exe().expect("the system says what runs");
    let folder = tests.parent().and_then(Path::parent).expect("tests are two folders down");
    let program = folder.join(name);
    assert!(
        program.is_file(),
        "{} is missing: cargo build -p deploy-cli -p deploy-agent",
        program.display()
    );
    program
}

/// Waits until something holds, for no longer than `patience`.
///
/// # Panics
/// If it has not come to hold by then.
#[track_caller]
#[expect(clippy::disallowed_methods, reason = "what is waited for is another process")]
pub fn until(what: &str, patience: Duration, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + patience;
    while !holds() {
        assert!(Instant::now() < end, "waited in vain until {what}");
        thread::sleep(GLANCE);
    }
}
