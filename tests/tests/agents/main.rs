//! A control plane and its hosts, as they are installed: the built programs, real TLS, real processes.
//!
//! Where this process is root, each host that steps run on has a network, a `/srv` and a boot id of its own; where it is not, tests
//! that need them say so and do nothing.
#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "all of it is tests, which fail by panicking and say what they skip"
)]
mod delivery;
mod drift;
mod enrolment;
mod host;
mod journey;
mod network;
mod plane;
mod real_crate;
mod relays;
mod rollouts;
mod source;
mod upgrade;
mod zone;
