//! All that a step has started.
use super::{
    cgroup::Cgroups,
    proc_fs::{self, Process},
};
use rustix::process::{Pid, PidfdFlags, Signal, getpid, pidfd_open, pidfd_send_signal};
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
};

/// The variable that marks the processes of a step.
pub(crate) const MARK: &str = "DEPLOY_ATTEMPT";

/// How the processes of a step are known: by their control group; by the mark in their environment; by the group and session of the first; as children of
/// the shim, where there is no control group; and as descendants of all of these.
#[derive(Clone, Debug)]
pub(crate) struct Tree {
    /// What a process of the step has as [`MARK`] in its environment.
    pub(crate) mark: String,
    /// The number and the start of the first process.
    pub(crate) first: Option<(i32, u64)>,
    pub(crate) cgroup: Cgroups,
    /// The shim, which orphans become children of.
    pub(crate) reaper: Option<Reaper>,
}

/// A process that has become the parent of all orphans of a step.
#[derive(Clone, Debug)]
pub(crate) struct Reaper {
    pub(crate) pid: i32,
    /// Its descendants of before, which belong to other steps.
    pub(crate) bystanders: BTreeSet<(i32, u64)>,
}

impl Reaper {
    /// This process, with the descendants that it has now.
    pub(crate) fn this() -> io::Result<Self> {
        let pid = getpid().as_raw_pid();
        let all = proc_fs::processes()?;
        let mut found: BTreeSet<i32> = [pid].into();
        add_descendants(&all, &mut found);
        let old = all.iter().filter(|it| it.pid != pid && found.contains(&it.pid));
        Ok(Self { pid, bystanders: old.map(|it| (it.pid, it.start)).collect() })
    }
}

impl Tree {
    /// The processes that are alive.
    pub(crate) fn find(&self) -> io::Result<Vec<Process>> {
        let all = proc_fs::processes()?;
        let of_cgroup: BTreeSet<i32> = self.cgroup.members().into_iter().collect();
        let group = self.group(&all);
        let belongs = |it: &Process| {
            of_cgroup.contains(&it.pid)
                || group.is_some_and(|group| it.group == group || it.session == group)
                || match it.environment(MARK) {
                    Some(mark) => mark == self.mark.as_bytes(),
                    None => self.is_orphan(it),
                }
        };
        let mut found = all.iter().filter(|it| belongs(it)).map(|it| it.pid).collect();
        add_descendants(&all, &mut found);
        let spared = [Some(getpid().as_raw_pid()), self.reaper.as_ref().map(|it| it.pid)];
        Ok(all
            .into_iter()
            .filter(|it| found.contains(&it.pid) && !spared.contains(&Some(it.pid)))
            .collect())
    }

    /// A group's number may have gone to somebody else, but not while anything of ours is in it.
    fn group(&self, all: &[Process]) -> Option<i32> {
        let (pid, start) = self.first?;
        let taken = all.iter().any(|it| it.pid == pid && it.start != start);
        (!taken).then_some(pid)
    }

    /// Whether it has lost its parents since the step began. What has the mark of another step is none of this one, and is not asked about.
    fn is_orphan(&self, process: &Process) -> bool {
        let Some(reaper) = self.reaper.as_ref().filter(|_| self.cgroup == Cgroups::None) else {
            return false;
        };
        process.parent == reaper.pid && !reaper.bystanders.contains(&(process.pid, process.start))
    }

    /// Sends `signal` to one of the processes that were found, and to no other that has got its number since.
    pub(crate) fn signal(process: &Process, signal: Signal) {
        let Some(pid) = Pid::from_raw(process.pid) else { return };
        // It may be gone; that is what is looked for next.
        let Ok(handle) = pidfd_open(pid, PidfdFlags::empty()) else { return };
        if Process::of(process.pid).is_some_and(|it| it.start == process.start) {
            _ = pidfd_send_signal(&handle, signal);
        }
    }
}

/// Adds to `found` all that descend from what is in it.
fn add_descendants(all: &[Process], found: &mut BTreeSet<i32>) {
    let mut children: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
    for process in all {
        children.entry(process.parent).or_default().push(process.pid);
    }
    let mut left: Vec<i32> = found.iter().copied().collect();
    while let Some(pid) = left.pop() {
        let new = children.get(&pid).into_iter().flatten().filter(|it| found.insert(**it));
        left.extend(new.copied().collect::<Vec<_>>());
    }
}
