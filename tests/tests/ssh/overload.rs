//! A command on many hosts at once, on a processor that has far more to do than it can.
use crate::fleet::{Fleet, asked_for};
use std::{
    fs,
    process::{Child, Command},
};

/// How many programs that only count share the processor with the driver and the SSH servers.
const BUSY: usize = 10;

#[test]
fn a_slow_host_is_not_a_missing_host() {
    use_one_processor();
    let fleet = Fleet::new(asked_for("FLEET_HOSTS", 60));
    let busy = Busy::start(BUSY);
    let said =
        fleet.deploy(&["run", "*", "--yes", "--max-parallel", "1000", "--", "true"]).ended(0);
    drop(busy);
    assert_eq!(said.out.matches(": done").count(), fleet.hosts.len(), "{}\n{}", said.out, said.err);
}

/// Keeps this thread, and all that it starts, on one processor: whoever tests something else meanwhile has the others.
fn use_one_processor() {
    let status = fs::read_to_string("/proc/thread-self/status").unwrap();
    let allowed = status.lines().find_map(|it| it.strip_prefix("Cpus_allowed_list:")).unwrap();
    let first = allowed.trim().split([',', '-']).next().unwrap();
    let thread = fs::read_link("/proc/thread-self").unwrap();
    let mut taskset = Command::new("taskset");
    taskset.args(["--pid", "--cpu-list", first]).arg(thread.file_name().unwrap());
    assert!(taskset.status().unwrap().success());
}

/// Programs that take all the time there is, for as long as this is there.
struct Busy(Vec<Child>);

impl Busy {
    fn start(count: usize) -> Self {
        let busy = || Command::new("sh").args(["-c", "while :; do :; done"]).spawn().unwrap();
        Self((0..count).map(|_| busy()).collect())
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        for child in &mut self.0 {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
}
