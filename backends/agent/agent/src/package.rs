//! A package that comes as a tree: what the agent has fetched for it, and how a step's process puts it together.
//!
//! The agent chooses the way and fetches; the process of the step that installs, as the service's own account, writes the tree. So nothing
//! but that account writes into its folders, and what it writes counts against the step's time and stands in its log.
use crate::disk::{Disk, NOTHING};
use deploy_core::{digest::Digest, id::ReleaseId};
use deploy_package::{
    Manifest, PackageError, PartUse,
    archive::Limits,
    chunks::{Index, Packs},
    delta::Delta,
    install::{self, NewTree, Previous},
    publish::Needs,
};
use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

/// What a release's folder says of what was installed there, beside the mark that it is whole.
const MANIFEST: &str = ".deploy-manifest";
const COMPLETE: &str = ".complete";
/// Where in the work folder of an attempt a tree's parts lie.
const FOLDER: &str = "package";
const PLAN: &str = "tree.json";
/// Beside them: how many bytes and inodes it takes.
const NEEDS: &str = "needs";

/// By which way a tree comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum By {
    /// Its archive.
    Archive,
    /// Chunks, in packs.
    Chunks,
    /// Patches against the tree of another release.
    Delta,
    /// Nothing: another release has the very same.
    Same,
}

/// A tree that is to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PackageTree {
    pub(crate) by: By,
    /// The digest of its manifest.
    pub(crate) manifest: Digest,
    /// How many bytes of files it has at most.
    pub(crate) unpacked: u64,
    /// The release whose tree it builds upon.
    pub(crate) from: Option<ReleaseId>,
    /// What is fetched for it.
    pub(crate) parts: Vec<PartUse>,
}

impl PackageTree {
    /// Whether a tree is to be put together of what lies in the work folder `work`.
    pub(crate) fn is_in(work: &Path) -> bool {
        work.join(FOLDER).is_dir()
    }

    /// Where in the folder of a service the tree of `release` is before a script installs it.
    pub(crate) fn name(release: &str) -> String {
        format!(".tree.{release}")
    }

    /// Lays the plan and the parts, which are in `files`, into the work folder, for everybody who may look into that.
    pub(crate) fn write(&self, work: &Path, files: &[PathBuf], needs: Needs) -> io::Result<()> {
        let folder = work.join(FOLDER);
        crate::folder::make(&folder, 0o755)?;
        for (number, file) in files.iter().enumerate() {
            let part = folder.join(number.to_string());
            fs::hard_link(file, &part)?;
            fs::set_permissions(&part, fs::Permissions::from_mode(0o644))?;
        }
        let takes = needs.unpacked.saturating_add(needs.scratch);
        fs::write(folder.join(NEEDS), format!("{takes} {}", needs.inodes))?;
        let plan = folder.join(PLAN);
        fs::write(&plan, serde_json::to_vec(self)?)?;
        fs::set_permissions(&plan, fs::Permissions::from_mode(0o644))
    }

    /// Removes what [`write`](Self::write) has laid there.
    pub(crate) fn remove(work: &Path) -> io::Result<()> {
        fs::remove_dir_all(work.join(FOLDER))
    }

    /// Puts the tree together that the work folder `work` has the parts of, in the folder `releases`, unless the release is
    /// there already and whole.
    pub(crate) fn install(work: &Path, releases: &Path, release: &ReleaseId) -> io::Result<()> {
        let folder = work.join(FOLDER);
        let tree: Self = serde_json::from_slice(&fs::read(folder.join(PLAN))?)?;
        if is_whole(releases, release) {
            return tree.is_that_of(releases, release);
        }
        match fs::create_dir(releases) {
            Err(err) if err.kind() != io::ErrorKind::AlreadyExists => return Err(err),
            _ => {}
        }
        let name = Self::name(release.as_str());
        let made = tree.make(&folder, releases, &name).map_err(not_made)?;
        write_manifest(&releases.join(name), &made.to_bytes().map_err(not_made)?)
    }

    /// What the disk is short of for the tree of `release`, where that could not be put together of what lies in the work folder `work`.
    pub(crate) fn lacking(work: &Path, releases: &Path, release: &ReleaseId) -> Option<String> {
        let made = releases.join(Self::name(release.as_str())).join(MANIFEST);
        if is_whole(releases, release) || made.exists() {
            return None;
        }
        let text = fs::read_to_string(work.join(FOLDER).join(NEEDS)).ok()?;
        let (bytes, inodes) = text.split_once(' ')?;
        let mut needs = Needs::default();
        (needs.unpacked, needs.inodes) = (bytes.parse().ok()?, inodes.parse().ok()?);
        Disk::of(releases).ok()?.check(needs, NOTHING).err()
    }

    /// Whether a release that is there is this one. One that says nothing of itself was installed by a script.
    fn is_that_of(&self, releases: &Path, release: &ReleaseId) -> io::Result<()> {
        match installed(releases, release) {
            Some(there) if there != self.manifest => {
                let message = format!(
                    "release `{release}` is there already, with another package: give the new one another name, or remove it there"
                );
                Err(io::Error::new(io::ErrorKind::AlreadyExists, message))
            }
            _ => Ok(()),
        }
    }

    fn make(&self, folder: &Path, releases: &Path, name: &str) -> Result<Manifest, PackageError> {
        let new = NewTree::begin(releases, name)?;
        let previous = self.from.as_ref().map(|it| previous(releases, it)).transpose()?;
        let part = |number: usize| folder.join(number.to_string());
        let limits = Limits::PACKAGE;
        match (self.by, &previous) {
            (By::Archive, _) => {
                let archive =
                    File::open(part(0)).map_err(|err| io_error("opening the package", err))?;
                let limits = limits.with_unpacked_bytes(self.unpacked.min(limits.unpacked_bytes));
                install::unpack_by_digest(archive, limits, self.manifest, new)
            }
            (By::Chunks, previous) => {
                let bytes = fs::read(part(0)).map_err(|err| io_error("reading the index", err))?;
                let index = Index::parse(&bytes, limits)?;
                let packs = self.parts.iter().enumerate().skip(1);
                let packs =
                    packs.fold(Packs::new(), |all, (at, it)| all.with(part(at), it.clone()));
                index.install(self.manifest, &packs, previous.as_ref(), new)?;
                Ok(index.manifest().clone())
            }
            (By::Delta, Some(previous)) => {
                let delta = Delta::open(part(0), previous.manifest(), limits)?;
                delta.install(self.manifest, previous, new)?;
                Ok(delta.manifest().clone())
            }
            (By::Same, Some(previous)) => {
                install::again(self.manifest, previous, new)?;
                Ok(previous.manifest().clone())
            }
            (By::Delta | By::Same, None) => {
                let missing = io::Error::new(io::ErrorKind::InvalidData, "no release is named");
                Err(io_error("building upon another release", missing))
            }
        }
    }
}

/// Whether a release is installed, and whole.
pub(crate) fn is_whole(releases: &Path, release: &ReleaseId) -> bool {
    releases.join(release.as_str()).join(COMPLETE).exists()
}

/// The digest of the manifest of an installed release, if it is whole and has one.
pub(crate) fn installed(releases: &Path, release: &ReleaseId) -> Option<Digest> {
    is_whole(releases, release).then_some(())?;
    Some(Digest::of(&read_manifest(&releases.join(release.as_str())).ok()?))
}

/// The tree of an installed release.
pub(crate) fn previous(releases: &Path, release: &ReleaseId) -> Result<Previous, PackageError> {
    let folder = releases.join(release.as_str());
    let bytes = read_manifest(&folder);
    let bytes =
        bytes.map_err(|err| io_error(&format!("reading the manifest of {release}"), err))?;
    Previous::open(&folder, Manifest::parse(&bytes, Limits::PACKAGE)?)
}

/// It is the service's account that may have written it: anything may be there.
fn read_manifest(release: &Path) -> io::Result<Vec<u8>> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(i32::try_from(flags.bits()).unwrap_or_default());
    let file = options.open(release.join(MANIFEST))?;
    let longest = Manifest::LONGEST as u64;
    let meta = file.metadata()?;
    if !meta.is_file() || meta.len() > longest {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it is no manifest"));
    }
    let mut bytes = Vec::new();
    file.take(longest).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// A package that has a file of that name keeps it: then nothing can be built upon the release, and that is all.
fn write_manifest(tree: &Path, bytes: &[u8]) -> io::Result<()> {
    match OpenOptions::new().write(true).create_new(true).mode(0o644).open(tree.join(MANIFEST)) {
        Err(err) if err.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        opened => opened?.write_all(bytes),
    }
}

fn io_error(action: &str, source: io::Error) -> PackageError {
    PackageError::Io { action: action.to_owned(), source }
}

fn not_made(err: PackageError) -> io::Error {
    let code = err.code();
    let err = match err {
        PackageError::Io { action, source } => format!("{action} failed: {source}"),
        other => other.to_string(),
    };
    io::Error::other(format!("the package cannot be put together ({code}): {err}"))
}
