use async_trait::async_trait;
use deploy_core::{
    error::{BackendError, BackendResult, ErrorKind},
    host::{Connection, Host},
};
use deploy_host::transport::{HostCommand, HostProcess, Transport};
use deploy_local::LocalTransport;
use deploy_ssh::SshTransport;

/// Reaches each host in the way that its record says.
#[derive(Debug)]
pub(crate) struct AnyTransport {
    local: LocalTransport,
    ssh: SshTransport,
}

impl AnyTransport {
    pub(super) const fn new(ssh: SshTransport) -> Self {
        Self { local: LocalTransport::new(), ssh }
    }
}

#[async_trait]
impl Transport for AnyTransport {
    async fn open(
        &self,
        host: &Host,
        command: &HostCommand,
    ) -> BackendResult<Box<dyn HostProcess>> {
        match &host.connection {
            Connection::Local { .. } => self.local.open(host, command).await,
            Connection::Ssh(_) => self.ssh.open(host, command).await,
            Connection::Agent => Err(unreachable(host)
                .because("it is reached through its agent, which is connected to a server and not to this program")),
            _ => Err(unreachable(host)),
        }
    }
}

fn unreachable(host: &Host) -> BackendError {
    BackendError::new(ErrorKind::Unsupported, "host.open").with("host", &host.name)
}
