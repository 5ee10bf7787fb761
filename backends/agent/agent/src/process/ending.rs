//! Ends a tree of processes: TERM, a while, KILL, and a look whether anything is left.
use super::{proc_fs::Process, tree::Tree};
use crate::time::{timespec, uptime};
use rustix::{event::poll, process::Signal};
use std::{collections::BTreeSet, io, time::Duration};

/// How long what was sent KILL has to be gone.
const KILL: Duration = Duration::from_secs(10);
/// Between two looks, at first and later.
const SOON: Duration = Duration::from_millis(10);
const LATER: Duration = Duration::from_millis(100);
/// How many survivors are named.
const NAMED: usize = 20;

/// What a look has shown.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Look {
    /// Look again after that long.
    Again(Duration),
    /// Nothing is left.
    Gone,
    /// These cannot be ended, as `PID:NAME`.
    Survivors(Vec<String>),
}

/// The end of a tree, look by look.
#[derive(Debug)]
pub(crate) struct Ending {
    tree: Tree,
    began: Duration,
    grace: Duration,
    /// Those that were sent TERM.
    asked: BTreeSet<(i32, u64)>,
}

impl Ending {
    /// Gives the tree `grace` to end by itself.
    pub(crate) const fn new(tree: Tree, grace: Duration, now: Duration) -> Self {
        Self { tree, began: now, grace, asked: BTreeSet::new() }
    }

    /// Looks, and does what is next.
    pub(crate) fn look(&mut self, now: Duration) -> io::Result<Look> {
        let found = self.tree.find()?;
        if found.is_empty() {
            return Ok(Look::Gone);
        }
        let since = now.saturating_sub(self.began);
        if since < self.grace {
            let new = found.iter().filter(|it| self.asked.insert((it.pid, it.start)));
            new.for_each(|it| Tree::signal(it, Signal::TERM));
            let pause = if since < Duration::from_secs(1) { SOON } else { LATER };
            return Ok(Look::Again(pause.min(self.grace - since)));
        }
        if since >= self.grace + KILL {
            return Ok(Look::Survivors(found.iter().take(NAMED).map(Process::shown).collect()));
        }
        let mut by_number = |pid| {
            if let Some(process) = Process::of(pid) {
                Tree::signal(&process, Signal::KILL);
            }
        };
        self.tree.cgroup.kill(&mut by_number);
        found.iter().for_each(|it| Tree::signal(it, Signal::KILL));
        Ok(Look::Again(SOON))
    }

    /// Ends the tree, and names what is left. This blocks.
    pub(crate) fn run(mut self) -> io::Result<Vec<String>> {
        loop {
            match self.look(uptime())? {
                Look::Again(after) => drop(poll(&mut [], Some(&timespec(after)))),
                Look::Gone => return Ok(Vec::new()),
                Look::Survivors(survivors) => return Ok(survivors),
            }
        }
    }
}
