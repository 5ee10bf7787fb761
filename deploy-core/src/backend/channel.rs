//! Channels: names that lead to a version today, and to another one tomorrow.
use super::ArtifactKind;
use crate::{
    digest::Digest,
    id::{ChannelName, Principal, RepositoryName, Version},
    time::Timestamp,
};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Which channel. In the order of repository, kind and name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "complete by definition")]
pub struct ChannelKey {
    /// Of which repository.
    pub repository: RepositoryName,
    /// Of what there: packages and descriptors have versions of their own.
    pub kind: ArtifactKind,
    /// What it is called.
    pub name: ChannelName,
}

impl ChannelKey {
    /// The channel `name` of what is `kind` in `repository`.
    #[must_use]
    pub const fn new(repository: RepositoryName, kind: ArtifactKind, name: ChannelName) -> Self {
        Self { repository, kind, name }
    }
}

impl fmt::Display for ChannelKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.repository, self.kind.as_str(), self.name)
    }
}

/// What a channel leads to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "complete by definition")]
pub struct ChannelTarget {
    /// Which version, of the channel's repository and kind.
    pub version: Version,
    /// Which artifact that is.
    pub digest: Digest,
}

/// One move of a channel. Where it has led before is in the move before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ChannelMove {
    /// Which channel.
    pub channel: ChannelKey,
    /// What it leads to from now on; `None` closes it.
    pub to: Option<ChannelTarget>,
    /// Why, in the words of whoever moved it.
    pub reason: String,
    /// When.
    pub at: Timestamp,
    /// By whom.
    pub by: Principal,
}

impl ChannelMove {
    /// `by` moves `channel` to `to`, without saying why.
    #[must_use]
    pub const fn new(
        channel: ChannelKey,
        to: Option<ChannelTarget>,
        at: Timestamp,
        by: Principal,
    ) -> Self {
        Self { channel, to, reason: String::new(), at, by }
    }

    /// Says why.
    #[must_use]
    pub fn with_reason(mut self, reason: impl Into<String>) -> Self {
        self.reason = reason.into();
        self
    }
}
