//! What frontends and embedders call: every operation, authorized.
mod catalog;
mod control;
mod planning;
mod repair;
mod restore;
mod room;
mod sights;
mod transfer;

pub use catalog::Applied;
pub use control::Command;
pub use planning::{PlanRelease, PlanRollback, PlanRun};
pub(super) use repair::Histories;
pub use repair::PlanRepair;
pub use restore::Restored;
pub use sights::Sight;

use super::{Parts, PlatformError};
use crate::{
    access::{Action, Permit, Resource},
    backend::{RolloutRef, authorize},
    id::{Principal, RolloutId, StreamId},
};

/// The deployment platform, over any backends.
///
/// It keeps no state of its own: any number of them may stand over the same backends, in one process or in many.
#[derive(Clone, Debug)]
pub struct Platform {
    parts: Parts,
}

impl Platform {
    /// Over these backends.
    #[must_use]
    pub const fn new(parts: Parts) -> Self {
        Self { parts }
    }

    /// The backends, for reading.
    #[must_use]
    pub const fn parts(&self) -> &Parts {
        &self.parts
    }

    /// Asks whether `principal` may do `action` to `resource`, and gives the proof.
    ///
    /// # Errors
    /// If not.
    pub async fn permit(
        &self,
        principal: &Principal,
        action: Action,
        resource: Resource,
    ) -> Result<Permit, PlatformError> {
        Ok(authorize(&*self.parts.authorizer, principal.clone(), action, resource).await?)
    }

    async fn control_permit(
        &self,
        principal: &Principal,
        stream: &StreamId,
    ) -> Result<Permit, PlatformError> {
        self.permit(principal, Action::RolloutControl, Resource::of_stream(stream)).await
    }

    async fn find(&self, rollout: &RolloutId) -> Result<RolloutRef, PlatformError> {
        Ok(self.parts.journal.rollout(rollout).await?)
    }
}
