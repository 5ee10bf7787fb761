//! Drives rollouts: journal first, then the world.
//!
//! [`Platform`] is what frontends and embedders call; [`Driver`] takes one rollout to its end. Both know backends only as
//! traits, and keep nothing that the journal does not have: recovery is the normal code path.
mod driver;
mod error;
mod flight;
mod keeper;
mod log;
mod perform;
mod platform;
mod stage;

pub use driver::{DriveEnd, DriveError, DriveOptions, Driver, NoObserver, Observer};
pub use error::PlatformError;
pub use keeper::{Keeper, Kept};
pub use platform::{
    Applied, Command, PlanRelease, PlanRepair, PlanRollback, PlanRun, Platform, Restored, Sight,
};

use crate::backend::{
    ArtifactStore, Authorizer, Clock, Executor, HostInventory, Journal, LeaseStore, LogStore,
    Notifier, Scheduler, ServiceRegistry,
};
use std::sync::Arc;

/// The backends that an engine is made of.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "a backend that is left out must not build")]
pub struct Parts {
    /// Keeps packages and descriptors.
    pub artifacts: Arc<dyn ArtifactStore>,
    /// Says who may do what.
    pub authorizer: Arc<dyn Authorizer>,
    /// Says what time it is.
    pub clock: Arc<dyn Clock>,
    /// Runs attempts on hosts.
    pub executor: Arc<dyn Executor>,
    /// Keeps machine records.
    pub inventory: Arc<dyn HostInventory>,
    /// Keeps the facts of rollouts.
    pub journal: Arc<dyn Journal>,
    /// Keeps who drives what.
    pub leases: Arc<dyn LeaseStore>,
    /// Keeps output.
    pub logs: Arc<dyn LogStore>,
    /// Tells people.
    pub notifier: Arc<dyn Notifier>,
    /// Knows services and releases.
    pub registry: Arc<dyn ServiceRegistry>,
    /// Chooses hosts.
    pub scheduler: Arc<dyn Scheduler>,
}
