use super::lock;
use crate::{
    access::{Action, Permit, Resource},
    backend::{Expect, HostInventory, Revision, Versioned},
    error::{BackendError, BackendResult, ErrorKind},
    host::{Host, Installed},
    id::{HostName, ServiceName},
};
use async_trait::async_trait;
use std::{
    collections::BTreeMap,
    ops::Bound::{Excluded, Unbounded},
    sync::Mutex,
};

/// Keeps machine records in memory.
#[derive(Debug, Default)]
pub struct MemoryHostInventory {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    hosts: BTreeMap<HostName, Versioned<Host>>,
    /// The last revision of every host there ever was, so that one that comes back goes on counting.
    revisions: BTreeMap<HostName, Revision>,
    installed: BTreeMap<ServiceName, BTreeMap<HostName, Installed>>,
}

impl MemoryHostInventory {
    /// An inventory without hosts.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

#[async_trait]
impl HostInventory for MemoryHostInventory {
    async fn put(&self, permit: &Permit, host: Host, expect: Expect) -> BackendResult<Revision> {
        let name = host.name.clone();
        permit.demand(Action::HostWrite, &Resource::Host(name.clone(), None), "inventory.put")?;
        let mut state = lock(&self.state);
        expect
            .check(state.hosts.get(&name).map(|it| it.revision))
            .map_err(|kind| BackendError::new(kind, "inventory.put").with("host", &name))?;
        let last = state.revisions.get(&name).map_or(0, |it| it.get());
        let revision = Revision::new(last + 1);
        state.revisions.insert(name.clone(), revision);
        state.hosts.insert(name, Versioned::new(revision, host));
        Ok(revision)
    }

    async fn host(&self, name: &HostName) -> BackendResult<Versioned<Host>> {
        lock(&self.state).hosts.get(name).cloned().ok_or_else(|| missing("inventory.host", name))
    }

    async fn hosts(
        &self,
        after: Option<&HostName>,
        limit: usize,
    ) -> BackendResult<Vec<Versioned<Host>>> {
        let state = lock(&self.state);
        let rest = state.hosts.range::<HostName, _>((after.map_or(Unbounded, Excluded), Unbounded));
        Ok(rest.map(|(_, host)| host).take(limit).cloned().collect())
    }

    async fn remove(&self, permit: &Permit, name: &HostName) -> BackendResult<()> {
        permit.demand(
            Action::HostWrite,
            &Resource::Host(name.clone(), None),
            "inventory.remove",
        )?;
        let mut state = lock(&self.state);
        state.hosts.remove(name).ok_or_else(|| missing("inventory.remove", name))?;
        state.installed.values_mut().for_each(|seen| {
            seen.remove(name);
        });
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
        if !state.hosts.contains_key(name) {
            return Err(missing("inventory.record", name));
        }
        let sights = state.installed.entry(service.clone()).or_default();
        let age = |it: &Installed| (it.generation, it.seen_at);
        if sights.get(name).is_none_or(|there| age(there) <= age(&seen)) {
            sights.insert(name.clone(), seen);
        }
        Ok(())
    }

    async fn installed(
        &self,
        service: &ServiceName,
    ) -> BackendResult<BTreeMap<HostName, Installed>> {
        Ok(lock(&self.state).installed.get(service).cloned().unwrap_or_default())
    }
}

fn missing(operation: &'static str, name: &HostName) -> BackendError {
    BackendError::new(ErrorKind::NotFound, operation).with("host", name)
}
