//! The authority on real files, and TLS with its certificates over real sockets.
#![expect(
    clippy::clone_on_ref_ptr,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a clone of an `Arc` is used as a trait object at once, and a failed test panics, also in what tests share"
)]
mod agents;
mod authority;
mod enrolment;
mod hostile;
mod peers;
mod requests;
mod scene;
mod servers;
