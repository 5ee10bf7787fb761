//! All that a command has started, and its end.
use super::{
    cgroup::Cgroup,
    proc_fs::{self, Process},
};
use deploy_core::backend::Clock;
use rustix::process::{Pid, PidfdFlags, Signal, getpid, pidfd_open, pidfd_send_signal};
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::PathBuf,
    time::Duration,
};

/// How long what was sent KILL has to be gone.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(10);
/// How many survivors are named.
const NAMED: usize = 20;

/// How the processes of a command are known: by their control group; by the namespace that a sandbox has made for them, which none can leave; by the
/// session of the first and the mark in their environment; and as descendants of all of these.
#[derive(Debug)]
pub(crate) struct Tree {
    /// An entry of the environment that only they have, as `NAME=VALUE`.
    pub(crate) mark: String,
    /// The number of the first process.
    pub(crate) first: Option<i32>,
    pub(crate) cgroup: Cgroup,
    namespaces: BTreeSet<PathBuf>,
}

impl Tree {
    pub(crate) const fn new(mark: String, first: Option<i32>, cgroup: Cgroup) -> Self {
        Self { mark, first, cgroup, namespaces: BTreeSet::new() }
    }

    /// The processes that are alive.
    pub(crate) fn find(&mut self) -> io::Result<Vec<Process>> {
        let all = proc_fs::processes()?;
        let this = getpid().as_raw_pid();
        let own = Process::of(this).and_then(|it| it.namespace());
        let grouped: BTreeSet<i32> = self.cgroup.members().into_iter().collect();
        let belongs = |it: &Process| {
            grouped.contains(&it.pid)
                || self.first.is_some_and(|first| it.pid == first || it.session == first)
                || it.namespace().is_some_and(|it| self.namespaces.contains(&it))
                || it.has_in_environment(&self.mark)
        };
        let mut found: BTreeSet<i32> =
            all.iter().filter(|it| belongs(it)).map(|it| it.pid).collect();
        found.remove(&this);
        add_descendants(&all, &mut found);
        let found: Vec<_> = all.into_iter().filter(|it| found.contains(&it.pid)).collect();
        let inner =
            found.iter().filter_map(Process::namespace).filter(|it| Some(it) != own.as_ref());
        self.namespaces.extend(inner);
        Ok(found)
    }

    /// Ends all of them, and names what is left after all.
    pub(crate) async fn end(&mut self, clock: &dyn Clock) -> io::Result<Vec<String>> {
        let began = clock.now();
        loop {
            let found = self.find()?;
            if found.is_empty() {
                return Ok(Vec::new());
            }
            if clock.now().since(began) > PATIENCE {
                return Ok(found.iter().take(NAMED).map(Process::shown).collect());
            }
            self.cgroup.kill();
            found.iter().for_each(kill);
            clock.sleep_until(clock.now().after(PAUSE)).await;
        }
    }
}

/// Ends the process that was found, and no other that has got its number since.
fn kill(process: &Process) {
    let Some(pid) = Pid::from_raw(process.pid) else { return };
    // It may be gone; that is what is looked for next.
    let Ok(handle) = pidfd_open(pid, PidfdFlags::empty()) else { return };
    if Process::of(process.pid).is_some_and(|it| it.start == process.start) {
        _ = pidfd_send_signal(&handle, Signal::KILL);
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
