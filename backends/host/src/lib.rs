//! What happens on a host, whatever reaches it.
//!
//! An executor that can start processes on a host (over SSH, or on this machine) implements [`Transport`](transport::Transport); all the rest
//! is here: the [descriptor] of a release, the [archives](archive) it comes in, and the [`ShellExecutor`](executor::ShellExecutor) that
//! speaks the protocol of `docs/host-contract.md` with the launcher, a POSIX shell program that travels with every call.
//!
//! This crate implements no backend by itself: `deploy-local` and `deploy-ssh` do, each with a transport of its own.
mod control;
pub mod descriptor;
pub mod duration;
pub mod executor;
pub mod quote;
pub mod shell;
pub mod transport;

pub use deploy_package::archive;
