//! What `/proc` says.
use std::{fs, io, path::PathBuf};

/// A process, as its `stat` has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Process {
    pub(crate) pid: i32,
    /// When it began, in clock ticks since the machine was started: with the number, this is one process and no other.
    pub(crate) start: u64,
    name: String,
    pub(crate) parent: i32,
    pub(crate) session: i32,
    zombie: bool,
}

impl Process {
    /// The process `pid`, if there is one.
    pub(crate) fn of(pid: i32) -> Option<Self> {
        parse(&String::from_utf8_lossy(&fs::read(format!("/proc/{pid}/stat")).ok()?))
    }

    /// Whether it does anything. A zombie whose threads live does.
    fn is_alive(&self) -> bool {
        let threads =
            || fs::read_dir(format!("/proc/{}/task", self.pid)).map_or(0, Iterator::count);
        !self.zombie || threads() > 1
    }

    /// Whether `entry`, as `NAME=VALUE`, was in its environment when its program began.
    pub(crate) fn has_in_environment(&self, entry: &str) -> bool {
        // It may have ended meanwhile, or be somebody else's.
        let environment = fs::read(format!("/proc/{}/environ", self.pid)).unwrap_or_default();
        environment.split(|b| *b == 0).any(|it| it == entry.as_bytes())
    }

    /// Which processes it can see: the name of its namespace.
    pub(crate) fn namespace(&self) -> Option<PathBuf> {
        fs::read_link(format!("/proc/{}/ns/pid", self.pid)).ok()
    }

    /// As survivors are told.
    pub(crate) fn shown(&self) -> String {
        let plain = |it: char| if it.is_ascii_graphic() { it } else { '?' };
        format!("{}:{}", self.pid, self.name.chars().take(32).map(plain).collect::<String>())
    }
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
fn parse(stat: &str) -> Option<Process> {
    let (pid, rest) = stat.split_once(" (")?;
    let (name, rest) = rest.rsplit_once(") ")?;
    let mut fields = rest.split(' ');
    let zombie = matches!(fields.next()?, "Z" | "X");
    let parent = fields.next()?.parse().ok()?;
    let session = fields.nth(1)?.parse().ok()?;
    let start = fields.nth(15)?.trim_end().parse().ok()?;
    let (pid, name) = (pid.parse().ok()?, name.to_owned());
    Some(Process { pid, start, name, parent, session, zombie })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_hold_anything() {
        let rest = "S 1 2 3 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 4711 0\n";
        for name in ["sh", "a) b (c", ") Z 1 1"] {
            let process = parse(&format!("42 ({name}) {rest}")).unwrap();
            assert_eq!((process.pid, process.start, &*process.name), (42, 4711, name));
            assert_eq!((process.parent, process.session), (1, 3));
        }
        for bad in ["", "42", "42 (sh", "42 (sh) S 1 2", "x (sh) S 1 2 3 0"] {
            assert_eq!(parse(bad), None);
        }
    }
}
