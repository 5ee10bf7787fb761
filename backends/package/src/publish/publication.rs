//! The list of a version's parts.
use crate::{
    Fault, PackageError,
    manifest::Totals,
    part::{Part, PartUse},
};
use deploy_core::digest::Digest;
use serde::{Deserialize, Serialize};

/// The format of publications that is written, and the newest that is read.
const FORMAT: u32 = 1;
/// How long a publication may be, in bytes.
const LONGEST: usize = 16 << 20;

/// The parts of a version, and which of them lead to it from which earlier one.
///
/// The publisher has not signed it. Whoever changes it can waste bandwidth, and nothing else: what comes of the parts is compared
/// with the manifest, and the manifest with the order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Publication {
    format: u32,
    totals: Totals,
    manifest: Part,
    archive: Part,
    framing: Option<Part>,
    index: Part,
    fresh: Vec<PartUse>,
    upgrades: Vec<Upgrade>,
}

/// How a host gets to the version that has an earlier one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Upgrade {
    /// The digest of the earlier version's manifest.
    pub from: Digest,
    /// How many bytes of the new tree are in files that the old one has as well.
    pub unchanged: u64,
    /// What of which packs the earlier version does not have.
    pub chunks: Vec<PartUse>,
    /// The patches.
    pub delta: Part,
}

/// What a publication is made of.
pub(super) struct Parts {
    pub(super) totals: Totals,
    pub(super) manifest: Part,
    pub(super) archive: Part,
    pub(super) framing: Option<Part>,
    pub(super) index: Part,
    pub(super) fresh: Vec<PartUse>,
    pub(super) upgrades: Vec<Upgrade>,
}

impl Publication {
    pub(super) fn new(parts: Parts) -> Self {
        let Parts { totals, manifest, archive, framing, index, fresh, upgrades } = parts;
        Self { format: FORMAT, totals, manifest, archive, framing, index, fresh, upgrades }
    }

    /// What the tree comes to.
    #[must_use]
    pub const fn totals(&self) -> Totals {
        self.totals
    }

    /// The manifest, as the part it can be fetched as.
    #[must_use]
    pub const fn manifest(&self) -> &Part {
        &self.manifest
    }

    /// The archive.
    #[must_use]
    pub const fn archive(&self) -> &Part {
        &self.archive
    }

    /// The framing of its tar; `None` where the archive cannot be made again from parts, and travels whole where it is needed.
    #[must_use]
    pub const fn framing(&self) -> Option<&Part> {
        self.framing.as_ref()
    }

    /// The index of its chunks.
    #[must_use]
    pub const fn index(&self) -> &Part {
        &self.index
    }

    /// What of which packs a host needs that has nothing.
    #[must_use]
    pub fn fresh(&self) -> &[PartUse] {
        &self.fresh
    }

    /// From which earlier versions there is a shorter way.
    #[must_use]
    pub fn upgrades(&self) -> &[Upgrade] {
        &self.upgrades
    }

    /// All parts that were made of it, as often as they are named: everything but the archive.
    pub fn parts(&self) -> impl Iterator<Item = Part> {
        let alone = [Some(self.manifest), self.framing, Some(self.index)];
        let packs = self.fresh.iter().chain(self.upgrades.iter().flat_map(|it| &it.chunks));
        let deltas = self.upgrades.iter().map(|it| it.delta);
        alone.into_iter().flatten().chain(packs.map(|it| it.part)).chain(deltas)
    }

    /// As a JSON document.
    ///
    /// # Errors
    /// If memory is short.
    pub fn to_bytes(&self) -> Result<Vec<u8>, PackageError> {
        serde_json::to_vec(self).map_err(PackageError::unwritable)
    }

    /// Reads what [`to_bytes`](Self::to_bytes) wrote.
    ///
    /// # Errors
    /// If it is none, of a newer format, or names blocks that its parts do not have.
    pub fn parse(bytes: &[u8]) -> Result<Self, PackageError> {
        let malformed = |detail: String| PackageError::malformed(Fault::Publication, detail);
        if bytes.len() > LONGEST {
            return Err(malformed(format!("it has more than {LONGEST} bytes")));
        }
        let read: Self = serde_json::from_slice(bytes).map_err(|err| malformed(err.to_string()))?;
        if read.format != FORMAT {
            let detail = format!("its format is {}, and only {FORMAT} is known", read.format);
            return Err(malformed(detail));
        }
        let mut uses = read.fresh.iter().chain(read.upgrades.iter().flat_map(|it| &it.chunks));
        if uses.all(|it| it.blocks.are_of(it.part.size)) {
            return Ok(read);
        }
        Err(malformed("it names blocks that a part does not have".to_owned()))
    }
}
