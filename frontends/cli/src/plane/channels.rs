//! Artifacts by name, and the channels that lead to them.
use super::{OwnPlane, RemotePlane, remote::first};
use async_trait::async_trait;
use deploy_core::{
    backend::{ArtifactKind, ChannelKey, Revision},
    id::RepositoryName,
};
use deploy_wire::{Artifact, Channel, ChannelMove, ChannelSpec, Problem};

/// What commands ask for about channels. Lists come whole, however long.
#[async_trait]
pub(crate) trait ChannelPlane {
    /// The artifact that `name` means: a digest or its beginning, a version of `repository`, or `[REPOSITORY]@NAME`.
    async fn resolve(
        &self,
        name: &str,
        kind: ArtifactKind,
        repository: Option<&RepositoryName>,
    ) -> Result<Artifact, Problem>;
    async fn channels(&self, repository: Option<&RepositoryName>) -> Result<Vec<Channel>, Problem>;
    async fn channel(&self, key: &ChannelKey) -> Result<Channel, Problem>;
    /// Moves the channel that is at `revision`, or (`None`) adds one.
    async fn move_channel(
        &self,
        key: &ChannelKey,
        to: &ChannelSpec,
        revision: Option<u64>,
    ) -> Result<Channel, Problem>;
    /// How a channel was moved, newest first.
    async fn channel_history(
        &self,
        key: &ChannelKey,
        limit: usize,
    ) -> Result<Vec<ChannelMove>, Problem>;
}

#[async_trait]
impl ChannelPlane for OwnPlane {
    async fn resolve(
        &self,
        name: &str,
        kind: ArtifactKind,
        repository: Option<&RepositoryName>,
    ) -> Result<Artifact, Problem> {
        self.operations.resolve(name, kind, repository).await
    }

    async fn channels(&self, repository: Option<&RepositoryName>) -> Result<Vec<Channel>, Problem> {
        Ok(self.operations.channels(repository, None, usize::MAX).await?.items)
    }

    async fn channel(&self, key: &ChannelKey) -> Result<Channel, Problem> {
        self.operations.channel(key).await
    }

    async fn move_channel(
        &self,
        key: &ChannelKey,
        to: &ChannelSpec,
        revision: Option<u64>,
    ) -> Result<Channel, Problem> {
        self.operations.move_channel(key.clone(), to, revision.map(Revision::new)).await
    }

    async fn channel_history(
        &self,
        key: &ChannelKey,
        limit: usize,
    ) -> Result<Vec<ChannelMove>, Problem> {
        Ok(self.operations.channel_history(key, None, limit).await?.items)
    }
}

#[async_trait]
impl ChannelPlane for RemotePlane {
    async fn resolve(
        &self,
        name: &str,
        kind: ArtifactKind,
        repository: Option<&RepositoryName>,
    ) -> Result<Artifact, Problem> {
        let repository = repository.map(RepositoryName::as_str);
        self.told(self.client.resolve(name, kind.as_str(), repository).await)
    }

    async fn channels(&self, repository: Option<&RepositoryName>) -> Result<Vec<Channel>, Problem> {
        let repository = repository.map(RepositoryName::as_str);
        self.all(self.client.channels(repository, &first(usize::MAX)).await, usize::MAX).await
    }

    async fn channel(&self, key: &ChannelKey) -> Result<Channel, Problem> {
        self.told(self.client.channel(parts(key)).await)
    }

    async fn move_channel(
        &self,
        key: &ChannelKey,
        to: &ChannelSpec,
        revision: Option<u64>,
    ) -> Result<Channel, Problem> {
        self.told(self.client.move_channel(parts(key), to, revision).await)
    }

    async fn channel_history(
        &self,
        key: &ChannelKey,
        limit: usize,
    ) -> Result<Vec<ChannelMove>, Problem> {
        self.all(self.client.channel_history(parts(key), &first(limit)).await, limit).await
    }
}

fn parts(key: &ChannelKey) -> [&str; 3] {
    [key.repository.as_str(), key.kind.as_str(), key.name.as_str()]
}
