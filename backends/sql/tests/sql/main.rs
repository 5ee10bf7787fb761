//! Both databases, as they are: files, a server that these tests start, crashes, full disks.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a failed test panics, also in what tests share"
)]
mod conformance;
mod crash;
mod damage;
mod floors;
mod full;
mod hosts;
mod identities;
mod open;
mod power_cut;
mod processes;
mod server;
mod support;
mod upgrade;
