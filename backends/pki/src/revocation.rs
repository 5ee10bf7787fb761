use crate::peer::AgentPeer;
use deploy_core::{agent::KeyFingerprint, id::HostName};
use std::collections::BTreeSet;
use tokio::sync::watch;

/// Who is kept out although their certificate has not expired.
///
/// It is kept in a [`watch`] channel: the server puts a new list in, each handshake looks at it, and whoever holds a session
/// waits on it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Revocations {
    /// Hosts, with every key they have.
    pub hosts: BTreeSet<HostName>,
    /// Keys that were superseded while a certificate of theirs is still good.
    pub keys: BTreeSet<KeyFingerprint>,
}

impl Revocations {
    /// Nobody is kept out.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Also these hosts.
    #[must_use]
    pub fn with_hosts(mut self, hosts: impl IntoIterator<Item = HostName>) -> Self {
        self.hosts.extend(hosts);
        self
    }

    /// Also these keys.
    #[must_use]
    pub fn with_keys(mut self, keys: impl IntoIterator<Item = KeyFingerprint>) -> Self {
        self.keys.extend(keys);
        self
    }

    /// Whether `peer` is kept out.
    #[must_use]
    pub fn keeps_out(&self, peer: &AgentPeer) -> bool {
        self.hosts.contains(&peer.host) || self.keys.contains(&peer.key)
    }

    /// Waits until `peer` is kept out, and returns at once if it is. Also when nobody is left who could say so: whoever cannot be
    /// told is not to be trusted.
    pub async fn until_kept_out(mut list: watch::Receiver<Self>, peer: &AgentPeer) {
        let _closed = list.wait_for(|it| it.keeps_out(peer)).await.is_err();
    }
}
