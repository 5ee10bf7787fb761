//! Why there can be no plan.
use crate::{
    id::{HostName, ReleaseId, ServiceName},
    spec::Selector,
};

/// Why there can be no plan.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// No host is selected.
    #[error("selector `{selector}` matches none of the {hosts} hosts of the inventory")]
    EmptySelection {
        /// What selects.
        selector: Selector,
        /// How many hosts there are to select from.
        hosts: usize,
    },
    /// The inventory names a host twice.
    #[error("the inventory has host `{0}` twice")]
    HostTwice(HostName),
    /// A rollback names no host that there is.
    #[error("none of the {named} hosts to roll back is in the inventory")]
    NothingToRollBack {
        /// How many it names.
        named: usize,
    },
    /// The service wants a number of hosts, and nobody chose any.
    #[error(
        "service `{service}` wants {count} hosts: a scheduler has to choose at least one first"
    )]
    NotPlaced {
        /// Which service.
        service: ServiceName,
        /// How many hosts it wants.
        count: u32,
    },
    /// The release belongs to another service.
    #[error("release `{release}` is of service `{belongs_to}` and not of `{service}`")]
    OtherService {
        /// Which release.
        release: ReleaseId,
        /// Whose it is.
        belongs_to: ServiceName,
        /// Whose plan this would be.
        service: ServiceName,
    },
    /// A scheduler chose a host that the selector does not match, or that does not exist.
    #[error(
        "host `{host}` was chosen for the service and is not matched by its selector `{selector}`"
    )]
    PlacedOutside {
        /// Which host.
        host: HostName,
        /// What it should be matched by.
        selector: Selector,
    },
    /// A rollback names a release that nobody can describe.
    #[error(
        "host `{host}` should go back to release `{release}`, which the registry does not know"
    )]
    UnknownRelease {
        /// Which host.
        host: HostName,
        /// Which release.
        release: ReleaseId,
    },
    /// The release cannot be used for this.
    #[error("release `{release}` cannot be carried out like this: {reason}")]
    UnusableRelease {
        /// Which release.
        release: ReleaseId,
        /// Why not.
        reason: &'static str,
    },
}

impl PlanError {
    /// A stable, lower-case name: for logs, metrics and machine output.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::EmptySelection { .. } => "empty_selection",
            Self::HostTwice(_) => "host_twice",
            Self::NotPlaced { .. } => "not_placed",
            Self::NothingToRollBack { .. } => "nothing_to_roll_back",
            Self::OtherService { .. } => "other_service",
            Self::PlacedOutside { .. } => "placed_outside",
            Self::UnknownRelease { .. } => "unknown_release",
            Self::UnusableRelease { .. } => "unusable_release",
        }
    }
}
