//! The folder of an attempt: what agent and shim leave there for each other, and for those that come after a crash.
//!
//! Nobody but the agent's own account reads it, with one exception: `work` holds what the steps read.
use crate::{attempt::AttemptKey, process::proc_fs};
use crc::{CRC_32_ISCSI, Crc};
use deploy_agent_protocol::v1;
use prost::Message as _;
use rustix::fs::{CWD, Mode, mkfifoat};
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

/// How much room is taken for the exit record before anything runs.
const EXIT_ROOM: usize = 8 << 10;
const CRC: Crc<u32> = Crc::<u32>::new(&CRC_32_ISCSI);

/// The folder of one attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Folder(PathBuf);

/// Who supervises an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Supervisor {
    pub(crate) pid: i32,
    pub(crate) start: u64,
    pub(crate) boot_id: String,
}

/// A line of the progress.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    Begin { index: usize, step: String },
    End { index: usize, step: String, code: i32 },
}

impl Folder {
    pub(crate) fn of(attempts: &Path, key: &AttemptKey) -> Self {
        Self(attempts.join(key.service.as_str()).join(key.generation.to_string()))
    }

    pub(crate) const fn at(path: PathBuf) -> Self {
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// What the steps may read.
    pub(crate) fn work(&self) -> PathBuf {
        self.0.join("work")
    }

    /// What the steps leave to be collected.
    pub(crate) fn outputs(&self) -> PathBuf {
        self.work().join("output")
    }

    /// The descriptor as it was fetched.
    pub(crate) fn descriptor(&self) -> PathBuf {
        self.0.join("descriptor.tar.gz")
    }

    /// What the steps have printed.
    pub(crate) fn log(&self) -> PathBuf {
        self.0.join("log")
    }

    /// A pipe by which the agent rouses the shim.
    pub(crate) fn bell(&self) -> PathBuf {
        self.0.join("bell")
    }

    /// A pipe by which the shim rouses the agent, for as long as the shim supervises.
    pub(crate) fn news(&self) -> PathBuf {
        self.0.join("news")
    }

    /// Makes what an attempt begins with, for `order`.
    pub(crate) fn prepare(&self, order: &v1::Attempt) -> io::Result<()> {
        make(&self.0, 0o711)?;
        write_new(&self.0.join("order"), &order.encode_to_vec())?;
        // The room is taken now, so that a full disk cannot hide how the attempt ended.
        write_new(&self.0.join("exit"), &[0; EXIT_ROOM])?;
        for pipe in [self.bell(), self.news()] {
            mkfifoat(CWD, &pipe, Mode::RUSR | Mode::WUSR)?;
        }
        Ok(())
    }

    pub(crate) fn order(&self) -> io::Result<v1::Attempt> {
        let bytes = fs::read(self.0.join("order"))?;
        v1::Attempt::decode(&*bytes).map_err(|err| io::Error::new(io::ErrorKind::InvalidData, err))
    }

    /// The order is on the disk when this returns.
    pub(crate) fn sync_order(&self) -> io::Result<()> {
        File::open(self.0.join("order"))?.sync_all()
    }

    /// Says who supervises it, as the first or, where one has gone while the host waited, as the next. Fails if somebody did before: each place is
    /// taken at most once.
    pub(crate) fn write_started(&self, place: u32, this: &Supervisor) -> io::Result<()> {
        self.take_place(place, &format!("{} {} {}\n", this.pid, this.start, this.boot_id))
    }

    /// Keeps whoever has not said yet that it supervises from starting: its place is taken.
    pub(crate) fn keep_from_starting(&self, place: u32) {
        // Somebody has said so, or there is nothing that could be started.
        drop(self.take_place(place, "nobody\n"));
    }

    /// The first place that nobody has taken.
    pub(crate) fn next_place(&self) -> u32 {
        (0..).find(|it| !self.0.join(place_name(*it)).exists()).unwrap_or(u32::MAX)
    }

    /// The first to come takes it, with a line that is whole from the beginning.
    fn take_place(&self, place: u32, line: &str) -> io::Result<()> {
        let own = self.0.join(format!("starting.{}", std::process::id()));
        write(&own, line.as_bytes())?;
        let taken = fs::hard_link(&own, self.0.join(place_name(place)));
        fs::remove_file(own)?;
        taken
    }

    /// Notes the first process of a step's run, by which what it starts can be found when the shim is gone.
    pub(crate) fn write_first(&self, index: &str, (pid, start): (i32, u64)) -> io::Result<()> {
        write(&self.0.join("first"), format!("{index} {pid} {start}\n").as_bytes())
    }

    pub(crate) fn first(&self) -> Option<(String, i32, u64)> {
        let text = fs::read_to_string(self.0.join("first")).ok()?;
        let mut words = text.strip_suffix('\n')?.split(' ');
        let index = words.next()?.to_owned();
        Some((index, words.next()?.parse().ok()?, words.next()?.parse().ok()?))
    }

    /// Who supervises it: the last who said so.
    pub(crate) fn started(&self) -> Option<Supervisor> {
        (0..self.next_place()).rev().find_map(|it| self.started_as(it))
    }

    fn started_as(&self, place: u32) -> Option<Supervisor> {
        let text = fs::read_to_string(self.0.join(place_name(place))).ok()?;
        let mut words = text.strip_suffix('\n')?.split(' ');
        let (pid, start) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        Some(Supervisor { pid, start, boot_id: words.next()?.to_owned() })
    }

    /// All that has begun and ended, in order. A line that is not whole was not written.
    pub(crate) fn progress(&self) -> Vec<Progress> {
        let text = fs::read_to_string(self.0.join("progress")).unwrap_or_default();
        text.split_inclusive('\n').filter_map(|it| parse_progress(it.strip_suffix('\n')?)).collect()
    }

    /// The step that began last.
    pub(crate) fn last_begun(&self) -> Option<(usize, String)> {
        self.progress().into_iter().rev().find_map(|it| match it {
            Progress::Begin { index, step } => Some((index, step)),
            Progress::End { .. } => None,
        })
    }

    /// Writes how it ended, into the room that was taken. It is on the disk when this returns.
    pub(crate) fn write_exit(&self, ended: &v1::Ended) -> io::Result<()> {
        let file = OpenOptions::new().write(true).open(self.0.join("exit"))?;
        let payload = ended.encode_to_vec();
        let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
        let record = [&length.to_le_bytes()[..], &CRC.checksum(&payload).to_le_bytes(), &payload];
        file.write_all_at(&record.concat(), 0)?;
        file.sync_data()?;
        // Only a hint: whoever does not find it waits until the shim is gone.
        drop(write(&self.0.join("ended"), &[]));
        Ok(())
    }

    /// How it ended, if that is written whole.
    pub(crate) fn exit(&self) -> Option<v1::Ended> {
        let bytes = fs::read(self.0.join("exit")).ok()?;
        let length = usize::try_from(u32::from_le_bytes(*bytes.first_chunk()?)).ok()?;
        let sum = u32::from_le_bytes(*bytes.get(4..)?.first_chunk()?);
        let payload = bytes.get(8..length.checked_add(8)?).filter(|it| !it.is_empty())?;
        (CRC.checksum(payload) == sum).then(|| v1::Ended::decode(payload).ok())?
    }

    /// Whether the exit record is on the disk, and the shim only stays for what it has left running.
    pub(crate) fn has_ended(&self) -> bool {
        self.0.join("ended").exists()
    }

    /// The shim, if it is alive and not done.
    pub(crate) fn shim(&self, boot_id: &str) -> Option<Supervisor> {
        let alive = |it: &Supervisor| {
            it.boot_id == boot_id && proc_fs::is_running(it.pid, it.start) && !self.has_ended()
        };
        self.started().filter(alive)
    }

    /// Asks the shim to end the attempt. What asked first counts.
    pub(crate) fn ask_to_kill(&self, grace_s: u32) -> io::Result<()> {
        match write_new(&self.0.join("kill"), format!("{grace_s}\n").as_bytes()) {
            Err(err) if err.kind() != io::ErrorKind::AlreadyExists => return Err(err),
            _ => {}
        }
        self.ring();
        Ok(())
    }

    /// Has the shim look at what was left for it.
    pub(crate) fn ring(&self) {
        let mut bell = OpenOptions::new();
        let bell = bell.write(true).custom_flags(nonblocking()).open(self.bell());
        // Nobody listens when it has just ended.
        drop(bell.and_then(|mut it| it.write_all(b"\n")));
    }

    /// The grace with which the attempt is to be ended, if it is.
    pub(crate) fn kill(&self) -> Option<u32> {
        let text = fs::read_to_string(self.0.join("kill")).ok()?;
        // Whatever is in it: it is to be ended.
        Some(text.trim().parse().unwrap_or(0))
    }
}

fn place_name(place: u32) -> String {
    match place {
        0 => "started".to_owned(),
        again => format!("started.{again}"),
    }
}

pub(crate) fn nonblocking() -> i32 {
    i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or(0)
}

fn parse_progress(line: &str) -> Option<Progress> {
    let mut words = line.split(' ');
    let word = words.next()?;
    let (index, step) = (words.next()?.parse().ok()?, words.next()?.to_owned());
    match word {
        "begin" => words.next().map(|_time| Progress::Begin { index, step }),
        "end" => Some(Progress::End { index, step, code: words.next()?.parse().ok()? }),
        _ => None,
    }
}

/// A folder with exactly this mode, also where something masks it.
pub(crate) fn make(path: &Path, mode: u32) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode))
}

/// A file of our own that was not there.
pub(crate) fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?.write_all(bytes)
}

/// A file of our own, in place of what was there.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600).open(path)?.write_all(bytes)
}

/// Its names are on the disk when this returns.
pub(crate) fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// The folders and files below a folder are on the disk when this returns.
pub(crate) fn sync_all_below(path: &Path) -> io::Result<()> {
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sync_all_below(&entry.path())?;
        } else {
            File::open(entry.path())?.sync_all()?;
        }
    }
    sync_folder(path)
}
