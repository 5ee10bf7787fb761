//! [`SshTransport`](deploy_ssh::SshTransport) against real OpenSSH servers, and against servers that are none.
#[cfg(test)]
mod conformance;
#[cfg(test)]
mod connections;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod jumps;
#[cfg(test)]
mod keys;
#[cfg(test)]
mod logins;
#[cfg(test)]
mod processes;
#[cfg(test)]
mod support;
#[cfg(test)]
mod zoo;
