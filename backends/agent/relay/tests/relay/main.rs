//! Relays between hosts and a control plane: real TLS, the gateway itself, and agents as their programs run them.
#![expect(clippy::indexing_slicing, clippy::unwrap_used, reason = "a test fails by panicking")]
mod blocks;
mod identity;
mod lab;
mod liars;
mod way_out;
