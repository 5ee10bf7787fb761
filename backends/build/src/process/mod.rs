//! Processes of this machine: started behind a gate, bounded, and ended with proof.
mod cgroup;
mod proc_fs;
mod run;
mod tree;

pub(crate) use cgroup::Cgroup;
pub(crate) use run::{Finished, Launch, run};
pub(crate) use tree::Tree;
