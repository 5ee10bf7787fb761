//! Runs attempts on this machine, where a folder stands for a host.
//!
//! A host with [`Connection::Local`](deploy_core::host::Connection::Local) is the folder it names: the whole protocol of a remote host runs in it, with real
//! processes and the same launcher. It serves one machine that deploys to itself, as well as trials and tests with many hosts.
//!
//! ```
//! use deploy_core::memory::{MemoryArtifactStore, SystemClock};
//! use deploy_local::{LocalExecutor, LocalTransport};
//! use std::sync::Arc;
//!
//! let (artifacts, clock) = (Arc::new(MemoryArtifactStore::new()), Arc::new(SystemClock::new()));
//! let executor = LocalExecutor::new(LocalTransport::new(), artifacts, clock);
//! ```
mod transport;

pub use transport::LocalTransport;

use deploy_host::executor::ShellExecutor;

/// An executor for hosts that are folders of this machine.
pub type LocalExecutor = ShellExecutor<LocalTransport>;
