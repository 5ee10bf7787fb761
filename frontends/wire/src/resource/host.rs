use super::RolloutSummary;
use deploy_core::host;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A machine record: `host show` prints one, `host list` a list of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Host {
    /// Its name.
    pub name: String,
    /// How it is reached.
    pub connection: Connection,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Counts the changes of the record.
    pub revision: u64,
}

/// How a host is reached. What does not apply, or comes from the SSH configuration, is null.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(default)]
pub struct Connection {
    /// `agent`, `ssh` or `local`.
    pub via: String,
    /// A name or an address.
    pub address: Option<String>,
    /// The port.
    pub port: Option<u16>,
    /// The account that logs in.
    pub user: Option<String>,
    /// The folder under which all paths of the host lie.
    pub root: Option<String>,
}

impl Host {
    /// `host` at `revision`.
    #[must_use]
    pub fn new(host: &host::Host, revision: u64) -> Self {
        let labels = host.labels.iter().map(|(key, value)| (key.to_string(), value.to_string()));
        Self {
            name: host.name.to_string(),
            connection: Connection::from(&host.connection),
            labels: labels.collect(),
            revision,
        }
    }
}

impl From<&host::Connection> for Connection {
    fn from(connection: &host::Connection) -> Self {
        match connection {
            host::Connection::Agent => Self { via: "agent".to_owned(), ..Self::default() },
            host::Connection::Local { root } => {
                Self { via: "local".to_owned(), root: Some(root.clone()), ..Self::default() }
            }
            host::Connection::Ssh(ssh) => Self {
                via: "ssh".to_owned(),
                address: ssh.address.clone(),
                port: ssh.port,
                user: ssh.user.as_ref().map(ToString::to_string),
                root: ssh.root.clone(),
            },
            _ => Self { via: "other".to_owned(), ..Self::default() },
        }
    }
}

/// What `host remove` removed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Removed {
    /// The names of the hosts.
    pub removed: Vec<String>,
}

/// What `host import` did, or with `--dry-run` would do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Import {
    /// Hosts that are new.
    pub added: Vec<String>,
    /// Hosts whose record differs.
    pub changed: Vec<String>,
    /// How many hosts are as the file says already.
    pub unchanged: u64,
    /// What was in the file and is not used.
    pub warnings: Vec<String>,
    /// Whether nothing was really written.
    pub dry_run: bool,
}

/// What `host check` found: a list of these.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct HostCheck {
    /// Which host.
    pub host: String,
    /// Whether commands can be run on it.
    pub reachable: bool,
    /// A problem code, such as `unavailable`, or `unhealthy` where it lacks what steps need; null if all is well.
    pub code: Option<String>,
    /// What is wrong.
    pub reason: Option<String>,
    /// How long the answer took.
    pub elapsed_ms: u64,
}

/// What `status` prints.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Status {
    /// The service.
    pub service: String,
    /// Its newest rollout, if it ever had one.
    pub rollout: Option<RolloutSummary>,
    /// Every host that is selected or was seen to run the service.
    pub hosts: Vec<HostStatus>,
    /// Why nothing is repaired by itself now, whatever hosts are owed; null if nothing is in the way.
    #[serde(default)]
    pub hold: Option<String>,
}

/// What one host is known to run of a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct HostStatus {
    /// Which host.
    pub host: String,
    /// The release it was last seen to run.
    pub release: Option<String>,
    /// When that was seen; null if it never was.
    pub seen_at: Option<String>,
    /// How long ago.
    pub age_ms: Option<u64>,
    /// Whether it differs from what it should run.
    pub drift: bool,
    /// Whether the service's selector selects it.
    pub selected: bool,
    /// Why it could not be looked at just now, with `--refresh`.
    pub problem: Option<String>,
    /// What it is owed, if anything.
    #[serde(default)]
    pub owed: Option<HostOwed>,
}

/// What a host should run and does not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct HostOwed {
    /// `debt`: the last rollout left it behind; `drift`: it had what it is owed, and runs something else.
    pub cause: String,
    /// The release; null is nothing.
    pub release: Option<String>,
    /// For debt, the end of the rollout; for drift, the newest sight of it.
    pub since: String,
    /// `due` as soon as it answers, `at` a time, or `left` to people.
    pub next: String,
    /// Not before this; null where `next` is not `at`.
    pub next_at: Option<String>,
    /// What becomes of it, in words.
    pub note: String,
}
