//! The engine over the in-memory backends, on tokio's paused clock.
#![expect(
    clippy::clone_on_ref_ptr,
    clippy::disallowed_methods,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on ends, and the clock is tokio's paused one"
)]
mod control;
mod fleet;
mod recovery;
mod repairs;
mod restores;
mod rollouts;
mod room;
mod staging;
