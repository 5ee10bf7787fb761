//! What is done to many things at once, and what a server says of itself.
use crate::{Client, ClientError, query::encoded};
use deploy_wire::{
    Garbage, GarbageToCollect, Holders, HostCheck, HostsToCheck, HostsToRemove, NewPin, Removed,
    ServerInfo, Status,
};

/// # Errors
/// All methods: what the server refuses, and that there is no answer.
impl Client {
    /// Says whether hosts can be reached, and what they lack.
    pub async fn check_hosts(&self, hosts: &HostsToCheck) -> Result<Vec<HostCheck>, ClientError> {
        self.post("/api/v1/hosts/check", hosts).await
    }

    /// Removes hosts from the inventory, all or none.
    pub async fn remove_hosts(&self, hosts: &HostsToRemove) -> Result<Removed, ClientError> {
        self.post("/api/v1/hosts/remove", hosts).await
    }

    /// Looks what hosts run of a service, and keeps that.
    pub async fn refresh(&self, service: &str) -> Result<Status, ClientError> {
        self.post(&format!("/api/v1/services/{}/refresh", encoded(service)), &()).await
    }

    /// Removes old versions that no release and no rollout needs.
    pub async fn collect_garbage(
        &self,
        garbage: &GarbageToCollect,
    ) -> Result<Garbage, ClientError> {
        self.post("/api/v1/artifacts/collect", garbage).await
    }

    /// Who keeps an artifact from being removed.
    pub async fn holders(&self, digest: &str) -> Result<Holders, ClientError> {
        self.get(format!("/api/v1/artifacts/{}/holders", encoded(digest))).await
    }

    /// Keeps an artifact, whether anything runs it or not.
    pub async fn pin(&self, digest: &str, pin: &NewPin) -> Result<Holders, ClientError> {
        self.post(&format!("/api/v1/artifacts/{}/pins", encoded(digest)), pin).await
    }

    /// Keeps an artifact no longer for that reason.
    pub async fn unpin(&self, digest: &str, name: &str) -> Result<(), ClientError> {
        self.delete(format!("/api/v1/artifacts/{}/pins/{}", encoded(digest), encoded(name))).await
    }

    /// The archive of a descriptor.
    pub async fn descriptor(&self, digest: &str) -> Result<Vec<u8>, ClientError> {
        self.get_bytes(format!("/api/v1/artifacts/{}/descriptor", encoded(digest))).await
    }

    /// What the server is.
    pub async fn server(&self) -> Result<ServerInfo, ClientError> {
        self.get("/api/v1/server".to_owned()).await
    }
}
