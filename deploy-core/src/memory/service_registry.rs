use super::lock;
use crate::{
    access::{Action, Permit, Resource},
    backend::{ChannelKey, ChannelMove, Expect, Revision, ServiceRegistry, Versioned},
    error::{BackendError, BackendResult, ErrorKind},
    id::{ReleaseId, ServiceName},
    spec::{Release, Service},
};
use async_trait::async_trait;
use std::{
    cmp::Reverse,
    collections::BTreeMap,
    ops::Bound::{Excluded, Unbounded},
    sync::Mutex,
};

/// Keeps services, releases and channels in memory.
#[derive(Debug, Default)]
pub struct MemoryServiceRegistry {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Every value of every service, oldest first; never empty.
    services: BTreeMap<ServiceName, Vec<Versioned<Service>>>,
    releases: BTreeMap<ReleaseId, Release>,
    /// Every move of every channel, oldest first; never empty.
    channels: BTreeMap<ChannelKey, Vec<Versioned<ChannelMove>>>,
}

impl MemoryServiceRegistry {
    /// A registry without services.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

#[async_trait]
impl ServiceRegistry for MemoryServiceRegistry {
    async fn put_service(
        &self,
        permit: &Permit,
        service: Service,
        expect: Expect,
    ) -> BackendResult<Revision> {
        let resource = Resource::Service(service.name.clone());
        permit.demand(Action::ServiceWrite, &resource, "registry.put_service")?;
        let mut state = lock(&self.state);
        let actual =
            state.services.get(&service.name).and_then(|it| it.last()).map(|it| it.revision);
        expect.check(actual).map_err(|kind| {
            BackendError::new(kind, "registry.put_service").with("service", &service.name)
        })?;
        let revision = Revision::new(actual.map_or(0, Revision::get) + 1);
        let values = state.services.entry(service.name.clone()).or_default();
        values.push(Versioned::new(revision, service));
        Ok(revision)
    }

    async fn service(&self, name: &ServiceName) -> BackendResult<Versioned<Service>> {
        let state = lock(&self.state);
        let newest = state.services.get(name).and_then(|it| it.last()).cloned();
        newest.ok_or_else(|| missing_service("registry.service", name))
    }

    async fn services(
        &self,
        after: Option<&ServiceName>,
        limit: usize,
    ) -> BackendResult<Vec<Versioned<Service>>> {
        let state = lock(&self.state);
        let rest =
            state.services.range::<ServiceName, _>((after.map_or(Unbounded, Excluded), Unbounded));
        Ok(rest.filter_map(|(_, values)| values.last()).take(limit).cloned().collect())
    }

    async fn history(
        &self,
        name: &ServiceName,
        limit: usize,
    ) -> BackendResult<Vec<Versioned<Service>>> {
        let state = lock(&self.state);
        let values =
            state.services.get(name).ok_or_else(|| missing_service("registry.history", name))?;
        Ok(values.iter().rev().take(limit).cloned().collect())
    }

    async fn create_release(&self, permit: &Permit, release: Release) -> BackendResult<()> {
        let resource = Resource::Service(release.service.clone());
        permit.demand(Action::ServiceWrite, &resource, "registry.create_release")?;
        let mut state = lock(&self.state);
        if !state.services.contains_key(&release.service) {
            return Err(missing_service("registry.create_release", &release.service));
        }
        match state.releases.get(&release.id) {
            Some(there) if *there == release => Ok(()),
            Some(_) => Err(BackendError::new(ErrorKind::AlreadyExists, "registry.create_release")
                .with("release", &release.id)),
            None => {
                state.releases.insert(release.id.clone(), release);
                Ok(())
            }
        }
    }

    async fn release(&self, id: &ReleaseId) -> BackendResult<Release> {
        lock(&self.state).releases.get(id).cloned().ok_or_else(|| {
            BackendError::new(ErrorKind::NotFound, "registry.release").with("release", id)
        })
    }

    async fn releases(&self, service: &ServiceName, limit: usize) -> BackendResult<Vec<Release>> {
        let state = lock(&self.state);
        if !state.services.contains_key(service) {
            return Err(missing_service("registry.releases", service));
        }
        let mut releases: Vec<_> =
            state.releases.values().filter(|it| it.service == *service).collect();
        releases.sort_by_key(|it| Reverse((it.created_at, &it.id)));
        Ok(releases.into_iter().take(limit).cloned().collect())
    }

    async fn move_channel(
        &self,
        permit: &Permit,
        moved: ChannelMove,
        expect: Expect,
    ) -> BackendResult<Revision> {
        let resource = Resource::Repository(moved.channel.repository.clone());
        permit.demand(Action::ArtifactWrite, &resource, "registry.move_channel")?;
        let mut state = lock(&self.state);
        let actual = state.channels.get(&moved.channel).and_then(|it| it.last());
        let actual = actual.map(|it| it.revision);
        expect.check(actual).map_err(|kind| {
            BackendError::new(kind, "registry.move_channel").with("channel", &moved.channel)
        })?;
        let revision = Revision::new(actual.map_or(0, Revision::get) + 1);
        let moves = state.channels.entry(moved.channel.clone()).or_default();
        moves.push(Versioned::new(revision, moved));
        Ok(revision)
    }

    async fn channel(&self, key: &ChannelKey) -> BackendResult<Versioned<ChannelMove>> {
        let state = lock(&self.state);
        let newest = state.channels.get(key).and_then(|it| it.last()).cloned();
        newest.ok_or_else(|| missing_channel("registry.channel", key))
    }

    async fn channels(
        &self,
        after: Option<&ChannelKey>,
        limit: usize,
    ) -> BackendResult<Vec<Versioned<ChannelMove>>> {
        let state = lock(&self.state);
        let rest =
            state.channels.range::<ChannelKey, _>((after.map_or(Unbounded, Excluded), Unbounded));
        Ok(rest.filter_map(|(_, moves)| moves.last()).take(limit).cloned().collect())
    }

    async fn channel_history(
        &self,
        key: &ChannelKey,
        limit: usize,
    ) -> BackendResult<Vec<Versioned<ChannelMove>>> {
        let state = lock(&self.state);
        let moves = state.channels.get(key);
        let moves = moves.ok_or_else(|| missing_channel("registry.channel_history", key))?;
        Ok(moves.iter().rev().take(limit).cloned().collect())
    }
}

fn missing_channel(operation: &'static str, key: &ChannelKey) -> BackendError {
    BackendError::new(ErrorKind::NotFound, operation).with("channel", key)
}

fn missing_service(operation: &'static str, name: &ServiceName) -> BackendError {
    BackendError::new(ErrorKind::NotFound, operation).with("service", name)
}
