//! Whether an installation of this machine works.
use super::{ok, wrong};
use crate::{
    app::{App, Embedded},
    embedded::DataDir,
    output::{list, size},
    problem::{IntoProblem as _, OrProblem as _},
    reason::os_error,
    rollout::{DriverNow, driver_of, how_to_go_on},
};
use deploy_core::{
    backend::{HostInventoryExt as _, ListArtifacts},
    id::RolloutId,
};
use deploy_operations::tools::TOOLS;
use deploy_wire::{DoctorCheck, Problem, ProblemCode};
use std::{
    os::unix::{fs::PermissionsExt as _, net::UnixStream},
    path::{Path, PathBuf},
};

/// Below this much room on its disk the data folder is in danger, in bytes.
const LITTLE_ROOM: u64 = 1 << 30;

/// Below this much, in bytes, the data folder can take next to nothing: a rollout would stop at its next step.
const NO_ROOM: u64 = 1 << 20;

/// How many rollouts are looked at for drivers.
const RECENT: usize = 100;

/// Looks at the data folder, and at what this machine needs to reach hosts.
pub(super) async fn checks(app: &App) -> Result<Vec<DoctorCheck>, Problem> {
    let mut checks = Vec::new();
    let data_dir = app.data_dir()?;
    match app.open().await {
        Ok(embedded) => {
            checks.push(ok("data folder", data_dir.path().display().to_string()));
            checks.push(artifacts(&embedded).await);
            checks.push(hosts(&embedded).await);
            checks.push(rollouts(&embedded).await);
        }
        Err(problem) => checks.push(unusable(&data_dir, problem)),
    }
    checks.extend(room(&data_dir));
    checks.push(tools());
    checks.extend(ssh(app));
    Ok(checks)
}

fn unusable(data_dir: &DataDir, problem: Problem) -> DoctorCheck {
    let path = data_dir.path();
    let hint = match std::fs::metadata(path) {
        _ if problem.code != ProblemCode::DataDir => problem.hint,
        Ok(meta) if meta.is_dir() => {
            let mode = meta.permissions().mode() & 0o7777;
            Some(format!(
                "{} has mode {mode:o}: this account must be able to write to it, and to all in it",
                path.display()
            ))
        }
        Ok(_) => Some(format!("{} is no folder: `--data-dir DIR` names another", path.display())),
        Err(_) => Some("`--data-dir DIR` names another place for it".to_owned()),
    };
    let (name, result) = ("data folder".to_owned(), "failed".to_owned());
    DoctorCheck { name, result, detail: problem.message, hint }
}

/// How much room there is; `None` where there is no data folder to have any.
fn room(data_dir: &DataDir) -> Option<DoctorCheck> {
    let name = "room on disk";
    let disk = rustix::fs::statvfs(data_dir.path()).ok()?;
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    // File systems without a fixed number of files say that they have none.
    if disk.f_files > 0 && disk.f_favail == 0 {
        let hint = "make room: remove files, or name another folder with `--data-dir DIR`";
        return Some(wrong(name, "failed", "no more files can be made there", hint));
    }
    let detail = format!("{} free", size(free));
    Some(match free {
        ..NO_ROOM => wrong(name, "failed", detail, "make room, or nothing can be kept"),
        NO_ROOM..LITTLE_ROOM => {
            wrong(name, "warning", detail, "`deploy artifact gc --keep 10` removes old versions")
        }
        LITTLE_ROOM.. => ok(name, detail),
    })
}

/// What is wrong with something that cannot be read.
fn unreadable(name: &str, problem: Problem) -> DoctorCheck {
    let (name, result) = (name.to_owned(), "failed".to_owned());
    DoctorCheck { name, result, detail: problem.message, hint: problem.hint }
}

async fn artifacts(embedded: &Embedded) -> DoctorCheck {
    match embedded.parts().artifacts.list(&ListArtifacts::new()).await {
        Ok(entries) => {
            let bytes = entries.iter().map(|it| it.meta.size).sum();
            ok("artifacts", format!("{} listed, {}", entries.len(), size(bytes)))
        }
        Err(err) => unreadable("artifacts", err.into_problem()),
    }
}

async fn hosts(embedded: &Embedded) -> DoctorCheck {
    match embedded.parts().inventory.all_hosts().await {
        Ok(hosts) if hosts.is_empty() => wrong(
            "hosts",
            "warning",
            "none yet",
            "`deploy host import FILE` or `deploy host add NAME` adds some",
        ),
        Ok(hosts) => ok(
            "hosts",
            format!("{}; `deploy host check` says whether they can be reached", hosts.len()),
        ),
        Err(err) => unreadable("hosts", err.into_problem()),
    }
}

/// Rollouts that are not over, and that nobody drives.
async fn rollouts(embedded: &Embedded) -> DoctorCheck {
    match left(embedded).await {
        Err(problem) => unreadable("rollouts", problem),
        Ok(Left { alone, waiting }) => match (alone.first(), waiting.first()) {
            (Some(first), _) => {
                let detail = format!("not over, and nobody drives: {}", list(&alone, 5));
                wrong("rollouts", "warning", detail, how_to_go_on(first.as_str()))
            }
            (None, Some(first)) => {
                let detail = format!("waiting for somebody: {}", list(&waiting, 5));
                wrong(
                    "rollouts",
                    "warning",
                    detail,
                    format!("`deploy rollout show {first}` says for what"),
                )
            }
            (None, None) => ok("rollouts", "none is left without somebody to drive it"),
        },
    }
}

/// Rollouts that are not over, and that no process is at.
#[derive(Default)]
struct Left {
    alone: Vec<RolloutId>,
    /// Those that only a person can let go on.
    waiting: Vec<RolloutId>,
}

async fn left(embedded: &Embedded) -> Result<Left, Problem> {
    let recent = embedded.parts().journal.rollouts(None, RECENT).await.or_problem()?;
    let mut left = Left::default();
    for rollout in recent.into_iter().filter(|it| it.last.is_none()) {
        let id = rollout.rollout;
        if matches!(driver_of(embedded, &id).await?, DriverNow::Alive(_)) {
            continue;
        }
        match embedded.platform.load(&id).await.or_problem()?.waits_for_person() {
            true => left.waiting.push(id),
            false => left.alone.push(id),
        }
    }
    Ok(left)
}

fn tools() -> DoctorCheck {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let missing: Vec<_> = TOOLS
        .into_iter()
        .filter(|tool| !folders.iter().any(|it| it.join(tool).is_file()))
        .collect();
    if missing.is_empty() {
        return ok("tools for local hosts", TOOLS.join(", "));
    }
    let detail = format!("missing: {}", missing.join(", "));
    wrong(
        "tools for local hosts",
        "warning",
        detail,
        "install them (coreutils, util-linux, tar, gzip)",
    )
}

fn ssh(app: &App) -> Vec<DoctorCheck> {
    let agent = match std::env::var_os("SSH_AUTH_SOCK").filter(|it| !it.is_empty()) {
        None => ok("ssh agent", "none; keys come from files"),
        Some(socket) => match UnixStream::connect(&socket) {
            Ok(_) => ok("ssh agent", Path::new(&socket).display().to_string()),
            Err(err) => {
                let detail = format!("{}: {}", Path::new(&socket).display(), os_error(&err));
                wrong("ssh agent", "warning", detail, "start it again, or unset SSH_AUTH_SOCK")
            }
        },
    };
    let home = std::env::var_os("HOME").map(PathBuf::from);
    let known =
        app.global.known_hosts.clone().or_else(|| home.map(|it| it.join(".ssh/known_hosts")));
    let known = match known {
        Some(path) if path.is_file() => ok("known host keys", path.display().to_string()),
        Some(path) => wrong(
            "known host keys",
            "warning",
            format!("{} is missing", path.display()),
            "`deploy host check --accept-new-host-keys` keeps the keys of hosts that are seen for the first time",
        ),
        None => wrong(
            "known host keys",
            "warning",
            "there is no home folder",
            "name a file with `--known-hosts`",
        ),
    };
    vec![agent, known]
}
