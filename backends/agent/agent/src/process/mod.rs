//! Processes of the host: finding all that belong to a step, and ending them, with proof.
pub(crate) mod cgroup;
pub(crate) mod ending;
pub(crate) mod proc_fs;
pub(crate) mod tree;

#[cfg(test)]
mod tests;
