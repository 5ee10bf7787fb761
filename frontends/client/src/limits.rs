//! How fast bytes may travel to hosts.
use crate::{Client, ClientError, PageOf, http::Asked, query::encoded};
use deploy_wire::{Limit, LimitSpec, Page};
use hyper::Method;

/// # Errors
/// All methods: what the server refuses, and that there is no answer.
impl Client {
    /// Limits, in the order of what they are for.
    pub async fn limits(&self, page: &PageOf) -> Result<Page<Limit>, ClientError> {
        self.get(page.path("/api/v1/limits", &[])).await
    }

    /// Sets a limit for `scope`, such as `origin` or `host=web-1`. It counts at once.
    pub async fn set_limit(&self, scope: &str, limit: &LimitSpec) -> Result<Limit, ClientError> {
        let path = format!("/api/v1/limits/{}", encoded(scope));
        self.http.json(Asked::new(Method::PUT, path).with_json(limit)?).await
    }

    /// Takes the limit for `scope` back.
    pub async fn clear_limit(&self, scope: &str) -> Result<(), ClientError> {
        self.delete(format!("/api/v1/limits/{}", encoded(scope))).await
    }
}
