//! Making a connection: TCP or a tunnel, key exchange, the host's key, our key.
use crate::{
    auth::{AgentKeys, authenticate, refused},
    client::{Client, Refusal, Shared},
    connection::{Connection, Demand, Lease, Patience},
    failure::Failure,
    identity::Offers,
    known_hosts::KnownKeys,
    options::SshOptions,
    sources::Sources,
    stage::{Stage, Step},
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
    pin::pin,
    sync::Arc,
    time::Duration,
};
use tokio::{
    net::{TcpStream, lookup_host},
    sync::{OwnedSemaphorePermit, Semaphore, oneshot},
    time::timeout,
};

/// How much a server may send before it is given room for more. It is a promise, not a buffer.
const WINDOW: u32 = 2 * 1024 * 1024;
const PACKET: u32 = 32 * 1024;
/// How long a host may keep others from logging in that has not even taken the connection. One that is down does not.
const AT_ONCE: Duration = Duration::from_secs(1);
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
    /// Logging in takes the time of processors, here and there. Who waits for that waits here, where no server loses its patience.
    logins: Semaphore,
    demand: Arc<Demand>,
}

/// A host that can be spoken to, and what is needed to log in there.
struct Reached {
    known: KnownKeys,
    offers: Offers,
    agent: AgentKeys,
    wire: Wire,
    cut: Cut,
}

/// Comes when the host has said its first word.
type FirstWord = oneshot::Receiver<()>;

impl Dialer {
    pub(crate) fn new(options: SshOptions, demand: Arc<Demand>) -> Self {
        let turns = |limit: usize| Semaphore::new(limit.max(1));
        let (handshakes, logins) = (turns(options.max_handshakes), turns(options.max_logins));
        Self { sources: Sources::new(options), handshakes, logins, demand }
    }

    /// Connects to `target`, through `via` if it is given.
    pub(crate) async fn dial(
        &self,
        target: &Target,
        via: Option<Lease>,
        room: Option<OwnedSemaphorePermit>,
    ) -> Result<Connection, Failure> {
        let _handshake = self.handshakes.acquire().await;
        let mut turn = self.logins.acquire().await;
        let stage = Stage::default();
        let mut reaching = pin!(self.reach(target, via, &stage));
        let at_once = timeout(target.connect_timeout.min(AT_ONCE), &mut reaching).await;
        let (reached, first_word) = match at_once {
            Ok(reached) => reached?,
            Err(_) => {
                drop(turn);
                let rest = target.connect_timeout.saturating_sub(AT_ONCE);
                let late = timeout(rest, reaching).await;
                let late = late.unwrap_or_else(|_| Err(stage.no_answer(target.connect_timeout)))?;
                turn = self.logins.acquire().await;
                late
            }
        };
        let log_in = self.log_in(target, reached, room, &stage);
        let connected = within_limits(log_in, first_word, target, &stage).await;
        drop(turn);
        connected
    }

    async fn reach(
        &self,
        target: &Target,
        via: Option<Lease>,
        stage: &Stage,
    ) -> Result<(Reached, FirstWord), Failure> {
        let known = self.sources.known_keys(target)?;
        stage.reach(Step::Agent);
        let agent = AgentKeys::list(target.agent.as_deref()).await;
        let files = self.sources.keys(target);
        let mut offers = Offers::gather(&files, &agent.keys, target.identities_only);
        offers.left_out.extend(agent.trouble.clone());
        if offers.keys.is_empty() {
            return Err(refused(target, "there is no key to offer", &[], &offers.left_out));
        }
        let (heard, first_word) = oneshot::channel();
        let (wire, cut) = wire_to(target, via, stage, heard).await?;
        stage.reach(Step::FirstWord);
        Ok((Reached { known, offers, agent, wire, cut }, first_word))
    }

    async fn log_in(
        &self,
        target: &Target,
        reached: Reached,
        room: Option<OwnedSemaphorePermit>,
        stage: &Stage,
    ) -> Result<Connection, Failure> {
        let Reached { known, offers, agent, wire, cut } = reached;
        let config = Arc::new(config(target, known.preferred(HOST_KEYS)));
        let shared = Arc::<Shared>::default();
        let client = Client::new(Arc::clone(&shared), known, target.host_keys);
        let mut handle = connect_stream(config, wire, client).await.map_err(exchange_failed)?;
        stage.reach(Step::Login);
        authenticate(&mut handle, target, &offers, agent, &shared).await?;
        let demand = Arc::clone(&self.demand);
        let patience = Patience { warm: target.connect_timeout, fresh: target.login_timeout };
        Ok(Connection::new(handle, shared, demand, patience, cut, room))
    }
}

/// Waits for the first word no longer than for the host itself, and for the rest with more patience.
async fn within_limits(
    log_in: impl Future<Output = Result<Connection, Failure>>,
    first_word: FirstWord,
    target: &Target,
    stage: &Stage,
) -> Result<Connection, Failure> {
    let mut log_in = pin!(log_in);
    let begun = async {
        tokio::select! {
            biased;
            over = &mut log_in => Some(over),
            Ok(()) = first_word => None,
        }
    };
    match timeout(target.connect_timeout, begun).await {
        Ok(Some(over)) => return over,
        Ok(None) => stage.reach(Step::KeyExchange),
        Err(_) => return Err(stage.no_answer(target.connect_timeout)),
    }
    let over = timeout(target.login_timeout, log_in).await;
    over.unwrap_or_else(|_| Err(stage.no_login(target.login_timeout)))
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

async fn wire_to(
    target: &Target,
    via: Option<Lease>,
    stage: &Stage,
    heard: oneshot::Sender<()>,
) -> Result<(Wire, Cut), Failure> {
    let Some(lease) = via else {
        stage.reach(Step::Lookup);
        let addresses = resolve(target).await?;
        stage.reach(Step::Tcp);
        let stream = connect_first(&addresses).await?;
        return Ok(Wire::direct(stream, heard));
    };
    stage.reach(Step::Tunnel);
    let channel = lease
        .open_tunnel(&target.address, target.port)
        .await
        .map_err(|err| Failure::unavailable(format!("the jump host does not reach it: {err}")))?;
    Ok(Wire::jump(channel.into_stream(), lease, heard))
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
        io::ErrorKind::ConnectionRefused => {
            "nothing listens there (connection refused); does its SSH server run?".into()
        }
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
