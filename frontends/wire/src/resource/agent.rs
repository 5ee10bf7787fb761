use deploy_core::agent;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt};

/// The agent of a host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Agent {
    /// Which host.
    pub host: String,
    /// `active`, `quarantined` (two machines have its key, or said so) or `revoked`.
    pub state: String,
    /// Why it is not let in; null while it is.
    pub reason: Option<String>,
    /// Whether it is connected now; null where nobody can know, because no server was asked.
    pub connected: Option<bool>,
    /// When it was last seen, to about five minutes; null if it never was.
    pub last_seen_at: Option<String>,
    /// When it was enrolled last.
    pub enrolled_at: String,
    /// The id of the join token that let it in.
    pub enrolled_with: String,
    /// What its machine is called by others, also after it was installed anew.
    pub natural_key: String,
    /// The fingerprint of its key.
    pub key: String,
    /// What it says of itself.
    pub facts: AgentFacts,
}

/// What a host says of itself. What it has not said is null.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(default)]
pub struct AgentFacts {
    /// The version of its agent.
    pub agent_version: Option<String>,
    /// Such as `Debian GNU/Linux 12 (bookworm)`.
    pub os: Option<String>,
    /// The release of its kernel.
    pub kernel: Option<String>,
    /// As `uname -m` says.
    pub architecture: Option<String>,
    /// How many processors it has.
    pub cpus: Option<u32>,
    /// How much memory it has.
    pub memory_bytes: Option<u64>,
    /// How large the file system is that `/` lies on.
    pub disk_bytes: Option<u64>,
    /// Where it can be reached.
    pub addresses: Vec<String>,
}

impl Agent {
    /// `agent`, which is connected or not, if that is known.
    #[must_use]
    pub fn new(agent: &agent::Agent, connected: Option<bool>) -> Self {
        Self {
            host: agent.host.to_string(),
            state: agent.state.as_str().to_owned(),
            reason: said(&agent.reason),
            connected,
            last_seen_at: agent.last_seen_at.map(|it| it.to_string()),
            enrolled_at: agent.enrolled_at.to_string(),
            enrolled_with: agent.enrolled_with.to_string(),
            natural_key: agent.natural_key.to_string(),
            key: agent.key.fingerprint.to_string(),
            facts: AgentFacts::from(&agent.facts),
        }
    }
}

impl From<&agent::AgentFacts> for AgentFacts {
    fn from(facts: &agent::AgentFacts) -> Self {
        Self {
            agent_version: said(&facts.agent_version),
            os: said(&facts.os),
            kernel: said(&facts.kernel),
            architecture: said(&facts.architecture),
            cpus: Some(facts.cpus).filter(|it| *it > 0),
            memory_bytes: Some(facts.memory_bytes).filter(|it| *it > 0),
            disk_bytes: Some(facts.disk_bytes).filter(|it| *it > 0),
            addresses: facts.addresses.clone(),
        }
    }
}

fn said(text: &str) -> Option<String> {
    Some(text.to_owned()).filter(|it| !it.is_empty())
}

/// The right to let some hosts in, without what proves that one has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct JoinToken {
    /// Its name: the part of it that is no secret.
    pub id: String,
    /// The labels of the hosts that it lets in.
    pub labels: BTreeMap<String, String>,
    /// How many it may let in.
    pub uses: u32,
    /// How many it has let in.
    pub used: u32,
    /// Why it lets nobody in any more; null while it does.
    pub refusal: Option<String>,
    /// When it was made.
    pub created_at: String,
    /// By whom.
    pub created_by: String,
    /// When it expires.
    pub expires_at: String,
    /// When it was revoked.
    pub revoked_at: Option<String>,
}

/// A join token that was just made: the only time that it is shown whole.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct IssuedJoinToken {
    /// What is known of it.
    pub token: JoinToken,
    /// What `deploy-agent enrol` reads from its standard input.
    pub secret: String,
    /// The `HOST:PORT` that it is to be given as `--server`; null where nobody has said it yet.
    pub server: Option<String>,
}

impl fmt::Debug for IssuedJoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IssuedJoinToken")
            .field("token", &self.token)
            .field("server", &self.server)
            .finish_non_exhaustive()
    }
}
