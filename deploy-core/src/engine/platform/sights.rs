//! What hosts say that they run, without being asked.
use super::Platform;
use crate::{
    access::{Action, Resource},
    digest::Digest,
    engine::PlatformError,
    error::ErrorKind,
    host::Installed,
    id::{HostName, Principal, ReleaseId, Seq, ServiceName, StreamId},
    time::Timestamp,
};
use std::time::Duration;

/// What is as it was known is written down again once that is so old: not every time that a host comes back.
const FRESH: Duration = Duration::from_secs(60 * 60);

/// What a host says that it runs of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sight {
    /// Which host.
    pub host: HostName,
    /// The release that is current; `None` if the service is not there.
    pub release: Option<ReleaseId>,
    /// The newest generation that it has seen for the service.
    pub generation: Seq,
}

impl Sight {
    /// `host` runs `release`, and has seen `generation`.
    #[must_use]
    pub const fn new(host: HostName, release: Option<ReleaseId>, generation: Seq) -> Self {
        Self { host, release, generation }
    }

    fn is_news(&self, known: Option<&Installed>, now: Timestamp) -> bool {
        known.is_none_or(|it| {
            (&it.release, it.generation) != (&self.release, self.generation)
                || now.since(it.seen_at) >= FRESH
        })
    }
}

impl Platform {
    /// Keeps what hosts say that they run of a service, and says how many had something new to say.
    ///
    /// Hosts are believed what they run, and nothing else: a generation that nobody can have given them is not kept, because it would
    /// outlive all that is true.
    ///
    /// # Errors
    /// If there is no such service, `principal` may not observe one of the hosts, or a backend fails.
    pub async fn keep_sights(
        &self,
        principal: &Principal,
        service: &ServiceName,
        sights: Vec<Sight>,
    ) -> Result<usize, PlatformError> {
        self.parts.registry.service(service).await?;
        let newest = self.parts.journal.head(&StreamId::Service(service.clone())).await?;
        let known = self.parts.inventory.installed(service).await?;
        let now = self.parts.clock.now();
        let news = sights
            .into_iter()
            .filter(|it| it.generation <= newest && it.is_news(known.get(&it.host), now));
        let mut kept = 0;
        for Sight { host, release, generation } in news {
            let resource = Resource::Host(host.clone(), Some(service.clone()));
            let permit = self.permit(principal, Action::HostObserve, resource).await?;
            let package = self.package_of(release.as_ref()).await;
            let seen = Installed::new(release, package, generation, now);
            match self.parts.inventory.record(&permit, &host, service, seen).await {
                Ok(()) => kept += 1,
                // It has just left the inventory.
                Err(err) if err.kind() == ErrorKind::NotFound => {}
                Err(err) => return Err(err.into()),
            }
        }
        Ok(kept)
    }

    /// The package of a release that is known.
    pub(super) async fn package_of(&self, release: Option<&ReleaseId>) -> Option<Digest> {
        let release = self.parts.registry.release(release?).await.ok()?;
        release.package.map(|it| it.digest)
    }
}
