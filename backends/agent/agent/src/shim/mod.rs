//! The shim: a process of its own that owns one attempt, so that the agent may end, be upgraded or crash meanwhile.
//!
//! Its state is in the attempt's folder. It says there, durably, that a step begins before it does, and how the attempt ended; what comes in between can
//! be seen and heard by whoever looks.
mod descriptors;
mod environment;
pub(crate) mod exec;
mod mask;
mod output;
mod runner;
mod settle;
pub(crate) mod spool;
mod supervise;

use crate::{folder::Folder, process::cgroup::Cgroups};
use std::{ffi::OsString, path::PathBuf};

pub(crate) use supervise::{ask, supervise};

/// What a shim is told beside the order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Host {
    /// What the host is called.
    pub(crate) name: String,
    /// The group of the attempt; each step gets one below it.
    pub(crate) cgroups: Cgroups,
    /// How much of a log is kept.
    pub(crate) log_cap: u64,
}

/// What a shim is started with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Launch {
    pub(crate) host: Host,
    pub(crate) folder: Folder,
}

/// A read-only script to run once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Question {
    pub(crate) step: String,
    pub(crate) path: String,
    pub(crate) seconds: u64,
}

impl Launch {
    /// As arguments of a program, after `shim` or `ask`, and before what these want beside it.
    pub(crate) fn arguments(&self) -> Vec<OsString> {
        let Host { name, cgroups, log_cap } = &self.host;
        let words = [name.clone(), cgroups.to_string(), log_cap.to_string()];
        let folder = self.folder.path().as_os_str().to_owned();
        words.map(OsString::from).into_iter().chain([folder]).collect()
    }

    /// From such arguments; gives the rest of them.
    pub(crate) fn parse(arguments: &[OsString]) -> Option<(Self, &[OsString])> {
        let ([name, cgroups, log_cap, folder], rest) = arguments.split_first_chunk()?;
        let host = Host {
            name: name.to_str()?.to_owned(),
            cgroups: cgroups.to_str()?.parse().ok()?,
            log_cap: log_cap.to_str()?.parse().ok()?,
        };
        Some((Self { host, folder: Folder::at(PathBuf::from(folder)) }, rest))
    }
}

impl Question {
    pub(crate) fn arguments(&self) -> [String; 3] {
        [self.step.clone(), self.path.clone(), self.seconds.to_string()]
    }

    pub(crate) fn parse(arguments: &[OsString]) -> Option<Self> {
        let [step, path, seconds] = arguments else { return None };
        let (step, path) = (step.to_str()?.to_owned(), path.to_str()?.to_owned());
        Some(Self { step, path, seconds: seconds.to_str()?.parse().ok()? })
    }
}

/// Which place a shim is to take among those that have supervised its attempt.
pub(crate) fn parse_place(arguments: &[OsString]) -> Option<u32> {
    let [place] = arguments else { return None };
    place.to_str()?.parse().ok()
}

/// Rouses the agent: there is something to read. A pipe that is full, or that nobody reads, is as good.
fn tell_news() {
    _ = rustix::io::write(rustix::stdio::stdout(), b"\n");
}
