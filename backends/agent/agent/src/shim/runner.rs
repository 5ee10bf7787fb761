//! One run of one script, from its start to when nothing is to be done about it any more.
use super::{
    Host, environment,
    exec::{Exec, TreeOf},
    output::Output,
};
use crate::{
    account::Account,
    folder::Folder,
    package::PackageTree,
    process::{
        cgroup::Cgroups,
        ending::{Ending, Look},
        proc_fs::Process,
        tree::{Reaper, Tree},
    },
    spec::Spec,
    time::{timespec, uptime},
};
use deploy_core::spec::StepName;
use rustix::{
    event::{PollFd, PollFlags, poll},
    io::Errno,
    process::{Pid, PidfdFlags, WaitOptions, WaitStatus, pidfd_open, wait},
};
use std::{
    fs::File,
    io::{self, Read as _},
    os::fd::OwnedFd,
    path::PathBuf,
    process::{Command, Stdio},
    time::Duration,
};

/// The code of a script that could not be started.
const NOT_STARTED: i32 = 126;
/// The code where none is known, because the process could not be ended.
const KILLED: i32 = 137;

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    /// By itself.
    Ended,
    /// Somebody asked for it.
    Killed,
    /// It printed more than an attempt may.
    LogLimit,
    /// It took longer than it may.
    TimedOut,
}

/// What came of a run. Unless it ended by itself with 0, nothing of it is left but the survivors.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) how: How,
    pub(super) code: i32,
    pub(super) survivors: Vec<String>,
}

/// Runs scripts of one attempt.
#[derive(Debug)]
pub(super) struct Runner {
    pub(super) spec: Spec,
    pub(super) host: Host,
    pub(super) account: Account,
    pub(super) folder: Folder,
    /// What the steps read.
    pub(super) work: PathBuf,
    pub(super) output: Output,
    /// Rings when the attempt is to be ended; nobody can ring where there is none.
    pub(super) bell: Option<File>,
    /// Whether a run is ended when somebody asks for it: a way back is not.
    pub(super) heeds_kill: bool,
}

/// A run under way.
struct Running {
    handle: OwnedFd,
    tree: Tree,
    pid: i32,
    code: Option<i32>,
    ends_at: Duration,
    ending: Option<(How, Ending)>,
    look_at: Duration,
}

impl Runner {
    /// Runs `path`, which lies in the attempt's work folder, for at most `limit`. `index` tells its processes from those of other steps.
    pub(super) fn run(&mut self, index: &str, step: &str, path: &str, limit: Duration) -> Run {
        let run = self.start(index, step, path, limit).and_then(|it| self.attend(it));
        run.unwrap_or_else(|err| {
            let line = format!("deploy-agent: the step cannot be run: {err}\n");
            self.output.say(&line, uptime());
            Run { how: How::Ended, code: NOT_STARTED, survivors: Vec::new() }
        })
    }

    fn start(&self, index: &str, step: &str, path: &str, limit: Duration) -> io::Result<Running> {
        let cgroup = self.host.cgroups.group(index);
        let work = &self.work;
        let account = (!self.account.is_own())
            .then(|| Ok((self.account.uid, self.account.gid, self.account.groups()?)));
        let exec = Exec {
            account: account.transpose().map_err(|err: io::Error| err)?,
            cgroup: cgroup.make()?,
            folder: self.spec.place.deploy_path.as_str().into(),
            script: work.join(path),
            tree: self.tree(step),
        };
        let reaper = (cgroup == Cgroups::None).then(Reaper::this).transpose()?;
        let environment =
            environment::of_step(&self.spec, &self.host, &self.account, work, index, step);
        // Whatever has become of the file since, this is the program that runs now.
        let child = Command::new("/proc/self/exe")
            .arg("exec")
            .args(exec.arguments())
            .env_clear()
            .envs(environment)
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(self.output.stdio()?)
            .stderr(self.output.stdio()?)
            .spawn()?;
        let pid = Pid::from_child(&child);
        let number = pid.as_raw_pid();
        let first = Process::of(number).map(|it| (it.pid, it.start));
        if let Some(first) = first.filter(|_| self.bell.is_some()) {
            // A disk that takes no more does not keep a step from running.
            drop(self.folder.write_first(index, first));
        }
        let tree = Tree { mark: self.spec.mark(index), first, cgroup, reaper };
        Ok(Running {
            handle: pidfd_open(pid, PidfdFlags::empty())?,
            tree,
            pid: number,
            code: None,
            ends_at: uptime() + limit,
            ending: None,
            look_at: Duration::ZERO,
        })
    }

    /// What a step's process puts together before its script runs, if that is one that may install.
    fn tree(&self, step: &str) -> Option<TreeOf> {
        let installs = [StepName::Install, StepName::Rollback, StepName::Run];
        // What only asks puts nothing together.
        let installs = self.bell.is_some() && installs.iter().any(|it| it.as_str() == step);
        let release =
            self.spec.release.clone().filter(|_| installs && PackageTree::is_in(&self.work))?;
        Some(TreeOf { work: self.work.clone(), release })
    }

    /// What the disk was short of where the process of a step could not put the package together.
    pub(super) fn lacking(&self, step: &str, code: i32) -> Option<String> {
        let tree = self.tree(step).filter(|_| code == NOT_STARTED)?;
        let releases = self.spec.place.releases();
        let short = PackageTree::lacking(&tree.work, &releases, &tree.release)?;
        Some(format!("there is no room for the files of the package: {short}"))
    }

    fn attend(&mut self, mut running: Running) -> io::Result<Run> {
        loop {
            let now = uptime();
            running.reap();
            if running.ending.is_none()
                && let Some((how, grace)) = self.judge(&running, now)
            {
                if how == How::Ended {
                    self.output.drain(now)?;
                    if running.code == Some(0) {
                        return Ok(Run { how, code: 0, survivors: Vec::new() });
                    }
                }
                running.ending = Some((how, Ending::new(running.tree.clone(), grace, now)));
            }
            if let Some((how, survivors)) = running.look(now)? {
                running.reap();
                self.output.drain(now)?;
                let code = running.code.unwrap_or(KILLED);
                return Ok(Run { how, code, survivors });
            }
            self.wait(&running, now)?;
        }
    }

    /// Whether a run is to be ended, and with how much grace.
    fn judge(&self, running: &Running, now: Duration) -> Option<(How, Duration)> {
        let limit = self.spec.order.log_limit;
        if running.code.is_some() {
            Some((How::Ended, self.spec.grace()))
        } else if let Some(grace) = self.kill() {
            Some((How::Killed, grace))
        } else if now >= running.ends_at {
            Some((How::TimedOut, self.spec.grace()))
        } else if limit > 0 && self.output.printed > limit {
            Some((How::LogLimit, self.spec.grace()))
        } else {
            None
        }
    }

    /// The grace with which the attempt is to be ended, if somebody has asked for it.
    pub(super) fn kill(&self) -> Option<Duration> {
        self.bell.as_ref().filter(|_| self.heeds_kill)?;
        self.folder.kill().map(|it| Duration::from_secs(it.into()))
    }

    /// Waits until there is something to do, and reads what was printed.
    fn wait(&mut self, running: &Running, now: Duration) -> io::Result<()> {
        let look = running.ending.is_some().then_some(running.look_at);
        let limit = running.ending.is_none().then_some(running.ends_at);
        let next = [look, limit, self.output.sync_due()].into_iter().flatten().min();
        let timeout = next.map(|it| timespec(it.saturating_sub(now)));
        let mut waited = vec![PollFd::new(self.output.source(), PollFlags::IN)];
        // Its end is news once.
        let ended = running.code.is_none().then(|| PollFd::new(&running.handle, PollFlags::IN));
        waited.extend(ended);
        let bell = self.bell.as_ref().map(|it| PollFd::new(it, PollFlags::IN));
        waited.extend(bell);
        match poll(&mut waited, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(err) => return Err(err.into()),
        }
        let now = uptime();
        if self.output.read(now)? {
            super::tell_news();
        }
        self.output.sync_if_due(now);
        if let Some(bell) = &mut self.bell {
            // What it rings for stands in a file.
            drop(bell.read(&mut [0; 64]));
        }
        Ok(())
    }
}

impl Running {
    /// Takes leave of all children that have ended: orphans of the steps are children, too.
    fn reap(&mut self) {
        while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
            if pid.as_raw_pid() == self.pid {
                self.code = Some(code(status));
            }
        }
    }

    /// Goes on with ending it, if it is being ended and it is time. Gives survivors when that is over.
    fn look(&mut self, now: Duration) -> io::Result<Option<(How, Vec<String>)>> {
        let Some((how, ending)) = self.ending.as_mut().filter(|_| self.look_at <= now) else {
            return Ok(None);
        };
        Ok(match ending.look(now)? {
            Look::Again(after) => {
                self.look_at = now + after;
                None
            }
            Look::Gone => Some((*how, Vec::new())),
            Look::Survivors(survivors) => Some((*how, survivors)),
        })
    }
}

fn code(status: WaitStatus) -> i32 {
    let signal = || status.terminating_signal().map(|it| 128 + it);
    status.exit_status().or_else(signal).unwrap_or(KILLED)
}
