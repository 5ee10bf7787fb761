use super::host::{State, World};
use crate::{
    backend::{StageReport, StageRequest},
    digest::Digest,
    error::{BackendError, BackendResult, ErrorKind},
    id::HostName,
    memory::lock,
    spec::ArtifactRef,
};
use std::collections::{BTreeMap, BTreeSet};

/// What hosts have fetched.
pub(super) type Caches = BTreeMap<HostName, BTreeSet<Digest>>;

impl World {
    pub(super) fn stage(&self, request: &StageRequest) -> BackendResult<StageReport> {
        lock(&self.state).fetch(&request.on.host.name, &request.artifacts, "executor.stage")
    }
}

impl State {
    /// Fetches what is missing of `artifacts`, if there is room for it.
    pub(super) fn fetch(
        &mut self,
        host: &HostName,
        artifacts: &[ArtifactRef],
        operation: &'static str,
    ) -> BackendResult<StageReport> {
        let full = self.faults.get(host).is_some_and(|it| it.full);
        let there = self.caches.entry(host.clone()).or_default();
        let missing = artifacts.iter().filter(|it| !there.contains(&it.digest));
        let missing: BTreeMap<Digest, u64> = missing.map(|it| (it.digest, it.size)).collect();
        if full && !missing.is_empty() {
            return Err(BackendError::new(ErrorKind::NoSpace, operation).with("host", host));
        }
        there.extend(missing.keys());
        Ok(StageReport::new(missing.values().sum()))
    }
}
