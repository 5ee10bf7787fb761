use std::{
    env,
    path::Path,
    process::{Command, Stdio},
};

const INSIDE: &str = "DEPLOY_TEST_OWN_MOUNTS";

/// Whether this process may mount as it likes. If not, the test `name` is run in a process that may, and `false` is given.
///
/// What such a process mounts is gone with it, however it ends.
pub(crate) fn own_mounts(name: &str) -> bool {
    if env::var_os(INSIDE).is_some() {
        return true;
    }
    let account =
        if rustix::process::getuid().is_root() { &[][..] } else { &["--user", "--map-root-user"] };
    let out = Command::new("unshare")
        .arg("--mount")
        .args(account)
        .arg(env::current_exe().unwrap())
        .args([name, "--exact", "--nocapture"])
        .env(INSIDE, "1")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&out.stdout);
    assert!(
        out.status.success() && text.contains("1 passed"),
        "{name} failed in mounts of its own ({}):\n{text}{}",
        out.status,
        String::from_utf8_lossy(&out.stderr)
    );
    false
}

/// Mounts a file system in memory with room for `size`, such as `4m`.
pub(crate) fn mount_memory(folder: &Path, size: &str) {
    mount(&["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"], folder);
}

/// Lets nobody write there any more, root included.
pub(crate) fn make_read_only(folder: &Path) {
    mount(&["-o", "remount,ro"], folder);
}

fn mount(args: &[&str], folder: &Path) {
    let status = Command::new("mount").args(args).arg(folder).status().unwrap();
    assert!(status.success(), "mount {args:?}: {status}");
}
