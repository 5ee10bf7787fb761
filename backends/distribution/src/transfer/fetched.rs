//! What fetching came to.
use super::Endpoint;
use deploy_core::id::HostName;
use std::collections::BTreeMap;

/// From whom a blob came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Fetched {
    /// How many bytes that were right came from whom.
    pub bytes: BTreeMap<HostName, u64>,
    /// How many bytes that were wrong came from whom.
    pub wrong: BTreeMap<HostName, u64>,
    /// How many bytes were there before.
    pub kept: u64,
    /// How many blocks had to be fetched without a scheduler.
    pub unscheduled: u32,
}

impl Fetched {
    /// How many bytes came from one of these: with all relays, or with the store, the bytes that they had to give.
    #[must_use]
    pub fn bytes_from(&self, endpoints: &[Endpoint]) -> u64 {
        let of = |it: &Endpoint| self.bytes.get(&it.name).copied().unwrap_or(0);
        endpoints.iter().map(of).sum()
    }

    /// How many bytes came from anybody else: where these are the relays and the store, from peers.
    #[must_use]
    pub fn bytes_from_others(&self, endpoints: &[Endpoint]) -> u64 {
        self.total().saturating_sub(self.bytes_from(endpoints))
    }

    /// How many bytes that were right came.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.bytes.values().sum()
    }
}
