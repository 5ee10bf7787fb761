use crate::{
    access::{AccessRequest, Action, Decision, Resource},
    backend::{Authorizer, HostInventory},
    error::{BackendError, BackendResult, ErrorKind},
    host::Host,
    id::{HostName, ParseNameError, Principal, ServiceName},
    spec::Selector,
};
use async_trait::async_trait;
use std::{collections::BTreeSet, fmt, str::FromStr, sync::Arc};

/// Goes by a list of rules.
#[derive(Debug)]
pub struct MemoryAuthorizer {
    rules: Vec<Rule>,
    inventory: Option<Arc<dyn HostInventory>>,
}

impl MemoryAuthorizer {
    /// An authorizer that goes by `rules`, in any order.
    #[must_use]
    pub const fn new(rules: Vec<Rule>) -> Self {
        Self { rules, inventory: None }
    }

    /// That finds the labels of hosts in `inventory`: needed where a rule selects hosts.
    #[must_use]
    pub fn with_inventory(mut self, inventory: Arc<dyn HostInventory>) -> Self {
        self.inventory = Some(inventory);
        self
    }

    /// The host that `resource` is about, if some rule needs to know its labels.
    async fn host(&self, resource: &Resource) -> BackendResult<Option<Host>> {
        let Resource::Host(name, _) = resource else {
            return Ok(None);
        };
        if self.rules.iter().all(|rule| rule.hosts.is_none()) {
            return Ok(None);
        }
        let Some(inventory) = &self.inventory else {
            return Err(no_inventory(name));
        };
        match inventory.host(name).await {
            Ok(found) => Ok(Some(found.value)),
            Err(err) if err.kind() == ErrorKind::NotFound => Ok(None),
            Err(err) => Err(err),
        }
    }
}

#[async_trait]
impl Authorizer for MemoryAuthorizer {
    async fn authorize(&self, request: &AccessRequest) -> BackendResult<Decision> {
        let host = self.host(&request.resource).await?;
        let about = self.rules.iter().filter(|rule| rule.is_about(request));
        let (denying, allowing): (Vec<_>, Vec<_>) = about.partition(|rule| rule.denies);
        let denied = denying.into_iter().filter(|it| it.touches(&request.resource, host.as_ref()));
        let denied: Vec<_> = denied.map(Rule::to_string).collect();
        if !denied.is_empty() {
            return Ok(Decision::Deny(denied));
        }
        let allowed =
            allowing.into_iter().filter(|it| it.contains(&request.resource, host.as_ref()));
        let allowed: Vec<_> = allowed.map(Rule::to_string).collect();
        Ok(if allowed.is_empty() { Decision::Deny(allowed) } else { Decision::Allow(allowed) })
    }
}

/// Allows or denies some principals some actions: on everything, on one service, on some hosts, or on one service on some
/// hosts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    denies: bool,
    principal: PrincipalPattern,
    actions: BTreeSet<Action>,
    service: Option<ServiceName>,
    hosts: Option<Selector>,
}

impl Rule {
    /// Allows `actions` on everything.
    pub fn allow(principal: PrincipalPattern, actions: impl IntoIterator<Item = Action>) -> Self {
        let actions = actions.into_iter().collect();
        Self { denies: false, principal, actions, service: None, hosts: None }
    }

    /// Denies `actions` on everything, whatever other rules allow.
    pub fn deny(principal: PrincipalPattern, actions: impl IntoIterator<Item = Action>) -> Self {
        Self { denies: true, ..Self::allow(principal, actions) }
    }

    /// Only on `service`: on the service itself, and on every host for it.
    #[must_use]
    pub fn on_service(mut self, service: ServiceName) -> Self {
        self.service = Some(service);
        self
    }

    /// Only on the hosts that `selector` selects.
    #[must_use]
    pub fn on_hosts(mut self, selector: Selector) -> Self {
        self.hosts = Some(selector);
        self
    }

    fn is_about(&self, request: &AccessRequest) -> bool {
        self.principal.matches(&request.principal) && self.actions.contains(&request.action)
    }

    /// Whether all of `resource` is what this rule is about: then it may allow it.
    fn contains(&self, resource: &Resource, host: Option<&Host>) -> bool {
        let selects = |mine: &Selector| host.is_some_and(|host| mine.matches(host));
        self.fits_service(resource) && self.hosts.as_ref().is_none_or(selects)
    }

    /// Whether any part of `resource` is what this rule is about: then it denies it, because a permit for the whole would
    /// cover that part. A host nobody knows might be selected.
    fn touches(&self, resource: &Resource, host: Option<&Host>) -> bool {
        match resource {
            Resource::System => true,
            Resource::Service(_) => self.fits_service(resource),
            Resource::Host(..) => {
                let selected = |mine: &Selector| host.is_none_or(|host| mine.matches(host));
                self.fits_service(resource) && self.hosts.as_ref().is_none_or(selected)
            }
            Resource::Repository(_) => self.service.is_none() && self.hosts.is_none(),
        }
    }

    fn fits_service(&self, resource: &Resource) -> bool {
        self.service.as_ref().is_none_or(|mine| service_of(resource) == Some(mine))
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = if self.denies { "deny" } else { "allow" };
        let actions: Vec<_> = self.actions.iter().map(|it| it.as_str()).collect();
        write!(f, "{verb} {} {}", self.principal, actions.join(","))?;
        if let Some(service) = &self.service {
            write!(f, " on service/{service}")?;
        }
        if let Some(hosts) = &self.hosts {
            write!(f, " on hosts `{hosts}`")?;
        }
        Ok(())
    }
}

/// One principal, or with `*` all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "a rule is about one or about all")]
pub enum PrincipalPattern {
    /// All of them.
    Any,
    /// This one.
    Exactly(Principal),
}

impl PrincipalPattern {
    fn matches(&self, principal: &Principal) -> bool {
        match self {
            Self::Any => true,
            Self::Exactly(mine) => mine == principal,
        }
    }
}

impl FromStr for PrincipalPattern {
    type Err = ParseNameError;

    fn from_str(input: &str) -> Result<Self, ParseNameError> {
        if input == "*" { Ok(Self::Any) } else { input.parse().map(Self::Exactly) }
    }
}

impl fmt::Display for PrincipalPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::Exactly(principal) => principal.fmt(f),
        }
    }
}

fn service_of(resource: &Resource) -> Option<&ServiceName> {
    match resource {
        Resource::Service(service) | Resource::Host(_, Some(service)) => Some(service),
        Resource::Host(_, None) | Resource::Repository(_) | Resource::System => None,
    }
}

fn no_inventory(host: &HostName) -> BackendError {
    BackendError::new(ErrorKind::InvalidInput, "access.authorize").with("host", host).with(
        "reason",
        "a rule selects hosts, and the authorizer has no inventory to find labels in",
    )
}
