use crate::session::Boots;
use async_trait::async_trait;
use bytes::Bytes;
use deploy_agent_protocol::v1::Hello;
use deploy_core::id::HostName;
use std::{fmt, net::IpAddr};
use thiserror::Error;

/// Whoever is at the other end of a connection: the certificate that TLS has verified, as DER.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    certificate: Bytes,
    from: Option<IpAddr>,
}

impl Peer {
    /// The one with this certificate.
    #[must_use]
    pub fn new(certificate: impl Into<Bytes>) -> Self {
        Self { certificate: certificate.into(), from: None }
    }

    /// Which connects from that address.
    #[must_use]
    pub const fn connected_from(mut self, address: IpAddr) -> Self {
        self.from = Some(address);
        self
    }

    /// Its certificate, as DER.
    #[must_use]
    pub fn certificate(&self) -> &[u8] {
        &self.certificate
    }

    /// Where it connects from, if that is known.
    #[must_use]
    pub const fn from(&self) -> Option<IpAddr> {
        self.from
    }
}

/// Why somebody may have no session.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Denied {
    /// Not for as long as a person does not change that. The text is for the host's log.
    #[error("{0}")]
    Forever(String),
    /// Whoever knows who may cannot be asked for now.
    #[error("{0}")]
    ForNow(String),
}

/// Decides who may have a session.
///
/// # Contract
/// * `identify` names the host whose certificate `peer` is. A certificate that is revoked, or of a host that is not in the
///   inventory any more, is denied.
/// * `arrived` is told what a host says of itself before it has its session, and may still deny it.
/// * `doubled` is told when somebody with the same right comes from another boot while a session is alive: the machine was
///   cloned, or its key stolen. From then on `identify` denies both.
/// * `seen` denies as `identify` does.
/// * Errors deny, but for one of `seen` that may pass.
#[async_trait]
pub trait Admission: fmt::Debug + Send + Sync + 'static {
    /// Which host `peer` is.
    async fn identify(&self, peer: &Peer) -> Result<HostName, Denied>;

    /// `host` is about to have a session.
    async fn arrived(&self, host: &HostName, hello: &Hello) -> Result<(), Denied>;

    /// Two machines say at the same time that they are `host`, each in a boot of its own.
    async fn doubled(&self, host: &HostName, boots: &Boots);

    /// `host` is still there. It is told about every minute, and ends the session of a host that has lost its right to it.
    async fn seen(&self, host: &HostName) -> Result<(), Denied>;
}
