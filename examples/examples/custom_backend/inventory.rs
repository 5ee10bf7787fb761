use crate::support::lock;
use async_trait::async_trait;
use deploy_core::{
    access::{Action, Permit, Resource},
    backend::{BackendError, BackendResult, ErrorKind, Expect, HostInventory, Revision, Versioned},
    host::{Host, Installed},
    id::{HostName, ServiceName},
};
use std::{collections::BTreeMap, sync::Mutex};

/// Keeps machine records in a map.
#[derive(Debug, Default)]
pub(crate) struct MapInventory {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Hosts that were removed stay as `None`, because their revisions go on.
    hosts: BTreeMap<HostName, (Revision, Option<Host>)>,
    seen: BTreeMap<(HostName, ServiceName), Installed>,
}

#[async_trait]
impl HostInventory for MapInventory {
    async fn put(&self, permit: &Permit, host: Host, expect: Expect) -> BackendResult<Revision> {
        let name = host.name.clone();
        permit.demand(Action::HostWrite, &Resource::Host(name.clone(), None), "inventory.put")?;
        let mut state = lock(&self.state);
        expect
            .check(state.host(&name).map(|it| it.revision))
            .map_err(|kind| BackendError::new(kind, "inventory.put").with("host", &name))?;
        let last = state.hosts.get(&name).map_or(0, |it| it.0.get());
        let revision = Revision::new(last + 1);
        state.hosts.insert(name, (revision, Some(host)));
        Ok(revision)
    }

    async fn host(&self, name: &HostName) -> BackendResult<Versioned<Host>> {
        lock(&self.state).host(name).ok_or_else(|| missing("inventory.host", name))
    }

    async fn hosts(
        &self,
        after: Option<&HostName>,
        limit: usize,
    ) -> BackendResult<Vec<Versioned<Host>>> {
        let state = lock(&self.state);
        let names = state.hosts.keys().filter(|it| after.is_none_or(|after| *it > after));
        Ok(names.filter_map(|it| state.host(it)).take(limit).collect())
    }

    async fn remove(&self, permit: &Permit, name: &HostName) -> BackendResult<()> {
        permit.demand(
            Action::HostWrite,
            &Resource::Host(name.clone(), None),
            "inventory.remove",
        )?;
        let mut state = lock(&self.state);
        let host = state.hosts.get_mut(name).and_then(|it| it.1.take());
        host.ok_or_else(|| missing("inventory.remove", name))?;
        state.seen.retain(|(host, _), _| host != name);
        Ok(())
    }

    async fn record(
        &self,
        permit: &Permit,
        name: &HostName,
        service: &ServiceName,
        seen: Installed,
    ) -> BackendResult<()> {
        let resource = Resource::Host(name.clone(), Some(service.clone()));
        if !permit.covers(Action::HostObserve, &resource) {
            permit.demand(Action::HostExecute, &resource, "inventory.record")?;
        }
        let mut state = lock(&self.state);
        state.host(name).ok_or_else(|| missing("inventory.record", name))?;
        let key = (name.clone(), service.clone());
        let newest =
            |it: &Installed| (it.generation, it.seen_at) <= (seen.generation, seen.seen_at);
        if state.seen.get(&key).is_none_or(newest) {
            state.seen.insert(key, seen);
        }
        Ok(())
    }

    async fn installed(
        &self,
        service: &ServiceName,
    ) -> BackendResult<BTreeMap<HostName, Installed>> {
        let state = lock(&self.state);
        let mine = state.seen.iter().filter(|((_, it), _)| it == service);
        Ok(mine.map(|((host, _), seen)| (host.clone(), seen.clone())).collect())
    }
}

impl State {
    fn host(&self, name: &HostName) -> Option<Versioned<Host>> {
        let (revision, host) = self.hosts.get(name)?;
        Some(Versioned::new(*revision, host.clone()?))
    }
}

fn missing(operation: &'static str, name: &HostName) -> BackendError {
    BackendError::new(ErrorKind::NotFound, operation).with("host", name)
}
