//! Who this process is: its account, and a name that no other process ever has.
use deploy_core::id::Principal;
use std::fs;

/// The account this process runs as; `uid-N` where it has no usable name.
pub(crate) fn principal() -> Option<Principal> {
    let uid = rustix::process::geteuid().as_raw();
    let accounts = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let name = accounts.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.parse().ok()).flatten()
    });
    name.or_else(|| format!("uid-{uid}").parse().ok())
}

/// What this machine calls itself, where others may call it that as well.
pub(crate) fn own_host_name() -> Option<String> {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").ok()?.trim().to_owned();
    let plain = |it: char| it.is_ascii_alphanumeric() || it == '-' || it == '.';
    Some(name).filter(|it| !it.is_empty() && it.chars().all(plain))
}

/// What tells a process apart from every other that ever ran: the machine, its boot, the process and when that began.
#[derive(Clone, Debug, PartialEq, Eq)]
struct ProcessName {
    host: String,
    boot: String,
    namespace: String,
    pid: String,
    started: String,
}

impl ProcessName {
    /// The machine as this process sees it, with a process on it.
    fn of(pid: &str, started: String) -> Self {
        let read =
            |path: &str| fs::read_to_string(path).unwrap_or_default().trim().replace(':', "_");
        let namespace = fs::read_link("/proc/self/ns/pid").unwrap_or_default();
        Self {
            host: read("/proc/sys/kernel/hostname"),
            boot: read("/proc/sys/kernel/random/boot_id"),
            namespace: namespace.to_string_lossy().replace(':', "_"),
            pid: pid.to_owned(),
            started,
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(':').map(ToOwned::to_owned);
        let name = Self {
            host: parts.next()?,
            boot: parts.next()?,
            namespace: parts.next()?,
            pid: parts.next()?,
            started: parts.next()?,
        };
        parts.next().is_none().then_some(name)
    }

    fn text(&self) -> String {
        [&self.host, &self.boot, &self.namespace, &self.pid, &self.started]
            .map(String::as_str)
            .join(":")
    }
}

/// The name of this process.
pub(crate) fn own_name() -> String {
    let pid = std::process::id().to_string();
    let started = started(&pid).unwrap_or_default();
    ProcessName::of(&pid, started).text()
}

/// Whether the process of this name is known to be gone. What cannot be looked at may be alive.
pub(crate) fn gone(name: &str) -> bool {
    let Some(process) = ProcessName::parse(name) else { return false };
    if process.host.is_empty() || process.boot.is_empty() || process.started.is_empty() {
        return false;
    }
    let here = ProcessName::of(&process.pid, process.started.clone());
    if process.host != here.host {
        return false;
    }
    if process.boot != here.boot {
        return true;
    }
    process.namespace == here.namespace
        && !process.namespace.is_empty()
        && started(&process.pid) != Some(process.started)
}

/// When a process began, in ticks since the boot.
fn started(pid: &str) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name of the program stands in parentheses, and may hold anything.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace();
    let state = fields.next()?;
    // A zombie does nothing any more.
    if state == "Z" { None } else { fields.nth(18).map(ToOwned::to_owned) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_there() {
        assert!(!gone(&own_name()));
        assert_eq!(own_name(), own_name());
    }

    #[test]
    fn a_process_that_has_ended_is_gone() {
        let mut child = std::process::Command::new("sleep").arg("100").spawn().unwrap();
        let pid = child.id().to_string();
        let name = ProcessName::of(&pid, started(&pid).unwrap()).text();
        assert!(!gone(&name));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(gone(&name));
    }

    #[test]
    fn another_process_under_the_same_number_is_another() {
        let pid = std::process::id().to_string();
        assert!(gone(&ProcessName::of(&pid, "1".to_owned()).text()));
    }

    #[test]
    fn nothing_is_said_of_other_machines() {
        let mut name = ProcessName::parse(&own_name()).unwrap();
        name.started = "1".to_owned();
        name.host = "elsewhere".to_owned();
        assert!(!gone(&name.text()));
        name.host.clone_from(&ProcessName::of("1", String::new()).host);
        name.boot = "another".to_owned();
        assert!(gone(&name.text()));
        assert!(!gone("whatever"));
    }
}
