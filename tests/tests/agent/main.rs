//! Agents and their gateway: real connections, and real processes at the end of them.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
mod conformance;
mod executor_host;
mod link;
mod sessions;
