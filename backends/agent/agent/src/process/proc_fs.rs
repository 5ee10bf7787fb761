//! What `/proc` says.
pub(crate) use deploy_agent_identity::boot_id;
use std::{fs, io};

/// A process, as its `stat` has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Process {
    pub(crate) pid: i32,
    /// When it began, in clock ticks since the host was started: with the number, this is one process and no other.
    pub(crate) start: u64,
    pub(crate) name: String,
    pub(crate) parent: i32,
    pub(crate) group: i32,
    pub(crate) session: i32,
    zombie: bool,
}

impl Process {
    /// The process `pid`, if there is one.
    pub(crate) fn of(pid: i32) -> Option<Self> {
        parse(&String::from_utf8_lossy(&fs::read(format!("/proc/{pid}/stat")).ok()?))
    }

    /// Whether it does anything. A zombie whose threads live does.
    pub(crate) fn is_alive(&self) -> bool {
        let threads =
            || fs::read_dir(format!("/proc/{}/task", self.pid)).map_or(0, Iterator::count);
        !self.zombie || threads() > 1
    }

    /// What stands after `NAME=` in its environment, as that was when its program began.
    pub(crate) fn environment(&self, name: &str) -> Option<Vec<u8>> {
        // It may have ended meanwhile, or be somebody else's.
        let environment = fs::read(format!("/proc/{}/environ", self.pid)).unwrap_or_default();
        let value =
            |it: &[u8]| Some(it.strip_prefix(name.as_bytes())?.strip_prefix(b"=")?.to_vec());
        environment.split(|b| *b == 0).find_map(value)
    }

    /// As survivors are told.
    pub(crate) fn shown(&self) -> String {
        let plain = |it: char| if it.is_ascii_graphic() && it != ',' { it } else { '?' };
        format!("{}:{}", self.pid, self.name.chars().take(32).map(plain).collect::<String>())
    }
}

/// Whether the process `pid` that began at `start` is there.
pub(crate) fn is_running(pid: i32, start: u64) -> bool {
    Process::of(pid).is_some_and(|it| it.start == start && it.is_alive())
}

/// All processes that are alive.
pub(crate) fn processes() -> io::Result<Vec<Process>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let pid = entry?.file_name().to_str().and_then(|it| it.parse().ok());
        // What ended since the folder was read is not there.
        found.extend(pid.and_then(Process::of).filter(Process::is_alive));
    }
    Ok(found)
}

/// The name stands in brackets, and may hold any of them itself.
pub(super) fn parse(stat: &str) -> Option<Process> {
    let (pid, rest) = stat.split_once(" (")?;
    let (name, rest) = rest.rsplit_once(") ")?;
    let mut fields = rest.split(' ');
    let zombie = matches!(fields.next()?, "Z" | "X");
    let (parent, group, session) =
        (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    let start = fields.nth(15)?.trim_end().parse().ok()?;
    let (pid, name) = (pid.parse().ok()?, name.to_owned());
    Some(Process { pid, start, name, parent, group, session, zombie })
}
