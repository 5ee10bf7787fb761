use super::Strategy;
use serde::{Deserialize, Serialize};

/// What `plan` prints.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Plan {
    /// Its name: the SHA-256 of all it says.
    pub digest: String,
    /// Which service; an ad-hoc run has one of its own.
    pub service: String,
    /// `release`, `repair` (the release of an earlier rollout, for hosts without it), `rollback` or `run`.
    pub work: String,
    /// What is rolled out.
    pub release: String,
    /// The plan it takes the place of.
    pub parent: Option<String>,
    /// When it was made.
    pub created_at: String,
    /// By whom.
    pub created_by: String,
    /// What decided everything that is left to chance.
    pub seed: u64,
    /// How it goes.
    pub strategy: Strategy,
    /// The targets, a wave at a time, in the order in which they start.
    pub waves: Vec<PlanWave>,
    /// The selected hosts that run the release already.
    pub no_ops: Vec<String>,
    /// The hosts that are left out, and why.
    pub left_out: Vec<PlanHost>,
    /// How the package gets to hosts that do not have it; empty where nobody has worked that out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub transfers: Vec<PlanTransfer>,
    /// Whether the hosts have room for it; null where nobody has asked them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub room: Option<PlanRoom>,
    /// What somebody should know before starting it.
    pub warnings: Vec<String>,
    /// What it comes to, in a sentence.
    #[serde(default)]
    pub summary: String,
}

/// One wave of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct PlanWave {
    /// Which, counted from 1.
    pub wave: u32,
    /// Its targets.
    pub targets: Vec<PlanHost>,
}

/// How the package of a plan gets to some of its hosts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct PlanTransfer {
    /// To how many.
    pub hosts: u32,
    /// The release that it is of.
    pub release: String,
    /// What they run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// How they are reached: `agent`, `local` or `ssh`; older servers do not say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub via: Option<String>,
    /// `whole`, `chunks`, `delta`, or `nothing` where they have the very same package.
    pub way: String,
    /// How many bytes to each of them.
    pub bytes: u64,
    /// How many bytes the package has.
    pub whole: u64,
}

/// What the hosts of a plan say of the room that they have for it. Only those are asked that get a package.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct PlanRoom {
    /// How many hosts get a package.
    pub hosts: u32,
    /// How many of them have said what room there is.
    pub checked: u32,
    /// The file systems that are too full, by host. The plan can be started all the same: such a host refuses its attempt before anything is
    /// fetched, unless room was made by then.
    pub short: Vec<PlanShortfall>,
    /// The hosts that have not said, by why.
    pub unchecked: Vec<PlanUnchecked>,
}

/// A file system of a host that has no room for what a plan brings it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct PlanShortfall {
    /// Which host.
    pub host: String,
    /// A folder on the file system.
    pub folder: String,
    /// How many bytes have to be free, with those that have to stay free.
    pub needed_bytes: u64,
    /// How many bytes are free.
    pub free_bytes: u64,
    /// How many bytes are missing.
    pub missing_bytes: u64,
    /// How many inodes have to be free.
    pub needed_inodes: u64,
    /// How many inodes are free; null where the file system does not count them.
    pub free_inodes: Option<u64>,
    /// How many inodes are missing.
    pub missing_inodes: u64,
}

/// Hosts of a plan of which nobody knows whether they have room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct PlanUnchecked {
    /// `cannot_ask` (no agent, or one that is too old), `not_connected`, `too_late`, `not_allowed`, or `failed`; there may be others.
    pub reason: String,
    /// Which.
    pub hosts: Vec<String>,
}

/// What a plan says about one host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct PlanHost {
    /// Which.
    pub host: String,
    /// What it runs.
    pub from: Option<String>,
    /// What it is to run.
    pub to: Option<String>,
    /// Why.
    pub reason: Option<String>,
    /// The digest of its record as the plan has it; null for a host that is left out.
    #[serde(default)]
    pub record: Option<String>,
}
