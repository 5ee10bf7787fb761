//! Builds: of this machine, or at a server.
use super::{RemotePlane, remote::first};
use async_trait::async_trait;
use deploy_client::Feed;
use deploy_core::{
    backend::Clock as _,
    id::{BuildId, ServiceName},
    memory::SystemClock,
};
use deploy_operations::{BuildFeed, Builds, parse::field};
use deploy_wire::{Build, BuildLogLine, NewBuild, Problem, Publication, PublishedBuild};
use std::{collections::VecDeque, time::Duration};

/// How often it is looked for what a build prints.
const LOOK: Duration = Duration::from_millis(150);

/// What commands ask for about builds.
#[async_trait]
pub(crate) trait BuildPlane: Send + Sync {
    async fn start(&self, build: &NewBuild) -> Result<Build, Problem>;
    async fn show(&self, id: &BuildId) -> Result<Build, Problem>;
    /// Builds, newest first.
    async fn list(&self, service: Option<ServiceName>, limit: usize)
    -> Result<Vec<Build>, Problem>;
    async fn cancel(&self, id: &BuildId) -> Result<Build, Problem>;
    async fn publish(
        &self,
        id: &BuildId,
        publication: &Publication,
    ) -> Result<PublishedBuild, Problem>;
    /// What a build prints: to its end, or (without `follow`) what there is now.
    async fn log(&self, id: &BuildId, follow: bool) -> Result<Box<dyn BuildLines>, Problem>;
}

/// Lines as they come.
#[async_trait]
pub(crate) trait BuildLines: Send {
    /// The next line; `None` at the end.
    async fn next(&mut self) -> Result<Option<BuildLogLine>, Problem>;
}

#[async_trait]
impl BuildPlane for Builds {
    async fn start(&self, build: &NewBuild) -> Result<Build, Problem> {
        self.start(build).await
    }

    async fn show(&self, id: &BuildId) -> Result<Build, Problem> {
        self.show(id).await
    }

    async fn list(
        &self,
        service: Option<ServiceName>,
        limit: usize,
    ) -> Result<Vec<Build>, Problem> {
        self.list(service, limit).await
    }

    async fn cancel(&self, id: &BuildId) -> Result<Build, Problem> {
        self.cancel(id).await
    }

    async fn publish(
        &self,
        id: &BuildId,
        publication: &Publication,
    ) -> Result<PublishedBuild, Problem> {
        self.publish(id, publication).await
    }

    async fn log(&self, id: &BuildId, follow: bool) -> Result<Box<dyn BuildLines>, Problem> {
        let feed = BuildFeed::open(self.clone(), id.clone(), 0).await?;
        Ok(Box::new(OwnLines { feed, follow, ready: VecDeque::new() }))
    }
}

struct OwnLines {
    feed: BuildFeed,
    follow: bool,
    ready: VecDeque<BuildLogLine>,
}

#[async_trait]
impl BuildLines for OwnLines {
    async fn next(&mut self) -> Result<Option<BuildLogLine>, Problem> {
        let clock = SystemClock::new();
        loop {
            if let Some(line) = self.ready.pop_front() {
                return Ok(Some(line));
            }
            let lines = self.feed.next().await?;
            let nothing_new = lines.is_empty();
            self.ready.extend(lines.into_iter().map(|(_, line)| line));
            if nothing_new && (self.feed.is_over() || !self.follow) {
                return Ok(None);
            }
            if nothing_new {
                clock.sleep_until(clock.now().after(LOOK)).await;
            }
        }
    }
}

#[async_trait]
impl BuildPlane for RemotePlane {
    async fn start(&self, build: &NewBuild) -> Result<Build, Problem> {
        self.told(self.client.start_build(build).await)
    }

    async fn show(&self, id: &BuildId) -> Result<Build, Problem> {
        self.told(self.client.build(id.as_str()).await)
    }

    async fn list(
        &self,
        service: Option<ServiceName>,
        limit: usize,
    ) -> Result<Vec<Build>, Problem> {
        let service = service.as_ref().map(ServiceName::as_str);
        self.all(self.client.builds(service, &first(limit)).await, limit).await
    }

    async fn cancel(&self, id: &BuildId) -> Result<Build, Problem> {
        self.told(self.client.cancel_build(id.as_str()).await)
    }

    async fn publish(
        &self,
        id: &BuildId,
        publication: &Publication,
    ) -> Result<PublishedBuild, Problem> {
        self.told(self.client.publish_build(id.as_str(), publication).await)
    }

    async fn log(&self, id: &BuildId, follow: bool) -> Result<Box<dyn BuildLines>, Problem> {
        let feed = self.client.build_log(id.as_str(), 0, follow);
        Ok(Box::new(RemoteLines { plane: self.clone(), feed }))
    }
}

struct RemoteLines {
    plane: RemotePlane,
    feed: Feed<BuildLogLine>,
}

#[async_trait]
impl BuildLines for RemoteLines {
    async fn next(&mut self) -> Result<Option<BuildLogLine>, Problem> {
        self.plane.told(self.feed.next().await)
    }
}

/// The id that a document of a build has.
pub(crate) fn id_of(build: &Build) -> Result<BuildId, Problem> {
    field("build", &build.id)
}
