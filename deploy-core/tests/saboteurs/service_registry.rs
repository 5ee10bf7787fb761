use async_trait::async_trait;
use deploy_core::{
    access::{Action, Permit, Resource},
    backend::{
        BackendError, BackendResult, ChannelKey, ChannelMove, ErrorKind, Expect, Revision,
        ServiceRegistry, Versioned,
    },
    conformance::{Harness, permit},
    id::{ReleaseId, ServiceName},
    memory::MemoryServiceRegistry,
    spec::{Release, Service},
};
use std::sync::{Arc, Mutex};

sabotages! {
    AcceptsReleasesOfNothing,
    CallsTheMissingUnavailable,
    ForgetsClosedChannels,
    ForgetsAtACrash,
    GivesHistoryOldestFirst,
    IgnoresLimits,
    IgnoresPermits,
    IgnoresRevisions,
    IgnoresRevisionsOfChannels,
    IsAlone,
    KeepsTheFirstTarget,
    KeepsTheFirstValue,
    LetsReleasesChange,
    ListsChannelsBackwards,
    ListsReleasesByName,
    ListsServicesBackwards,
    LooksBeforeItMoves,
    LooksBeforeItWrites,
    RemembersReleases,
    RepeatsTheLastOfAPage,
}

saboteurs!(ServiceRegistry, Arc<MemoryServiceRegistry>);

fn state(_: Sabotage) -> Arc<MemoryServiceRegistry> {
    Arc::new(MemoryServiceRegistry::new())
}

fn open(sabotage: Sabotage, plain: &Arc<MemoryServiceRegistry>) -> Arc<dyn ServiceRegistry> {
    Arc::new(Saboteur(plain.clone(), sabotage, Mutex::default()))
}

/// The last are the releases that it has listed since it created one.
#[derive(Debug)]
struct Saboteur(Arc<MemoryServiceRegistry>, Sabotage, Mutex<Option<Vec<Release>>>);

impl Saboteur {
    /// Puts whatever the revision is, if it was the expected one a moment ago or nobody cares.
    async fn put_anyway(&self, permit: &Permit, service: Service) -> BackendResult<Revision> {
        loop {
            let there = self.0.service(&service.name).await;
            let expect = there.map_or(Expect::Absent, |it| Expect::At(it.revision));
            match self.0.put_service(permit, service.clone(), expect).await {
                Err(err)
                    if matches!(err.kind(), ErrorKind::Conflict | ErrorKind::AlreadyExists) => {}
                done => return done,
            }
        }
    }

    /// As [`put_anyway`](Self::put_anyway), of a channel.
    async fn move_anyway(&self, permit: &Permit, moved: ChannelMove) -> BackendResult<Revision> {
        loop {
            let there = self.0.channel(&moved.channel).await;
            let expect = there.map_or(Expect::Absent, |it| Expect::At(it.revision));
            match self.0.move_channel(permit, moved.clone(), expect).await {
                Err(err)
                    if matches!(err.kind(), ErrorKind::Conflict | ErrorKind::AlreadyExists) => {}
                done => return done,
            }
        }
    }

    fn missing(&self, err: BackendError) -> BackendError {
        match self.1 {
            Sabotage::CallsTheMissingUnavailable => {
                BackendError::new(ErrorKind::Unavailable, err.operation())
            }
            _ => err,
        }
    }

    fn limit(&self, limit: usize) -> usize {
        if self.1 == Sabotage::IgnoresLimits { usize::MAX } else { limit }
    }
}

#[async_trait]
impl ServiceRegistry for Saboteur {
    async fn put_service(
        &self,
        permit_: &Permit,
        service: Service,
        expect: Expect,
    ) -> BackendResult<Revision> {
        let all = permit(Action::ServiceWrite, Resource::System).await;
        match self.1 {
            Sabotage::IgnoresPermits => self.0.put_service(&all, service, expect).await,
            Sabotage::KeepsTheFirstValue if expect != Expect::Absent => {
                let there = self.0.service(&service.name).await;
                let service = there.map_or(service, |it| it.value);
                self.0.put_service(permit_, service, expect).await
            }
            Sabotage::IgnoresRevisions => self.put_anyway(permit_, service).await,
            Sabotage::LooksBeforeItWrites => {
                let there = self.0.service(&service.name).await.ok().map(|it| it.revision);
                let expected = match expect {
                    Expect::Absent => None,
                    Expect::At(revision) => Some(revision),
                };
                if there != expected {
                    return self.0.put_service(permit_, service, expect).await;
                }
                others_first().await;
                self.put_anyway(permit_, service).await
            }
            _ => self.0.put_service(permit_, service, expect).await,
        }
    }

    async fn service(&self, name: &ServiceName) -> BackendResult<Versioned<Service>> {
        self.0.service(name).await.map_err(|err| self.missing(err))
    }

    async fn services(
        &self,
        after: Option<&ServiceName>,
        limit: usize,
    ) -> BackendResult<Vec<Versioned<Service>>> {
        let mut page = self.0.services(after, self.limit(limit)).await?;
        match (self.1, after) {
            (Sabotage::ListsServicesBackwards, _) => page.reverse(),
            (Sabotage::RepeatsTheLastOfAPage, Some(after)) => {
                page.insert(0, self.0.service(after).await?);
                page.truncate(limit);
            }
            _ => {}
        }
        Ok(page)
    }

    async fn history(
        &self,
        name: &ServiceName,
        limit: usize,
    ) -> BackendResult<Vec<Versioned<Service>>> {
        let mut history = self.0.history(name, limit).await?;
        if self.1 == Sabotage::GivesHistoryOldestFirst {
            history.reverse();
        }
        Ok(history)
    }

    async fn create_release(&self, permit_: &Permit, release: Release) -> BackendResult<()> {
        let all = permit(Action::ServiceWrite, Resource::System).await;
        let permit = if self.1 == Sabotage::IgnoresPermits { &all } else { permit_ };
        *self.2.lock().unwrap() = None;
        let done = self.0.create_release(permit, release).await;
        match (self.1, done.as_ref().map_err(BackendError::kind)) {
            (Sabotage::AcceptsReleasesOfNothing, Err(ErrorKind::NotFound))
            | (Sabotage::LetsReleasesChange, Err(ErrorKind::AlreadyExists)) => Ok(()),
            _ => done,
        }
    }

    async fn release(&self, id: &ReleaseId) -> BackendResult<Release> {
        self.0.release(id).await.map_err(|err| self.missing(err))
    }

    async fn releases(&self, service: &ServiceName, limit: usize) -> BackendResult<Vec<Release>> {
        let mut releases = self.0.releases(service, limit).await?;
        match self.1 {
            Sabotage::ListsReleasesByName => releases.sort_by(|a, b| a.id.cmp(&b.id)),
            Sabotage::RemembersReleases => {
                releases = self.2.lock().unwrap().get_or_insert(releases).clone();
                releases.retain(|it| it.service == *service);
                releases.truncate(limit);
            }
            _ => {}
        }
        Ok(releases)
    }

    async fn move_channel(
        &self,
        permit_: &Permit,
        moved: ChannelMove,
        expect: Expect,
    ) -> BackendResult<Revision> {
        match self.1 {
            Sabotage::IgnoresPermits => {
                let all = permit(Action::ArtifactWrite, Resource::System).await;
                self.0.move_channel(&all, moved, expect).await
            }
            Sabotage::IgnoresRevisionsOfChannels => self.move_anyway(permit_, moved).await,
            Sabotage::KeepsTheFirstTarget if expect != Expect::Absent => {
                let there = self.0.channel(&moved.channel).await;
                let moved = there.map_or(moved, |it| it.value);
                self.0.move_channel(permit_, moved, expect).await
            }
            Sabotage::LooksBeforeItMoves => {
                let there = self.0.channel(&moved.channel).await.ok().map(|it| it.revision);
                if expect.check(there).is_err() {
                    return self.0.move_channel(permit_, moved, expect).await;
                }
                others_first().await;
                self.move_anyway(permit_, moved).await
            }
            _ => self.0.move_channel(permit_, moved, expect).await,
        }
    }

    async fn channel(&self, key: &ChannelKey) -> BackendResult<Versioned<ChannelMove>> {
        let found = self.0.channel(key).await.map_err(|err| self.missing(err))?;
        if self.1 == Sabotage::ForgetsClosedChannels && found.value.to.is_none() {
            return Err(BackendError::new(ErrorKind::NotFound, "registry.channel"));
        }
        Ok(found)
    }

    async fn channels(
        &self,
        after: Option<&ChannelKey>,
        limit: usize,
    ) -> BackendResult<Vec<Versioned<ChannelMove>>> {
        let mut page = self.0.channels(after, self.limit(limit)).await?;
        if self.1 == Sabotage::ListsChannelsBackwards {
            page.reverse();
        }
        Ok(page)
    }

    async fn channel_history(
        &self,
        key: &ChannelKey,
        limit: usize,
    ) -> BackendResult<Vec<Versioned<ChannelMove>>> {
        let mut history = self.0.channel_history(key, limit).await?;
        if self.1 == Sabotage::GivesHistoryOldestFirst {
            history.reverse();
        }
        Ok(history)
    }
}

/// Lets everybody else who is at it come first.
async fn others_first() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}
