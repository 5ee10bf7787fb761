//! Artifacts by name, and the channels that lead to them.
use crate::{
    Client, ClientError, PageOf,
    http::Asked,
    query::{encoded, with_query},
};
use deploy_wire::{Artifact, Channel, ChannelMove, ChannelSpec, Page};
use futures_util::TryStreamExt as _;
use http_body_util::BodyDataStream;
use hyper::Method;
use std::io;
use tokio::io::AsyncRead;
use tokio_util::io::StreamReader;

/// Which artifacts to list; all of them by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "whoever searches says all of it")]
pub struct ArtifactsOf {
    /// Of this repository, or (`web-*`) of those that begin like that.
    pub repository: Option<String>,
    /// Of this kind.
    pub kind: Option<String>,
    /// Of versions that begin with this.
    pub version: Option<String>,
    /// Whose digests begin with this.
    pub digest: Option<String>,
    /// That a channel of this name leads to.
    pub channel: Option<String>,
    /// That were put within this many seconds.
    pub since_s: Option<u64>,
}

/// # Errors
/// All methods: what the server refuses, and that there is no answer.
impl Client {
    /// What is in the store, in the order of repository, kind and version.
    pub async fn artifacts(
        &self,
        of: &ArtifactsOf,
        page: &PageOf,
    ) -> Result<Page<Artifact>, ClientError> {
        let since = of.since_s.map(|it| it.to_string());
        let query = [
            ("repository", of.repository.as_deref()),
            ("kind", of.kind.as_deref()),
            ("version", of.version.as_deref()),
            ("digest", of.digest.as_deref()),
            ("channel", of.channel.as_deref()),
            ("since_s", since.as_deref()),
        ];
        self.get(page.path("/api/v1/artifacts", &query)).await
    }

    /// The artifact of `kind` that `name` means now: a digest or its beginning, a version of `repository`, or
    /// `[REPOSITORY]@NAME`, where `NAME` is a channel or a version.
    pub async fn resolve(
        &self,
        name: &str,
        kind: &str,
        repository: Option<&str>,
    ) -> Result<Artifact, ClientError> {
        let query = [("name", Some(name)), ("kind", Some(kind)), ("repository", repository)];
        self.get(with_query("/api/v1/artifacts/resolve", &query)).await
    }

    /// The bytes of an artifact, from its beginning. Where it is cut off, reading ends in an error; compare what came with the digest.
    pub async fn download(
        &self,
        digest: &str,
    ) -> Result<impl AsyncRead + Send + use<>, ClientError> {
        let path = format!("/api/v1/artifacts/{}/content", encoded(digest));
        let answer = self.http.answer(Asked::new(Method::GET, path)).await?;
        let data = BodyDataStream::new(answer.into_body());
        Ok(StreamReader::new(data.map_err(io::Error::other)))
    }

    /// Channels that lead somewhere: of a repository, or all.
    pub async fn channels(
        &self,
        repository: Option<&str>,
        page: &PageOf,
    ) -> Result<Page<Channel>, ClientError> {
        self.get(page.path("/api/v1/channels", &[("repository", repository)])).await
    }

    /// One channel, also where it is closed.
    pub async fn channel(
        &self,
        [repository, kind, name]: [&str; 3],
    ) -> Result<Channel, ClientError> {
        self.get(path(repository, kind, name)).await
    }

    /// Moves the channel that is at `revision`, or (`None`) adds one.
    pub async fn move_channel(
        &self,
        [repository, kind, name]: [&str; 3],
        to: &ChannelSpec,
        revision: Option<u64>,
    ) -> Result<Channel, ClientError> {
        self.put(Method::PUT, path(repository, kind, name), to, revision).await
    }

    /// How a channel was moved, newest first.
    pub async fn channel_history(
        &self,
        [repository, kind, name]: [&str; 3],
        page: &PageOf,
    ) -> Result<Page<ChannelMove>, ClientError> {
        self.get(page.path(&format!("{}/history", path(repository, kind, name)), &[])).await
    }
}

fn path(repository: &str, kind: &str, name: &str) -> String {
    format!("/api/v1/channels/{}/{}/{}", encoded(repository), encoded(kind), encoded(name))
}
