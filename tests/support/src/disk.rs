//! A disk whose power can be cut.
use std::{
    fs::{self, File},
    io::{self, BufRead as _, BufReader, Write as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

/// Whether the power of a disk can be cut here. If not, this says so.
#[must_use]
pub fn has_power(what_for: &str) -> bool {
    let root = fs::metadata("/proc/self").is_ok_and(|it| it.uid() == 0);
    let there = |program: &str| Command::new(program).arg("-V").output().is_ok();
    let there = root
        && ["mkfs.ext4", "mount", "python3"].into_iter().all(there)
        && Path::new("/dev/loop-control").exists();
    if !there {
        eprintln!("SKIPPED: {what_for}: that takes root, loop devices, mkfs.ext4 and python3");
    }
    there
}

/// A disk of its own with an ext4 on it. In mounts of its own it goes with its process: see [`own_mounts`](crate::mounts::own_mounts).
#[derive(Debug)]
pub struct Disk {
    image: PathBuf,
    folder: PathBuf,
}

impl Disk {
    /// Of so many MiB, in the folder `disk` beside others in `beside`.
    ///
    /// # Errors
    /// If it cannot be made or mounted.
    pub fn new(beside: &Path, mib: u64) -> io::Result<Self> {
        let disk = Self { image: beside.join("image"), folder: beside.join("disk") };
        File::create(&disk.image)?.set_len(mib << 20)?;
        fs::create_dir(&disk.folder)?;
        run(Command::new("mkfs.ext4").arg("-q").arg(&disk.image))?;
        disk.plug_in()?;
        Ok(disk)
    }

    /// Where it is mounted.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Mounts it, with what has reached it.
    ///
    /// # Errors
    /// If it cannot be mounted.
    pub fn plug_in(&self) -> io::Result<()> {
        run(Command::new("mount").args(["-o", "loop"]).args([&self.image, &self.folder]))
    }

    /// Puts a hand on the switch, so that from deciding to cutting it is no time at all.
    ///
    /// # Errors
    /// If the process cannot be started that does it.
    pub fn switch(&self) -> io::Result<Switch> {
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
            .spawn()?;
        let mut ready = String::new();
        if let Some(said) = process.stdout.take() {
            BufReader::new(said).read_line(&mut ready)?;
        }
        if ready == "ready\n" { Ok(Switch(process)) } else { Err(io::Error::other(ready)) }
    }

    /// Unmounts it.
    ///
    /// # Errors
    /// If somebody still has a file open.
    pub fn pull_out(&self) -> io::Result<()> {
        run(Command::new("umount").arg(&self.folder))
    }
}

/// Cuts the power of a disk.
#[derive(Debug)]
pub struct Switch(Child);

impl Switch {
    /// From here on nothing is written, and what was not flushed is lost.
    ///
    /// # Errors
    /// If it cannot be done.
    pub fn cut_power(mut self) -> io::Result<()> {
        if let Some(mut to) = self.0.stdin.take() {
            to.write_all(b"\n")?;
        }
        let status = self.0.wait()?;
        if status.success() { Ok(()) } else { Err(io::Error::other(status.to_string())) }
    }
}

fn run(command: &mut Command) -> io::Result<()> {
    let status = command.status()?;
    if status.success() { Ok(()) } else { Err(io::Error::other(format!("{command:?}: {status}"))) }
}
