//! `deploy`.
use std::process::ExitCode;

fn main() -> ExitCode {
    deploy_cli::run(std::env::args_os())
}
