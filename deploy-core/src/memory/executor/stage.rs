use super::host::{State, World};
use crate::{
    backend::{AttemptRequest, StageReport, StageRequest},
    digest::Digest,
    error::{BackendError, BackendResult, ErrorKind},
    id::HostName,
    memory::lock,
    plan::DiskRoom,
    spec::ArtifactRef,
};
use std::collections::{BTreeMap, BTreeSet};

/// What hosts have fetched.
pub(super) type Caches = BTreeMap<HostName, BTreeSet<Digest>>;

impl World {
    pub(super) fn stage(&self, request: &StageRequest) -> BackendResult<StageReport> {
        lock(&self.state).fetch(&request.on.host.name, &request.artifacts, "executor.stage")
    }

    pub(super) fn room(&self, attempt: &AttemptRequest) -> DiskRoom {
        let state = lock(&self.state);
        let host = &attempt.on.host.name;
        let needed = state.missing(host, &attempt.artifacts()).values().sum();
        DiskRoom::new(attempt.on.deploy_path.to_string(), needed, state.free(host))
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
        let missing = self.missing(host, artifacts);
        let size = missing.values().sum();
        if size > self.free(host) {
            return Err(BackendError::new(ErrorKind::NoSpace, operation).with("host", host));
        }
        if let Some(free) = self.faults.get_mut(host).and_then(|it| it.free.as_mut()) {
            *free = free.saturating_sub(size);
        }
        self.caches.entry(host.clone()).or_default().extend(missing.keys());
        Ok(StageReport::new(size))
    }

    fn missing(&self, host: &HostName, artifacts: &[ArtifactRef]) -> BTreeMap<Digest, u64> {
        let there = |it: &&ArtifactRef| {
            self.caches.get(host).is_some_and(|there| there.contains(&it.digest))
        };
        artifacts.iter().filter(|it| !there(it)).map(|it| (it.digest, it.size)).collect()
    }

    fn free(&self, host: &HostName) -> u64 {
        match self.faults.get(host) {
            Some(faults) if faults.full => 0,
            Some(faults) => faults.free.unwrap_or(u64::MAX),
            None => u64::MAX,
        }
    }
}
