//! What tests need of a machine: servers on loopback, and disks of their own. All of it is gone with the test.
pub mod mounts;
pub mod real_service;
pub mod sshd;
