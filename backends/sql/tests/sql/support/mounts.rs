use std::{
    env,
    fs::{self, File},
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
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
        .args([name, "--exact", "--nocapture", "--include-ignored"])
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

/// A file system in memory, over a folder; it goes with this.
#[derive(Debug)]
pub(crate) struct Memory<'a>(&'a Path);

impl<'a> Memory<'a> {
    /// With room for `size`, such as `4m`.
    pub(crate) fn over(folder: &'a Path, size: &str) -> Self {
        mount(&["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"], folder);
        Self(folder)
    }

    /// Lets nobody write there any more, root included.
    pub(crate) fn make_read_only(&self) {
        mount(&["-o", "remount,ro"], self.0);
    }
}

impl Drop for Memory<'_> {
    fn drop(&mut self) {
        // Lazily: a database may still have files open.
        run(Command::new("umount").arg("--lazy").arg(self.0));
    }
}

/// A file that nobody can write, root included; it can be written again when this goes.
#[derive(Debug)]
pub(crate) struct ReadOnly<'a>(&'a Path);

impl<'a> ReadOnly<'a> {
    pub(crate) fn over(file: &'a Path) -> Self {
        run(Command::new("mount").arg("--bind").args([file, file]));
        mount(&["-o", "remount,bind,ro"], file);
        Self(file)
    }
}

impl Drop for ReadOnly<'_> {
    fn drop(&mut self) {
        run(Command::new("umount").arg(self.0));
    }
}

/// A disk of its own with an ext4 on it.
#[derive(Debug)]
pub(crate) struct Disk {
    image: PathBuf,
    pub(crate) folder: PathBuf,
}

impl Disk {
    pub(crate) fn new(beside: &Path) -> Self {
        let disk = Self { image: beside.join("image"), folder: beside.join("disk") };
        File::create(&disk.image).unwrap().set_len(64 << 20).unwrap();
        fs::create_dir(&disk.folder).unwrap();
        run(Command::new("mkfs.ext4").arg("-q").arg(&disk.image));
        disk.plug_in();
        disk
    }

    pub(crate) fn plug_in(&self) {
        run(Command::new("mount").args(["-o", "loop"]).args([&self.image, &self.folder]));
    }

    /// Puts a hand on the switch, so that from deciding to cutting it is no time at all.
    pub(crate) fn switch(&self) -> Switch {
        // EXT4_IOC_SHUTDOWN with NOLOGFLUSH. Not in Rust, where it would be the only unsafe code of the workspace.
        const CUT: &str = "import fcntl, os, struct, sys\n\
             disk = os.open(sys.argv[1], os.O_RDONLY)\n\
             print('ready', flush=True)\n\
             sys.stdin.readline()\n\
             fcntl.ioctl(disk, 0x8004587d, struct.pack('I', 2))";
        let mut process = Command::new("python3")
            .args(["-c", CUT])
            .arg(&self.folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut ready = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut ready).unwrap();
        assert_eq!(ready, "ready\n");
        Switch(process)
    }

    pub(crate) fn pull_out(&self) {
        run(Command::new("umount").arg(&self.folder));
    }
}

/// Cuts the power of a disk.
#[derive(Debug)]
pub(crate) struct Switch(Child);

impl Switch {
    /// From here on nothing is written, and what was not flushed is lost.
    pub(crate) fn cut_power(mut self) {
        self.0.stdin.take().unwrap().write_all(b"\n").unwrap();
        let status = self.0.wait().unwrap();
        assert!(status.success(), "{status}");
    }
}

fn mount(args: &[&str], folder: &Path) {
    run(Command::new("mount").args(args).arg(folder));
}

fn run(command: &mut Command) {
    let status = command.status().unwrap();
    assert!(status.success(), "{command:?}: {status}");
}
