use crate::{
    problem::{io_problem, usage},
    reason::os_error,
};
use deploy_wire::{Problem, ProblemCode};
use std::{
    fs::{DirBuilder, Permissions},
    io,
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

/// The folder that holds all state.
#[derive(Clone, Debug)]
pub(crate) struct DataDir {
    path: PathBuf,
}

impl DataDir {
    /// The folder that was named, or `deploy` in the XDG data folder.
    pub(crate) fn locate(named: Option<&Path>) -> Result<Self, Problem> {
        if let Some(named) = named {
            let path =
                std::path::absolute(named).map_err(|err| io_problem(named.display(), &err))?;
            return Ok(Self { path });
        }
        let variable = |name| {
            let value = std::env::var_os(name).map(PathBuf::from);
            value.filter(|it| it.is_absolute())
        };
        let base = variable("XDG_DATA_HOME")
            .or_else(|| variable("HOME").map(|home| home.join(".local/share")))
            .ok_or_else(|| {
                usage("there is no place for data: neither XDG_DATA_HOME nor HOME is an absolute path")
                    .with_hint("`--data-dir DIR` says where it is to be")
            })?;
        Ok(Self { path: base.join("deploy") })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.path.join("deploy.db")
    }

    pub(crate) fn artifacts(&self) -> PathBuf {
        self.path.join("artifacts")
    }

    /// Builds, with the copies of repositories and the caches that they need.
    pub(crate) fn builds(&self) -> PathBuf {
        self.path.join("builds")
    }

    /// Where builds on hosts are kept.
    pub(crate) fn remote_builds(&self) -> PathBuf {
        self.path.join("remote-builds")
    }

    /// Keys and certificates.
    pub(crate) fn tls(&self) -> PathBuf {
        self.path.join("tls")
    }

    /// Where the parts of packages are, which can all be made again.
    pub(crate) fn parts(&self) -> PathBuf {
        self.path.join("parts")
    }

    /// Where patches between packages are, which can all be made again. Any number of processes may be at them, and the parts are a
    /// server's own.
    pub(crate) fn patches(&self) -> PathBuf {
        self.parts().join("patches")
    }

    /// Where a server writes at which address machines enrol.
    pub(crate) fn agents_address(&self) -> PathBuf {
        self.path.join("agents.address")
    }

    /// Where it is written how fast bytes may travel to hosts.
    pub(crate) fn limits(&self) -> PathBuf {
        self.path.join("limits.json")
    }

    /// Where a process that drives a rollout in the background writes what it has to say.
    pub(crate) fn background_log(&self, rollout: &str) -> PathBuf {
        self.path.join("background").join(format!("{rollout}.log"))
    }

    /// Makes the folder if it is missing, and keeps others out of it.
    pub(crate) fn make(&self) -> Result<(), Problem> {
        make_private(&self.path).map_err(|err| self.unusable(&err))?;
        if self.is_ours()? {
            let private = Permissions::from_mode(0o700);
            std::fs::set_permissions(&self.path, private).map_err(|err| self.unusable(&err))?;
        }
        Ok(())
    }

    /// Whether this process's account owns the folder.
    pub(crate) fn is_ours(&self) -> Result<bool, Problem> {
        let meta = std::fs::metadata(&self.path).map_err(|err| self.unusable(&err))?;
        Ok(meta.uid() == rustix::process::geteuid().as_raw())
    }

    fn unusable(&self, err: &io::Error) -> Problem {
        let code = match err.kind() {
            io::ErrorKind::QuotaExceeded | io::ErrorKind::StorageFull => ProblemCode::NoSpace,
            _ => ProblemCode::DataDir,
        };
        let (path, err) = (self.path.display(), os_error(err));
        Problem::new(code, format!("the data folder {path} cannot be used: {err}"))
            .with_hint(
                "`--data-dir DIR` uses another one; `deploy doctor` says what is wrong with it",
            )
            .with_context("data_dir", self.path.display())
    }
}

/// Makes a folder that only its owner can enter, and what is missing above it.
pub(crate) fn make_private(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_is_private() {
        let dir = tempfile::tempdir().unwrap();
        let data = DataDir::locate(Some(&dir.path().join("a/b"))).unwrap();
        data.make().unwrap();
        let mode = std::fs::metadata(data.path()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        assert!(data.is_ours().unwrap());
    }

    #[test]
    fn a_file_in_its_place_is_a_problem_that_names_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("data");
        std::fs::write(&path, "").unwrap();
        let problem = DataDir::locate(Some(&path)).unwrap().make().unwrap_err();
        assert_eq!(problem.code, ProblemCode::DataDir);
        assert!(problem.message.contains(&path.display().to_string()), "{problem}");
    }
}
