//! Driving on without a terminal.
use super::follow::Follow;
use crate::{
    app::{App, Embedded},
    embedded::own_name,
    problem::{OrProblem as _, io_problem},
};
use deploy_core::id::RolloutId;
use deploy_wire::Problem;
use std::{
    fs::OpenOptions,
    os::unix::fs::OpenOptionsExt as _,
    path::PathBuf,
    process::{Command, Stdio},
};

/// Starts a process that goes on driving `rollout`, and lets it have the lease at once. Gives the file it writes to.
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
    spawn(app, embedded, rollout, &path).map_err(|err| {
        io_problem("a process in the background could not be started", &err)
            .with_hint(Follow::how_to_go_on(rollout))
    })?;
    Ok(path)
}

fn spawn(
    app: &App,
    embedded: &Embedded,
    rollout: &RolloutId,
    path: &std::path::Path,
) -> std::io::Result<()> {
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
    command.args(["rollout", "resume", "--background", rollout.as_str()]);
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    // It outlives this process, and nobody waits for it.
    command.spawn().map(drop)
}

/// Leaves the session of the terminal, so that closing that does not end this process.
pub(crate) fn enter_background() -> Result<(), Problem> {
    match rustix::process::setsid() {
        // A process that leads a session already has none to leave.
        Ok(_) | Err(rustix::io::Errno::PERM) => Ok(()),
        Err(err) => Err(io_problem("the session cannot be left", &err.into())),
    }
}
