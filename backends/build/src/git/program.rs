//! The `git` program, with nothing of its surroundings.
use crate::{
    ended::{Ended, Halt},
    log::Log,
    process::{Cgroup, Finished, Launch, run},
    quota::Quota,
};
use deploy_core::{
    backend::{BuildFailure, BuildFault},
    time::Timestamp,
};
use rustix::process::Resource;
use std::{
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
    process::Command,
};

/// How much memory each process of git may take, in bytes.
const MEMORY: u64 = 4 << 30;
/// How much is read of what git answers.
const ANSWER: usize = 64 << 10;

/// How every call is configured: nothing that a repository or a server says makes git start another program or speak to another server,
/// nor take more memory than it needs.
const CONFIGURATION: [&str; 17] = [
    "core.bigFileThreshold=64m",
    "core.deltaBaseCacheLimit=64m",
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.packedGitLimit=1g",
    "core.packedGitWindowSize=64m",
    "core.symlinks=true",
    "credential.helper=",
    "fetch.recurseSubmodules=false",
    "gc.auto=0",
    "http.followRedirects=false",
    "pack.threads=1",
    "protocol.allow=never",
    "protocol.file.allow=always",
    "protocol.https.allow=always",
    "protocol.ssh.allow=always",
    "submodule.recurse=false",
];

/// Calls git for one build.
#[derive(Debug)]
pub(crate) struct Git<'a> {
    pub(crate) program: &'a Path,
    /// An empty folder, which git takes for its home.
    pub(crate) home: &'a Path,
    /// What the processes of this build are known by.
    pub(crate) mark: &'a (String, String),
    pub(crate) log: &'a Log,
    pub(crate) halt: &'a Halt,
    pub(crate) deadline: Timestamp,
    /// How much it may write.
    pub(crate) quota: &'a Quota,
}

impl Git<'_> {
    /// Calls git in the repository `folder`, with more configuration and environment.
    pub(crate) async fn call<A: AsRef<OsStr> + Sync>(
        &self,
        folder: &Path,
        configuration: &[String],
        environment: Vec<(OsString, OsString)>,
        arguments: &[A],
    ) -> Result<Finished, Ended> {
        self.start(folder, configuration, environment, arguments, ANSWER).await
    }

    /// The first `most` bytes of what git lists.
    pub(crate) async fn list<A: AsRef<OsStr> + Sync>(
        &self,
        folder: &Path,
        arguments: &[A],
        most: usize,
    ) -> Result<Vec<u8>, Ended> {
        let finished = self.start(folder, &[], Vec::new(), arguments, most).await?;
        // Who is not listened to any more ends by a signal, and has said enough.
        if finished.status.success() || finished.captured.len() >= most {
            return Ok(finished.captured);
        }
        Err(BuildFailure::new(
            BuildFault::SourceUnavailable,
            format!("git cannot read its copy: {}", finished.said),
        )
        .into())
    }

    /// Whether there is no time left.
    pub(crate) fn is_late(&self) -> bool {
        self.halt.clock().now() >= self.deadline
    }

    async fn start<A: AsRef<OsStr> + Sync>(
        &self,
        folder: &Path,
        configuration: &[String],
        environment: Vec<(OsString, OsString)>,
        arguments: &[A],
        most: usize,
    ) -> Result<Finished, Ended> {
        let mut all: Vec<OsString> = Vec::new();
        for setting in CONFIGURATION.iter().copied().chain(configuration.iter().map(String::as_str))
        {
            all.extend(["-c".into(), setting.into()]);
        }
        all.extend(["--git-dir".into(), folder.into()]);
        all.extend(arguments.iter().map(|it| it.as_ref().to_owned()));
        let launch = Launch {
            program: self.program.to_owned(),
            arguments: all,
            environment: [self.environment(), environment].concat(),
            folder: self.home.to_owned(),
            bounds: vec![
                (Resource::Core, 0),
                (Resource::Data, MEMORY),
                (Resource::Fsize, self.quota.limit()),
            ],
            mark: self.mark.clone(),
            cgroup: Cgroup::default(),
            quota: Some(self.quota.clone()),
            capture: Some(most),
        };
        match run(&launch, self.log, self.halt, self.deadline).await {
            // The time of a build is for its commands: a server that is silent is one that cannot be had.
            Err(Ended::TimedOut) => {
                let message =
                    "the source did not come in time: its server is too slow, or does not answer";
                Err(BuildFailure::new(BuildFault::SourceUnavailable, message).into())
            }
            other => other,
        }
    }

    /// What git answers on one line; `None` if it says no.
    pub(crate) async fn ask<A: AsRef<OsStr> + Sync>(
        &self,
        folder: &Path,
        arguments: &[A],
    ) -> Result<Option<String>, Ended> {
        let finished = self.call(folder, &[], Vec::new(), arguments).await?;
        let answer =
            String::from_utf8(finished.captured).ok().filter(|_| finished.status.success());
        Ok(answer.map(|it| it.trim().to_owned()).filter(|it| !it.is_empty()))
    }

    fn environment(&self) -> Vec<(OsString, OsString)> {
        let home = self.home.as_os_str();
        let path = "/usr/local/bin:/usr/bin:/bin";
        [
            ("PATH", OsStr::new(path)),
            ("HOME", home),
            ("LC_ALL", OsStr::new("C")),
            ("GIT_ATTR_NOSYSTEM", OsStr::new("1")),
            ("GIT_CONFIG_GLOBAL", OsStr::new("/dev/null")),
            ("GIT_CONFIG_NOSYSTEM", OsStr::new("1")),
            ("GIT_OPTIONAL_LOCKS", OsStr::new("0")),
            ("GIT_TERMINAL_PROMPT", OsStr::new("0")),
            ("SSH_ASKPASS_REQUIRE", OsStr::new("never")),
        ]
        .map(|(name, value)| (name.into(), value.to_owned()))
        .to_vec()
    }
}

/// The program: a path, or a name that is looked for where programs are.
pub(crate) fn locate(name: &str) -> Option<PathBuf> {
    let folders = ["/usr/local/bin", "/usr/bin", "/bin"];
    folders.iter().map(|it| Path::new(it).join(name)).find(|it| it.is_file())
}

/// The oldest version that can do all that is asked of it: `http.curloptResolve` is younger than the rest.
const OLDEST: (u32, u32) = (2, 37);

/// The `git` of this machine, if it can do what is asked of it; else why not. This blocks for a moment.
pub(crate) fn usable_git() -> Result<PathBuf, String> {
    let git = locate("git").ok_or("there is no program `git`")?;
    let said = Command::new(&git).arg("version").env_clear().output();
    let said = said.map_err(|err| format!("`{}` cannot be run: {err}", git.display()))?;
    let said = String::from_utf8_lossy(&said.stdout);
    match version(&said) {
        Some(found) if found >= OLDEST => Ok(git),
        _ => Err(format!(
            "`{}` says that it is `{}`, and has to be version {}.{} at least",
            git.display(),
            said.trim().chars().take(80).collect::<String>(),
            OLDEST.0,
            OLDEST.1
        )),
    }
}

/// The first two numbers of what `git version` says.
fn version(said: &str) -> Option<(u32, u32)> {
    let mut numbers = said.trim().strip_prefix("git version ")?.split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_told_from_another() {
        for (said, at_least) in [
            ("git version 2.47.3\n", true),
            ("git version 2.37.0.windows.1", true),
            ("git version 10.0", true),
            ("git version 2.36.6", false),
            ("git version 1.99.0 (Apple Git-1)", false),
        ] {
            assert_eq!(version(said).unwrap() >= OLDEST, at_least, "{said}");
        }
        for bad in ["", "git version", "git version two", "git version 2", "hub version 2.40.1"] {
            assert_eq!(version(bad), None, "{bad}");
        }
        usable_git().unwrap();
    }
}
