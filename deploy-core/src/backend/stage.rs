use super::{AttemptRequest, HostRequest};
use crate::spec::ArtifactRef;

/// What a host is to have before anything of it is run.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct StageRequest {
    /// For which service on which host.
    pub on: HostRequest,
    /// What: descriptors and packages.
    pub artifacts: Vec<ArtifactRef>,
}

impl StageRequest {
    /// `artifacts`, for the service on the host.
    #[must_use]
    pub const fn new(on: HostRequest, artifacts: Vec<ArtifactRef>) -> Self {
        Self { on, artifacts }
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
}
