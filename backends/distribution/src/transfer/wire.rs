//! What hosts and schedulers say to each other, in JSON.
use crate::{
    block::{Bits, Blob},
    schedule::Failure,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use deploy_core::id::{HostName, LabelValue};
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;

/// Where blocks are asked for.
pub(super) const BLOBS: &str = "/v1/blobs/";
/// What comes after the blob where its outboard is asked for.
pub(super) const OUTBOARD: &str = "/outboard";
/// Where the next blocks are asked for.
pub(super) const NEXT: &str = "/v1/next";
/// Says that a scheduler has sent whoever asks. It gets nobody more than a better place in the queue.
pub(super) const ASSIGNED: &str = "deploy-assigned";
/// The longest request for the next blocks, in bytes: the set of blocks of the largest blob has 44 KiB.
pub(super) const LONGEST_NEXT: usize = 128 << 10;

/// Somebody who gives blocks, and where.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Endpoint {
    /// Who it is, as its certificate has to say.
    pub name: HostName,
    /// A `HOST:PORT`.
    pub address: String,
}

impl Endpoint {
    /// That host, at that address.
    #[must_use]
    pub const fn new(name: HostName, address: String) -> Self {
        Self { name, address }
    }
}

/// What a scheduler has to know of a host that comes, or that comes back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Joining {
    /// Where it gives blocks. One that the scheduler does not accept is as good as none: then it only takes.
    pub address: String,
    /// Its zone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<LabelValue>,
    /// Its rack.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rack: Option<LabelValue>,
    /// Which blocks it has: eight a byte, the lowest bit first, in base64.
    pub had: String,
    /// Which are on their way to it.
    #[serde(default)]
    pub under_way: Vec<u32>,
    /// To how many it gives blocks at a time; with 0 it only takes.
    pub slots: u16,
}

impl Joining {
    /// A host that has these blocks, nothing on its way, and nobody knows where.
    #[must_use]
    pub fn new(address: String, had: &Bits, slots: u16) -> Self {
        let had = STANDARD.encode(had.to_bytes());
        Self { address, zone: None, rack: None, had, under_way: Vec::new(), slots }
    }
}

/// What became of blocks, and how many more are wanted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct NextRequest {
    /// Of which blob.
    pub blob: Blob,
    /// With the first request, and whenever the scheduler says that it does not know the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub joining: Option<Joining>,
    /// What came.
    #[serde(default)]
    pub done: Vec<u32>,
    /// What did not.
    #[serde(default)]
    pub failed: Vec<FailedBlock>,
    /// How many more, beyond those that are on their way.
    pub want: u16,
    /// How long to wait for one, in milliseconds.
    pub wait_ms: u32,
}

impl NextRequest {
    /// Nothing to say of that blob, and nothing wanted.
    #[must_use]
    pub const fn new(blob: Blob) -> Self {
        Self { blob, joining: None, done: Vec::new(), failed: Vec::new(), want: 0, wait_ms: 0 }
    }
}

/// A block that did not come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct FailedBlock {
    /// The block.
    pub block: u32,
    /// Who was to give it.
    pub source: HostName,
    /// Why it did not come.
    pub why: Failure,
}

impl FailedBlock {
    /// That block, from that source, for that reason.
    #[must_use]
    pub const fn new(block: u32, source: HostName, why: Failure) -> Self {
        Self { block, source, why }
    }
}

/// What to fetch next.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct NextAnswer {
    /// Whether the scheduler knows the host. If not, it has to join.
    pub known: bool,
    /// The blocks.
    #[serde(default)]
    pub get: Vec<GivenBlock>,
}

/// A block, and who has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct GivenBlock {
    /// The block.
    pub block: u32,
    /// Who has it.
    pub source: Endpoint,
}

/// Whether it is an IP address with a port, or a name with one.
#[must_use]
pub fn is_address(address: &str) -> bool {
    const LONGEST: usize = 253;
    if let Ok(address) = address.parse::<SocketAddr>() {
        return address.port() != 0;
    }
    let plain = |it: u8| it.is_ascii_alphanumeric() || matches!(it, b'-' | b'.');
    address.rsplit_once(':').is_some_and(|(name, port)| {
        let is_name = (1..=LONGEST).contains(&name.len()) && name.bytes().all(plain);
        let digits = port.bytes().all(|it| it.is_ascii_digit());
        is_name && digits && port.parse().is_ok_and(|it: u16| it != 0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_address_is_none_for_anybody() {
        for address in ["10.0.0.1:7", "[::1]:7", "h1.example:7000", "h1:1"] {
            assert!(is_address(address), "{address}");
        }
        let long = format!("{}:7", "a".repeat(254));
        for address in [
            "", ":7", "h1", "h1:", "h1:0", "h1:+7", "h1:70000", "a b:7", "a/b:7", "a\r\nb:7", &long,
        ] {
            assert!(!is_address(address), "{address}");
        }
    }
}
