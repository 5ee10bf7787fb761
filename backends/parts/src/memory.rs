//! How much memory this process may still take.
use std::{fs, path::Path};

/// How many bytes: what the machine has left, or what the process's control groups allow, whichever is less. Where nothing can be
/// read that says so, there is no bound.
pub(crate) fn available() -> u64 {
    let machine = read(Path::new("/proc/meminfo"), "MemAvailable:");
    let machine = machine.map_or(u64::MAX, |kib| kib.saturating_mul(1 << 10));
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    // The line of control groups of version 2.
    let own = groups.lines().find_map(|it| it.strip_prefix("0::/")).unwrap_or_default();
    machine.min(allowed(Path::new("/sys/fs/cgroup"), own))
}

/// What a control group below `root` and those that it is in allow.
fn allowed(root: &Path, own: &str) -> u64 {
    let own = root.join(own);
    let groups = own.ancestors().take_while(|it| it.starts_with(root));
    groups.filter_map(left).min().unwrap_or(u64::MAX)
}

/// What a control group has left. Files that were read count as taken, though they make room for whoever needs it.
fn left(group: &Path) -> Option<u64> {
    let most = read(&group.join("memory.max"), "")?;
    let taken = read(&group.join("memory.current"), "")?;
    let files = read(&group.join("memory.stat"), "inactive_file ").unwrap_or(0);
    Some(most.saturating_sub(taken.saturating_sub(files)))
}

/// The number in a line of a file that begins with `key`.
fn read(path: &Path, key: &str) -> Option<u64> {
    let text = fs::read_to_string(path).ok()?;
    let rest = text.lines().find_map(|it| it.strip_prefix(key))?;
    rest.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    fn group(folder: &Path, max: &str, current: &str, stat: &str) -> io::Result<()> {
        fs::create_dir_all(folder)?;
        fs::write(folder.join("memory.max"), max)?;
        fs::write(folder.join("memory.current"), current)?;
        fs::write(folder.join("memory.stat"), stat)
    }

    #[test]
    fn the_tightest_of_the_groups_counts_and_files_that_can_go_do_not() -> io::Result<()> {
        let root = tempfile::tempdir()?;
        let root = root.path();
        assert_eq!(allowed(root, "a/b"), u64::MAX, "nothing says so");
        group(&root.join("a/b"), "max\n", "50\n", "")?;
        assert_eq!(allowed(root, "a/b"), u64::MAX);
        group(&root.join("a/b"), "1000\n", "400\n", "")?;
        assert_eq!(allowed(root, "a/b"), 600);
        group(&root.join("a"), "900\n", "800\n", "anon 1\ninactive_file 300\nfile 700\n")?;
        assert_eq!(allowed(root, "a/b"), 400);
        group(&root.join("a"), "900\n", "1000\n", "inactive_file 10\n")?;
        assert_eq!(allowed(root, "a/b"), 0);
        assert_eq!(allowed(&root.join("a/b"), ""), 600, "what is above is not seen");
        Ok(())
    }

    #[test]
    fn this_machine_has_some() {
        assert!((1..u64::MAX).contains(&available()));
    }
}
