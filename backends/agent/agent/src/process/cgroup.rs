//! Control groups: what a step has started cannot leave its own, and the kernel ends all of it at one go.
use rustix::event::poll;
use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

/// How long a group has to freeze.
const FREEZE: Duration = Duration::from_millis(500);

/// Where the groups of an agent are made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Cgroups {
    /// The freezer of version 1.
    Freezer(PathBuf),
    /// There are none, or they are not ours to make.
    None,
    /// Version 2, with `cgroup.kill`.
    Unified(PathBuf),
}

/// Which of them an agent may use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Choice {
    /// The best that there is.
    #[default]
    Auto,
    Freezer,
    None,
    Unified,
}

impl Cgroups {
    /// What this process may use, below the groups that it is in itself.
    pub(crate) fn find(choice: Choice) -> Self {
        let of = |file| fs::read_to_string(file).unwrap_or_default();
        let (mounts, own) = (of("/proc/self/mountinfo"), of("/proc/self/cgroup"));
        let usable = |folder: PathBuf| {
            let folder = folder.join("deploy-agent");
            fs::create_dir_all(&folder).is_ok().then_some(folder)
        };
        let unified = || {
            let folder = usable(folder_of(&mounts, &own, "cgroup2", "")?)?;
            folder.join("cgroup.kill").exists().then_some(Self::Unified(folder))
        };
        let freezer =
            || Some(Self::Freezer(usable(folder_of(&mounts, &own, "cgroup", "freezer")?)?));
        let found = match choice {
            Choice::Auto => unified().or_else(freezer),
            Choice::Freezer => freezer(),
            Choice::None => None,
            Choice::Unified => unified(),
        };
        found.unwrap_or(Self::None)
    }

    /// The group `name`, which may have others below it. It is made when something is to be put into it.
    pub(crate) fn group(&self, name: &str) -> Self {
        match self {
            Self::Freezer(folder) => Self::Freezer(folder.join(name)),
            Self::None => Self::None,
            Self::Unified(folder) => Self::Unified(folder.join(name)),
        }
    }

    /// Makes the group, and says what a process writes its number to, to be in it.
    pub(crate) fn make(&self) -> io::Result<Option<PathBuf>> {
        let Some(folder) = self.folder() else { return Ok(None) };
        fs::create_dir_all(folder)?;
        Ok(Some(folder.join("cgroup.procs")))
    }

    /// Removes the group and those below it, as far as they are empty.
    pub(crate) fn remove(&self) {
        let Some(folder) = self.folder() else { return };
        for below in fs::read_dir(folder).into_iter().flatten().flatten() {
            // What a service that goes on is in stays. The files of a group are no folders, and go with it.
            drop(fs::remove_dir(below.path()));
        }
        drop(fs::remove_dir(folder));
    }

    /// The numbers of the processes in the group and those below it.
    pub(crate) fn members(&self) -> Vec<i32> {
        let mut members = Vec::new();
        if let Some(folder) = self.folder() {
            collect(folder, &mut members);
        }
        members
    }

    /// Ends all that is in the group. Whether it worked is for who looks afterwards.
    pub(crate) fn kill(&self, kill: &mut dyn FnMut(i32)) {
        match self {
            Self::None => {}
            Self::Unified(folder) => drop(fs::write(folder.join("cgroup.kill"), "1")),
            Self::Freezer(folder) => {
                // Frozen, nothing can start anything new between being seen and being ended.
                let state = folder.join("freezer.state");
                drop(fs::write(&state, "FROZEN"));
                let frozen = || fs::read_to_string(&state).is_ok_and(|it| it.trim() == "FROZEN");
                let mut waited = Duration::ZERO;
                while !frozen() && waited < FREEZE {
                    let moment = Duration::from_millis(5);
                    _ = poll(&mut [], Some(&crate::time::timespec(moment)));
                    waited += moment;
                }
                self.members().into_iter().for_each(kill);
                drop(fs::write(&state, "THAWED"));
            }
        }
    }

    fn folder(&self) -> Option<&Path> {
        match self {
            Self::Freezer(folder) | Self::Unified(folder) => Some(folder),
            Self::None => None,
        }
    }
}

fn collect(folder: &Path, members: &mut Vec<i32>) {
    let numbers = fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
    members.extend(numbers.lines().filter_map(|it| it.parse::<i32>().ok()));
    for below in fs::read_dir(folder).into_iter().flatten().flatten() {
        if below.file_type().is_ok_and(|it| it.is_dir()) {
            collect(&below.path(), members);
        }
    }
}

/// Where the groups of a hierarchy lie that this process is in. An empty controller is version 2.
pub(super) fn folder_of(mounts: &str, own: &str, kind: &str, controller: &str) -> Option<PathBuf> {
    let mount = mounts.lines().find_map(|line| {
        let (place, what) = line.split_once(" - ")?;
        let mut place = place.split(' ').skip(3);
        let (root, point) = (place.next()?, place.next()?);
        let mut what = what.split(' ');
        let (of_kind, options) = (what.next()?, what.nth(1)?);
        let fits = controller.is_empty() || options.split(',').any(|it| it == controller);
        (of_kind == kind && fits).then_some((root, point))
    });
    let (root, point) = mount?;
    let path = own.lines().find_map(|line| {
        let (_, line) = line.split_once(':')?;
        let (controllers, path) = line.split_once(':')?;
        controllers.split(',').any(|it| it == controller).then_some(path)
    })?;
    let below = path.strip_prefix(root).unwrap_or(path).trim_start_matches('/');
    // `..` is a group above what can be seen from here.
    (!below.split('/').any(|it| it == "..")).then(|| Path::new(point).join(below))
}

impl fmt::Display for Cgroups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Freezer(folder) => write!(f, "freezer:{}", folder.display()),
            Self::None => f.write_str("none"),
            Self::Unified(folder) => write!(f, "unified:{}", folder.display()),
        }
    }
}

impl FromStr for Cgroups {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once(':') {
            Some(("freezer", folder)) => Ok(Self::Freezer(folder.into())),
            Some(("unified", folder)) => Ok(Self::Unified(folder.into())),
            _ if text == "none" => Ok(Self::None),
            _ => Err("not a place for control groups"),
        }
    }
}
