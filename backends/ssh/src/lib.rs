//! Reaches hosts over SSH.
//!
//! [`SshExecutor`] runs attempts through [`SshTransport`], which starts processes on hosts: one connection a host, shared by
//! all that is done there, opened when it is needed and closed when it is not. Host keys are always verified.
//!
//! What is read of `~/.ssh`, which algorithms are spoken, and what each error asks to do: `docs/ssh.md`.
mod auth;
mod client;
mod command;
mod config;
mod connection;
mod dial;
mod failure;
mod identity;
mod known_hosts;
mod options;
mod pace;
mod pattern;
mod pool;
mod process;
mod sources;
mod stage;
mod target;
mod transport;
mod watched;
mod wire;

pub use options::{HostKeyPolicy, SshOptions};
pub use transport::SshTransport;

use deploy_host::executor::ShellExecutor;

/// An executor for hosts that are reached over SSH.
pub type SshExecutor = ShellExecutor<SshTransport>;
