//! What developers and CI run. `cargo xtask help` lists the tasks.
//!
//! Without dependencies, so that the first thing a newcomer types answers at once.
mod fuzz;
mod packages;
mod pypi;
mod test;

use std::{
    env,
    io::{self, Write as _},
    process::{Command, ExitCode},
};

const HELP: &str = "\
Tasks:
  test [-- FILTER]   install what the tests need (as root on a Debian-like system; otherwise say what is missing), run all tests
  packages           the same, without the tests
  pypi               install tools of tests that come from PyPI, beside what is built
  fuzz               run each target of fuzz/ for FUZZ_SECONDS, 10 if that is not set
  help               this text

Example:
  cargo xtask test
";

fn main() -> ExitCode {
    let mut args = env::args().skip(1);
    let done = match args.next().as_deref() {
        Some("packages") => packages::provide(),
        Some("pypi") => pypi::provide(),
        Some("fuzz") => fuzz::all(),
        Some("test") => test::all(&args.filter(|it| it != "--").collect::<Vec<_>>()),
        Some("help" | "--help" | "-h") | None => say(HELP),
        Some(other) => Err(format!("there is no task `{other}`; see `cargo xtask help`")),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            let _closed = writeln!(io::stderr(), "xtask: {message}");
            ExitCode::FAILURE
        }
    }
}

/// What a task ends with: nothing, or what went wrong.
type Done = Result<(), String>;

fn say(text: &str) -> Done {
    let _closed = write!(io::stdout(), "{text}");
    Ok(())
}

/// Runs a program to its end; its output goes where ours goes.
fn run(command: &mut Command) -> Done {
    say(&format!("+ {command:?}\n"))?;
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{command:?} ended with {status}")),
        Err(err) => Err(format!("{command:?} could not be started: {err}")),
    }
}

/// Whether there is such a program in the search path, or among the folders that hold it for administrators.
fn has(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    let admin = ["/usr/sbin".into(), "/sbin".into()];
    env::split_paths(&path).chain(admin).any(|it| it.join(program).is_file())
}
