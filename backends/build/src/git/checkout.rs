//! One commit, written out so that it is the same wherever that is done.
use super::{Git, Mirror, mirror::failed};
use crate::{
    clear::clear,
    ended::{Ended, internal},
};
use deploy_core::{
    backend::{BuildFailure, BuildFault},
    spec::CommitId,
};
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Timespec, Timestamps, openat, utimensat};
use std::{
    ffi::{OsStr, OsString},
    fs::{self, File},
    io,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

/// How many files and how many bytes a commit may have.
const MOST_FILES: u64 = 500_000;
const MOST_BYTES: u64 = 16 << 30;
/// How much is read of the list of a commit's files: enough for as many as there may be.
const LISTING: usize = 16 << 20;

/// A commit, written out.
#[derive(Debug)]
pub(crate) struct Checkout {
    /// When it was made, in seconds since 1970.
    pub(crate) committed_at: u64,
    /// Whether it names other repositories, whose files are not there.
    pub(crate) has_submodules: bool,
}

impl Mirror<'_> {
    /// Writes `commit` into the empty folder `into`. Where the copy does not have all of it, although it should, it is fetched anew once.
    pub(crate) async fn check_out(
        &self,
        git: &Git<'_>,
        commit: &CommitId,
        into: &Path,
    ) -> Result<Checkout, Ended> {
        match self.write_out(git, commit, into).await {
            Err(Ended::Failed(failure))
                if failure.fault == BuildFault::SourceUnavailable && !git.is_late() => {}
            done => return done,
        }
        self.renew(git).await?;
        clear(into)?;
        fs::create_dir(into)?;
        let revision = commit.as_str().parse().map_err(internal)?;
        self.resolve(git, &revision).await?;
        self.write_out(git, commit, into).await
    }

    async fn write_out(
        &self,
        git: &Git<'_>,
        commit: &CommitId,
        into: &Path,
    ) -> Result<Checkout, Ended> {
        let has_submodules = self.measure(git, commit).await?;
        let when = git
            .ask(
                &self.folder,
                &[
                    "show",
                    "--no-patch",
                    "--no-show-signature",
                    "--format=%ct",
                    commit.as_str(),
                    "--",
                ],
            )
            .await?;
        let index = self.keys.join("index");
        let environment: Vec<(OsString, OsString)> =
            vec![("GIT_INDEX_FILE".into(), index.into()), ("GIT_WORK_TREE".into(), into.into())];
        for arguments in [
            &["read-tree", "--no-recurse-submodules", commit.as_str()][..],
            &["checkout-index", "--all", "--force", "--quiet"],
        ] {
            let done = git.call(&self.folder, &[], environment.clone(), arguments).await?;
            if !done.status.success() {
                let what = format!("commit {} cannot be written out", commit.short());
                return Err(failed(&what, &done.said));
            }
        }
        let committed_at = when.and_then(|it| it.parse().ok()).unwrap_or(0);
        let source = into.to_owned();
        let dated = tokio::task::spawn_blocking(move || date(&source, committed_at)).await;
        dated.map_err(internal)??;
        Ok(Checkout { committed_at, has_submodules })
    }

    /// Refuses a commit that is too large before any of it is written; says whether it names other repositories.
    async fn measure(&self, git: &Git<'_>, commit: &CommitId) -> Result<bool, Ended> {
        let arguments = ["ls-tree", "-r", "--format=%(objectmode) %(objectsize)", commit.as_str()];
        let listed = git.list(&self.folder, &arguments, LISTING).await?;
        let tree = Measured::of(&listed);
        if listed.len() >= LISTING || tree.files > MOST_FILES || tree.bytes > MOST_BYTES {
            let message =
                format!("commit {} has more than {MOST_FILES} files or 16 GiB", commit.short());
            return Err(BuildFailure::new(BuildFault::SourceRefused, message).into());
        }
        Ok(tree.modules > 0)
    }
}

/// Gives the folder and all that is in it the time `at`, in seconds since 1970: tools compare times, and archivers write them down.
fn date(folder: &Path, at: u64) -> io::Result<()> {
    // Below the open folder a path may be as long as any that git writes.
    let top = File::open(folder)?;
    let at = Timespec { tv_sec: i64::try_from(at).unwrap_or(0), tv_nsec: 0 };
    let times = Timestamps { last_access: at, last_modification: at };
    let mut left = vec![PathBuf::from(".")];
    while let Some(folder) = left.pop() {
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        for entry in Dir::new(openat(&top, &folder, flags, Mode::empty())?)? {
            let entry = entry?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            let path = folder.join(OsStr::from_bytes(name.to_bytes()));
            if entry.file_type() == FileType::Directory {
                left.push(path);
            } else {
                utimensat(&top, &path, &times, AtFlags::SYMLINK_NOFOLLOW)?;
            }
        }
        utimensat(&top, &folder, &times, AtFlags::SYMLINK_NOFOLLOW)?;
    }
    Ok(())
}

/// How large a commit is.
#[derive(Debug, Default, PartialEq, Eq)]
struct Measured {
    files: u64,
    bytes: u64,
    modules: u64,
}

impl Measured {
    /// From lines of a mode and a size.
    fn of(listed: &[u8]) -> Self {
        let mut tree = Self::default();
        for line in String::from_utf8_lossy(listed).lines() {
            match line.split_once(' ') {
                Some(("160000", _)) => tree.modules += 1,
                Some((_, size)) => {
                    tree.files += 1;
                    tree.bytes = tree.bytes.saturating_add(size.trim().parse().unwrap_or(0));
                }
                None => {}
            }
        }
        tree
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listing_is_added_up() {
        let listed = b"100644 12\n120000 3\n160000 -\n100755 1000\n";
        assert_eq!(Measured::of(listed), Measured { files: 3, bytes: 1_015, modules: 1 });
        assert_eq!(Measured::of(b"100644 18446744073709551615\n100644 9\n").bytes, u64::MAX);
        assert_eq!(Measured::of(b"\xff\n\n"), Measured::default());
    }
}
