//! Control groups: what bounds memory and processes of a build as a whole, and ends all of it at one go.
use deploy_core::spec::BuildLimits;
use std::{
    fs, io,
    num::NonZeroU64,
    path::{Path, PathBuf},
};

/// The group of one build, in each hierarchy where one can be made; in none of them, it does nothing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cgroup {
    folders: Vec<PathBuf>,
    /// Whether memory is bounded by it.
    pub(crate) bounds_memory: bool,
    /// Whether the number of processes is.
    pub(crate) bounds_processes: bool,
}

impl Cgroup {
    /// Makes the group `name` below those that this process is in, with these limits as far as they can be set. Where it is to be is told first.
    pub(crate) fn make(
        name: &str,
        limits: &BuildLimits,
        tell: impl FnOnce(&[PathBuf]) -> io::Result<()>,
    ) -> io::Result<Self> {
        let hierarchies = hierarchies(name);
        let folders: Vec<_> = hierarchies.iter().map(|(_, folder)| folder.clone()).collect();
        tell(&folders)?;
        let mut group = Self::default();
        for (controller, folder) in hierarchies {
            match controller {
                "" => group.make_unified(folder, limits),
                "memory" if !group.bounds_memory => {
                    let limit = limits.memory.map(NonZeroU64::get);
                    group.bounds_memory = group.make_one(folder, "memory.limit_in_bytes", limit);
                }
                "pids" if !group.bounds_processes => {
                    let limit = Some(limits.processes.get());
                    group.bounds_processes = group.make_one(folder, "pids.max", limit);
                }
                _ => {}
            }
        }
        Ok(group)
    }

    /// The group as somebody has left it in these folders, as far as they are there.
    pub(crate) fn left(folders: Vec<PathBuf>) -> Self {
        let folders = folders.into_iter().filter(|it| it.exists()).collect();
        Self { folders, ..Self::default() }
    }

    /// Makes the group in a hierarchy of version 1. Says whether it has its limit.
    fn make_one(&mut self, folder: PathBuf, file: &str, limit: Option<u64>) -> bool {
        // Hierarchies can often be seen where nobody may make a group.
        let Some(limit) = limit.filter(|_| fs::create_dir_all(&folder).is_ok()) else {
            return false;
        };
        let is_bounded = fs::write(folder.join(file), limit.to_string()).is_ok();
        self.folders.push(folder);
        is_bounded
    }

    fn make_unified(&mut self, folder: PathBuf, limits: &BuildLimits) {
        let Some(above) = folder.parent() else { return };
        // A group that has processes of its own hands no controllers down; then these limits are set in another way.
        if let Some(own) = above.parent() {
            drop(fs::write(own.join("cgroup.subtree_control"), "+memory +pids"));
        }
        if fs::create_dir_all(above).is_err() {
            return;
        }
        drop(fs::write(above.join("cgroup.subtree_control"), "+memory +pids"));
        if fs::create_dir_all(&folder).is_err() {
            return;
        }
        if let Some(memory) = limits.memory {
            self.bounds_memory = fs::write(folder.join("memory.max"), memory.to_string()).is_ok();
        }
        let processes = limits.processes.to_string();
        self.bounds_processes = fs::write(folder.join("pids.max"), processes).is_ok();
        self.folders.push(folder);
    }

    /// Puts a process into the group.
    pub(crate) fn enter(&self, pid: i32) -> io::Result<()> {
        self.folders.iter().try_for_each(|it| fs::write(it.join("cgroup.procs"), pid.to_string()))
    }

    /// The numbers of the processes in the group.
    pub(crate) fn members(&self) -> Vec<i32> {
        let listed = |it: &PathBuf| fs::read_to_string(it.join("cgroup.procs")).unwrap_or_default();
        let numbers: Vec<_> = self.folders.iter().map(listed).collect();
        numbers.iter().flat_map(|it| it.lines()).filter_map(|it| it.parse().ok()).collect()
    }

    /// Ends all that is in it, where the kernel does that. Whether it worked is for who looks afterwards.
    pub(crate) fn kill(&self) {
        for folder in &self.folders {
            drop(fs::write(folder.join("cgroup.kill"), "1"));
        }
    }

    /// Removes the group, which has to be empty.
    pub(crate) fn remove(&self) {
        for folder in &self.folders {
            drop(fs::remove_dir(folder));
        }
    }
}

/// Where the group `name` may be, by controllers; an empty one is version 2.
fn hierarchies(name: &str) -> Vec<(&'static str, PathBuf)> {
    let of = |file| fs::read_to_string(file).unwrap_or_default();
    let (mounts, own) = (of("/proc/self/mountinfo"), of("/proc/self/cgroup"));
    [("cgroup2", ""), ("cgroup", "memory"), ("cgroup", "pids")]
        .into_iter()
        .filter_map(|(kind, controller)| {
            let own = folder_of(&mounts, &own, kind, controller)?;
            Some((controller, own.join("deploy-build").join(name)))
        })
        .collect()
}

/// Where the groups of a hierarchy lie that this process is in. An empty controller is version 2.
fn folder_of(mounts: &str, own: &str, kind: &str, controller: &str) -> Option<PathBuf> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_made_below_ones_own() {
        let mounts = "30 23 0:26 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n\
                      31 23 0:27 /docker/x /sys/fs/cgroup/pids rw shared:1 - cgroup cgroup rw,pids\n";
        let own = "8:pids:/docker/x/y\n0::/system.slice/deploy.service\n";
        let unified = folder_of(mounts, own, "cgroup2", "").unwrap();
        assert_eq!(unified.to_str(), Some("/sys/fs/cgroup/unified/system.slice/deploy.service"));
        let pids = folder_of(mounts, own, "cgroup", "pids").unwrap();
        assert_eq!(pids.to_str(), Some("/sys/fs/cgroup/pids/y"));
        assert_eq!(folder_of(mounts, "0::/../other", "cgroup2", ""), None);
        assert_eq!(folder_of(mounts, own, "cgroup", "memory"), None);
    }
}
