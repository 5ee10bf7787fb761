//! Services, releases and hosts.
use super::Platform;
use crate::{
    access::{Action, Resource},
    backend::{ArtifactKind, Expect, Holder, PutArtifact, Revision},
    digest::Digest,
    engine::PlatformError,
    error::ErrorKind,
    host::Host,
    id::{HostName, Principal, RepositoryName, Version},
    spec::{ArtifactRef, Release, Service},
};

/// What came of putting a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Applied {
    /// It was changed, or is new at revision 1.
    Changed(Revision),
    /// It was like that already.
    Unchanged(Revision),
}

impl Platform {
    /// Adds a service or changes it, whatever it was before.
    ///
    /// # Errors
    /// If `principal` may not, or the registry fails; `Conflict` if somebody else changes it at the same time.
    pub async fn apply_service(
        &self,
        principal: &Principal,
        service: Service,
    ) -> Result<Applied, PlatformError> {
        let resource = Resource::Service(service.name.clone());
        let permit = self.permit(principal, Action::ServiceWrite, resource).await?;
        let registry = &self.parts.registry;
        let expect = match registry.service(&service.name).await {
            Ok(current) if current.value == service => {
                return Ok(Applied::Unchanged(current.revision));
            }
            Ok(current) => Expect::At(current.revision),
            Err(err) if err.kind() == ErrorKind::NotFound => Expect::Absent,
            Err(err) => return Err(err.into()),
        };
        Ok(Applied::Changed(registry.put_service(&permit, service, expect).await?))
    }

    /// Stores an artifact that is in memory, and lists it.
    ///
    /// # Errors
    /// If `principal` may not, or the store fails; `AlreadyExists` if the version names another artifact.
    pub async fn put_bytes(
        &self,
        principal: &Principal,
        repository: RepositoryName,
        kind: ArtifactKind,
        version: Version,
        mut bytes: &[u8],
    ) -> Result<ArtifactRef, PlatformError> {
        let resource = Resource::Repository(repository.clone());
        let permit = self.permit(principal, Action::ArtifactWrite, resource).await?;
        let size = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        let now = self.parts.clock.now();
        let request = PutArtifact::new(Digest::of(bytes), size, repository, kind, version, now);
        let meta = self.parts.artifacts.put(&permit, request, &mut bytes).await?;
        Ok(ArtifactRef::new(meta.digest, meta.size))
    }

    /// Adds a release, and keeps its artifacts from being deleted.
    ///
    /// # Errors
    /// If `principal` may not, an artifact is not in the store, or another release has the id.
    pub async fn create_release(
        &self,
        principal: &Principal,
        release: Release,
    ) -> Result<(), PlatformError> {
        let resource = Resource::Service(release.service.clone());
        let permit = self.permit(principal, Action::ServiceWrite, resource).await?;
        let store = &self.parts.artifacts;
        let artifacts: Vec<_> =
            release.package.iter().chain([&release.descriptor]).copied().collect();
        for artifact in &artifacts {
            store.head(&artifact.digest).await?;
        }
        // A service's artifacts are in the repository of its name: whoever may write there may keep some of them.
        let repository = release.service.as_str().parse::<RepositoryName>();
        let place = repository.map_or(Resource::System, Resource::Repository);
        let hold = self.permit(principal, Action::ArtifactWrite, place).await?;
        let holder = Holder::Release(release.id.clone());
        // Held first: between the two, a hold too many is harmless, and an artifact too few is not.
        for artifact in &artifacts {
            store.hold(&hold, &artifact.digest, &holder).await?;
        }
        Ok(self.parts.registry.create_release(&permit, release).await?)
    }

    /// Adds a host or changes it, whatever it was before.
    ///
    /// # Errors
    /// If `principal` may not, or the inventory fails; `Conflict` if somebody else changes it at the same time.
    pub async fn apply_host(
        &self,
        principal: &Principal,
        host: Host,
    ) -> Result<Applied, PlatformError> {
        let permit = self.host_permit(principal, &host.name).await?;
        let inventory = &self.parts.inventory;
        let expect = match inventory.host(&host.name).await {
            Ok(current) if current.value == host => {
                return Ok(Applied::Unchanged(current.revision));
            }
            Ok(current) => Expect::At(current.revision),
            Err(err) if err.kind() == ErrorKind::NotFound => Expect::Absent,
            Err(err) => return Err(err.into()),
        };
        Ok(Applied::Changed(inventory.put(&permit, host, expect).await?))
    }

    /// Removes a host from the inventory. What runs on it goes on running.
    ///
    /// # Errors
    /// If `principal` may not, or there is no such host.
    pub async fn remove_host(
        &self,
        principal: &Principal,
        name: &HostName,
    ) -> Result<(), PlatformError> {
        let permit = self.host_permit(principal, name).await?;
        Ok(self.parts.inventory.remove(&permit, name).await?)
    }

    async fn host_permit(
        &self,
        principal: &Principal,
        name: &HostName,
    ) -> Result<crate::access::Permit, PlatformError> {
        let resource = Resource::Host(name.clone(), None);
        self.permit(principal, Action::HostWrite, resource).await
    }
}
