//! Processes that are killed just before they make a certain system call for a certain time.
use crate::skip::skipped;
use std::{
    collections::BTreeMap,
    env, fs, io,
    path::Path,
    process::{Command, Stdio},
};

/// The calls by which a program changes anything, or says it to others.
pub const CALLS: &[&str] = &[
    "accept4",
    "chown",
    "clone",
    "clone3",
    "close",
    "connect",
    "execve",
    "fallocate",
    "fchmod",
    "fchmodat",
    "fchown",
    "fchownat",
    "fdatasync",
    "flock",
    "fsync",
    "ftruncate",
    "kill",
    "link",
    "linkat",
    "mkdir",
    "mkdirat",
    "mknodat",
    "openat",
    "pidfd_send_signal",
    "pipe2",
    "pwrite64",
    "pwritev",
    "read",
    "recvfrom",
    "rename",
    "renameat",
    "renameat2",
    "rmdir",
    "sendmsg",
    "sendto",
    "setsid",
    "socket",
    "symlinkat",
    "unlink",
    "unlinkat",
    "vfork",
    "waitid",
    "wait4",
    "write",
    "writev",
];

/// Just before a thread makes this call for this time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Point {
    /// The call.
    pub call: String,
    /// Which of those that one thread makes, from 1 on.
    pub nth: usize,
}

/// Whether processes can be traced here. If not, this says so.
#[must_use]
pub fn is_there(what_for: &str) -> bool {
    let mut strace = Command::new("strace");
    strace.args(["-qq", "-o", "/dev/null", "true"]).stderr(Stdio::null());
    let there = strace.status().is_ok_and(|it| it.success());
    if !there {
        skipped(what_for, "there is no `strace`, or it may not trace anything");
    }
    there
}

/// A number from the environment, for longer runs than those of every day.
///
/// # Errors
/// If it is none.
pub fn asked_for(variable: &str, usual: usize) -> io::Result<usize> {
    match env::var(variable) {
        Ok(text) => text.parse().map_err(|_| io::Error::other(format!("{variable}: `{text}`"))),
        Err(_) => Ok(usual),
    }
}

/// What comes before a program, with everything that it starts, so that it is killed at `point`. The process that is started this way is the
/// program's; who traces it is another.
#[must_use]
pub fn killing(point: &Point) -> Vec<String> {
    let Point { call, nth } = point;
    let inject = format!("inject={call}:signal=SIGKILL:when={nth}");
    words(&["-D", "-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={call}"), "-e", &inject])
}

/// `program` behind these words, if there are any.
#[must_use]
pub fn behind(words: &[String], program: &Path) -> Command {
    let Some((first, rest)) = words.split_first() else { return Command::new(program) };
    let mut command = Command::new(first);
    command.args(rest).arg(program);
    command
}

/// What comes before a program so that its calls, and those of everything that it starts, are written to `file`.
#[must_use]
pub fn counting(file: &Path) -> Vec<String> {
    let known = format!("trace=?{}", CALLS.join(",?"));
    words(&["-D", "-f", "-qq", "-o", &file.to_string_lossy(), "-e", &known])
}

fn words(words: &[&str]) -> Vec<String> {
    ["strace"].iter().chain(words).map(|it| (*it).to_owned()).collect()
}

/// How often the busiest thread has made each call.
///
/// # Errors
/// If the file cannot be read.
pub fn counted(file: &Path) -> io::Result<BTreeMap<String, usize>> {
    let text = fs::read_to_string(file)?;
    let mut by_thread: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    // `THREAD CALL(…`; a call that is resumed has been counted.
    for (thread, rest) in text.lines().filter_map(|it| it.split_once(' ')) {
        if let Some((call, _)) = rest.trim_start().split_once('(') {
            *by_thread.entry((call, thread)).or_default() += 1;
        }
    }
    let mut busiest: BTreeMap<String, usize> = BTreeMap::new();
    for ((call, _), count) in by_thread {
        let most = busiest.entry(call.to_owned()).or_default();
        *most = count.max(*most);
    }
    Ok(busiest)
}

/// `wanted` points: as many of each call as of the others, where there are as many, and evenly over all times that it is made. Where that
/// are fewer than are wanted, they come again.
#[must_use]
pub fn spread(counts: &BTreeMap<String, usize>, wanted: usize) -> Vec<Point> {
    let mut left = wanted.min(counts.values().sum());
    let mut calls: Vec<_> = counts.iter().collect();
    calls.sort_by_key(|(_, count)| **count);
    let (mut points, total) = (Vec::new(), calls.len());
    for (at, (call, count)) in calls.into_iter().enumerate() {
        let share = left.div_ceil(total - at).min(*count);
        left -= share;
        let nth = (0..share).map(|it| 1 + it * count / share.max(1));
        points.extend(nth.map(|nth| Point { call: call.clone(), nth }));
    }
    let again = points.clone().into_iter().cycle();
    let missing = if points.is_empty() { 0 } else { wanted - points.len() };
    points.extend(again.take(missing));
    points
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_are_spread_over_calls_and_times() {
        let counts = [("fsync", 2), ("write", 100), ("read", 50)];
        let counts = counts.map(|(call, count)| (call.to_owned(), count)).into();
        let points = spread(&counts, 42);
        let of = |call: &str| points.iter().filter(|it| it.call == call).count();
        assert_eq!((of("fsync"), of("read"), of("write")), (2, 20, 20));
        assert!(points.iter().any(|it| it.call == "write" && it.nth > 90));
        assert_eq!(spread(&counts, 1_000).len(), 1_000);
        assert_eq!(spread(&BTreeMap::new(), 5), []);
    }
}
