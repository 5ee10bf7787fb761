//! Rollouts through the built binary, over real OpenSSH servers.
//!
//! `CRASH_POINTS`, `CRASH_ROUNDS` and `FLEET_HOSTS` ask for more than what is tried every day, `CRASH_SEED` for other moments.
#![expect(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "all of it is tests, which wait for processes and count by the clock on the wall"
)]
mod builds;
mod crash;
mod deltas;
mod fleet;
mod overload;
mod real_service;
mod troubles;
