//! The engine of a deployment platform.
pub mod access;
#[cfg(feature = "engine")]
pub mod backend;
#[cfg(feature = "conformance")]
pub mod conformance;
pub mod digest;
#[cfg(feature = "engine")]
pub mod engine;
pub mod error;
pub mod host;
pub mod id;
#[cfg(feature = "engine")]
pub mod memory;
pub mod plan;
pub mod rollout;
pub mod spec;
pub mod time;
