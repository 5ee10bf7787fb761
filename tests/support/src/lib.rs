//! What tests share: servers on loopback and disks of their own, which are gone with the test, and releases for executors.
pub mod disk;
pub mod mounts;
pub mod programs;
pub mod real_service;
pub mod releases;
pub mod scripted;
pub mod served;
pub mod skip;
pub mod sshd;
pub mod strace;
pub mod zoo;
