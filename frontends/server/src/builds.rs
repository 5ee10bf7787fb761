//! Builds at the server, and the forges that ask for them.
use async_trait::async_trait;
use axum::{body::Bytes, http::HeaderMap};
use deploy_core::{
    backend::Builder,
    id::ServiceName,
    spec::{GitRemote, GitRevision},
};
use deploy_wire::Problem;
use std::{collections::BTreeMap, fmt, sync::Arc};

/// What a server needs to build.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "a backend that is left out must not build")]
pub struct BuildControl {
    /// Makes packages of sources.
    pub builder: Arc<dyn Builder>,
    /// Knows the webhooks that may start builds.
    pub hooks: Arc<dyn Hooks>,
}

/// Webhooks of forges, as whoever serves has set them up.
#[async_trait]
pub trait Hooks: fmt::Debug + Send + Sync + 'static {
    /// Reads what came for the hook `name`; `None` if it is genuine, and about no tag that was pushed.
    ///
    /// # Errors
    /// If there is no such hook, it was not signed by who knows its secret, or cannot be read. Nothing is read of what is not signed.
    async fn read(&self, name: &str, delivery: &Delivery) -> Result<Option<PushedTag>, Problem>;
}

/// A webhook as it came, by nobody who is known yet.
#[derive(Debug)]
pub struct Delivery {
    headers: HeaderMap,
    body: Bytes,
}

impl Delivery {
    pub(crate) const fn new(headers: HeaderMap, body: Bytes) -> Self {
        Self { headers, body }
    }

    /// The value of a header that is text, by its name in lower case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// What it says, not read yet.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.body
    }
}

/// A tag that somebody has pushed, by the word of a forge.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "whoever reads webhooks has to say all of it")]
pub struct PushedTag {
    /// The service that the hook is for. It may start builds of no other.
    pub service: ServiceName,
    /// How the repository can be spoken to, as the forge says.
    pub remotes: Vec<GitRemote>,
    /// Its full name.
    pub tag: GitRevision,
    /// Whether the release is made of it.
    pub release: bool,
    /// What scripts of the release see as `P_<NAME>`.
    pub parameters: BTreeMap<String, String>,
}
