//! The copy of a repository that is kept for a service, and what is written out of it.
use super::{Git, RemotePolicy, credential::Keys, policy::Refused};
use crate::{ended::Ended, secrets::Secret};
use deploy_core::{
    backend::{BuildFailure, BuildFault},
    spec::{CommitId, GitRemote, GitRevision, GitTransport},
};
use std::{
    ffi::OsString,
    net::IpAddr,
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

/// A commit, written out.
#[derive(Debug)]
pub(crate) struct Checkout {
    /// When it was made, in seconds since 1970.
    pub(crate) committed_at: u64,
    /// Whether it names other repositories, whose files are not there.
    pub(crate) has_submodules: bool,
}

impl Mirror<'_> {
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
        self.prepare(git).await?;
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

    async fn prepare(&self, git: &Git<'_>) -> Result<(), Ended> {
        if self.folder.join("HEAD").exists() {
            return Ok(());
        }
        let made = git
            .call(&self.folder, &[], Vec::new(), &["init", "--quiet", "--bare", "--template="])
            .await?;
        if made.status.success() {
            return Ok(());
        }
        Err(BuildFailure::new(
            BuildFault::Internal,
            format!("no copy of the repository can be kept: {}", last_line(&made.said)),
        )
        .into())
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
        let message = format!("{} cannot be fetched: {}", self.remote, last_line(&done.said));
        Err(BuildFailure::new(BuildFault::SourceUnavailable, message).into())
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

    /// Writes `commit` into the empty folder `into`.
    pub(crate) async fn check_out(
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
                let message = format!(
                    "commit {} cannot be written out: {}",
                    commit.short(),
                    last_line(&done.said)
                );
                return Err(BuildFailure::new(BuildFault::SourceUnavailable, message).into());
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
