//! What the tests have in common.
use deploy_core::{
    error::{BackendError, BackendResult},
    host::{Connection, Host, SshConnection},
};
use deploy_host::transport::{HostCommand, HostOutput, HostProcess, Transport as _};
use deploy_ssh::{SshOptions, SshTransport};
use deploy_test_support::sshd::{Sshd, SshdOptions};
use std::{
    path::{Path, PathBuf},
    time::Duration,
};

/// How long a test waits for something that has to happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) fn sshd() -> Sshd {
    Sshd::start().unwrap()
}

pub(crate) fn sshd_with(config: &str) -> Sshd {
    Sshd::start_with(SshdOptions::new().with_config(config)).unwrap()
}

/// Options that know `sshd` and nothing else of this machine.
pub(crate) fn options(sshd: &Sshd) -> SshOptions {
    SshOptions::new()
        .with_config_files(vec![])
        .with_user(Some(sshd.user().parse().unwrap()))
        .with_identity_files(vec![sshd.identity()])
        .with_known_hosts(vec![sshd.known_hosts()])
}

pub(crate) fn transport(sshd: &Sshd) -> SshTransport {
    SshTransport::new(options(sshd))
}

/// Host number `at` of those that `sshd` stands for.
pub(crate) fn host(sshd: &Sshd, at: usize) -> Host {
    at_port(&sshd.addresses()[at].to_string(), sshd.port().unwrap())
}

pub(crate) fn at_port(address: &str, port: u16) -> Host {
    let connection = SshConnection::new().with_address(address).with_port(port);
    Host::new("web-1".parse().unwrap(), Connection::Ssh(connection))
}

/// A host that only the configuration knows how to reach.
pub(crate) fn named(name: &str) -> Host {
    Host::new(name.parse().unwrap(), Connection::Ssh(SshConnection::new()))
}

/// Writes a configuration for `sshd`'s first host as `web`, with `lines` before it.
pub(crate) fn config(sshd: &Sshd, lines: &str) -> PathBuf {
    let (address, port) = (sshd.addresses()[0], sshd.port().unwrap());
    let (known, user) = (sshd.known_hosts(), sshd.user());
    let text = format!(
        "{lines}\nHost web\nHostName {address}\nPort {port}\nUser {user}\nUserKnownHostsFile {}\nGlobalKnownHostsFile none\n",
        known.display()
    );
    let path = sshd.folder().join("config");
    std::fs::write(&path, text).unwrap();
    path
}

pub(crate) async fn open(
    transport: &SshTransport,
    host: &Host,
    line: &str,
) -> BackendResult<Box<dyn HostProcess>> {
    transport.open(host, &HostCommand::new(line.into())).await
}

/// Runs `line` to its end: what it wrote to its standard output and error.
pub(crate) async fn run(
    transport: &SshTransport,
    host: &Host,
    line: &str,
) -> BackendResult<(String, String)> {
    let mut process = open(transport, host, line).await?;
    finish(process.as_mut()).await
}

pub(crate) async fn finish(process: &mut dyn HostProcess) -> BackendResult<(String, String)> {
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    while let Some(output) = process.next().await? {
        match output {
            HostOutput::Stdout(bytes) => stdout.extend_from_slice(&bytes),
            HostOutput::Stderr(bytes) => stderr.extend_from_slice(&bytes),
        }
    }
    Ok((String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap()))
}

pub(crate) async fn says_hello(transport: &SshTransport, host: &Host) {
    let (stdout, stderr) = run(transport, host, "echo hello").await.unwrap();
    assert_eq!((stdout.as_str(), stderr.as_str()), ("hello\n", ""));
}

/// The error of a process that must not start.
pub(crate) async fn refusal(transport: &SshTransport, host: &Host) -> BackendError {
    open(transport, host, "echo hello").await.unwrap_err()
}

/// Waits until `predicate` holds.
pub(crate) async fn eventually(what: &str, mut predicate: impl FnMut() -> bool) {
    let mut tick = tokio::time::interval(Duration::from_millis(20));
    let holds = async {
        while !predicate() {
            tick.tick().await;
        }
    };
    tokio::time::timeout(PATIENCE, holds)
        .await
        .unwrap_or_else(|_| panic!("{what}: never happened"));
}

pub(crate) fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}
