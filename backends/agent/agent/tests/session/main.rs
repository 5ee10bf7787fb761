//! The session of an agent with a gateway: real connections, and real processes at the end of them.
#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]
mod conformance;
mod crash;
mod delivery;
mod enrolled;
mod faults;
mod full;
mod limits;
mod link;
mod mischief;
mod peers;
mod publishers;
mod rates;
mod resumed;
mod sessions;
mod staging;
#[path = "../support/mod.rs"]
mod support;
mod valve;
mod versions;
mod via;
