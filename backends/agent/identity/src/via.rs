//! The way to a gateway that this machine may not reach itself.
use rustls_pki_types::ServerName;
use serde::Deserialize;
use std::{
    fmt, io,
    str::FromStr,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};
use thiserror::Error;
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::{TlsConnector, client::TlsStream};

/// How long it may take until somebody answers who is to pass something on.
const ANSWER_WITHIN: Duration = Duration::from_secs(3);
/// How long it may take after that until the gateway has proved who it is.
const PROOF_WITHIN: Duration = Duration::from_secs(10);

/// Where something listens: `HOST:PORT`, with `[` and `]` around an IPv6 address.
///
/// ```
/// use deploy_agent_identity::HostPort;
///
/// let relay: HostPort = "10.1.0.5:7444".parse()?;
/// assert_eq!(relay.to_string(), "10.1.0.5:7444");
/// assert!("10.1.0.5".parse::<HostPort>().is_err());
/// # Ok::<(), deploy_agent_identity::NotHostPort>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct HostPort {
    text: String,
    host: ServerName<'static>,
}

/// Why a text says nowhere.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("`{}` is no address: it has to be HOST:PORT", .0.escape_debug())]
pub struct NotHostPort(String);

impl HostPort {
    /// The host, as a certificate names it.
    pub(crate) fn host(&self) -> ServerName<'static> {
        self.host.clone()
    }
}

impl FromStr for HostPort {
    type Err = NotHostPort;

    fn from_str(text: &str) -> Result<Self, NotHostPort> {
        let parsed = || {
            let (host, port) = text.rsplit_once(':')?;
            let bracketed = host.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
            let host = ServerName::try_from(bracketed.unwrap_or(host).to_owned()).ok()?;
            (port.parse::<u16>().ok()? > 0).then_some(host)
        };
        let host = parsed().ok_or_else(|| NotHostPort(text.to_owned()))?;
        Ok(Self { text: text.to_owned(), host })
    }
}

impl TryFrom<String> for HostPort {
    type Error = NotHostPort;

    fn try_from(text: String) -> Result<Self, NotHostPort> {
        text.parse()
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Who passes on what is said to the gateway, tried in turn. They can neither read nor change it: TLS goes from end to end, and whoever
/// is there proves that it is of the authority that this machine has pinned.
#[derive(Debug, Default)]
pub struct Via {
    addresses: Vec<HostPort>,
    /// Who is tried first: the last one that was of use, or the next of one that was not.
    turn: AtomicUsize,
}

impl Via {
    /// By way of these; straight to the gateway if there are none.
    #[must_use]
    pub const fn new(addresses: Vec<HostPort>) -> Self {
        Self { addresses, turn: AtomicUsize::new(0) }
    }

    /// A connection to `gateway` over which it has proved who it is.
    pub(crate) async fn open(
        &self,
        gateway: &HostPort,
        tls: &TlsConnector,
    ) -> io::Result<TlsStream<TcpStream>> {
        if self.addresses.is_empty() {
            let stream = TcpStream::connect(&gateway.text).await?;
            return prove(gateway, tls, stream).await;
        }
        let first = self.turn.load(Ordering::Relaxed);
        let mut failed = Vec::new();
        let in_turn = self.addresses.iter().enumerate().cycle();
        for (number, address) in in_turn.skip(first).take(self.addresses.len()) {
            // Whoever waits for this one no longer begins with the next.
            let next = (number + 1) % self.addresses.len();
            self.turn.store(next, Ordering::Relaxed);
            match through(address, gateway, tls).await {
                Ok(stream) => {
                    self.turn.store(number, Ordering::Relaxed);
                    return Ok(stream);
                }
                Err(err) => {
                    tracing::debug!(via = %address, reason = %err, "the gateway is not reached");
                    failed.push(format!("through {address}: {err}"));
                }
            }
        }
        Err(io::Error::other(failed.join("; ")))
    }
}

async fn through(
    address: &HostPort,
    gateway: &HostPort,
    tls: &TlsConnector,
) -> io::Result<TlsStream<TcpStream>> {
    let late = |within: Duration| {
        let why = format!("nothing came of it within {} s", within.as_secs());
        io::Error::new(io::ErrorKind::TimedOut, why)
    };
    let stream = timeout(ANSWER_WITHIN, TcpStream::connect(&address.text)).await;
    let stream = stream.map_err(|_elapsed| late(ANSWER_WITHIN))??;
    let proved = timeout(PROOF_WITHIN, prove(gateway, tls, stream)).await;
    proved.map_err(|_elapsed| late(PROOF_WITHIN))?
}

async fn prove(
    gateway: &HostPort,
    tls: &TlsConnector,
    stream: TcpStream,
) -> io::Result<TlsStream<TcpStream>> {
    stream.set_nodelay(true)?;
    tls.connect(gateway.host(), stream).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_host_and_a_port() {
        for good in ["10.1.0.5:7444", "[::1]:1", "relay.example.com:65535", "::1:7444"] {
            assert_eq!(good.parse::<HostPort>().unwrap().to_string(), good);
        }
        for bad in ["", ":7444", "relay", "relay:", "relay:0", "relay:65536", "[::1:1", "a b:1"] {
            let refused = bad.parse::<HostPort>().unwrap_err().to_string();
            assert!(refused.contains("HOST:PORT"), "{bad}: {refused}");
        }
    }
}
