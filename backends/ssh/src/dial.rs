//! Making a connection: TCP or a tunnel, key exchange, the host's key, our key.
use crate::{
    auth::{AgentKeys, authenticate, refused},
    client::{Client, Refusal, Shared},
    connection::{Connection, Demand, Lease},
    failure::Failure,
    identity::Offers,
    sources::Sources,
    target::Target,
    wire::{Cut, Wire},
};
use russh::{
    Preferred, SshId, cipher,
    client::{Config, connect_stream},
    compression, kex,
    keys::{Algorithm, EcdsaCurve, HashAlg},
    mac,
};
use std::{
    borrow::Cow,
    io,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
};
use tokio::{
    net::{TcpStream, lookup_host},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

/// How much a server may send before it is given room for more. It is a promise, not a buffer.
const WINDOW: u32 = 2 * 1024 * 1024;
const PACKET: u32 = 32 * 1024;
/// How many packets wait on a channel through a jump host.
const TUNNEL_BACKLOG: usize = 64;

const KEX: &[kex::Name] = &[
    kex::MLKEM768X25519_SHA256,
    kex::CURVE25519,
    kex::CURVE25519_PRE_RFC_8731,
    kex::EXTENSION_SUPPORT_AS_CLIENT,
    kex::EXTENSION_OPENSSH_STRICT_KEX_AS_CLIENT,
];
const CIPHERS: &[cipher::Name] =
    &[cipher::AES_256_GCM, cipher::AES_128_GCM, cipher::CHACHA20_POLY1305];
/// Not used by these ciphers, but a server expects to be offered some.
const MACS: &[mac::Name] = &[mac::HMAC_SHA256_ETM, mac::HMAC_SHA512_ETM];
const HOST_KEYS: &[Algorithm] = &[
    Algorithm::Ed25519,
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 },
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP384 },
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP521 },
    Algorithm::Rsa { hash: Some(HashAlg::Sha512) },
    Algorithm::Rsa { hash: Some(HashAlg::Sha256) },
];

/// Makes connections.
#[derive(Debug)]
pub(crate) struct Dialer {
    pub(crate) sources: Sources,
    handshakes: Semaphore,
    demand: Arc<Demand>,
}

impl Dialer {
    pub(crate) fn new(sources: Sources, handshakes: usize, demand: Arc<Demand>) -> Self {
        Self { sources, handshakes: Semaphore::new(handshakes.max(1)), demand }
    }

    /// Connects to `target`, through `via` if it is given.
    pub(crate) async fn dial(
        &self,
        target: &Target,
        via: Option<Lease>,
        room: Option<OwnedSemaphorePermit>,
    ) -> Result<Connection, Failure> {
        let _turn = self.handshakes.acquire().await;
        let stage = Stage::default();
        let connecting = self.connect(target, via, room, &stage);
        match timeout(target.connect_timeout, connecting).await {
            Ok(connected) => connected,
            Err(_) => Err(Failure::unavailable(format!(
                "no connection within {} s: still {}",
                target.connect_timeout.as_secs_f32(),
                stage.current()
            ))),
        }
    }

    async fn connect(
        &self,
        target: &Target,
        via: Option<Lease>,
        room: Option<OwnedSemaphorePermit>,
        stage: &Stage,
    ) -> Result<Connection, Failure> {
        let known = self.sources.known_keys(target)?;
        stage.enter("waiting for the SSH agent");
        let agent = AgentKeys::list(target.agent.as_deref()).await;
        let files = self.sources.keys(target);
        let mut offers = Offers::gather(&files, &agent.keys, target.identities_only);
        offers.left_out.extend(agent.trouble.clone());
        if offers.keys.is_empty() {
            return Err(refused(target, "there is no key to offer", &[], &offers.left_out));
        }
        let algorithms = known.preferred(HOST_KEYS);
        let (wire, cut) = reach(target, via, stage).await?;
        stage.enter("exchanging keys with the server");
        let shared = Arc::<Shared>::default();
        let client = Client::new(Arc::clone(&shared), known, target.host_keys);
        let mut handle = connect_stream(Arc::new(config(target, algorithms)), wire, client)
            .await
            .map_err(exchange_failed)?;
        stage.enter("logging in");
        authenticate(&mut handle, target, &offers, agent).await?;
        let (demand, patience) = (Arc::clone(&self.demand), target.connect_timeout);
        Ok(Connection::new(handle, shared, demand, patience, cut, room))
    }
}

/// What a connection in the making waits for, to say so when it takes too long.
#[derive(Debug, Default)]
struct Stage(Mutex<&'static str>);

impl Stage {
    fn enter(&self, what: &'static str) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = what;
    }

    fn current(&self) -> &'static str {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn config(target: &Target, host_keys: Vec<Algorithm>) -> Config {
    let preferred = Preferred {
        kex: Cow::Borrowed(KEX),
        key: Cow::Owned(host_keys),
        host_key_certificates: Cow::Borrowed(&[]),
        cipher: Cow::Borrowed(CIPHERS),
        mac: Cow::Borrowed(MACS),
        compression: Cow::Borrowed(&[compression::NONE]),
    };
    Config {
        client_id: SshId::Standard(Cow::Borrowed(concat!(
            "SSH-2.0-deploy_",
            env!("CARGO_PKG_VERSION")
        ))),
        window_size: WINDOW,
        maximum_packet_size: PACKET,
        channel_buffer_size: TUNNEL_BACKLOG,
        preferred,
        keepalive_interval: target.alive_interval,
        keepalive_max: target.alive_count,
        ..Config::default()
    }
}

async fn reach(target: &Target, via: Option<Lease>, stage: &Stage) -> Result<(Wire, Cut), Failure> {
    let Some(lease) = via else {
        stage.enter("looking up the address");
        let addresses = resolve(target).await?;
        stage.enter("waiting for the TCP connection");
        let stream = connect_first(&addresses).await?;
        return Ok(Wire::direct(stream));
    };
    stage.enter("waiting for the tunnel through the jump host");
    let channel = lease
        .open_tunnel(&target.address, target.port)
        .await
        .map_err(|err| Failure::unavailable(format!("the jump host does not reach it: {err}")))?;
    Ok(Wire::jump(channel.into_stream(), lease))
}

async fn resolve(target: &Target) -> Result<Vec<SocketAddr>, Failure> {
    let (address, port) = (target.address.as_str(), target.port);
    // An address needs no lookup, which would take a thread.
    if let Ok(ip) = address.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(ip, port)]);
    }
    let found = lookup_host((address, port)).await;
    let found = found.map_err(|err| {
        Failure::unavailable(format!("the name `{address}` cannot be looked up: {err}"))
    })?;
    Ok(found.collect())
}

/// Connects to the first of `addresses` that answers.
async fn connect_first(addresses: &[SocketAddr]) -> Result<TcpStream, Failure> {
    let mut failed = Failure::unavailable("the name has no address");
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => {
                if let Err(err) = stream.set_nodelay(true) {
                    tracing::debug!(%err, "small packets may be delayed");
                }
                return Ok(stream);
            }
            Err(err) => failed = tcp_failed(*address, &err),
        }
    }
    Err(failed)
}

fn tcp_failed(address: SocketAddr, err: &io::Error) -> Failure {
    let reason = match err.kind() {
        io::ErrorKind::ConnectionRefused => "nothing listens there (connection refused)".into(),
        _ if err.raw_os_error() == Some(rustix::io::Errno::MFILE.raw_os_error()) => {
            format!("{err}: raise the limit of open files (ulimit -n), or lower max_connections")
        }
        _ => err.to_string(),
    };
    Failure::unavailable(format!("no TCP connection to {address}: {reason}"))
}

/// What an error before authentication means.
fn exchange_failed(refusal: Refusal) -> Failure {
    match refusal {
        Refusal::Ours(failure) => failure,
        Refusal::Russh(err) => match err {
            russh::Error::NoCommonAlgo { kind, theirs, .. } => Failure::unauthenticated(format!(
                "the server speaks none of the {kind:?} algorithms that are considered safe; it offers {}",
                crate::failure::quoted(&theirs.join(", "))
            )),
            russh::Error::WrongServerSig => Failure::unauthenticated(
                "the server cannot prove that it holds the host key it shows",
            ),
            russh::Error::Disconnect | russh::Error::HUP => Failure::unavailable(
                "the server closed the connection before it said who it is (it may be overloaded: MaxStartups)",
            ),
            err => {
                Failure::unavailable(format!("the server does not speak SSH as it should: {err}"))
            }
        },
    }
}
