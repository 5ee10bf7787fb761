//! The host agent: `deploy-agent`.
use std::{ffi::OsString, process::ExitCode};

/// What an `exec` that did not come about ends with, as shells have it.
const NOT_STARTED: u8 = 126;

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    match deploy_agent::run_helper(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => {
            eprintln!("deploy-agent: {err}");
            ExitCode::from(NOT_STARTED)
        }
    }
}
