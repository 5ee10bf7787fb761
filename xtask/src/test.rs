//! All tests.
use crate::{Done, packages, pypi, run, say};
use std::{path::Path, process::Command};

const HOST_TESTS: &str = "backends/host/tests/sh/run.sh";

/// Provides what the tests need, and runs them; with `filter`, only those whose name holds one of its words.
pub(crate) fn all(filter: &[String]) -> Done {
    packages::provide()?;
    pypi::provide()?;
    // The journeys start the program as a user would.
    run(cargo().args(["build", "--bin", "deploy"]))?;
    if cargo().args(["nextest", "--version"]).output().is_ok_and(|it| it.status.success()) {
        run(cargo().args(["nextest", "run", "--workspace", "--all-features"]).args(filter))?;
    } else {
        say("cargo-nextest is not installed: using `cargo test`\n")?;
        let tests =
            ["test", "--workspace", "--all-features", "--lib", "--bins", "--tests", "--examples"];
        run(cargo().args(tests).args(filter))?;
    }
    if filter.is_empty() {
        run(cargo().args(["test", "--workspace", "--all-features", "--doc"]))?;
        if Path::new(HOST_TESTS).is_file() {
            run(Command::new("sh").arg(HOST_TESTS))?;
        }
    }
    Ok(())
}

fn cargo() -> Command {
    Command::new(env!("CARGO"))
}
