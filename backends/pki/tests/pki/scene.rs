//! A gateway's port, and whoever connects to it.
use deploy_core::{id::HostName, memory::ManualClock, time::Timestamp};
use deploy_pki::{
    AgentAcceptor, AgentPeer, Authority, CertificateRequest, Issued, MachineKey, PinnedConnector,
    Revocations, ServerIdentity,
};
use rcgen::{Issuer, KeyPair};
use rustls::{
    ClientConfig, ServerConfig,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use std::{fs, sync::Arc, time::Duration};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::watch,
};
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// Some day in 2027.
pub(crate) const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

pub(crate) const SERVER: &str = "deploy.example.com";

pub(crate) struct Scene {
    pub(crate) folder: TempDir,
    pub(crate) authority: Authority,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) revocations: watch::Sender<Revocations>,
}

impl Scene {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::open(folder.path(), NOW).unwrap();
        let clock = Arc::new(ManualClock::at(NOW));
        Self { folder, authority, clock, revocations: watch::Sender::default() }
    }

    pub(crate) fn acceptor(&self) -> AgentAcceptor {
        AgentAcceptor::new(&self.authority, self.revocations.subscribe(), self.clock.clone())
    }

    pub(crate) fn server(&self) -> ServerIdentity {
        self.authority.issue_server(&[SERVER], NOW).unwrap()
    }

    pub(crate) fn connector(&self) -> PinnedConnector {
        PinnedConnector::new(self.authority.fingerprint(), self.clock.clone())
    }

    /// The agent of `host` as it is let in at `at`.
    pub(crate) fn agent(&self, host: &str, at: Timestamp) -> Agent {
        Agent::of(&self.authority, host, at)
    }

    /// TLS of somebody who shows this chain and has this key.
    pub(crate) fn client(
        &self,
        chain: &[CertificateDer<'static>],
        key: &MachineKey,
    ) -> ClientConfig {
        self.connector().agent(chain.to_vec(), key).unwrap()
    }

    /// What the gateway makes of a client: the agent it takes it for.
    pub(crate) async fn meet(&self, client: ClientConfig) -> Result<AgentPeer, String> {
        let server = self.acceptor().config(&self.server()).unwrap();
        meet(server, client, SERVER).await
    }

    /// One of the authority's issuers (`root`, `servers`, `agents`) in the hands of somebody who has stolen its file.
    pub(crate) fn stolen(&self, name: &str) -> (CertificateDer<'static>, Issuer<'static, KeyPair>) {
        let text = fs::read_to_string(self.folder.path().join("authority.pem")).unwrap();
        let parts: Vec<_> =
            text.split("-----BEGIN ").map(|it| format!("-----BEGIN {it}")).collect();
        let at = ["root", "servers", "agents"].iter().position(|it| *it == name).unwrap();
        let [certificate, key] = [&parts[1 + 2 * at], &parts[2 + 2 * at]];
        let issuer =
            Issuer::from_ca_cert_pem(certificate, KeyPair::from_pem(key).unwrap()).unwrap();
        (CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap(), issuer)
    }
}

pub(crate) struct Agent {
    pub(crate) key: MachineKey,
    pub(crate) issued: Issued,
}

impl Agent {
    pub(crate) fn of(authority: &Authority, host: &str, at: Timestamp) -> Self {
        let key = MachineKey::generate().unwrap();
        let request = CertificateRequest::parse(&key.request().unwrap()).unwrap();
        let host: HostName = host.parse().unwrap();
        let issued = authority.issue_agent(&request, &host, at).unwrap();
        Self { key, issued }
    }
}

/// Connects, and lets each side hear the other: only then both have verified what they were shown.
pub(crate) async fn meet(
    server: ServerConfig,
    client: ClientConfig,
    name: &'static str,
) -> Result<AgentPeer, String> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serve = async {
        let (stream, _) = listener.accept().await.unwrap();
        let mut stream = TlsAcceptor::from(Arc::new(server)).accept(stream).await?;
        stream.write_all(b"hello").await?;
        stream.shutdown().await?;
        let shown = stream.get_ref().1.peer_certificates().unwrap_or_default().first().cloned();
        std::io::Result::Ok(shown)
    };
    let visit = async {
        let stream = TcpStream::connect(address).await.unwrap();
        let name = ServerName::try_from(name).unwrap();
        let mut stream = TlsConnector::from(Arc::new(client)).connect(name, stream).await?;
        let mut heard = String::new();
        stream.read_to_string(&mut heard).await?;
        std::io::Result::Ok(heard)
    };
    let both = async { tokio::join!(serve, visit) };
    let both = tokio::time::timeout(Duration::from_secs(30), both).await.unwrap();
    match both {
        (Ok(Some(shown)), Ok(heard)) => {
            assert_eq!(heard, "hello");
            Ok(AgentPeer::of(&shown).unwrap())
        }
        (Ok(None), Ok(_)) => Err("nobody".to_owned()),
        (served, visited) => Err(format!("{:?} / {:?}", served.err(), visited.err())),
    }
}
