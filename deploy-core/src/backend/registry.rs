use super::{ChannelKey, ChannelMove};
use crate::{
    access::Permit,
    error::{BackendResult, ErrorKind},
    id::{ReleaseId, ServiceName},
    spec::{Release, Service},
};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Counts the changes of a record; the first is 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Revision(u64);

impl Revision {
    /// The revision `number`.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// As a plain number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A value, and the revision to compare when setting it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Versioned<T> {
    /// Which change this is.
    pub revision: Revision,
    /// The value.
    pub value: T,
}

impl<T> Versioned<T> {
    /// `value` at `revision`.
    #[must_use]
    pub const fn new(revision: Revision, value: T) -> Self {
        Self { revision, value }
    }
}

/// What must be there for a value to be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "complete by definition")]
pub enum Expect {
    /// Nothing.
    Absent,
    /// This revision.
    At(Revision),
}

impl Expect {
    /// Compares what is there with what must be.
    ///
    /// # Errors
    /// The kind of the error that a refused `put` gives.
    pub fn check(self, actual: Option<Revision>) -> Result<(), ErrorKind> {
        match (self, actual) {
            (Self::Absent, None) => Ok(()),
            (Self::Absent, Some(_)) => Err(ErrorKind::AlreadyExists),
            (Self::At(_), None) => Err(ErrorKind::NotFound),
            (Self::At(wanted), Some(actual)) if wanted == actual => Ok(()),
            (Self::At(_), Some(_)) => Err(ErrorKind::Conflict),
        }
    }
}

/// Knows services and their releases, and where channels lead.
///
/// # Contract
/// * `put_service` compares and sets: with `Expect::Absent` on a service that exists it is `AlreadyExists`; with `Expect::At` on
///   another revision it is `Conflict`, on a missing service `NotFound`. A refused `put_service` changes nothing.
/// * Of any number of writers at one revision, one wins.
/// * `history` gives every value a service ever had, newest first, and no more than asked for.
/// * `services` gives services in the order of their names, after the name given, and no more than asked for.
/// * Releases are immutable: creating the same release again succeeds, creating another one under the same id is `AlreadyExists`.
/// * A release of a service that does not exist is `NotFound`.
/// * `releases` gives the releases of a service, newest first (by `created_at`, ties by id, descending), and no more than asked for.
/// * A missing service or release is `NotFound`.
/// * A permit for another action than `ServiceWrite` on the service is `PermissionDenied`.
/// * `move_channel` compares and sets: with `Expect::Absent` on a channel that exists it is `AlreadyExists`; with `Expect::At` on
///   another revision it is `Conflict`, on a missing channel `NotFound`. A refused `move_channel` changes nothing.
/// * Of any number of moves of a channel at one revision, one wins.
/// * A channel that is closed is kept like any other, and can be moved on.
/// * `channel_history` gives every move of a channel, newest first, and no more than asked for.
/// * `channels` gives the newest move of each channel in the order of repository, kind and name, after the channel given, and no more
///   than asked for.
/// * A missing channel is `NotFound`.
/// * A permit for another action than `ArtifactWrite` on the channel's repository is `PermissionDenied`.
///
/// ```
/// use deploy_core::{
///     access::{Action, Resource},
///     backend::{Expect, ServiceRegistry, authorize},
///     memory::{MemoryAuthorizer, MemoryServiceRegistry, Rule},
///     spec::Service,
/// };
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let rules = MemoryAuthorizer::new(vec![Rule::allow("ann".parse()?, [Action::ServiceWrite])]);
/// let permit = authorize(&rules, "ann".parse()?, Action::ServiceWrite, Resource::System).await?;
/// let (path, selector) = ("/srv/web".parse()?, "zone=a".parse()?);
/// let web = Service::new("web".parse()?, "ann".parse()?, path, selector);
///
/// let registry = MemoryServiceRegistry::new();
/// let first = registry.put_service(&permit, web.clone(), Expect::Absent).await?;
/// registry.put_service(&permit, web.clone(), Expect::At(first)).await?;
/// assert!(registry.put_service(&permit, web.clone(), Expect::At(first)).await.is_err());
/// assert_eq!(registry.history(&web.name, 10).await?.len(), 2);
/// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
/// ```
#[async_trait]
pub trait ServiceRegistry: fmt::Debug + Send + Sync + 'static {
    /// Adds or changes a service.
    async fn put_service(
        &self,
        permit: &Permit,
        service: Service,
        expect: Expect,
    ) -> BackendResult<Revision>;

    /// One service.
    async fn service(&self, name: &ServiceName) -> BackendResult<Versioned<Service>>;

    /// Up to `limit` services after `after`.
    async fn services(
        &self,
        after: Option<&ServiceName>,
        limit: usize,
    ) -> BackendResult<Vec<Versioned<Service>>>;

    /// Up to `limit` values that a service had, newest first.
    async fn history(
        &self,
        name: &ServiceName,
        limit: usize,
    ) -> BackendResult<Vec<Versioned<Service>>>;

    /// Adds a release.
    async fn create_release(&self, permit: &Permit, release: Release) -> BackendResult<()>;

    /// One release.
    async fn release(&self, id: &ReleaseId) -> BackendResult<Release>;

    /// Up to `limit` releases of a service, newest first.
    async fn releases(&self, service: &ServiceName, limit: usize) -> BackendResult<Vec<Release>>;

    /// Adds a channel, or has one lead somewhere else.
    async fn move_channel(
        &self,
        permit: &Permit,
        moved: ChannelMove,
        expect: Expect,
    ) -> BackendResult<Revision>;

    /// The newest move of a channel.
    async fn channel(&self, key: &ChannelKey) -> BackendResult<Versioned<ChannelMove>>;

    /// The newest moves of up to `limit` channels after `after`.
    async fn channels(
        &self,
        after: Option<&ChannelKey>,
        limit: usize,
    ) -> BackendResult<Vec<Versioned<ChannelMove>>>;

    /// Up to `limit` moves of a channel, newest first.
    async fn channel_history(
        &self,
        key: &ChannelKey,
        limit: usize,
    ) -> BackendResult<Vec<Versioned<ChannelMove>>>;
}

/// Conveniences for callers. Backends implement none of these.
///
/// ```
/// use deploy_core::{backend::ServiceRegistryExt, memory::MemoryServiceRegistry};
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// assert_eq!(MemoryServiceRegistry::new().all_services().await?, []);
/// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
/// ```
pub trait ServiceRegistryExt: ServiceRegistry {
    /// All services, in the order of their names.
    fn all_services(&self) -> impl Future<Output = BackendResult<Vec<Versioned<Service>>>> + Send {
        async move {
            const PAGE: usize = 1_000;
            let mut all: Vec<Versioned<Service>> = Vec::new();
            loop {
                let page = self.services(all.last().map(|it| &it.value.name), PAGE).await?;
                let last = page.len() < PAGE;
                all.extend(page);
                if last {
                    return Ok(all);
                }
            }
        }
    }

    /// The newest moves of all channels, in the order of their keys.
    fn all_channels(
        &self,
    ) -> impl Future<Output = BackendResult<Vec<Versioned<ChannelMove>>>> + Send {
        async move {
            const PAGE: usize = 1_000;
            let mut all: Vec<Versioned<ChannelMove>> = Vec::new();
            loop {
                let page = self.channels(all.last().map(|it| &it.value.channel), PAGE).await?;
                let last = page.len() < PAGE;
                all.extend(page);
                if last {
                    return Ok(all);
                }
            }
        }
    }
}

impl<T: ServiceRegistry + ?Sized> ServiceRegistryExt for T {}
