use crate::support::lock;
use async_trait::async_trait;
use deploy_core::{
    access::{Action, Permit, Resource},
    backend::{
        BackendError, BackendResult, ChannelKey, ChannelMove, ErrorKind, Expect, Revision,
        ServiceRegistry, Versioned,
    },
    id::{ReleaseId, ServiceName},
    spec::{Release, Service},
};
use std::{cmp::Reverse, collections::BTreeMap, fmt::Display, sync::Mutex};

/// Keeps every value a service ever had in a list, as every move of a channel, and releases in a map.
#[derive(Debug, Default)]
pub(crate) struct MapRegistry {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Oldest first: revision 1 is at place 0.
    services: BTreeMap<ServiceName, Vec<Service>>,
    releases: BTreeMap<ReleaseId, Release>,
    /// Oldest first, as well.
    channels: BTreeMap<ChannelKey, Vec<ChannelMove>>,
}

#[async_trait]
impl ServiceRegistry for MapRegistry {
    async fn put_service(
        &self,
        permit: &Permit,
        service: Service,
        expect: Expect,
    ) -> BackendResult<Revision> {
        const PUT: &str = "registry.put_service";
        permit.demand(Action::ServiceWrite, &Resource::Service(service.name.clone()), PUT)?;
        let mut state = lock(&self.state);
        let actual = state.services.get(&service.name).map(|it| revision(it.len()));
        expect
            .check(actual)
            .map_err(|kind| BackendError::new(kind, PUT).with("service", &service.name))?;
        let history = state.services.entry(service.name.clone()).or_default();
        history.push(service);
        Ok(revision(history.len()))
    }

    async fn service(&self, name: &ServiceName) -> BackendResult<Versioned<Service>> {
        let newest = self.history(name, 1).await?.pop();
        newest.ok_or_else(|| missing("registry.service", name))
    }

    async fn services(
        &self,
        after: Option<&ServiceName>,
        limit: usize,
    ) -> BackendResult<Vec<Versioned<Service>>> {
        let state = lock(&self.state);
        let asked = state.services.iter().filter(|it| after.is_none_or(|after| it.0 > after));
        Ok(asked.filter_map(|it| newest_first(it.1).next()).take(limit).collect())
    }

    async fn history(
        &self,
        name: &ServiceName,
        limit: usize,
    ) -> BackendResult<Vec<Versioned<Service>>> {
        let state = lock(&self.state);
        let values = state.services.get(name).ok_or_else(|| missing("registry.history", name))?;
        Ok(newest_first(values).take(limit).collect())
    }

    async fn create_release(&self, permit: &Permit, release: Release) -> BackendResult<()> {
        const CREATE: &str = "registry.create_release";
        permit.demand(Action::ServiceWrite, &Resource::Service(release.service.clone()), CREATE)?;
        let mut state = lock(&self.state);
        if !state.services.contains_key(&release.service) {
            return Err(missing(CREATE, &release.service));
        }
        let there = state.releases.entry(release.id.clone()).or_insert_with(|| release.clone());
        if *there == release {
            return Ok(());
        }
        Err(BackendError::new(ErrorKind::AlreadyExists, CREATE).with("release", &release.id))
    }

    async fn release(&self, id: &ReleaseId) -> BackendResult<Release> {
        let found = lock(&self.state).releases.get(id).cloned();
        found.ok_or_else(|| missing("registry.release", id))
    }

    async fn releases(&self, service: &ServiceName, limit: usize) -> BackendResult<Vec<Release>> {
        let state = lock(&self.state);
        if !state.services.contains_key(service) {
            return Err(missing("registry.releases", service));
        }
        let mine = state.releases.values().filter(|it| it.service == *service);
        let mut mine: Vec<_> = mine.cloned().collect();
        mine.sort_by_key(|it| Reverse((it.created_at, it.id.clone())));
        mine.truncate(limit);
        Ok(mine)
    }

    async fn move_channel(
        &self,
        permit: &Permit,
        moved: ChannelMove,
        expect: Expect,
    ) -> BackendResult<Revision> {
        const MOVE: &str = "registry.move_channel";
        let repository = Resource::Repository(moved.channel.repository.clone());
        permit.demand(Action::ArtifactWrite, &repository, MOVE)?;
        let mut state = lock(&self.state);
        let actual = state.channels.get(&moved.channel).map(|it| revision(it.len()));
        expect
            .check(actual)
            .map_err(|kind| BackendError::new(kind, MOVE).with("channel", &moved.channel))?;
        let moves = state.channels.entry(moved.channel.clone()).or_default();
        moves.push(moved);
        Ok(revision(moves.len()))
    }

    async fn channel(&self, key: &ChannelKey) -> BackendResult<Versioned<ChannelMove>> {
        let newest = self.channel_history(key, 1).await?.pop();
        newest.ok_or_else(|| missing("registry.channel", key))
    }

    async fn channels(
        &self,
        after: Option<&ChannelKey>,
        limit: usize,
    ) -> BackendResult<Vec<Versioned<ChannelMove>>> {
        let state = lock(&self.state);
        let asked = state.channels.iter().filter(|it| after.is_none_or(|after| it.0 > after));
        Ok(asked.filter_map(|it| newest_first(it.1).next()).take(limit).collect())
    }

    async fn channel_history(
        &self,
        key: &ChannelKey,
        limit: usize,
    ) -> BackendResult<Vec<Versioned<ChannelMove>>> {
        const HISTORY: &str = "registry.channel_history";
        let state = lock(&self.state);
        let moves = state.channels.get(key).ok_or_else(|| missing(HISTORY, key))?;
        Ok(newest_first(moves).take(limit).collect())
    }
}

fn newest_first<T: Clone>(values: &[T]) -> impl Iterator<Item = Versioned<T>> {
    let numbered = values.iter().enumerate().rev();
    numbered.map(|(place, value)| Versioned::new(revision(place + 1), value.clone()))
}

fn revision(count: usize) -> Revision {
    Revision::new(u64::try_from(count).unwrap_or(u64::MAX))
}

fn missing(operation: &'static str, name: impl Display) -> BackendError {
    BackendError::new(ErrorKind::NotFound, operation).with("name", name)
}
