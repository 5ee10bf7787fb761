use serde::{Deserialize, Serialize};

/// A relay of a data centre.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Relay {
    /// Its name.
    pub name: String,
    /// The zone whose hosts are sent to it.
    pub zone: Option<String>,
    /// `active`, `quarantined` (two machines have its key, or said so) or `revoked`.
    pub state: String,
    /// Whether it is there now; null where nobody can know, because no server was asked.
    pub alive: Option<bool>,
    /// When it was last seen, to about five minutes while it is not there; null if it never was.
    pub last_seen_at: Option<String>,
    /// When it was enrolled last.
    pub enrolled_at: String,
    /// What it says of itself; null while it is not there.
    pub work: Option<RelayWork>,
}

/// What a relay says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct RelayWork {
    /// `HOST:PORT` of its blocks.
    pub address: String,
    /// The version of its program.
    pub version: String,
    /// Since when it has been there without a break.
    pub since: String,
    /// How many bytes of artifacts it keeps.
    pub kept_bytes: u64,
    /// How many it may keep.
    pub budget_bytes: u64,
    /// To how many hosts it has given blocks since it was started.
    pub hosts: u64,
    /// How many bytes of blocks it has given since it was started.
    pub given_bytes: u64,
    /// How many it has had from elsewhere since it was started.
    pub pulled_bytes: u64,
    /// How many connections of agents it passes on to the server.
    pub passed_on: u64,
}
