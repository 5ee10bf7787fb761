//! Builds at the server.
use crate::{Client, ClientError, Feed, PageOf, query::encoded};
use deploy_wire::{Build, BuildLogLine, NewBuild, Page, Publication, PublishedBuild};

/// # Errors
/// All methods: what the server refuses, and that there is no answer.
impl Client {
    /// Builds, newest first.
    pub async fn builds(
        &self,
        service: Option<&str>,
        page: &PageOf,
    ) -> Result<Page<Build>, ClientError> {
        self.get(page.path("/api/v1/builds", &[("service", service)])).await
    }

    /// A build.
    pub async fn build(&self, id: &str) -> Result<Build, ClientError> {
        self.get(format!("/api/v1/builds/{}", encoded(id))).await
    }

    /// Starts a build, which begins in its turn.
    pub async fn start_build(&self, build: &NewBuild) -> Result<Build, ClientError> {
        self.post("/api/v1/builds", build).await
    }

    /// Has a build end.
    pub async fn cancel_build(&self, id: &str) -> Result<Build, ClientError> {
        self.post(&format!("/api/v1/builds/{}/cancel", encoded(id)), &()).await
    }

    /// Puts what a build made into the store, and makes the release of it if that is asked for.
    pub async fn publish_build(
        &self,
        id: &str,
        publication: &Publication,
    ) -> Result<PublishedBuild, ClientError> {
        self.post(&format!("/api/v1/builds/{}/publish", encoded(id)), publication).await
    }

    /// What a build prints, after a position in its log; to its end, or (without `follow`) what there is now.
    #[must_use]
    pub fn build_log(&self, id: &str, after: u64, follow: bool) -> Feed<BuildLogLine> {
        let path = format!("/api/v1/builds/{}/log", encoded(id));
        let query = [("follow", (!follow).then_some("false"))];
        Feed::new(self.http.clone(), &path, &query, after)
    }
}
