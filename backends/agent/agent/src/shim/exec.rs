//! `deploy-agent exec`: the last moments before a step's script. It is a process of its own because what it does cannot be done between `fork` and `exec`
//! without unsafe code, and cannot be undone.
use crate::{account::become_account, package::PackageTree, shim::descriptors};
use deploy_core::id::ReleaseId;
use rustix::{
    fs::Mode,
    process::{Resource, Rlimit, getpid, setrlimit, setsid, umask},
};
use std::{
    ffi::OsString,
    fs, io,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::Command,
};

/// Who a step runs as, and where. Everything else it has from its environment, which is exactly the step's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Exec {
    /// Number, group and groups; `None`: as before.
    pub(crate) account: Option<(u32, u32, Vec<u32>)>,
    /// The file that a process writes its number to.
    pub(crate) cgroup: Option<PathBuf>,
    pub(crate) folder: PathBuf,
    pub(crate) script: PathBuf,
    /// What is put together first.
    pub(crate) tree: Option<TreeOf>,
}

/// The tree of a release, whose parts are in a work folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TreeOf {
    pub(crate) work: PathBuf,
    pub(crate) release: ReleaseId,
}

impl Exec {
    /// As arguments of a program, after `exec`.
    pub(crate) fn arguments(&self) -> Vec<OsString> {
        let account = self.account.as_ref().map_or_else(
            || "-".to_owned(),
            |(uid, gid, groups)| {
                let groups = groups.iter().map(u32::to_string).collect::<Vec<_>>();
                format!("{uid}:{gid}:{}", groups.join(","))
            },
        );
        let cgroup = self.cgroup.clone().map_or_else(|| "-".into(), PathBuf::into_os_string);
        let mut arguments =
            vec![account.into(), cgroup, self.folder.clone().into(), self.script.clone().into()];
        if let Some(tree) = &self.tree {
            arguments.extend([tree.work.clone().into(), tree.release.as_str().into()]);
        }
        arguments
    }

    /// From such arguments.
    pub(crate) fn parse(arguments: &[OsString]) -> Option<Self> {
        let ([account, cgroup, folder, script], rest) = arguments.split_first_chunk()?;
        let tree = match rest {
            [] => None,
            [work, release] => {
                Some(TreeOf { work: work.into(), release: release.to_str()?.parse().ok()? })
            }
            _ => return None,
        };
        let account = match account.to_str()? {
            "-" => None,
            text => Some(parse_account(text)?),
        };
        let cgroup = (cgroup != "-").then(|| cgroup.into());
        Some(Self { account, cgroup, folder: folder.into(), script: script.into(), tree })
    }

    /// Becomes the script. Comes back only with what kept it from that.
    pub(crate) fn become_script(&self) -> io::Error {
        match self.prepare() {
            Ok(mut command) => {
                let err = command.exec();
                // Mostly it is not the script that is missing, but what its first line names.
                let what = self.script.display();
                io::Error::new(err.kind(), format!("`{what}`, or what is to run it: {err}"))
            }
            Err(err) => err,
        }
    }

    fn prepare(&self) -> io::Result<Command> {
        descriptors::close_inherited()?;
        setsid()?;
        // Before anything of the script runs: whatever it starts is in the group, too.
        if let Some(cgroup) = &self.cgroup {
            fs::write(cgroup, getpid().as_raw_pid().to_string())?;
        }
        let none = Rlimit { current: Some(0), maximum: Some(0) };
        setrlimit(Resource::Core, none)?;
        umask(Mode::from_bits_truncate(0o022));
        if let Some((uid, gid, groups)) = &self.account {
            become_account(*uid, *gid, groups)?;
        }
        if let Some(tree) = &self.tree {
            PackageTree::install(&tree.work, &self.folder.join("releases"), &tree.release)?;
        }
        let mut command = if is_program(&self.script)? {
            Command::new(&self.script)
        } else {
            let mut sh = Command::new("/bin/sh");
            sh.arg(&self.script);
            sh
        };
        command.current_dir(&self.folder);
        Ok(command)
    }
}

fn parse_account(text: &str) -> Option<(u32, u32, Vec<u32>)> {
    let mut parts = text.split(':');
    let (uid, gid) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    let groups = parts.next()?.split(',').filter(|it| !it.is_empty());
    Some((uid, gid, groups.map(|it| it.parse().ok()).collect::<Option<_>>()?))
}

/// Whether a script says itself what runs it.
fn is_program(script: &Path) -> io::Result<bool> {
    use std::{io::Read as _, os::unix::fs::PermissionsExt as _};
    let mut file = fs::File::open(script)?;
    let executable = file.metadata()?.permissions().mode() & 0o111 != 0;
    let mut first = [0; 2];
    Ok(executable && file.read(&mut first)? == 2 && &first == b"#!")
}
