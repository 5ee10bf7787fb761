//! The fuzz targets of `fuzz/`, a short run each.
use crate::{Done, has, run, say};
use std::{env, process::Command};

/// How long each is run, in seconds.
const SECONDS: &str = "10";

/// Runs each target for a while, where cargo-fuzz is installed. Where it is not, it says so.
pub(crate) fn all() -> Done {
    let installed = Command::new(env!("CARGO")).args(["fuzz", "--version"]).output();
    if !installed.is_ok_and(|it| it.status.success()) || !has("cc") {
        return say(
            "SKIPPED: the fuzz targets: `cargo install cargo-fuzz` installs what they take\n",
        );
    }
    let seconds = env::var("FUZZ_SECONDS").unwrap_or_else(|_| SECONDS.to_owned());
    let list = fuzz().arg("list").output().map_err(|err| format!("cargo fuzz list: {err}"))?;
    let targets = String::from_utf8_lossy(&list.stdout).into_owned();
    for target in targets.lines() {
        run(fuzz()
            .args(["run", target, "--", "-max_len=65536", "-rss_limit_mb=2048"])
            .arg(format!("-max_total_time={seconds}")))?;
    }
    Ok(())
}

/// With the flags of a nightly compiler, which the stable one takes when it is asked to.
fn fuzz() -> Command {
    let mut command = Command::new(env!("CARGO"));
    command.arg("fuzz").env("RUSTC_BOOTSTRAP", "1").env_remove("CARGO_INCREMENTAL");
    command
}
