//! What is asked for over HTTP. What may be left out has a default, and what is not known is refused.
mod build;

pub use build::{NewBuild, Publication};

use crate::{BuildSpec, Connection, Repair, Signed, Strategy};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What a service is to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct ServiceSpec {
    /// Who answers for it.
    pub owner: String,
    /// Where it lies on hosts.
    pub deploy_path: String,
    /// The account its steps run as; null is the one that logs in.
    #[serde(default)]
    pub account: Option<String>,
    /// Which hosts it belongs on.
    pub selector: String,
    /// On how many of them; null is all.
    #[serde(default)]
    pub count: Option<u32>,
    /// How a rollout goes.
    #[serde(default)]
    pub strategy: Strategy,
    /// What is made good after a rollout.
    #[serde(default)]
    pub repair: Repair,
    /// How it is built; null if that happens elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build: Option<BuildSpec>,
}

/// What a host is to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct HostSpec {
    /// How it is reached.
    pub connection: Connection,
    /// Its labels.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
}

/// A host with its name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct NewHost {
    /// Its name.
    pub name: String,
    /// How it is reached.
    pub connection: Connection,
    /// Its labels.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
}

/// Hosts to add, or to change where they are there already.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct HostsToImport {
    /// The hosts.
    pub hosts: Vec<NewHost>,
    /// Whether nothing is really written.
    #[serde(default)]
    pub dry_run: bool,
}

/// Labels to set, or (null) to take away.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct LabelChanges {
    /// By key.
    pub labels: BTreeMap<String, Option<String>>,
}

/// A release to make of artifacts that are in the store.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct NewRelease {
    /// Its name; null is `SERVICE-VERSION`.
    #[serde(default)]
    pub id: Option<String>,
    /// Of which service.
    pub service: String,
    /// The version people know it by.
    pub version: String,
    /// What runs: a digest or its beginning, a version in the repository that has the service's name, or `REPOSITORY@NAME`,
    /// where the name is a channel or a version. What it means is decided once, when the release is made.
    pub package: String,
    /// How it is put there, named in the same way.
    pub descriptor: String,
    /// What scripts see as `P_<NAME>`.
    #[serde(default)]
    pub parameters: BTreeMap<String, String>,
    /// Where it came from.
    #[serde(default)]
    pub provenance: String,
    /// What its publishers have said of it, for hosts that ask for that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signed: Option<Signed>,
}

/// A release to plan onto the hosts of its service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct NewPlan {
    /// Which service.
    pub service: String,
    /// Which of its releases.
    pub release: String,
    /// Decides everything that is left to chance; null is another one each time.
    #[serde(default)]
    pub seed: Option<u64>,
}

/// A rollout to start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct NewRollout {
    /// Which service.
    pub service: String,
    /// Which of its releases.
    pub release: String,
    /// Decides everything that is left to chance; null is another one each time, or the plan's.
    #[serde(default)]
    pub seed: Option<u64>,
    /// The plan that somebody has seen; null plans anew.
    #[serde(default)]
    pub plan: Option<SeenPlan>,
}

/// A plan that was made before. It is made again, and started if it is still the same.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct SeenPlan {
    /// Its digest.
    pub digest: String,
    /// When it was made, as it says itself.
    pub created_at: String,
    /// The seed that it says.
    pub seed: u64,
}

/// What a rollout is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(tag = "command", rename_all = "snake_case")]
#[non_exhaustive]
pub enum RolloutCommand {
    /// End where it is.
    Abort {
        /// Why.
        #[serde(default)]
        note: String,
        /// Whether what is under way is ended as well.
        #[serde(default)]
        kill: bool,
    },
    /// Let the next wave go.
    Confirm,
    /// Take a host out for good.
    Exclude {
        /// Which.
        host: String,
    },
    /// End what runs on a host.
    Kill {
        /// Which.
        host: String,
    },
    /// Start nothing more until it is resumed.
    Pause {
        /// Why.
        #[serde(default)]
        note: String,
    },
    /// Start again.
    Resume,
    /// Try hosts again.
    Retry {
        /// Which; null is all that are in trouble.
        #[serde(default)]
        host: Option<String>,
    },
    /// Take every host that was touched back to what it ran before.
    Rollback {
        /// Why.
        #[serde(default)]
        note: String,
        /// Of a rollout that is over: the plan that somebody has seen. Null plans anew.
        #[serde(default)]
        plan: Option<SeenPlan>,
    },
    /// Leave a host as it is.
    Skip {
        /// Which.
        host: String,
    },
}

/// A token to make.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct NewToken {
    /// Who acts with it.
    pub principal: String,
    /// What it is for, in a few words.
    #[serde(default)]
    pub note: String,
    /// What it allows, such as `rollout_control`.
    pub actions: Vec<String>,
    /// Only for these services; null is all of them, and everything else as well.
    #[serde(default)]
    pub services: Option<Vec<String>>,
    /// Only on the hosts that this selects; null is all of them, and everything else as well.
    #[serde(default)]
    pub hosts: Option<String>,
    /// After how many seconds it expires; null is after 90 days.
    #[serde(default)]
    pub expires_in_secs: Option<u64>,
}

/// A join token to make.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(default)]
pub struct NewJoinToken {
    /// The labels of the hosts that it lets in.
    pub labels: BTreeMap<String, String>,
    /// How many it may let in; 1 if it is not said.
    pub uses: u32,
    /// After how many seconds it expires; null is after an hour.
    pub expires_in_secs: Option<u64>,
}

impl Default for NewJoinToken {
    fn default() -> Self {
        Self { labels: BTreeMap::new(), uses: 1, expires_in_secs: None }
    }
}

/// What a person decides on an agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(tag = "decision", rename_all = "snake_case")]
#[expect(clippy::exhaustive_enums, reason = "a server must know what to do about each")]
pub enum AgentDecision {
    /// Let it in: of two machines with one key the one that stays.
    Accept,
    /// Keep it out, at once.
    Revoke {
        /// Why.
        #[serde(default)]
        reason: String,
    },
}

/// What a rollout that is over did, to be taken back by a new one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct NewRollbackPlan {
    /// Which rollout, or a service for its newest one.
    pub rollout: String,
    /// Decides everything that is left to chance; null is another one each time.
    #[serde(default)]
    pub seed: Option<u64>,
}

/// A script to run on hosts, with the controls of a rollout.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct NewRun {
    /// On which hosts.
    pub selector: String,
    /// What runs: a script for `sh`, or with a `#!` line of its own.
    pub script: String,
    /// The account it runs as; null is the one that logs in.
    #[serde(default)]
    pub account: Option<String>,
    /// How long it may take on a host.
    #[serde(default = "run_timeout")]
    pub timeout_ms: u64,
    /// How hosts follow one another, such as `1,10%,*2`.
    #[serde(default = "run_waves")]
    pub waves: String,
    /// On how many hosts of a wave at a time.
    #[serde(default = "run_max_parallel")]
    pub max_parallel: u32,
    /// On how many hosts it may go wrong, in each way, before it starts on no more.
    #[serde(default = "run_max_failed")]
    pub max_failed: String,
    /// A folder on the hosts that the account can write to.
    #[serde(default = "run_path")]
    pub path: String,
    /// Decides everything that is left to chance; null is another one each time, or the plan's.
    #[serde(default)]
    pub seed: Option<u64>,
    /// The plan that somebody has seen; null plans anew.
    #[serde(default)]
    pub plan: Option<SeenPlan>,
}

impl NewRun {
    /// `script` on the hosts that `selector` selects, on all of them in one wave.
    #[must_use]
    pub fn new(selector: impl Into<String>, script: impl Into<String>) -> Self {
        Self {
            selector: selector.into(),
            script: script.into(),
            account: None,
            timeout_ms: run_timeout(),
            waves: run_waves(),
            max_parallel: run_max_parallel(),
            max_failed: run_max_failed(),
            path: run_path(),
            seed: None,
            plan: None,
        }
    }
}

const fn run_timeout() -> u64 {
    5 * 60 * 1_000
}

fn run_waves() -> String {
    "100%".to_owned()
}

const fn run_max_parallel() -> u32 {
    50
}

fn run_max_failed() -> String {
    "100%".to_owned()
}

fn run_path() -> String {
    "/var/tmp".to_owned()
}

/// Which hosts are to be checked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct HostsToCheck {
    /// Those that it selects; null is all of them.
    #[serde(default)]
    pub selector: Option<String>,
}

/// Hosts to remove from the inventory: all of them, or none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct HostsToRemove {
    /// Their names.
    pub hosts: Vec<String>,
}

/// A reason to keep an artifact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct NewPin {
    /// What it is called.
    pub name: String,
}

/// Old versions to remove from the store.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct GarbageToCollect {
    /// How many of the newest versions of each repository stay.
    pub keep: u64,
    /// How many of the newest releases of each service stay installable, besides those in use; null is all of them.
    #[serde(default)]
    pub keep_releases: Option<u64>,
    /// How long each version and each release stays, in seconds, however many newer ones there are.
    #[serde(default)]
    pub older_than_s: u64,
    /// Whether nothing is really removed.
    #[serde(default)]
    pub dry_run: bool,
}

/// How fast something may be from now on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct LimitSpec {
    /// Megabits a second: more than 0.
    pub mbit: u32,
    /// How many a host may give to others, if not as many. For hosts alone.
    #[serde(default)]
    pub upload_mbit: Option<u32>,
}
