//! How a process is started on a host: the one thing that SSH and a local machine do differently.
use async_trait::async_trait;
use bytes::Bytes;
use deploy_core::{error::BackendResult, host::Host, id::AccountName};
use std::fmt;
use tokio::io::AsyncWrite;

/// A process to start on a host.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct HostCommand {
    /// What a POSIX `sh` is to run. It never carries a secret.
    pub script: String,
    /// What the script finds as `$1`, `$2`, … Neither do they.
    pub arguments: Vec<String>,
    /// The account it is to run as; `None` is the account that logs in.
    pub account: Option<AccountName>,
}

impl HostCommand {
    /// `script`, without arguments, run as the account that logs in.
    #[must_use]
    pub const fn new(script: String) -> Self {
        Self { script, arguments: Vec::new(), account: None }
    }

    /// With these arguments.
    #[must_use]
    pub fn with_arguments(mut self, arguments: Vec<String>) -> Self {
        self.arguments = arguments;
        self
    }

    /// What `sh` is called with: `-c`, the script, a name for it, and the arguments.
    #[must_use]
    pub fn words(&self) -> Vec<&str> {
        let words = ["-c", &self.script, "launcher"];
        words.into_iter().chain(self.arguments.iter().map(String::as_str)).collect()
    }

    /// To be run as `account` (`sudo -n -H -u` where the login account is another).
    #[must_use]
    pub fn with_account(mut self, account: Option<AccountName>) -> Self {
        self.account = account;
        self
    }
}

/// Something a process on a host wrote, or its end.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "a reader that misses a stream must not build")]
pub enum HostOutput {
    /// Bytes of its standard output.
    Stdout(Bytes),
    /// Bytes of its standard error.
    Stderr(Bytes),
}

/// A process that runs on a host. Dropping it closes the channel; what the process has detached goes on.
#[async_trait]
pub trait HostProcess: fmt::Debug + Send + Sync {
    /// Takes the writing end of the process's standard input; `None` the second time.
    /// Shutting the writer down closes the input.
    fn stdin(&mut self) -> Option<Box<dyn AsyncWrite + Send + Unpin>>;

    /// The next piece of output, in order within each stream; `None` when both streams have ended properly.
    ///
    /// # Errors
    /// `OutcomeUnknown` when the connection was lost while the process may still run.
    async fn next(&mut self) -> BackendResult<Option<HostOutput>>;
}

/// Starts processes on hosts.
///
/// # Contract
/// * `open` that fails with `Unavailable` or `Unauthenticated` promises that nothing was started.
/// * Both output streams arrive byte for byte; nothing is read from the host's environment.
/// * Any number of processes may be open on one host at a time.
#[async_trait]
pub trait Transport: fmt::Debug + Send + Sync + 'static {
    /// Starts `command` on `host`.
    async fn open(&self, host: &Host, command: &HostCommand)
    -> BackendResult<Box<dyn HostProcess>>;
}
