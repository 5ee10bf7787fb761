use super::{AttemptRequest, HostRequest};
use crate::{
    id::RolloutId,
    plan::TransferWay,
    spec::{ArtifactRef, Direction},
};

/// What a host is to have before anything of it is run.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct StageRequest {
    /// For which service on which host.
    pub on: HostRequest,
    /// What: descriptors and packages.
    pub artifacts: Vec<ArtifactRef>,
    /// What the packages among these build upon: an executor may bring what is missing in place of the whole.
    pub deliveries: Vec<Delivery>,
    /// The rollout that it is for: whatever limits that counts here as well.
    pub rollout: Option<RolloutId>,
}

/// A package that is to get to a host, and what is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Delivery {
    /// The descriptor that installs it.
    pub descriptor: ArtifactRef,
    /// The package.
    pub package: ArtifactRef,
    /// The package of what the host runs.
    pub previous: Option<ArtifactRef>,
    /// Whether the host goes back to it: then it mostly has it, and nobody should wait for anything to be worked out.
    pub is_back: bool,
}

/// What it takes to get a package to a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Transfer {
    /// By what.
    pub way: TransferWay,
    /// How many bytes are sent.
    pub bytes: u64,
}

impl Transfer {
    /// `bytes`, by `way`.
    #[must_use]
    pub const fn new(way: TransferWay, bytes: u64) -> Self {
        Self { way, bytes }
    }

    /// All of a package.
    #[must_use]
    pub const fn whole(package: ArtifactRef) -> Self {
        Self { way: TransferWay::Whole, bytes: package.size }
    }
}

impl Delivery {
    /// `package`, installed by `descriptor`, onto a host of which nothing is known.
    #[must_use]
    pub const fn new(descriptor: ArtifactRef, package: ArtifactRef) -> Self {
        Self { descriptor, package, previous: None, is_back: false }
    }

    /// By which the host goes back.
    #[must_use]
    pub const fn back(mut self, is_back: bool) -> Self {
        self.is_back = is_back;
        self
    }

    /// Onto a host that runs the package `previous`.
    #[must_use]
    pub const fn with_previous(mut self, previous: Option<ArtifactRef>) -> Self {
        self.previous = previous;
        self
    }
}

impl StageRequest {
    /// `artifacts`, for the service on the host.
    #[must_use]
    pub const fn new(on: HostRequest, artifacts: Vec<ArtifactRef>) -> Self {
        Self { on, artifacts, deliveries: Vec::new(), rollout: None }
    }

    /// And says what the packages among these build upon.
    #[must_use]
    pub fn with_deliveries(mut self, deliveries: Vec<Delivery>) -> Self {
        self.deliveries = deliveries;
        self
    }

    /// And says which rollout it is for.
    #[must_use]
    pub fn with_rollout(mut self, rollout: Option<RolloutId>) -> Self {
        self.rollout = rollout;
        self
    }
}

/// What a host has had to do to have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StageReport {
    /// How many bytes it has fetched; 0 if all was there.
    pub fetched: u64,
}

impl StageReport {
    /// All is there, and `fetched` bytes of it were not before.
    #[must_use]
    pub const fn new(fetched: u64) -> Self {
        Self { fetched }
    }
}

impl AttemptRequest {
    /// What the host has to have for the attempt, and for its way back by itself.
    #[must_use]
    pub fn artifacts(&self) -> Vec<ArtifactRef> {
        let mut all = vec![self.release.descriptor];
        all.extend(self.release.package.filter(|_| self.keeps_release));
        for artifact in self.way_back().iter().flat_map(Self::artifacts) {
            if !all.contains(&artifact) {
                all.push(artifact);
            }
        }
        all
    }

    /// Its package, and that of what the host runs; `None` where it brings none.
    #[must_use]
    pub fn delivery(&self) -> Option<Delivery> {
        let package = self.release.package.filter(|_| self.keeps_release)?;
        let previous = self.previous.as_ref().and_then(|it| it.package);
        let is_back = self.direction == Direction::Back;
        Some(Delivery { descriptor: self.release.descriptor, package, previous, is_back })
    }
}
