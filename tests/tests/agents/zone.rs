//! A data centre: a network that only its relay has a way out of.
use crate::{
    host::TestHost,
    network::{Network, ip, run},
    plane::{Plane, until},
};
use deploy_test_support::programs::program;
use std::{
    fs,
    io::Write as _,
    path::PathBuf,
    process::{Child, Command, Stdio},
};

/// How fast the link of a zone is, each way.
const RATE: &str = "200mbit";
/// The name of a control plane that no host of a zone can look up, and none could reach.
pub(crate) const UNKNOWN: &str = "deploy.invalid";

/// Whether links can be made slower here; if not, that is said.
pub(crate) fn may_shape(test: &str) -> bool {
    let shaped = ["--net", "tc", "qdisc", "add", "dev", "lo", "root", "tbf", "rate", RATE];
    let shapes = run("unshare", &[&shaped[..], &["burst", "256k", "latency", "40ms"]].concat());
    if !shapes {
        eprintln!("SKIPPED {test}: links between zones need `tc` and the kernel's tbf");
    }
    shapes
}

/// A zone with a relay, which hosts join.
pub(crate) struct Zone {
    name: &'static str,
    number: u32,
    network: Network,
    folder: PathBuf,
    relay: Option<Child>,
    hosts: u32,
}

impl Zone {
    /// The zone `name`, with a relay that is up.
    pub(crate) fn new(plane: &Plane, name: &'static str, number: u32) -> Self {
        let network = Network::new();
        let folder = plane.path(&format!("relay-{name}"));
        fs::create_dir_all(&folder).unwrap();
        let mut zone = Self { name, number, network, folder, relay: None, hosts: 0 };
        zone.connect();
        zone.enrol(plane);
        zone.start();
        zone
    }

    fn ip(&self, arguments: &[&str]) {
        ip(&[&["-n", self.network.name()], arguments].concat());
    }

    /// Where the relay is, as hosts see it.
    fn relay(&self) -> String {
        format!("10.9.{}.1", self.number)
    }

    fn connect(&self) {
        self.ip(&["link", "add", "hosts", "type", "bridge"]);
        self.ip(&["addr", "add", &format!("{}/24", self.relay()), "dev", "hosts"]);
        self.ip(&["link", "set", "hosts", "up"]);
        let here = self.network.cable();
        let there = here.replacen('h', "n", 1);
        let shape = |of: &[&str], device: &str| {
            let tbf = ["root", "tbf", "rate", RATE, "burst", "256k", "latency", "40ms"];
            let arguments = [of, &["qdisc", "add", "dev", device], &tbf].concat();
            assert!(run("tc", &arguments), "tc {arguments:?}");
        };
        shape(&[], &here);
        shape(&["-n", self.network.name()], &there);
    }

    /// `deploy relay`, in the zone.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", self.network.name()]).arg(program("deploy")).arg("relay");
        command.args(arguments).arg("--state-dir").arg(self.folder.join("state"));
        command.env("HOME", &self.folder);
        command
    }

    fn enrol(&self, plane: &Plane) {
        let token = plane.deploy(&["host", "join-token", "create", "--relay", "--zone", self.name]);
        let server = format!("{}:{}", self.network.gateway(), plane.agents_port());
        let name = format!("relay-{}", self.name);
        let mut enrol = self.command(&["enrol", "--server", &server, "--name", &name]);
        let mut enrol = enrol.stdin(Stdio::piped()).spawn().unwrap();
        let secret = token["secret"].as_str().unwrap();
        enrol.stdin.take().unwrap().write_all(secret.as_bytes()).unwrap();
        assert!(enrol.wait().unwrap().success());
    }

    fn start(&mut self) {
        let address = self.relay();
        let settings = format!(
            "free_gib = 0\n[blocks]\nlisten = '{address}:7446'\naddress = '{address}:7446'\n\
            [way_out]\nlisten = '{address}:7444'\n"
        );
        fs::write(self.folder.join("state/relay.toml"), settings).unwrap();
        let log = fs::File::create(self.folder.join("relay.log")).unwrap();
        let mut run = self.command(&["run"]);
        run.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        self.relay = Some(run.spawn().unwrap());
        until("the relay is up", || self.log().contains("agents get to"));
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.join("relay.log")).unwrap_or_default()
    }

    /// A machine that is made a host of this zone, where it reaches the relay and its neighbours and nobody else.
    pub(crate) fn join(&mut self, plane: &Plane, name: &str, policy: &str) -> TestHost {
        self.hosts += 1;
        let cable = format!("host{}", self.hosts);
        let address = format!("10.9.{}.{}/24", self.number, self.hosts + 1);
        let network = Network::inside(self.network.name(), &cable, &address, self.relay());
        self.ip(&["link", "set", &cable, "master", "hosts", "up"]);
        let mut host = TestHost::within(plane, name, network);
        host.configure(&format!("{policy}\n[gateway]\nvia = ['{}:7444']\n", self.relay()));
        let labels = ["--label", "role=web", "--zone", self.name];
        let token = plane.deploy(&[&["host", "join-token", "create"], &labels[..]].concat());
        host.join(plane, token["secret"].as_str().unwrap());
        host
    }

    /// How many bytes have come into the zone over its link, headers and all.
    pub(crate) fn came(&self) -> u64 {
        let counter = format!("/sys/class/net/{}/statistics/tx_bytes", self.network.cable());
        fs::read_to_string(counter).unwrap().trim().parse().unwrap()
    }
}

impl Drop for Zone {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("relay of zone {}: {}", self.name, self.log());
        }
        if let Some(mut relay) = self.relay.take() {
            drop(relay.kill());
            drop(relay.wait());
        }
    }
}
