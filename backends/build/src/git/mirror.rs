//! The copy of a repository that is kept for a service, and what is written out of it.
use super::{Git, RemotePolicy, credential::Keys, policy::Refused};
use crate::{
    clear::clear,
    ended::{Ended, internal},
    secrets::Secret,
};
use deploy_core::{
    backend::{BuildFailure, BuildFault},
    spec::{CommitId, GitRemote, GitRevision, GitTransport},
};
use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions, TryLockError},
    io,
    net::IpAddr,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

/// How many files and how many bytes a commit may have.
const MOST_FILES: u64 = 500_000;
const MOST_BYTES: u64 = 16 << 30;
/// How much is read of the list of a commit's files: enough for as many as there may be.
const LISTING: usize = 16 << 20;

/// The copy of one repository.
#[derive(Debug)]
pub(crate) struct Mirror<'a> {
    /// Where it is.
    pub(crate) folder: PathBuf,
    pub(crate) remote: &'a GitRemote,
    pub(crate) policy: &'a RemotePolicy,
    pub(crate) secret: Option<&'a Secret>,
    pub(crate) known_hosts: &'a Path,
    /// A folder of this build alone, for what opens the repository.
    pub(crate) keys: &'a Path,
}

/// That a copy is this build's alone. Held for as long as it is worked on.
#[derive(Debug)]
pub(crate) struct MirrorLock(#[expect(dead_code, reason = "it is held, and that is all")] File);

/// A commit, written out.
#[derive(Debug)]
pub(crate) struct Checkout {
    /// When it was made, in seconds since 1970.
    pub(crate) committed_at: u64,
    /// Whether it names other repositories, whose files are not there.
    pub(crate) has_submodules: bool,
}

impl Mirror<'_> {
    /// Waits until no other build works on the copy, and takes away what a git that was killed has left in its own way.
    pub(crate) async fn lock(&self, git: &Git<'_>) -> Result<MirrorLock, Ended> {
        let path = self.folder.with_extension("lock");
        let file = OpenOptions::new().create(true).append(true).mode(0o600).open(path)?;
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) => git.halt.pause(git.deadline).await?,
                Err(TryLockError::Error(err)) => return Err(err.into()),
            }
        }
        sweep(&self.folder)?;
        Ok(MirrorLock(file))
    }

    /// Brings in what is new, and says which commit `revision` names: a tag, else a branch, else a commit.
    pub(crate) async fn resolve(
        &self,
        git: &Git<'_>,
        revision: &GitRevision,
    ) -> Result<CommitId, Ended> {
        let address = self.policy.admit(self.remote).await.map_err(|err| match err {
            Refused::ByPolicy(why) => BuildFailure::new(BuildFault::SourceRefused, why),
            Refused::Unknown(why) => BuildFailure::new(BuildFault::SourceUnavailable, why),
        })?;
        let was_there = self.prepare(git).await?;
        match self.find(git, revision, address).await {
            Err(Ended::Failed(_)) if was_there && self.is_damaged(git).await? => {
                self.renew(git).await?;
                self.find(git, revision, address).await
            }
            found => found,
        }
    }

    async fn find(
        &self,
        git: &Git<'_>,
        revision: &GitRevision,
        address: Option<IpAddr>,
    ) -> Result<CommitId, Ended> {
        // What a whole id names never changes.
        let known = match revision.as_str().parse::<CommitId>() {
            Ok(id) => self.commit(git, id.as_str()).await?,
            Err(_) => None,
        };
        if let Some(known) = known {
            return Ok(known);
        }
        self.fetch(git, address).await?;
        for name in candidates(revision.as_str()) {
            if let Some(commit) = self.commit(git, &name).await? {
                return Ok(commit);
            }
        }
        let message = format!("`{revision}` is no tag, no branch and no commit of {}", self.remote);
        Err(BuildFailure::new(BuildFault::RevisionUnknown, message).into())
    }

    /// Makes an empty copy, whole or not at all, unless there is one. Says whether there was.
    async fn prepare(&self, git: &Git<'_>) -> Result<bool, Ended> {
        if self.folder.exists() {
            return Ok(true);
        }
        let new = self.folder.with_extension("new");
        clear(&new)?;
        let made =
            git.call(&new, &[], Vec::new(), &["init", "--quiet", "--bare", "--template="]).await?;
        if made.status.success() {
            fs::rename(&new, &self.folder)?;
            return Ok(false);
        }
        Err(BuildFailure::new(
            BuildFault::Internal,
            format!("no copy of the repository can be kept: {}", last_line(&made.said)),
        )
        .into())
    }

    /// Whether something is missing in the copy itself.
    async fn is_damaged(&self, git: &Git<'_>) -> Result<bool, Ended> {
        let arguments = ["fsck", "--connectivity-only", "--no-dangling", "--no-progress"];
        let checked = git.call(&self.folder, &[], Vec::new(), &arguments).await?;
        Ok(!checked.status.success())
    }

    /// Begins the copy anew.
    async fn renew(&self, git: &Git<'_>) -> Result<(), Ended> {
        git.log.say("the copy of the repository that was kept is damaged, and is fetched anew");
        clear(&self.folder)?;
        self.prepare(git).await.map(drop)
    }

    async fn fetch(&self, git: &Git<'_>, address: Option<IpAddr>) -> Result<(), Ended> {
        git.log.say(format_args!("fetching {}", self.remote));
        let keys = Keys { folder: self.keys, known_hosts: self.known_hosts };
        let environment = keys.environment(self.remote, address, self.secret, git.log)?;
        let arguments = [
            "fetch",
            "--quiet",
            "--force",
            "--prune",
            "--no-write-fetch-head",
            "--no-auto-maintenance",
            "--no-recurse-submodules",
            "--",
            self.remote.as_str(),
            "+refs/heads/*:refs/heads/*",
            "+refs/tags/*:refs/tags/*",
        ];
        let done = git.call(&self.folder, &self.pinned(address), environment, &arguments).await?;
        if done.status.success() {
            return Ok(());
        }
        Err(failed(&format!("{} cannot be fetched", self.remote), &done.said))
    }

    /// Speaks to the address that was judged, whatever the name means by now.
    fn pinned(&self, address: Option<IpAddr>) -> Vec<String> {
        match (self.remote.transport(), self.remote.host(), self.remote.port(), address) {
            (GitTransport::Https, Some(host), Some(port), Some(address))
                if host.parse::<IpAddr>().is_err() =>
            {
                let address = match address {
                    IpAddr::V4(it) => it.to_string(),
                    IpAddr::V6(it) => format!("[{it}]"),
                };
                vec![format!("http.curloptResolve={host}:{port}:{address}")]
            }
            _ => Vec::new(),
        }
    }

    async fn commit(&self, git: &Git<'_>, name: &str) -> Result<Option<CommitId>, Ended> {
        let asked = format!("{name}^{{commit}}");
        let answer = git
            .ask(&self.folder, &["rev-parse", "--quiet", "--verify", "--end-of-options", &asked])
            .await?;
        Ok(answer.and_then(|it| it.parse().ok()))
    }

    /// Writes `commit` into the empty folder `into`. Where the copy does not have all of it, although it should, it is fetched anew once.
    pub(crate) async fn check_out(
        &self,
        git: &Git<'_>,
        commit: &CommitId,
        into: &Path,
    ) -> Result<Checkout, Ended> {
        match self.write_out(git, commit, into).await {
            Err(Ended::Failed(failure)) if failure.fault == BuildFault::SourceUnavailable => {}
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

/// What a revision may mean, what comes first going before: never an expression, nor a name that git has for itself.
fn candidates(revision: &str) -> Vec<String> {
    if ["refs/heads/", "refs/tags/"].iter().any(|it| revision.starts_with(it)) {
        return vec![revision.to_owned()];
    }
    let is_id =
        (7..=64).contains(&revision.len()) && revision.bytes().all(|it| it.is_ascii_hexdigit());
    let id = is_id.then(|| revision.to_owned());
    [format!("refs/tags/{revision}"), format!("refs/heads/{revision}")]
        .into_iter()
        .chain(id)
        .collect()
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

/// Removes the locks of a git that was killed: none of ours works on the copy.
fn sweep(folder: &Path) -> io::Result<()> {
    let mut left = vec![folder.to_owned()];
    while let Some(folder) = left.pop() {
        let entries = match fs::read_dir(&folder) {
            Err(err) if err.kind() == io::ErrorKind::NotFound => continue,
            entries => entries?,
        };
        for entry in entries {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                left.push(entry.path());
            } else if is_leftover(&entry.file_name().to_string_lossy()) {
                fs::remove_file(entry.path())?;
            }
        }
    }
    Ok(())
}

/// Whether git calls something so that it has not finished. No branch and no tag can be called so.
fn is_leftover(name: &str) -> bool {
    name.ends_with(".lock")
        || ["tmp_idx_", "tmp_obj_", "tmp_pack_", "tmp_rev_"].iter().any(|it| name.starts_with(it))
}

/// What git could not do, and what it said about that.
fn failed(what: &str, said: &str) -> Ended {
    let is_full = ["No space left on device", "Disk quota exceeded"];
    let fault = match is_full.iter().any(|it| said.contains(it)) {
        true => BuildFault::NoSpace,
        false => BuildFault::SourceUnavailable,
    };
    BuildFailure::new(fault, format!("{what}: {}", last_line(said))).into()
}

/// What git said last, which is what was in its way.
fn last_line(said: &str) -> &str {
    said.lines().rev().find(|it| !it.trim().is_empty()).unwrap_or("git does not say why")
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

    #[test]
    fn what_git_said_last_is_told() {
        assert_eq!(last_line("warning: x\nfatal: no\n\n"), "fatal: no");
        assert_eq!(last_line(" \n"), "git does not say why");
    }
}
