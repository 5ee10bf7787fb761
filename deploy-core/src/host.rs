//! Hosts: what the inventory knows of a machine.
use crate::{
    digest::Digest,
    id::{AccountName, HostName, LabelKey, LabelValue, ReleaseId, Seq},
    time::Timestamp,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The labels of a host.
pub type Labels = BTreeMap<LabelKey, LabelValue>;

/// A machine record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Host {
    /// Its name, unique in the inventory.
    pub name: HostName,
    /// How an executor reaches it.
    pub connection: Connection,
    /// What selectors select by.
    #[serde(default)]
    pub labels: Labels,
}

impl Host {
    /// A host with no labels.
    #[must_use]
    pub const fn new(name: HostName, connection: Connection) -> Self {
        Self { name, connection, labels: Labels::new() }
    }

    /// With these labels.
    #[must_use]
    pub fn with_labels(mut self, labels: Labels) -> Self {
        self.labels = labels;
        self
    }
}

/// How an executor reaches a host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "via", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Connection {
    /// Through the agent on it, which has connected by itself.
    Agent,
    /// A folder on this machine stands for the host.
    Local {
        /// The folder under which all paths of the host lie; absolute.
        root: String,
    },
    /// Over SSH.
    Ssh(SshConnection),
}

impl Connection {
    /// A stable, lower-case name of the way.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Local { .. } => "local",
            Self::Ssh(_) => "ssh",
        }
    }
}

/// How to reach a host over SSH. What is `None` comes from `~/.ssh/config` or its defaults.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SshConnection {
    /// A name or an address; `None` is the host's own name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// The port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// The account to log in as.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<AccountName>,
    /// A folder under which all paths of this host lie, where several records share one machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<String>,
}

impl SshConnection {
    /// All from `~/.ssh/config` and its defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// At `address`.
    #[must_use]
    pub fn with_address(mut self, address: impl Into<String>) -> Self {
        self.address = Some(address.into());
        self
    }

    /// At `port`.
    #[must_use]
    pub const fn with_port(mut self, port: u16) -> Self {
        self.port = Some(port);
        self
    }

    /// Logging in as `user`.
    #[must_use]
    pub fn with_user(mut self, user: AccountName) -> Self {
        self.user = Some(user);
        self
    }

    /// With all paths under `root`.
    #[must_use]
    pub fn with_root(mut self, root: impl Into<String>) -> Self {
        self.root = Some(root.into());
        self
    }
}

/// What a host was last seen to run of one service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Installed {
    /// The release that is current; `None` if the service is not there.
    pub release: Option<ReleaseId>,
    /// The digest of the package of that release, if it is known.
    pub package: Option<Digest>,
    /// The newest generation the host has seen for the service.
    pub generation: Seq,
    /// When this was seen.
    pub seen_at: Timestamp,
}

impl Installed {
    /// `release` as of `seen_at`.
    #[must_use]
    pub const fn new(
        release: Option<ReleaseId>,
        package: Option<Digest>,
        generation: Seq,
        seen_at: Timestamp,
    ) -> Self {
        Self { release, package, generation, seen_at }
    }

    /// Whether this is `release`, and with no other package than `package`.
    #[must_use]
    pub fn is_exactly(&self, release: &ReleaseId, package: Option<Digest>) -> bool {
        self.release.as_ref() == Some(release) && self.package == package
    }
}
