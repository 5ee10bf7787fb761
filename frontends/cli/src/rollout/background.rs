//! Driving on without a terminal.
use super::{DriverNow, driver_of, how_to_go_on};
use crate::{
    app::{App, Embedded},
    embedded::own_name,
    problem::{OrProblem as _, io_problem},
};
use deploy_core::id::RolloutId;
use deploy_wire::{Problem, ProblemCode};
use std::{
    fs::OpenOptions,
    io,
    os::unix::{fs::OpenOptionsExt as _, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

/// How often it is looked whether the other process has begun.
const LOOK: Duration = Duration::from_millis(50);

/// How long the other process has to begin.
const PATIENCE: Duration = Duration::from_secs(30);

/// Starts a process that goes on driving `rollout`, and lets it have the lease at once. Gives the file it writes to.
///
/// When this returns well, the other process drives or the rollout is over.
pub(crate) async fn hand_over(
    app: &App,
    embedded: &Embedded,
    rollout: &RolloutId,
) -> Result<PathBuf, Problem> {
    let leases = &embedded.parts().leases;
    if let Some(lease) = embedded.platform.driver_of(rollout).await.or_problem()?
        && lease.holder == own_name()
    {
        leases.release(&lease).await.or_problem()?;
    }
    let path = embedded.data_dir.background_log(rollout.as_str());
    let child = spawn(app, embedded, rollout, &path)
        .map_err(|err| io_problem("a process in the background could not be started", &err))
        .map_err(|it| it.with_hint(how_to_go_on(rollout.as_str())))?;
    begun(embedded, rollout, child, &path).await?;
    Ok(path)
}

/// Waits until the other process drives.
async fn begun(
    embedded: &Embedded,
    rollout: &RolloutId,
    mut child: Child,
    log: &Path,
) -> Result<(), Problem> {
    let clock = &embedded.parts().clock;
    let until = clock.now().after(PATIENCE);
    while clock.now() < until {
        let over = embedded.platform.load(rollout).await.or_problem()?.outcome().is_some();
        if over || matches!(driver_of(embedded, rollout).await?, DriverNow::Alive(_)) {
            return Ok(());
        }
        if matches!(child.try_wait(), Ok(Some(_))) {
            break;
        }
        clock.sleep_until(clock.now().after(LOOK)).await;
    }
    let message =
        format!("the process in the background does not drive; {} says why", log.display());
    Err(Problem::new(ProblemCode::Internal, message).with_hint(how_to_go_on(rollout.as_str())))
}

fn spawn(app: &App, embedded: &Embedded, rollout: &RolloutId, path: &Path) -> io::Result<Child> {
    if let Some(folder) = path.parent() {
        crate::embedded::make_private(folder)?;
    }
    let log = OpenOptions::new().create(true).append(true).mode(0o600).open(path)?;
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("--data-dir").arg(embedded.data_dir.path()).args(["--color", "never"]);
    let global = &app.global;
    for (option, value) in
        [("--ssh-config", &global.ssh_config), ("--known-hosts", &global.known_hosts)]
    {
        if let Some(value) = value {
            command.arg(option).arg(value);
        }
    }
    if global.accept_new_host_keys {
        command.arg("--accept-new-host-keys");
    }
    command.args(["rollout", "resume", "--wait", rollout.as_str()]);
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    // A group of its own from its very beginning: what ends this program by Ctrl-C or by closing the terminal does not end it.
    command.process_group(0).spawn()
}
