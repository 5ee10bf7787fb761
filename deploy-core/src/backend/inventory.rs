use super::{Expect, Revision, Versioned};
use crate::{
    access::Permit,
    error::BackendResult,
    host::{Host, Installed},
    id::{HostName, ServiceName},
};
use async_trait::async_trait;
use std::{collections::BTreeMap, fmt};

/// Keeps machine records, and what each machine was last seen to run.
///
/// # Contract
/// * `put` compares and sets: with `Expect::Absent` on a host that exists it is `AlreadyExists`; with `Expect::At` on another
///   revision it is `Conflict`, on a missing host `NotFound`. A refused `put` changes nothing.
/// * Revisions of a host grow with every change, also over a removal.
/// * `hosts` gives hosts in the order of their names, after the name given, and no more than asked for.
/// * A missing host is `NotFound`, from `host`, `remove` and `record` alike.
/// * `record` keeps what was seen under the newest generation, and under one generation the newest sight: an older one changes nothing.
/// * `installed` gives what was recorded for a service, of hosts that exist. Removing a host removes its records.
/// * A permit for another action is `PermissionDenied`: `put` and `remove` take `HostWrite`, `record` takes `HostExecute` or `HostObserve`.
///
/// ```
/// use deploy_core::{
///     access::{Action, Resource},
///     backend::{Expect, HostInventory, authorize},
///     host::{Connection, Host, SshConnection},
///     memory::{MemoryAuthorizer, MemoryHostInventory, Rule},
/// };
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let rules = MemoryAuthorizer::new(vec![Rule::allow("ann".parse()?, [Action::HostWrite])]);
/// let permit = authorize(&rules, "ann".parse()?, Action::HostWrite, Resource::System).await?;
/// let host = Host::new("h1".parse()?, Connection::Ssh(SshConnection::new()));
///
/// let inventory = MemoryHostInventory::new();
/// let revision = inventory.put(&permit, host.clone(), Expect::Absent).await?;
/// assert!(inventory.put(&permit, host.clone(), Expect::Absent).await.is_err());
/// inventory.put(&permit, host, Expect::At(revision)).await?;
/// assert_eq!(inventory.hosts(None, 10).await?.len(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
/// ```
#[async_trait]
pub trait HostInventory: fmt::Debug + Send + Sync + 'static {
    /// Adds or changes a host.
    async fn put(&self, permit: &Permit, host: Host, expect: Expect) -> BackendResult<Revision>;

    /// One host.
    async fn host(&self, name: &HostName) -> BackendResult<Versioned<Host>>;

    /// Up to `limit` hosts after `after`.
    async fn hosts(
        &self,
        after: Option<&HostName>,
        limit: usize,
    ) -> BackendResult<Vec<Versioned<Host>>>;

    /// Removes a host.
    async fn remove(&self, permit: &Permit, name: &HostName) -> BackendResult<()>;

    /// Keeps what a host was seen to run.
    async fn record(
        &self,
        permit: &Permit,
        name: &HostName,
        service: &ServiceName,
        seen: Installed,
    ) -> BackendResult<()>;

    /// What each host was last seen to run of a service.
    async fn installed(
        &self,
        service: &ServiceName,
    ) -> BackendResult<BTreeMap<HostName, Installed>>;
}

/// Conveniences for callers. Backends implement none of these.
///
/// ```
/// use deploy_core::{backend::HostInventoryExt, memory::MemoryHostInventory};
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// assert_eq!(MemoryHostInventory::new().all_hosts().await?, []);
/// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
/// ```
pub trait HostInventoryExt: HostInventory {
    /// All hosts, in the order of their names.
    fn all_hosts(&self) -> impl Future<Output = BackendResult<Vec<Host>>> + Send {
        async move {
            const PAGE: usize = 1_000;
            let mut all: Vec<Host> = Vec::new();
            loop {
                let page = self.hosts(all.last().map(|it| &it.name), PAGE).await?;
                let last = page.len() < PAGE;
                all.extend(page.into_iter().map(|it| it.value));
                if last {
                    return Ok(all);
                }
            }
        }
    }
}

impl<T: HostInventory + ?Sized> HostInventoryExt for T {}
