use crate::{
    access::{AccessRequest, Decision, Resource},
    backend::{Authorizer, HostInventory},
    error::{BackendResult, ErrorKind},
    host::Host,
    token::TokenScope,
};
use async_trait::async_trait;
use std::sync::Arc;

/// What somebody may do with a token: what they may do, as far as the token's scope allows it.
///
/// ```
/// use deploy_core::{
///     access::{Action, Resource},
///     backend::authorize,
///     layer::ScopedAuthorizer,
///     memory::{MemoryAuthorizer, MemoryHostInventory, Rule},
///     token::TokenScope,
/// };
/// use std::sync::Arc;
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let rules = MemoryAuthorizer::new(vec![Rule::allow("ann".parse()?, Action::ALL)]);
/// let scope = TokenScope::new([Action::RolloutControl]);
/// let authorizer = ScopedAuthorizer::new(Arc::new(rules), scope, Arc::new(MemoryHostInventory::new()));
/// let (pause, edit) = (Action::RolloutControl, Action::ServiceWrite);
/// assert!(authorize(&authorizer, "ann".parse()?, pause, Resource::System).await.is_ok());
/// assert!(authorize(&authorizer, "ann".parse()?, edit, Resource::System).await.is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct ScopedAuthorizer {
    rules: Arc<dyn Authorizer>,
    scope: TokenScope,
    inventory: Arc<dyn HostInventory>,
}

impl ScopedAuthorizer {
    /// `rules`, as far as `scope` allows it; the labels of hosts are found in `inventory`.
    #[must_use]
    pub fn new(
        rules: Arc<dyn Authorizer>,
        scope: TokenScope,
        inventory: Arc<dyn HostInventory>,
    ) -> Self {
        Self { rules, scope, inventory }
    }

    /// The host that `resource` is about, if the scope selects hosts.
    async fn host(&self, resource: &Resource) -> BackendResult<Option<Host>> {
        let (Resource::Host(name, _), Some(_)) = (resource, &self.scope.hosts) else {
            return Ok(None);
        };
        match self.inventory.host(name).await {
            Ok(found) => Ok(Some(found.value)),
            Err(err) if err.kind() == ErrorKind::NotFound => Ok(None),
            Err(err) => Err(err),
        }
    }
}

#[async_trait]
impl Authorizer for ScopedAuthorizer {
    async fn authorize(&self, request: &AccessRequest) -> BackendResult<Decision> {
        let host = self.host(&request.resource).await?;
        if !self.scope.allows(request.action, &request.resource, host.as_ref()) {
            return Ok(Decision::Deny(vec!["it is not within the scope of the token".to_owned()]));
        }
        self.rules.authorize(request).await
    }
}
