//! Tools of the tests that come from PyPI.
use crate::{Done, run, say};
use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

/// One of them, in a virtual environment of its own.
struct Tool {
    /// Its folder beside what is built, where the tests look for it.
    folder: &'static str,
    pinned: &'static str,
    /// What is skipped without it.
    tests: &'static str,
}

const TOOLS: [Tool; 2] = [
    // Sends a server whatever its description allows, and more.
    Tool {
        folder: "schemathesis",
        pinned: "schemathesis==4.32.5",
        tests: "the API against its description",
    },
    // A server of S3.
    Tool { folder: "moto", pinned: "moto[server,s3]==5.2.5", tests: "artifacts in S3" },
];

/// Installs them. Where one cannot be had it says so, and its tests are skipped; where `CI` is set, that is an error.
pub(crate) fn provide() -> Done {
    let Some(builds) = builds() else { return Err("there is no folder of builds".to_owned()) };
    TOOLS.iter().try_for_each(|tool| tool.provide(&builds.join(tool.folder)))
}

impl Tool {
    fn provide(&self, folder: &Path) -> Done {
        let done = folder.join("installed");
        if fs::read_to_string(&done).is_ok_and(|it| it == self.pinned) {
            return Ok(());
        }
        if let Err(why) = self.install(folder) {
            if env::var_os("CI").is_some_and(|it| !it.is_empty() && it != "false") {
                return Err(format!("{}, which is not skipped where CI is set: {why}", self.tests));
            }
            return say(&format!("SKIPPED: {}: {why}\n", self.tests));
        }
        fs::write(&done, self.pinned).map_err(|err| format!("{}: {err}", done.display()))
    }

    fn install(&self, folder: &Path) -> Done {
        run(Command::new("python3").args(["-m", "venv"]).arg(folder))?;
        let mut pip = Command::new(folder.join("bin/pip"));
        run(pip.args(["install", "--quiet", "--disable-pip-version-check", self.pinned]))
    }
}

/// The folder of builds, which this program is two folders below.
fn builds() -> Option<PathBuf> {
    Some(env::current_exe().ok()?.ancestors().nth(2)?.to_owned())
}
