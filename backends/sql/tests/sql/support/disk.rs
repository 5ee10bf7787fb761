use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

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

fn run(command: &mut Command) {
    let status = command.status().unwrap();
    assert!(status.success(), "{command:?}: {status}");
}
