//! Disks that are full, small or read-only, for a test alone.
//!
//! A test that mounts something runs in a process with mounts of its own, so that whatever it leaves is gone with it.
use std::{
    env, fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

const INSIDE: &str = "DEPLOY_TEST_OWN_MOUNTS";

/// Whether this process may mount as it likes. If not, the test `name` is run in a process that may, and `false` is given.
///
/// # Panics
/// If the test fails there, with what it said.
#[must_use]
#[expect(clippy::panic, reason = "a test that failed elsewhere has failed here as well")]
pub fn own_mounts(name: &str) -> bool {
    if env::var_os(INSIDE).is_some() {
        return true;
    }
    if let Err(err) = run_inside(name) {
        panic!("{name} failed in mounts of its own: {err}");
    }
    false
}

fn run_inside(name: &str) -> io::Result<()> {
    let root = fs::metadata("/proc/self")?.uid() == 0;
    let account = if root { &[][..] } else { &["--user", "--map-root-user"] };
    let output = Command::new("unshare")
        .arg("--mount")
        .args(account)
        .arg(env::current_exe()?)
        .args([name, "--exact", "--nocapture", "--include-ignored"])
        .env(INSIDE, "1")
        .stdin(Stdio::null())
        .output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    if output.status.success() && said.contains("1 passed") {
        return Ok(());
    }
    let wrong = String::from_utf8_lossy(&output.stderr);
    Err(io::Error::other(format!("{}:\n{said}{wrong}", output.status)))
}

/// A file system in memory, over a folder; it goes with this.
#[derive(Debug)]
pub struct Memory(PathBuf);

impl Memory {
    /// With room for `size`, such as `4m`.
    ///
    /// # Errors
    /// If it cannot be mounted: see [`own_mounts`].
    pub fn over(folder: &Path, size: &str) -> io::Result<Self> {
        mount(&["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"], folder)?;
        Ok(Self(folder.to_owned()))
    }

    /// Lets nobody write there any more, root included.
    ///
    /// # Errors
    /// If it cannot be mounted anew.
    pub fn make_read_only(&self) -> io::Result<()> {
        mount(&["-o", "remount,ro"], &self.0)
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // Lazily: somebody may still have files open. What stays is gone with the process.
        let _ = run(Command::new("umount").arg("--lazy").arg(&self.0));
    }
}

/// A file or folder that nobody can write, root included; it can be written again when this goes.
#[derive(Debug)]
pub struct ReadOnly(PathBuf);

impl ReadOnly {
    /// Over `path`, and all that is below it.
    ///
    /// # Errors
    /// If it cannot be mounted: see [`own_mounts`].
    pub fn over(path: &Path) -> io::Result<Self> {
        run(Command::new("mount").arg("--bind").args([path, path]))?;
        let fixed = Self(path.to_owned());
        mount(&["-o", "remount,bind,ro"], path)?;
        Ok(fixed)
    }
}

impl Drop for ReadOnly {
    fn drop(&mut self) {
        // What stays is gone with the process.
        let _ = run(Command::new("umount").arg(&self.0));
    }
}

fn mount(args: &[&str], path: &Path) -> io::Result<()> {
    run(Command::new("mount").args(args).arg(path))
}

fn run(command: &mut Command) -> io::Result<()> {
    let output = command.stdin(Stdio::null()).output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(io::Error::other(format!("{command:?}: {}: {said}", output.status)))
}
