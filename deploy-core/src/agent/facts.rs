use serde::{Deserialize, Serialize};

/// What a host says of itself: for people to read. Nothing is decided by it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct AgentFacts {
    /// The version of its agent; empty until it has said it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub agent_version: String,
    /// Such as `Debian GNU/Linux 12 (bookworm)`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub os: String,
    /// The release of its kernel.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub kernel: String,
    /// As `uname -m` says.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub architecture: String,
    /// How many processors it has.
    pub cpus: u32,
    /// How much memory it has.
    pub memory_bytes: u64,
    /// How large the file system is that `/` lies on.
    pub disk_bytes: u64,
    /// Where it can be reached.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<String>,
}
