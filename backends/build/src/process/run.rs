//! One program, from its start to the end of all that it has started.
use super::{Cgroup, Tree};
use crate::{
    ended::{Ended, Halt, internal},
    log::Log,
    quota::Quota,
};
use deploy_core::{
    backend::{BuildFailure, BuildFault, Clock},
    time::Timestamp,
};
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use std::{
    ffi::OsString,
    io,
    path::PathBuf,
    process::{ExitStatus, Stdio},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::unix::pipe::Receiver,
    process::{Child, Command},
    task::JoinHandle,
};

/// Waits until the process is bounded, and becomes the program then. A parent that dies meanwhile starts nothing. What is written has the same modes
/// whoever runs the builder.
const GATE: &str = "umask 022; read -r _ && exec \"$@\" </dev/null";
/// What gives the program a session of its own, so that nobody's terminal reaches it.
const SETSID: &str = "/usr/bin/setsid";
const SHELL: &str = "/bin/sh";
/// How long what has been printed may take to be read once all that printed it is gone.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is to be started.
#[derive(Debug)]
pub(crate) struct Launch {
    pub(crate) program: PathBuf,
    pub(crate) arguments: Vec<OsString>,
    /// All of its environment.
    pub(crate) environment: Vec<(OsString, OsString)>,
    pub(crate) folder: PathBuf,
    /// What each of its processes may take.
    pub(crate) bounds: Vec<(Resource, u64)>,
    /// An entry of the environment that is put there beside the others, and that its processes are known by.
    pub(crate) mark: (String, String),
    pub(crate) cgroup: Cgroup,
    /// How much it may write; `None` where somebody else looks after that.
    pub(crate) quota: Option<Quota>,
    /// How many bytes of standard output are kept for the caller; `None` puts it into the log, where standard error goes.
    pub(crate) capture: Option<usize>,
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) status: ExitStatus,
    /// What was to be kept of standard output.
    pub(crate) captured: Vec<u8>,
    /// The last that was said into the log.
    pub(crate) said: String,
}

/// Runs a program. Whatever comes of it, nothing of it is left when this returns; else that is what came of it.
pub(crate) async fn run(
    launch: &Launch,
    log: &Log,
    halt: &Halt,
    deadline: Timestamp,
) -> Result<Finished, Ended> {
    let started = start(launch, log).map_err(|err| cannot_run(launch, &err))?;
    let Started { mut child, said, captured } = started;
    let pid = child.id().and_then(|it| i32::try_from(it).ok());
    let mark = format!("{}={}", launch.mark.0, launch.mark.1);
    let mut tree = Tree::new(mark, pid, launch.cgroup.clone());
    let outcome = match open_gate(launch, &mut child, pid).await {
        Err(err) => Err(cannot_run(launch, &err)),
        Ok(()) => tokio::select! {
            status = child.wait() => status.map_err(|err| cannot_run(launch, &err)),
            ended = halt.until(deadline) => Err(ended),
            ended = exceeded(launch.quota.as_ref(), halt.clock()) => Err(ended),
        },
    };
    let survivors = tree.end(halt.clock()).await.map_err(internal)?;
    if !survivors.is_empty() {
        let message = format!(
            "these processes of the build cannot be ended: {}; end them by hand",
            survivors.join(", ")
        );
        return Err(BuildFailure::new(BuildFault::Survivors, message).into());
    }
    drop(child.wait().await);
    let (said, captured) = read_out(said, captured, halt.clock()).await?;
    Ok(Finished { status: outcome?, captured, said })
}

async fn exceeded(quota: Option<&Quota>, clock: &dyn Clock) -> Ended {
    match quota {
        Some(quota) => quota.exceeded(clock).await,
        None => std::future::pending().await,
    }
}

/// What the readers have read. All that could write is gone, so both come to their end: unless something has got away with the other end of a pipe.
async fn read_out(
    mut said: JoinHandle<String>,
    mut captured: Option<JoinHandle<Vec<u8>>>,
    clock: &dyn Clock,
) -> Result<(String, Vec<u8>), Ended> {
    let both = async {
        let said = (&mut said).await.map_err(internal)?;
        let captured = match &mut captured {
            Some(captured) => captured.await.map_err(internal)?,
            None => Vec::new(),
        };
        Ok((said, captured))
    };
    tokio::select! {
        read = both => return read,
        () = clock.sleep_until(clock.now().after(PATIENCE)) => {}
    }
    said.abort();
    if let Some(captured) = captured {
        captured.abort();
    }
    let message = "a process that is not known to be of the build keeps what it prints into open: it was handed out, or has got away; find it and end it by hand";
    Err(BuildFailure::new(BuildFault::Survivors, message).into())
}

struct Started {
    child: Child,
    said: JoinHandle<String>,
    captured: Option<JoinHandle<Vec<u8>>>,
}

fn start(launch: &Launch, log: &Log) -> io::Result<Started> {
    let (said, writer) = io::pipe()?;
    let mut command = Command::new(SETSID);
    command
        .args([SHELL, "-c", GATE, SHELL])
        .arg(&launch.program)
        .args(&launch.arguments)
        .env_clear()
        .envs(launch.environment.iter().map(|(name, value)| (name, value)))
        .env(&launch.mark.0, &launch.mark.1)
        .current_dir(&launch.folder)
        .stdin(Stdio::piped())
        .stderr(writer.try_clone()?)
        .kill_on_drop(true);
    let captured = match launch.capture {
        None => {
            command.stdout(writer);
            None
        }
        Some(most) => {
            let (captured, writer) = io::pipe()?;
            command.stdout(writer);
            Some((captured, most))
        }
    };
    let child = command.spawn()?;
    // The command holds the writing ends as well.
    drop(command);
    let log = log.clone();
    let said = Receiver::from_owned_fd(said.into())?;
    let said = tokio::spawn(async move { log.take(said).await });
    let captured = match captured {
        Some((pipe, most)) => {
            let pipe = Receiver::from_owned_fd(pipe.into())?;
            Some(tokio::spawn(keep(pipe, most)))
        }
        None => None,
    };
    Ok(Started { child, said, captured })
}

/// Reads at most `most` bytes. What writes more than that finds nobody who reads it.
async fn keep(pipe: Receiver, most: usize) -> Vec<u8> {
    let mut kept = Vec::new();
    // What was read before an error is what there is.
    drop(pipe.take(u64::try_from(most).unwrap_or(u64::MAX)).read_to_end(&mut kept).await);
    kept
}

async fn open_gate(launch: &Launch, child: &mut Child, pid: Option<i32>) -> io::Result<()> {
    if let Some(pid) = pid {
        launch.cgroup.enter(pid)?;
        for (resource, most) in &launch.bounds {
            let bound = Rlimit { current: Some(*most), maximum: Some(*most) };
            prlimit(Pid::from_raw(pid), *resource, bound)?;
        }
    }
    match child.stdin.take() {
        Some(mut gate) => gate.write_all(b"\n").await,
        None => Ok(()),
    }
}

fn cannot_run(launch: &Launch, err: &io::Error) -> Ended {
    let fault = match err.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => BuildFault::NoSpace,
        _ => BuildFault::Internal,
    };
    let message = format!("`{}` cannot be run: {err}", launch.program.display());
    BuildFailure::new(fault, message).into()
}
