//! Real servers for tests: started on loopback, gone with the test.
pub mod real_service;
pub mod sshd;
