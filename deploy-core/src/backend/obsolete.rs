use super::{ChannelKey, Holder, Revision};
use crate::{digest::Digest, id::ReleaseId};
use std::collections::{BTreeMap, BTreeSet};

/// Holds that are still there, and count no more.
///
/// Whoever holds an artifact does so before saying what for, so that a crash in between leaves a hold too many and never one too
/// few. What is too many is found by comparing holds with what releases and channels are.
///
/// ```
/// use deploy_core::{backend::{Holder, ObsoleteHolds}, digest::Digest};
///
/// let obsolete = ObsoleteHolds::default().with_releases(["web-1".parse()?].into());
/// let digest = Digest::of(b"bytes");
/// assert!(obsolete.covers(&digest, &Holder::Release("web-1".parse()?)));
/// assert!(!obsolete.covers(&digest, &Holder::Release("web-2".parse()?)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ObsoleteHolds {
    /// Releases that hold nothing any more.
    pub releases: BTreeSet<ReleaseId>,
    /// What channels are at, and lead to.
    pub channels: BTreeMap<ChannelKey, (Revision, Option<Digest>)>,
}

impl ObsoleteHolds {
    /// With these releases holding nothing.
    #[must_use]
    pub fn with_releases(mut self, releases: BTreeSet<ReleaseId>) -> Self {
        self.releases = releases;
        self
    }

    /// With these channels holding what they lead to, and nothing that they led to before.
    #[must_use]
    pub fn with_channels(
        mut self,
        channels: BTreeMap<ChannelKey, (Revision, Option<Digest>)>,
    ) -> Self {
        self.channels = channels;
        self
    }

    /// Whether this hold of `digest` counts no more. A move of a channel that is not made yet does count: it holds what it is going to
    /// lead to.
    #[must_use]
    pub fn covers(&self, digest: &Digest, holder: &Holder) -> bool {
        match holder {
            Holder::Channel(key, moved) => self.channels.get(key).is_some_and(|(now, to)| {
                moved < now || (moved == now && to.as_ref() != Some(digest))
            }),
            Holder::Pin(_) => false,
            Holder::Release(id) => self.releases.contains(id),
        }
    }
}
