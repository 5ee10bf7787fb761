//! Which way a package comes to this host, and what has to be fetched for it.
use super::{
    Host,
    answers::{failing, refused},
};
use crate::{
    FetchArtifact,
    disk::{Disk, shares_blocks},
    package::{self, By, PackageTree},
    spec::{Artifact, DeliverySpec, Place},
};
use deploy_agent_protocol::v1::{Refusal, Refused};
use deploy_core::{digest::Digest, id::ReleaseId, telemetry::TARGET_BACKEND};
use deploy_package::{
    PackageError, Publication,
    install::Previous,
    publish::{Free, Holdings, Needs, Way, WayKind, ways},
};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};
use tokio::task::spawn_blocking;

/// What a file takes on a disk beside its bytes, at most.
const CLUSTER: u64 = 8 << 10;
/// How many installed releases are looked at.
const MOST_RELEASES: usize = 64;

/// Whether an installed release is read before anything is built upon it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trees {
    /// It is taken for what was installed: a question is answered by that.
    Believed,
    /// It is read, and compared with its manifest.
    Verified,
}

impl Trees {
    fn check(self, tree: &Previous) -> Result<(), PackageError> {
        match self {
            Self::Believed => Ok(()),
            Self::Verified => tree.verify(),
        }
    }
}

/// How a package comes to this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Package {
    /// Whole, for a script that unpacks it.
    Archive(Artifact),
    /// As a tree, which needs so much.
    Tree(PackageTree, Needs),
}

impl Package {
    /// What is fetched for it.
    pub(super) fn artifacts(&self) -> Vec<Artifact> {
        match self {
            Self::Archive(archive) => vec![*archive],
            Self::Tree(tree, _) => tree.parts.iter().map(|it| Artifact::from(it.part)).collect(),
        }
    }
}

impl Host {
    /// Chooses the way for a package. What keeps it from coming as a tree does not keep it from coming. `release` is what it is to be, if
    /// that is known.
    pub(super) async fn way(
        &self,
        place: &Place,
        release: Option<&ReleaseId>,
        package: Artifact,
        delivery: Option<&DeliverySpec>,
        trees: Trees,
        from: &dyn FetchArtifact,
    ) -> Package {
        let Some(delivery) = delivery.filter(|it| it.package == package.digest) else {
            return Package::Archive(package);
        };
        match self.tree(place, release, delivery, trees, from).await {
            Ok((tree, needs)) => Package::Tree(tree, needs),
            Err(why) => {
                tracing::warn!(
                    target: TARGET_BACKEND,
                    { service = %place.service, reason = why }, "a package is fetched whole"
                );
                Package::Archive(package)
            }
        }
    }

    async fn tree(
        &self,
        place: &Place,
        release: Option<&ReleaseId>,
        delivery: &DeliverySpec,
        trees: Trees,
        from: &dyn FetchArtifact,
    ) -> Result<(PackageTree, Needs), String> {
        let releases = place.releases();
        let (folder, manifest, own) = (releases.clone(), delivery.manifest, release.cloned());
        let looked = spawn_blocking(move || {
            let installed = installed(&folder);
            let same = same(&folder, &installed, manifest, own.as_ref(), trees);
            (installed, same)
        });
        let (installed, same) = looked.await.map_err(|err| err.to_string())?;
        if let Some((from, needs)) = same {
            let (by, parts, unpacked) = (By::Same, Vec::new(), needs.unpacked);
            return Ok((PackageTree { by, manifest, unpacked, from: Some(from), parts }, needs));
        }
        let list = self.cache.get(delivery.publication, from).await;
        let list = list.map_err(|err| err.to_string())?;
        let (package, manifest) = (delivery.package, delivery.manifest);
        let chosen = spawn_blocking(move || {
            let publication = fs::read(list).map_err(|err| err.to_string())?;
            let publication = Publication::parse(&publication).map_err(|err| err.to_string())?;
            if publication.archive().digest != package || publication.manifest().digest != manifest
            {
                return Err("the list of its parts is that of another package".to_owned());
            }
            choose(&publication, &releases, installed, trees)
        });
        chosen.await.map_err(|err| err.to_string())?
    }

    /// Whether there is room for what these take: on the file system of the cache, and on that of the service.
    pub(super) fn has_room_for(
        &self,
        place: &Place,
        packages: &[&Package],
        missing: u64,
    ) -> Result<(), Refused> {
        self.takes(place, packages, missing)?.iter().try_for_each(Taken::enough)
    }

    /// What these take of the file system of the cache, and of that of the service: of one, if that is the same.
    pub(super) fn takes(
        &self,
        place: &Place,
        packages: &[&Package],
        missing: u64,
    ) -> Result<Vec<Taken>, Refused> {
        let mut there = Needs::default();
        for package in packages {
            if let Package::Tree(_, needs) = package {
                there.unpacked = there.unpacked.saturating_add(needs.unpacked);
                there.scratch = there.scratch.max(needs.scratch);
                there.inodes = there.inodes.saturating_add(needs.inodes);
            }
        }
        let mut here = Needs::default();
        here.download = missing;
        let (state, deploy_path) = (&*self.options.state, Path::new(place.deploy_path.as_str()));
        let (disk, service) =
            (Disk::of(state).map_err(failing)?, Disk::of(deploy_path).map_err(failing)?);
        let reserve = self.options.policy.reserve();
        let taken = |folder: &Path, disk: Disk, needs| {
            let (reserve, folder) = (disk.kept(reserve, needs), folder.to_owned());
            Taken { folder, disk, needs, reserve }
        };
        // It is made once something is fetched.
        let made = self.cache.spare(missing).map_err(failing)?;
        if disk.is_same(&service) {
            there.download = missing;
            return Ok(vec![taken(deploy_path, service.with(made), there)]);
        }
        Ok(vec![taken(state, disk.with(made), here), taken(deploy_path, service, there)])
    }

    /// Why there is no room: what is lacking now for what these take, where a disk was found to be full.
    pub(super) fn lacking_for(
        &self,
        place: &Place,
        packages: &[&Package],
        wanted: &[Artifact],
        why: Refused,
    ) -> Refused {
        if why.code() != Refusal::NoSpace {
            return why;
        }
        let room = self.missing(wanted).and_then(|it| self.has_room_for(place, packages, it));
        room.err().filter(|it| it.code() == Refusal::NoSpace).unwrap_or(why)
    }
}

/// What is taken of a file system.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) folder: PathBuf,
    pub(super) disk: Disk,
    pub(super) needs: Needs,
    /// What stays free of it.
    pub(super) reserve: Free,
}

impl Taken {
    fn enough(&self) -> Result<(), Refused> {
        self.disk.check(self.needs, self.reserve).map_err(no_space)
    }
}

fn no_space(why: String) -> Refused {
    refused(Refusal::NoSpace, why, 0)
}

/// The releases of a service that are there, and the manifest of each.
fn installed(releases: &Path) -> BTreeMap<ReleaseId, Digest> {
    let entries = fs::read_dir(releases).into_iter().flatten();
    let names = entries.filter_map(|it| it.ok()?.file_name().to_str()?.parse().ok());
    names
        .take(MOST_RELEASES)
        .filter_map(|release: ReleaseId| {
            Some((release.clone(), package::installed(releases, &release)?))
        })
        .collect()
}

/// A release that has the very tree, and what it takes to have it once more: the one that is asked for, which takes nothing, or one of which
/// nothing was changed since. What a script installed says nothing of itself, and is there all the same.
fn same(
    releases: &Path,
    installed: &BTreeMap<ReleaseId, Digest>,
    manifest: Digest,
    own: Option<&ReleaseId>,
    trees: Trees,
) -> Option<(ReleaseId, Needs)> {
    let is_own = |it: &&ReleaseId| {
        package::is_whole(releases, it) && installed.get(*it).is_none_or(|it| *it == manifest)
    };
    if let Some(own) = own.filter(is_own) {
        return Some((own.clone(), Needs::default()));
    }
    let same = installed.iter().filter(|(_, it)| **it == manifest).map(|(release, _)| release);
    same.filter_map(|it| Some((it, package::previous(releases, it).ok()?)))
        .find(|(_, tree)| trees.check(tree).is_ok())
        .map(|(release, tree)| {
            let totals = tree.manifest().totals();
            let mut needs = Needs::default();
            let is_shared = shares_blocks(releases, [releases.join(release.as_str())].into_iter());
            let bytes = if is_shared { 0 } else { totals.unpacked };
            needs.unpacked = bytes.saturating_add(totals.inodes.saturating_mul(CLUSTER));
            needs.inodes = totals.inodes;
            (release.clone(), needs)
        })
}

/// The cheapest way that this host can go. A tree that somebody has changed is none to build upon.
fn choose(
    publication: &Publication,
    releases: &Path,
    mut installed: BTreeMap<ReleaseId, Digest>,
    trees: Trees,
) -> Result<(PackageTree, Needs), String> {
    let folders = installed.keys().map(|it| releases.join(it.as_str()));
    let is_shared = !installed.is_empty() && shares_blocks(releases, folders);
    let shared = || if is_shared { Holdings::new().sharing_blocks() } else { Holdings::new() };
    loop {
        let holdings = installed.values().fold(shared(), |all, it| all.with_tree(*it));
        let way = ways(publication, &holdings).into_iter().find(Way::takes_whole_parts);
        let way = way.ok_or("there is no way to it")?;
        let from = way.from.and_then(|it| {
            installed
                .iter()
                .find(|(_, manifest)| **manifest == it)
                .map(|(release, _)| release.clone())
        });
        if let Some(from) = &from
            && let Err(changed) = package::previous(releases, from).and_then(|it| trees.check(&it))
        {
            tracing::info!(
                target: TARGET_BACKEND,
                { release = %from, reason = %changed }, "nothing is built upon a release"
            );
            installed.remove(from);
            continue;
        }
        let by = match way.kind {
            WayKind::Chunks => By::Chunks,
            WayKind::Delta => By::Delta,
            _ => By::Archive,
        };
        let manifest = publication.manifest().digest;
        let unpacked = publication.totals().unpacked;
        return Ok((PackageTree { by, manifest, unpacked, from, parts: way.parts }, way.needs));
    }
}
