use super::{ParcelError, tar};
use deploy_core::{
    backend::{ArtifactKind, ArtifactMeta},
    digest::Digest,
    id::{ReleaseId, RepositoryName, ServiceName, Version},
    spec::{ParameterName, Signed},
};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// What the layout of a parcel is called.
pub(super) const FORMAT: u32 = 1;

/// The largest index, in bytes: some ten thousand versions.
pub(super) const LARGEST: u64 = 4 << 20;

/// What is in a parcel, and in which order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct ParcelIndex {
    /// Which layout this is.
    pub format: u32,
    /// Versions, and the artifacts that they are.
    pub entries: Vec<ParcelEntry>,
    /// Releases, which consist of them.
    pub releases: Vec<ParcelRelease>,
}

/// A version, and the artifact that it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(clippy::exhaustive_structs, reason = "another field is another format")]
pub struct ParcelEntry {
    /// Where it is listed.
    pub repository: RepositoryName,
    /// What it is for.
    pub kind: ArtifactKind,
    /// Which version.
    pub version: Version,
    /// What it is.
    pub digest: Digest,
    /// How many bytes that has.
    pub size: u64,
}

/// A release, to be made where the parcel goes to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(clippy::exhaustive_structs, reason = "another field is another format")]
pub struct ParcelRelease {
    /// Its name.
    pub id: ReleaseId,
    /// Of which service.
    pub service: ServiceName,
    /// The version people know it by.
    pub version: Version,
    /// What runs.
    pub package: Digest,
    /// How it is put on hosts.
    pub descriptor: Digest,
    /// What scripts see as `P_<NAME>`.
    pub parameters: BTreeMap<ParameterName, String>,
    /// Where it came from.
    pub provenance: String,
    /// What its publishers have said of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signed: Option<Signed>,
}

/// What every format has.
#[derive(Deserialize)]
struct Head {
    format: u32,
}

impl ParcelIndex {
    /// These versions, and these releases of them.
    #[must_use]
    pub const fn new(entries: Vec<ParcelEntry>, releases: Vec<ParcelRelease>) -> Self {
        Self { format: FORMAT, entries, releases }
    }

    /// The artifacts, each once, in the order in which they lie.
    #[must_use]
    pub fn artifacts(&self) -> Vec<ArtifactMeta> {
        let mut seen = BTreeSet::new();
        let new = self.entries.iter().filter(|it| seen.insert(it.digest));
        new.map(|it| ArtifactMeta::new(it.digest, it.size)).collect()
    }

    pub(super) fn encode(&self) -> Result<Vec<u8>, ParcelError> {
        self.check()?;
        let bytes = serde_json::to_vec_pretty(self).map_err(std::io::Error::from)?;
        if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > LARGEST {
            let what =
                format!("its index would have more than {LARGEST} bytes: export fewer versions");
            return Err(ParcelError::TooLarge { what });
        }
        Ok(bytes)
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, ParcelError> {
        let head: Head = serde_json::from_slice(bytes)
            .map_err(|err| ParcelError::foreign(format!("its index says no format: {err}")))?;
        if head.format > FORMAT {
            return Err(ParcelError::TooNew { found: head.format, known: FORMAT });
        }
        let index: Self = serde_json::from_slice(bytes)
            .map_err(|err| ParcelError::damaged(format!("its index cannot be read: {err}")))?;
        index.check()?;
        Ok(index)
    }

    /// Whether it contradicts itself.
    fn check(&self) -> Result<(), ParcelError> {
        let (mut sizes, mut versions) = (BTreeMap::new(), BTreeSet::new());
        for it in &self.entries {
            let (repository, kind, version) = (&it.repository, it.kind.as_str(), &it.version);
            if it.size > tar::LARGEST_FILE {
                let what = format!(
                    "{kind} {repository} {version} has {} bytes, and a file of an export may have {}",
                    it.size,
                    tar::LARGEST_FILE
                );
                return Err(ParcelError::TooLarge { what });
            }
            if *sizes.entry(it.digest).or_insert(it.size) != it.size {
                let what = format!("its index gives {} two sizes", it.digest);
                return Err(ParcelError::damaged(what));
            }
            if !versions.insert((repository, it.kind, version)) {
                let what = format!("its index has {kind} {repository} {version} twice");
                return Err(ParcelError::damaged(what));
            }
        }
        let parts = self.releases.iter().flat_map(|it| [(it, it.package), (it, it.descriptor)]);
        for (release, part) in parts {
            if !sizes.contains_key(&part) {
                let what = format!("release {} consists of {part}, which is not in it", release.id);
                return Err(ParcelError::damaged(what));
            }
        }
        Ok(())
    }
}
