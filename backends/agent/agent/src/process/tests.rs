use super::{cgroup::*, ending::Ending, proc_fs::*, tree::Tree};
use crate::time::uptime;
use std::{
    io::{BufRead as _, BufReader},
    os::unix::process::CommandExt as _,
    process::{Child, Command, Stdio},
    time::Duration,
};

#[test]
fn a_name_may_hold_anything() {
    let rest = "S 1 2 3 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 4711 0\n";
    for name in ["sh", "a) b (c", ") Z 1 1"] {
        let process = parse(&format!("42 ({name}) {rest}")).unwrap();
        assert_eq!((process.pid, process.start, &*process.name), (42, 4711, name));
        assert_eq!((process.parent, process.group, process.session), (1, 2, 3));
    }
    for bad in ["", "42", "42 (sh", "42 (sh) S 1 2", "x (sh) S 1 2 3 0"] {
        assert_eq!(parse(bad), None);
    }
}

#[test]
fn groups_are_made_below_ones_own() {
    let mounts = "30 23 0:26 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n\
                  31 23 0:27 /docker/x /sys/fs/cgroup/freezer rw shared:1 - cgroup cgroup rw,freezer\n";
    let own = "8:freezer:/docker/x/y\n0::/system.slice/agent.service\n";
    let unified = folder_of(mounts, own, "cgroup2", "").unwrap();
    assert_eq!(unified.to_str(), Some("/sys/fs/cgroup/unified/system.slice/agent.service"));
    let freezer = folder_of(mounts, own, "cgroup", "freezer").unwrap();
    assert_eq!(freezer.to_str(), Some("/sys/fs/cgroup/freezer/y"));
    assert_eq!(folder_of(mounts, "0::/../other", "cgroup2", ""), None);
    assert_eq!(folder_of("", own, "cgroup2", ""), None);
}

/// A shell that has started what is hard to find, and says when all of it runs.
fn spawn(script: &str, mark: &str, cgroup: &Cgroups) -> (Child, i32) {
    let join = cgroup.make().unwrap();
    let join = join.map_or(String::new(), |it| format!("echo $$ >'{}'; ", it.display()));
    let mut child = Command::new("sh")
        .args(["-c", &format!("{join}{script}")])
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("DEPLOY_ATTEMPT", mark)
        .process_group(0)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "up\n");
    let pid = i32::try_from(child.id()).unwrap();
    (child, pid)
}

/// Ends what `script` starts; there are at least `processes` of it.
fn ends(script: &str, cgroup: &Cgroups, processes: usize) {
    let mark = format!("test-{}-{}", std::process::id(), uptime().as_nanos());
    let cgroup = cgroup.group(&mark);
    let (mut child, pid) = spawn(script, &mark, &cgroup);
    let start = Process::of(pid).unwrap().start;
    let tree = Tree { mark, first: Some((pid, start)), cgroup: cgroup.clone(), reaper: None };
    let found = tree.find().unwrap();
    assert!(found.len() >= processes, "{found:?}");
    let reaped = std::thread::spawn(move || child.wait().unwrap());
    let ending = Ending::new(tree.clone(), Duration::from_millis(200), uptime());
    assert!(ending.run().unwrap().is_empty());
    assert_eq!(tree.find().unwrap(), []);
    reaped.join().unwrap();
    cgroup.remove();
}

const HARD: &str = "trap '' TERM
    setsid sleep 100 &
    (env -i setsid sh -c 'trap \"\" TERM; echo up; while :; do sleep 100; done' &)
    while :; do sleep 100; done";

#[test]
fn a_tree_is_ended_whatever_it_does() {
    let simple = "sleep 100 & setsid sleep 100 & echo up; wait";
    ends(simple, &Cgroups::None, 3);
    for choice in [Choice::Unified, Choice::Freezer] {
        let groups = Cgroups::find(choice);
        if groups == Cgroups::None {
            eprintln!("SKIPPED: no control groups of the kind {choice:?} can be made here");
            continue;
        }
        ends(simple, &groups, 3);
        // Without mark, session and parent, only the control group knows it.
        ends(HARD, &groups, 3);
    }
}
