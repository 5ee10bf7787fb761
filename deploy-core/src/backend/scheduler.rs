use crate::{
    error::BackendResult,
    host::Host,
    id::{HostName, LabelKey, ServiceName},
};
use async_trait::async_trait;
use std::{collections::BTreeSet, fmt};

/// What to place, on what, with which seed for ties.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PlacementRequest {
    /// What.
    pub service: ServiceName,
    /// On how many hosts.
    pub count: u32,
    /// The hosts to choose from.
    pub hosts: Vec<Host>,
    /// Those of them that run it already: they are kept where possible.
    pub current: BTreeSet<HostName>,
    /// The labels over whose values the choice is to be spread.
    pub spread: Vec<LabelKey>,
    /// Decides ties.
    pub seed: u64,
}

impl PlacementRequest {
    /// `service` on `count` of `hosts`.
    #[must_use]
    pub const fn new(service: ServiceName, count: u32, hosts: Vec<Host>) -> Self {
        Self { service, count, hosts, current: BTreeSet::new(), spread: Vec::new(), seed: 0 }
    }

    /// Keeping what runs on `current`.
    #[must_use]
    pub fn with_current(mut self, current: BTreeSet<HostName>) -> Self {
        self.current = current;
        self
    }

    /// Spread over the values of `labels`.
    #[must_use]
    pub fn with_spread(mut self, labels: Vec<LabelKey>) -> Self {
        self.spread = labels;
        self
    }

    /// With another seed.
    #[must_use]
    pub const fn with_seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }
}

/// Where, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Placement {
    /// The hosts chosen, and why each was.
    pub chosen: Vec<(HostName, String)>,
    /// How many more were asked for than there are hosts.
    pub missing: u32,
}

impl Placement {
    /// A placement.
    #[must_use]
    pub const fn new(chosen: Vec<(HostName, String)>, missing: u32) -> Self {
        Self { chosen, missing }
    }
}

/// Chooses hosts.
///
/// # Contract
/// * The answer is a function of the request: no clock and no dice of its own.
/// * It chooses from the hosts given, each at most once, and as many as asked for or as there are; `missing` says the difference.
/// * The order in which hosts are given does not matter.
/// * Hosts that run the service are kept before others are taken.
///
/// ```
/// use deploy_core::{
///     backend::{PlacementRequest, Scheduler},
///     host::{Connection, Host},
///     memory::SpreadScheduler,
/// };
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let at = |root: &str| Connection::Local { root: root.to_owned() };
/// let hosts = vec![Host::new("h1".parse()?, at("/srv/h1")), Host::new("h2".parse()?, at("/srv/h2"))];
/// let request = PlacementRequest::new("web".parse()?, 3, hosts).with_current(["h2".parse()?].into());
/// let placement = SpreadScheduler::new().place(&request).await?;
/// assert_eq!(placement.chosen[0].0.as_str(), "h2");
/// assert_eq!(placement.missing, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
/// ```
#[async_trait]
pub trait Scheduler: fmt::Debug + Send + Sync + 'static {
    /// Chooses.
    async fn place(&self, request: &PlacementRequest) -> BackendResult<Placement>;
}
