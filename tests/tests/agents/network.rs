//! A network for each host, which can be cut.
use std::{
    process::{Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};

/// Whether this process may give hosts what is theirs alone; if not, that is said.
pub(crate) fn may_divide(test: &str) -> bool {
    let divides = run("unshare", &["--mount", "--net", "true"]);
    if !divides {
        eprintln!("SKIPPED {test}: hosts with a /srv and a boot id of their own need root");
    }
    divides
}

pub(crate) fn run(program: &str, arguments: &[&str]) -> bool {
    let mut command = Command::new(program);
    let ran = command.args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).status();
    ran.is_ok_and(|it| it.success())
}

#[track_caller]
pub(crate) fn ip(arguments: &[&str]) {
    let output = Command::new("ip").args(arguments).output().unwrap();
    assert!(
        output.status.success(),
        "ip {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// A network namespace that reaches this one by a cable of its own.
pub(crate) struct Network {
    name: String,
    /// Where it finds this machine, or whoever passes on what is said to it.
    gateway: String,
    /// Whether this machine is out of reach.
    apart: bool,
}

impl Network {
    /// One that no other host has, whose test may run at the same time.
    pub(crate) fn new() -> Self {
        static NETWORKS: AtomicU32 = AtomicU32::new(0);
        let number = NETWORKS.fetch_add(1, Ordering::Relaxed);
        let pid = std::process::id();
        let name = format!("dt{pid}-{number}");
        let net = format!("10.{}.{}", 64 + pid % 64, pid / 64 % 256);
        let [gateway, own] = [1, 2].map(|it| format!("{net}.{}", 4 * number + it));
        let [here, there] = ["h", "n"].map(|it| format!("{it}{pid}-{number}"));
        ip(&["netns", "add", &name]);
        ip(&["link", "add", &here, "type", "veth", "peer", "name", &there, "netns", &name]);
        ip(&["addr", "add", &format!("{gateway}/30"), "dev", &here]);
        ip(&["link", "set", &here, "up"]);
        ip(&["-n", &name, "addr", "add", &format!("{own}/30"), "dev", &there]);
        ip(&["-n", &name, "link", "set", &there, "up"]);
        ip(&["-n", &name, "link", "set", "lo", "up"]);
        Self { name, gateway, apart: false }
    }

    /// One that reaches the network `outer` by a cable that is called `cable` there, and nobody else but by way of `gateway`.
    pub(crate) fn inside(outer: &str, cable: &str, address: &str, gateway: String) -> Self {
        let name = format!("{outer}-{cable}");
        ip(&["netns", "add", &name]);
        let there = ["peer", "name", "own", "netns", &name];
        ip(&[&["-n", outer, "link", "add", cable, "type", "veth"], &there[..]].concat());
        ip(&["-n", &name, "addr", "add", address, "dev", "own"]);
        ip(&["-n", &name, "link", "set", "own", "up"]);
        ip(&["-n", &name, "link", "set", "lo", "up"]);
        Self { name, gateway, apart: true }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Who passes on what is said to this machine, where it cannot be reached.
    pub(crate) fn relay(&self) -> Option<&str> {
        self.apart.then_some(self.gateway.as_str())
    }

    /// The address of this machine, as seen from there.
    pub(crate) fn gateway(&self) -> &str {
        &self.gateway
    }

    /// Nothing comes through any more, and nobody is told.
    pub(crate) fn cut(&self) {
        ip(&["link", "set", &self.cable(), "down"]);
    }

    pub(crate) fn mend(&self) {
        ip(&["link", "set", &self.cable(), "up"]);
    }

    /// Its end of this machine.
    pub(crate) fn cable(&self) -> String {
        self.name.replacen("dt", "h", 1)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        run("ip", &["link", "del", &self.cable()]);
        run("ip", &["netns", "del", &self.name]);
    }
}
