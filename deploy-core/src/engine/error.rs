use crate::{
    backend::{AccessError, AppendError},
    digest::Digest,
    error::{BackendError, ErrorKind},
    id::{HostName, Principal, ReleaseId, RolloutId, ServiceName},
    plan::{InvalidPlan, InventoryChange, PlanError},
    repair::Hold,
    rollout::{RecordError, Refusal},
    time::Timestamp,
};

/// Why the platform did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlatformError {
    /// Whoever asked may not.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// Another rollout of the service is not over.
    #[error(
        "rollout `{rollout}` of service `{service}` is not over: {by} started it at {at} with plan {}; wait for it, or abort it",
        .plan.short()
    )]
    ActiveRollout {
        /// Which service.
        service: ServiceName,
        /// The other rollout.
        rollout: RolloutId,
        /// Who started it.
        by: Principal,
        /// When.
        at: Timestamp,
        /// With which plan.
        plan: Digest,
    },
    /// A backend failed.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// Hosts would have to go back by themselves, and cannot.
    #[error(
        "{} cannot go back by itself, as `confirm_timeout` wants it: only hosts with an agent can; leave it out, or the hosts",
        names(.0)
    )]
    CannotConfirm(Vec<HostName>),
    /// Waves would have to wait for hosts to be staged, and hosts cannot be.
    #[error(
        "{} cannot be staged, as `min_staged` wants it: only hosts with an agent can; leave it out, or the hosts",
        names(.0)
    )]
    CannotStage(Vec<HostName>),
    /// A plan does nothing.
    #[error("the plan changes no host: every selected host runs release `{0}` already")]
    NothingToDo(ReleaseId),
    /// The inventory is not what the plan was made for.
    #[error("the inventory has changed since the plan was made: {}; make a new plan", changes(.0))]
    InventoryChanged(Vec<InventoryChange>),
    /// A plan breaks its own invariants.
    #[error("the plan cannot be carried out")]
    InvalidPlan(#[from] InvalidPlan),
    /// The journal took no more records.
    #[error("the journal took no more records")]
    Journal(#[from] AppendError),
    /// A rollout cannot be undone because it is not over, or changed nothing.
    #[error("rollout `{0}` changed no host that could go back")]
    NothingToGoBackTo(RolloutId),
    /// No host of the service is owed anything that could be repaired.
    #[error("no host of service `{0}` is owed anything that a repair could bring")]
    NothingOwed(ServiceName),
    /// No plan can be made.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The journal contradicts itself.
    #[error("the journal of rollout `{rollout}` could not be replayed")]
    Record {
        /// Which rollout.
        rollout: RolloutId,
        /// What does not fit.
        #[source]
        source: RecordError,
    },
    /// The rollout does not take the command as it stands.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Nothing of a service can be repaired as it stands.
    #[error("service `{service}` cannot be repaired: {hold}")]
    RepairHeld {
        /// Which service.
        service: ServiceName,
        /// Why.
        hold: Hold,
    },
    /// A repair was planned after another rollout than the newest.
    #[error(
        "rollout `{rollout}` of service `{service}` has come since the repair was planned; make a new plan"
    )]
    Superseded {
        /// Of which service.
        service: ServiceName,
        /// The newest rollout.
        rollout: RolloutId,
    },
}

fn changes(changes: &[InventoryChange]) -> String {
    const SHOWN: usize = 5;
    let mut text: Vec<String> = changes.iter().take(SHOWN).map(ToString::to_string).collect();
    if let Some(more) = changes.len().checked_sub(SHOWN).filter(|it| *it > 0) {
        text.push(format!("and {more} more"));
    }
    text.join("; ")
}

fn names(hosts: &[HostName]) -> String {
    const SHOWN: usize = 5;
    let mut text: Vec<String> = hosts.iter().take(SHOWN).map(|it| format!("host `{it}`")).collect();
    if let Some(more) = hosts.len().checked_sub(SHOWN).filter(|it| *it > 0) {
        text.push(format!("{more} more"));
    }
    text.join(", ")
}

impl PlatformError {
    /// A stable, lower-case name.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Access(AccessError::Denied { .. }) => "denied",
            Self::Access(AccessError::Unchecked(_)) => "access_unchecked",
            Self::ActiveRollout { .. } => "active_rollout",
            Self::Backend(err) | Self::Journal(AppendError::Backend(err)) => err.kind().as_str(),
            Self::CannotConfirm(_) => "cannot_confirm",
            Self::CannotStage(_) => "cannot_stage",
            Self::InvalidPlan(_) => "invalid_plan",
            Self::InventoryChanged(_) => "inventory_changed",
            Self::Journal(AppendError::Conflict { .. }) => "conflict",
            Self::NothingToDo(_) => "nothing_to_do",
            Self::NothingOwed(_) => "nothing_owed",
            Self::NothingToGoBackTo(_) => "nothing_to_go_back_to",
            Self::Plan(err) => err.code(),
            Self::Record { .. } => "corrupt",
            Self::Refused(refusal) => refusal.code(),
            Self::RepairHeld { .. } => "repair_held",
            Self::Superseded { .. } => "superseded",
        }
    }

    /// Whether it is a conflict with what somebody else does or did.
    #[must_use]
    pub const fn is_conflict(&self) -> bool {
        match self {
            Self::ActiveRollout { .. }
            | Self::InventoryChanged(_)
            | Self::Journal(AppendError::Conflict { .. })
            | Self::Refused(_)
            | Self::RepairHeld { .. }
            | Self::Superseded { .. } => true,
            Self::Backend(err) | Self::Journal(AppendError::Backend(err)) => {
                matches!(err.kind(), ErrorKind::Conflict | ErrorKind::AlreadyExists)
            }
            Self::Access(_)
            | Self::CannotConfirm(_)
            | Self::CannotStage(_)
            | Self::InvalidPlan(_)
            | Self::NothingOwed(_)
            | Self::NothingToDo(_)
            | Self::NothingToGoBackTo(_)
            | Self::Plan(_)
            | Self::Record { .. } => false,
        }
    }
}
