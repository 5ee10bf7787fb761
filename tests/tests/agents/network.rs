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

fn run(program: &str, arguments: &[&str]) -> bool {
    let mut command = Command::new(program);
    let ran = command.args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).status();
    ran.is_ok_and(|it| it.success())
}

#[track_caller]
fn ip(arguments: &[&str]) {
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
    /// Where it finds this machine.
    gateway: String,
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
        Self { name, gateway }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
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

    fn cable(&self) -> String {
        self.name.replacen("dt", "h", 1)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        run("ip", &["link", "del", &self.cable()]);
        run("ip", &["netns", "del", &self.name]);
    }
}
