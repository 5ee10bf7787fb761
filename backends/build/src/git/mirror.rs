//! The copy of a repository that is kept for a service, and what is written out of it.
use super::{Git, RemotePolicy, credential::Keys, policy::Refused};
use crate::{clear::clear, ended::Ended, quota::usage, secrets::Secret};
use deploy_core::{
    backend::{BuildFailure, BuildFault},
    spec::{CommitId, GitRemote, GitRevision, GitTransport},
};
use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io,
    net::IpAddr,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

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

/// What a revision has turned out to mean.
#[derive(Debug)]
pub(crate) struct Resolved {
    pub(crate) commit: CommitId,
    /// The tag that it is, without `refs/tags/`; `None` of a branch or a commit.
    pub(crate) tag: Option<GitRevision>,
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
        // Nothing is ever packed anew in it, so it grows with each fetch.
        if usage(&self.folder)? > git.quota.limit() / 2 {
            git.log.say("the copy of the repository has grown too large, and is fetched anew");
            clear(&self.folder)?;
        }
        Ok(MirrorLock(file))
    }

    /// Brings in what is new, and says which commit `revision` names: a tag, else a branch, else a commit.
    pub(crate) async fn resolve(
        &self,
        git: &Git<'_>,
        revision: &GitRevision,
    ) -> Result<Resolved, Ended> {
        let address = self.policy.admit(self.remote).await.map_err(|err| match err {
            Refused::ByPolicy(why) => BuildFailure::new(BuildFault::SourceRefused, why),
            Refused::Unknown(why) => BuildFailure::new(BuildFault::SourceUnavailable, why),
        })?;
        let was_there = self.prepare(git).await?;
        match self.find(git, revision, address).await {
            Err(Ended::Failed(failure))
                if was_there
                    && failure.fault == BuildFault::SourceUnavailable
                    && self.is_damaged(git).await? =>
            {
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
    ) -> Result<Resolved, Ended> {
        // What a whole id names never changes.
        if let Ok(id) = revision.as_str().parse::<CommitId>()
            && let Some(commit) = self.commit(git, id.as_str()).await?
        {
            return Ok(Resolved { commit, tag: None });
        }
        self.fetch(git, address).await?;
        let name = revision.as_str();
        let full = ["refs/heads/", "refs/tags/"].iter().any(|it| name.starts_with(it));
        let tag = if full { name.to_owned() } else { format!("refs/tags/{name}") };
        if let Some(short) = tag.strip_prefix("refs/tags/")
            && let Some(commit) = self.reference(git, &tag).await?
        {
            return Ok(Resolved { commit, tag: short.parse().ok() });
        }
        let branch = if full { name.to_owned() } else { format!("refs/heads/{name}") };
        let commit = match self.reference(git, &branch).await? {
            None if is_id(name) => self.commit(git, name).await?,
            found => found,
        };
        commit.map(|commit| Resolved { commit, tag: None }).ok_or_else(|| {
            let message = format!("`{name}` is no tag, no branch and no commit of {}", self.remote);
            BuildFailure::new(BuildFault::RevisionUnknown, message).into()
        })
    }

    /// The commit that the tag or branch of this full name has.
    async fn reference(&self, git: &Git<'_>, name: &str) -> Result<Option<CommitId>, Ended> {
        // `rev-parse` alone would take `refs/tags/x-gabcdef0` for what `git describe` says of a commit.
        let listed = ["for-each-ref", "--count=1", "--format=%(refname) %(objectname)", name];
        let found = git.ask(&self.folder, &listed).await?;
        match found.as_deref().and_then(|it| it.split_once(' ')) {
            // What lies below a name is listed for it as well.
            Some((found, object)) if found == name => self.commit(git, object).await,
            _ => Ok(None),
        }
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
    pub(super) async fn renew(&self, git: &Git<'_>) -> Result<(), Ended> {
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
}

/// Whether a revision may be a commit, in full or by its first digits.
fn is_id(revision: &str) -> bool {
    (7..=64).contains(&revision.len()) && revision.bytes().all(|it| it.is_ascii_hexdigit())
}

/// Removes what a git that was killed has left: none of ours works on the copy.
fn sweep(copy: &Path) -> io::Result<()> {
    let mut left = vec![copy.to_owned()];
    while let Some(folder) = left.pop() {
        let entries = match fs::read_dir(&folder) {
            Err(err) if err.kind() == io::ErrorKind::NotFound => continue,
            entries => entries?,
        };
        let has_objects = folder.starts_with(copy.join("objects"));
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            // No branch and no tag can be called like a lock, but they can be called like an object that is not finished.
            if entry.file_type()?.is_dir() {
                left.push(entry.path());
            } else if name.ends_with(".lock") || (has_objects && name.starts_with("tmp_")) {
                fs::remove_file(entry.path())?;
            }
        }
    }
    Ok(())
}

/// What git could not do, and what it said about that.
pub(super) fn failed(what: &str, said: &str) -> Ended {
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
    fn only_what_is_not_finished_is_swept() {
        let dir = tempfile::tempdir().unwrap();
        let copy = dir.path().join("web.git");
        sweep(&copy).unwrap();
        let left = ["config.lock", "refs/heads/main.lock", "objects/pack/tmp_pack_1"];
        let kept = ["HEAD", "refs/heads/main", "refs/heads/tmp_pack_1", "objects/pack/p.idx"];
        for file in left.iter().chain(&kept) {
            fs::create_dir_all(copy.join(file).parent().unwrap()).unwrap();
            fs::write(copy.join(file), "").unwrap();
        }
        sweep(&copy).unwrap();
        assert!(left.iter().all(|it| !copy.join(it).exists()));
        assert!(kept.iter().all(|it| copy.join(it).exists()));
    }

    #[test]
    fn what_git_said_last_is_told() {
        assert_eq!(last_line("warning: x\nfatal: no\n\n"), "fatal: no");
        assert_eq!(last_line(" \n"), "git does not say why");
    }
}
