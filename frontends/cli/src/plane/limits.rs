//! How fast bytes may travel to hosts.
use super::{OwnPlane, RemotePlane, remote::first};
use async_trait::async_trait;
use deploy_core::limit::LimitScope;
use deploy_wire::{Limit, LimitSpec, Problem};

/// What commands ask for about limits. Lists come whole.
#[async_trait]
pub(crate) trait LimitPlane {
    async fn limits(&self) -> Result<Vec<Limit>, Problem>;
    async fn set_limit(&self, scope: &LimitScope, limit: &LimitSpec) -> Result<Limit, Problem>;
    async fn clear_limit(&self, scope: &LimitScope) -> Result<(), Problem>;
}

#[async_trait]
impl LimitPlane for OwnPlane {
    async fn limits(&self) -> Result<Vec<Limit>, Problem> {
        Ok(self.operations.limits(&self.embedded.limits(), None, usize::MAX).await?.items)
    }

    async fn set_limit(&self, scope: &LimitScope, limit: &LimitSpec) -> Result<Limit, Problem> {
        let agents = self.embedded.agents()?;
        self.operations.set_limit(&self.embedded.limits(), &agents, scope, limit).await
    }

    async fn clear_limit(&self, scope: &LimitScope) -> Result<(), Problem> {
        self.operations.clear_limit(&self.embedded.limits(), scope).await
    }
}

#[async_trait]
impl LimitPlane for RemotePlane {
    async fn limits(&self) -> Result<Vec<Limit>, Problem> {
        self.all(self.client.limits(&first(usize::MAX)).await, usize::MAX).await
    }

    async fn set_limit(&self, scope: &LimitScope, limit: &LimitSpec) -> Result<Limit, Problem> {
        self.told(self.client.set_limit(&scope.to_string(), limit).await)
    }

    async fn clear_limit(&self, scope: &LimitScope) -> Result<(), Problem> {
        self.told(self.client.clear_limit(&scope.to_string()).await)
    }
}
