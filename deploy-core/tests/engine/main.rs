//! The engine over the in-memory backends, on tokio's paused clock.
mod control;
mod fleet;
mod recovery;
mod rollouts;
