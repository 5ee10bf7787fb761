use crate::{
    command::{CommandLine, switched},
    connection::NoChannel,
    failure::Failure,
    options::SshOptions,
    pool::Pool,
    process::{About, NoProcess, SshProcess},
};
use async_trait::async_trait;
use deploy_core::{error::BackendResult, host::Host};
use deploy_host::transport::{HostCommand, HostProcess, Transport};
use std::sync::Arc;

/// How often a connection that turns out to be gone is replaced.
const MOST_GONE: usize = 3;
/// How often a connection that takes no more processes is left for another.
const MOST_FULL: usize = 100;

/// Starts processes on hosts over SSH.
///
/// All that is done on a host shares one connection, which is made when it is first needed and closed when it was idle for
/// a while. Cloning is cheap, and clones share their connections.
///
/// # Errors
/// `open` gives, apart from what [`Transport`] promises,
/// * `Unauthenticated` if the host's key is not the known one, or the host takes none of our keys;
/// * `Unavailable` if there is no connection: the address is not found, nothing listens, it takes too long;
/// * `PermissionDenied` if `sudo` refuses to switch to the account, and `NotFound` if there is no such account, or no `sudo`;
/// * `InvalidInput` if the host's record or `ssh_config` ask for something that cannot be done.
///
/// With each of them, nothing was started. With `OutcomeUnknown` something may have been.
#[derive(Clone, Debug)]
pub struct SshTransport {
    pool: Arc<Pool>,
}

impl SshTransport {
    /// A transport without any connections. Nothing is read before a host is opened.
    #[must_use]
    pub fn new(options: SshOptions) -> Self {
        Self { pool: Arc::new(Pool::new(options)) }
    }

    async fn start(&self, line: &CommandLine, about: &Arc<About>) -> Result<SshProcess, Failure> {
        let (mut gone, mut full) = (0, 0);
        loop {
            let lease = self.pool.lease(&about.target).await?;
            match SshProcess::start(lease, &line.text, Arc::clone(about)).await {
                Ok(process) => return Ok(process),
                Err(NoProcess::Failure(failure)) => return Err(failure),
                Err(NoProcess::Channel(NoChannel::Full)) if full < MOST_FULL => full += 1,
                Err(NoProcess::Channel(NoChannel::Gone)) if gone < MOST_GONE => gone += 1,
                Err(NoProcess::Channel(reason)) => return Err(no_channel(reason)),
            }
        }
    }
}

fn no_channel(reason: NoChannel) -> Failure {
    Failure::unavailable(match reason {
        NoChannel::Full => "the SSH server takes no more sessions (MaxSessions)",
        NoChannel::Gone => {
            "the SSH server closes each connection, or stops answering, before a process is started"
        }
        NoChannel::Refused => "the SSH server opens no session for this account",
    })
}

#[async_trait]
impl Transport for SshTransport {
    async fn open(
        &self,
        host: &Host,
        command: &HostCommand,
    ) -> BackendResult<Box<dyn HostProcess>> {
        let target = self.pool.dialer.sources.target(host);
        let target = target.map_err(|it| it.at("ssh.open", &host.name, &"-"))?;
        let about = Arc::new(About { host: host.name.clone(), target });
        let opened = async {
            let login = about.target.user.as_str();
            let line = CommandLine::new(command, login)?;
            let mut process = self.start(&line, &about).await?;
            if let Some(account) = &line.switches_to {
                switched(&mut process, account, login).await?;
            }
            Ok(process)
        };
        match opened.await {
            Ok(process) => Ok(Box::new(process)),
            Err(failure) => Err(Failure::at(failure, "ssh.open", &host.name, &about.target)),
        }
    }
}
