//! Packages from archive to installed tree: over every way, with real files, and with hostile ones.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]
#[path = "../attacks/mod.rs"]
mod attacks;
mod crowds;
mod framing;
mod hostile;
mod install;
mod lab;
mod manifest;
mod parts;
mod patches;
#[cfg(test)]
mod publisher;
