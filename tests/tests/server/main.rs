//! `deploy serve` as a process: what its description promises holds for whatever is sent, and a full disk stops only what needs room.
#![expect(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "all of it is tests")]
mod full_disk;
mod lab;
mod schema;
