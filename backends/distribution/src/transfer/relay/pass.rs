//! By what a relay has a blob.
use crate::{
    block::Blob,
    transfer::{Endpoint, SourceError},
};
use async_trait::async_trait;
use deploy_core::time::Timestamp;
use std::fmt;

/// By what a relay has a blob, and from whom. `Debug` tells nothing of the token.
#[derive(Clone)]
#[non_exhaustive]
pub struct Pass {
    /// What it shows there.
    pub token: String,
    /// Who is asked, the first one that answers: the nearest first, and the store last.
    pub from: Vec<Endpoint>,
    /// Until when the token is good.
    pub until: Timestamp,
}

impl Pass {
    /// With that token, which is good until then, from these.
    #[must_use]
    pub const fn new(token: String, from: Vec<Endpoint>, until: Timestamp) -> Self {
        Self { token, from, until }
    }
}

impl fmt::Debug for Pass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pass").field("from", &self.from).finish_non_exhaustive()
    }
}

/// Says by what a relay has blobs.
///
/// # Contract
/// * It answers in bounded time, whoever is away.
/// * Those that it names are asked for this blob alone.
/// * It is asked once for all who want a blob at the same time, and again before a pass ends.
#[async_trait]
pub trait Passes: fmt::Debug + Send + Sync + 'static {
    /// The pass for a blob.
    async fn pass(&self, blob: Blob) -> Result<Pass, SourceError>;
}

/// The same for every blob.
#[async_trait]
impl Passes for Pass {
    async fn pass(&self, _: Blob) -> Result<Self, SourceError> {
        Ok(self.clone())
    }
}
