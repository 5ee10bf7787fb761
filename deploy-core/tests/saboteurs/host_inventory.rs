use async_trait::async_trait;
use deploy_core::{
    access::{Action, Permit, Resource},
    backend::{BackendResult, ErrorKind, Expect, HostInventory, Revision, Versioned},
    conformance::{Harness, permit},
    host::{Host, Installed},
    id::{HostName, Seq, ServiceName},
    memory::MemoryHostInventory,
};
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
};

sabotages! {
    BeginsAgainAfterARemoval,
    ForgetsAtACrash,
    IgnoresLimits,
    IgnoresPermits,
    IgnoresRevisions,
    IsAlone,
    KeepsSightsOfRemovedHosts,
    KeepsTheFirstValue,
    KeepsTheLastSight,
    ListsBackwards,
    RemembersSights,
    RemovesTheMissing,
}

/// What there is, and what there ever was.
type State = (Arc<MemoryHostInventory>, Arc<MemoryHostInventory>);

saboteurs!(HostInventory, State);

fn state(_: Sabotage) -> State {
    (Arc::default(), Arc::default())
}

fn open(sabotage: Sabotage, (plain, archive): &State) -> Arc<dyn HostInventory> {
    let (sights, told) = (AtomicU64::new(0), Mutex::default());
    let (plain, archive) = (plain.clone(), archive.clone());
    Arc::new(Saboteur { plain, archive, sights, told, sabotage })
}

#[derive(Debug)]
struct Saboteur {
    plain: Arc<MemoryHostInventory>,
    /// As `plain`, but nothing is ever removed from it.
    archive: Arc<MemoryHostInventory>,
    sights: AtomicU64,
    /// What `installed` has said since the last change of its own.
    told: Mutex<BTreeMap<ServiceName, BTreeMap<HostName, Installed>>>,
    sabotage: Sabotage,
}

#[async_trait]
impl HostInventory for Saboteur {
    async fn put(&self, permit_: &Permit, host: Host, expect: Expect) -> BackendResult<Revision> {
        let all = permit(Action::HostWrite, Resource::System).await;
        // It may be there already.
        let _put = self.archive.put(&all, host.clone(), Expect::Absent).await;
        match self.sabotage {
            Sabotage::BeginsAgainAfterARemoval if expect == Expect::Absent => {
                self.plain.put(permit_, host, expect).await.map(|_| Revision::new(1))
            }
            Sabotage::IgnoresPermits => self.plain.put(&all, host, expect).await,
            Sabotage::IgnoresRevisions => loop {
                let there = self.plain.host(&host.name).await;
                let expect = there.map_or(Expect::Absent, |it| Expect::At(it.revision));
                match self.plain.put(permit_, host.clone(), expect).await {
                    Err(err) if err.kind() == ErrorKind::Conflict => {}
                    done => return done,
                }
            },
            Sabotage::KeepsTheFirstValue if expect != Expect::Absent => {
                let there = self.plain.host(&host.name).await;
                let host = there.map_or(host, |it| it.value);
                self.plain.put(permit_, host, expect).await
            }
            _ => self.plain.put(permit_, host, expect).await,
        }
    }

    async fn host(&self, name: &HostName) -> BackendResult<Versioned<Host>> {
        self.plain.host(name).await
    }

    async fn hosts(
        &self,
        after: Option<&HostName>,
        limit: usize,
    ) -> BackendResult<Vec<Versioned<Host>>> {
        let limit = if self.sabotage == Sabotage::IgnoresLimits { usize::MAX } else { limit };
        let mut hosts = self.plain.hosts(after, limit).await?;
        if self.sabotage == Sabotage::ListsBackwards {
            hosts.reverse();
        }
        Ok(hosts)
    }

    async fn remove(&self, permit: &Permit, name: &HostName) -> BackendResult<()> {
        self.told.lock().unwrap().clear();
        match self.plain.remove(permit, name).await {
            Err(err)
                if self.sabotage == Sabotage::RemovesTheMissing
                    && err.kind() == ErrorKind::NotFound =>
            {
                Ok(())
            }
            done => done,
        }
    }

    async fn record(
        &self,
        permit_: &Permit,
        name: &HostName,
        service: &ServiceName,
        mut seen: Installed,
    ) -> BackendResult<()> {
        self.told.lock().unwrap().clear();
        let all = permit(Action::HostObserve, Resource::System).await;
        if self.sabotage == Sabotage::KeepsTheLastSight {
            seen.generation = Seq::new(self.sights.fetch_add(1, SeqCst));
        }
        if self.plain.host(name).await.is_ok() {
            self.archive.record(&all, name, service, seen.clone()).await?;
        }
        self.plain.record(permit_, name, service, seen).await
    }

    async fn installed(
        &self,
        service: &ServiceName,
    ) -> BackendResult<BTreeMap<HostName, Installed>> {
        match self.sabotage {
            Sabotage::KeepsSightsOfRemovedHosts => self.archive.installed(service).await,
            Sabotage::RemembersSights => {
                let now = self.plain.installed(service).await?;
                Ok(self.told.lock().unwrap().entry(service.clone()).or_insert(now).clone())
            }
            _ => self.plain.installed(service).await,
        }
    }
}
