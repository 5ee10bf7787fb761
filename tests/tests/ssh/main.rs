//! Rollouts through the built binary, over real OpenSSH servers.
#![expect(
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "these tests wait for processes and count by the clock on the wall"
)]
mod crash;
mod fleet;
mod real_service;
mod troubles;
