//! The rollout machine, played fact by fact: what each verb and each field of a strategy does where they meet.
#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on ends"
)]
mod bake;
mod budget;
mod confirm;
mod doubt;
mod journals;
mod ledger;
mod play;
mod progress;
mod staging;
mod verbs;
mod why;
