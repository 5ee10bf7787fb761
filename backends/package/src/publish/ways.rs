//! Which ways lead a host to a version, and what each costs.
use super::Publication;
use crate::part::{Part, PartUse};
use deploy_core::digest::Digest;
use std::{collections::BTreeSet, fmt};

/// What a file system gives out at a time, in bytes, as good as everywhere: what a file takes is rounded up to it.
const CLUSTER: u64 = 4_096;

/// What a host has already, and what it wants.
#[derive(Clone, Debug, Default)]
pub struct Holdings {
    trees: BTreeSet<Digest>,
    parts: BTreeSet<Digest>,
    shares_blocks: bool,
    wants_archive: bool,
}

impl Holdings {
    /// Nothing, and only the tree is wanted.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// And the tree whose manifest has the digest `manifest`.
    #[must_use]
    pub fn with_tree(mut self, manifest: Digest) -> Self {
        self.trees.insert(manifest);
        self
    }

    /// And all of the part with the digest `part`.
    #[must_use]
    pub fn with_part(mut self, part: Digest) -> Self {
        self.parts.insert(part);
        self
    }

    /// Files that did not change take no room: its file system clones them, or they are linked.
    #[must_use]
    pub const fn sharing_blocks(mut self) -> Self {
        self.shares_blocks = true;
        self
    }

    /// The archive is wanted too, for a descriptor that installs it by itself.
    #[must_use]
    pub const fn wanting_archive(mut self) -> Self {
        self.wants_archive = true;
        self
    }
}

/// What a way goes by. The first of these is the one that asks least of a host, should two cost the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum WayKind {
    /// The whole archive.
    Archive,
    /// The index, and the packs with the chunks that are not there.
    Chunks,
    /// Patches against an earlier version.
    Delta,
}

impl WayKind {
    /// A stable, lower-case name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Archive => "archive",
            Self::Chunks => "chunks",
            Self::Delta => "delta",
        }
    }
}

impl fmt::Display for WayKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One way to a version.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Way {
    /// What it goes by.
    pub kind: WayKind,
    /// The digest of the manifest of the tree that it builds upon.
    pub from: Option<Digest>,
    /// What has to be fetched.
    pub parts: Vec<PartUse>,
    /// What it takes.
    pub needs: Needs,
}

impl Way {
    /// Whether all of each of its parts is needed: then they can be fetched as whole files.
    #[must_use]
    pub fn takes_whole_parts(&self) -> bool {
        self.parts.iter().all(|it| it.bytes() == it.part.size)
    }
}

/// What a way takes on the host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Needs {
    /// How many bytes are fetched.
    pub download: u64,
    /// How many bytes the new tree takes on disk.
    pub unpacked: u64,
    /// How many bytes are needed beside these for a while.
    pub scratch: u64,
    /// How many inodes.
    pub inodes: u64,
}

/// What a file system has left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "these are what a file system runs out of")]
pub struct Free {
    /// Bytes that may be used.
    pub bytes: u64,
    /// Inodes that may be used.
    pub inodes: u64,
}

/// By how much a file system is too full.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the file system is short of {bytes} bytes and {inodes} inodes; make room, or let the cache keep less"
)]
#[non_exhaustive]
pub struct Shortfall {
    /// Bytes that are missing.
    pub bytes: u64,
    /// Inodes that are missing.
    pub inodes: u64,
}

impl Needs {
    /// All bytes at once, at the worst moment.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.download.saturating_add(self.unpacked).saturating_add(self.scratch)
    }

    /// Whether there is room for all of it, with `reserve` left.
    ///
    /// # Errors
    /// Exactly what is missing.
    pub const fn check(&self, free: Free, reserve: Free) -> Result<(), Shortfall> {
        let bytes = self.bytes().saturating_add(reserve.bytes).saturating_sub(free.bytes);
        let inodes = self.inodes.saturating_add(reserve.inodes).saturating_sub(free.inodes);
        if bytes == 0 && inodes == 0 { Ok(()) } else { Err(Shortfall { bytes, inodes }) }
    }
}

/// All ways that lead a host with `holdings` to the version of `publication`, the cheapest first. There is always one at least.
#[must_use]
pub fn ways(publication: &Publication, holdings: &Holdings) -> Vec<Way> {
    let view = View { publication, holdings };
    let mut ways = vec![view.way(WayKind::Archive, None, vec![whole(publication.archive())], 0)];
    let framing = match (holdings.wants_archive, publication.framing()) {
        (false, _) => Some(None),
        (true, framing) => framing.map(Some),
    };
    if let Some(framing) = framing {
        let framing = framing.map(whole);
        let index = whole(publication.index());
        let chunks = |packs: &[PartUse]| {
            framing.iter().chain([&index]).chain(packs).cloned().collect::<Vec<_>>()
        };
        ways.push(view.way(WayKind::Chunks, None, chunks(publication.fresh()), 0));
        let known = publication.upgrades().iter().filter(|it| holdings.trees.contains(&it.from));
        for upgrade in known {
            let from = Some(upgrade.from);
            let kept = upgrade.unchanged;
            ways.push(view.way(WayKind::Chunks, from, chunks(&upgrade.chunks), kept));
            let patches = framing.iter().cloned().chain([whole(&upgrade.delta)]).collect();
            ways.push(view.way(WayKind::Delta, from, patches, kept));
        }
    }
    ways.sort_by_key(|it| (it.needs.download, it.kind));
    ways
}

fn whole(part: &Part) -> PartUse {
    PartUse::all(*part)
}

struct View<'a> {
    publication: &'a Publication,
    holdings: &'a Holdings,
}

impl View<'_> {
    fn way(
        &self,
        kind: WayKind,
        from: Option<Digest>,
        mut parts: Vec<PartUse>,
        unchanged: u64,
    ) -> Way {
        parts.retain(|it| !self.holdings.parts.contains(&it.part.digest));
        let totals = self.publication.totals();
        let kept = if self.holdings.shares_blocks { unchanged } else { 0 };
        let rebuilt = self.holdings.wants_archive && kind != WayKind::Archive;
        let needs = Needs {
            download: parts.iter().map(PartUse::bytes).fold(0, u64::saturating_add),
            // At worst a cluster more for each, and one for what its folder says of it.
            unpacked: totals
                .unpacked
                .saturating_sub(kept)
                .saturating_add(totals.inodes.saturating_mul(2 * CLUSTER)),
            scratch: if rebuilt { self.publication.archive().size } else { 0 },
            inodes: totals.inodes.saturating_add(parts.len() as u64 + u64::from(rebuilt) + 1),
        };
        Way { kind, from, parts, needs }
    }
}
