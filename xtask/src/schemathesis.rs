//! Schemathesis, which sends a server whatever its description allows, and more.
use crate::{Done, run, say};
use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

const PINNED: &str = "schemathesis==4.32.5";

/// Installs it beside what is built, where the tests look for it. Where that cannot be done it says so, and the test is skipped.
pub(crate) fn provide() -> Done {
    let Some(folder) = folder() else { return Err("there is no folder of builds".to_owned()) };
    let done = folder.join("installed");
    if std::fs::read_to_string(&done).is_ok_and(|it| it == PINNED) {
        return Ok(());
    }
    if let Err(why) = install(&folder) {
        return say(&format!("SKIPPED: the API against its description: {why}\n"));
    }
    std::fs::write(&done, PINNED).map_err(|err| format!("{}: {err}", done.display()))
}

fn install(folder: &Path) -> Done {
    run(Command::new("python3").args(["-m", "venv"]).arg(folder))?;
    let pip = folder.join("bin/pip");
    run(Command::new(pip).args(["install", "--quiet", "--disable-pip-version-check", PINNED]))
}

/// In the folder of builds, which this program is two folders below.
fn folder() -> Option<PathBuf> {
    let program = env::current_exe().ok()?;
    Some(program.ancestors().nth(2)?.join("schemathesis"))
}
