//! Packages come to hosts as what is new in them.
use crate::{
    host::TestHost,
    network::may_divide,
    plane::{Plane, until},
    rollouts::fleet,
};
use serde_json::Value;
use std::{fs, path::PathBuf};

/// Of a program, in bytes: its archive is more than one block of the transport.
const SIZE: usize = 3 << 20;

/// A service with the default steps, and packages with one large file.
pub(crate) struct Web<'a>(&'a Plane);

impl<'a> Web<'a> {
    pub(crate) fn new(plane: &'a Plane) -> Self {
        let file = plane.path("web.toml");
        let text = "name = \"web\"\nowner = \"ann\"\ndeploy_path = \"/srv/web\"\naccount = \"root\"\n\
            selector = \"role=web\"\n\n[strategy]\nmin_healthy_time = \"0s\"\n";
        fs::write(&file, text).unwrap();
        plane.deploy(&["service", "apply", file.to_str().unwrap()]);
        Self(plane)
    }

    /// Makes the release `version`, whose program differs from that of others in a few bytes.
    pub(crate) fn release(&self, version: &str) {
        self.release_with(version, &[]);
    }

    fn release_with(&self, version: &str, options: &[&str]) {
        let folder: PathBuf = self.0.path(&format!("web-{version}"));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("program"), program(version)).unwrap();
        let descriptor = self.0.path("descriptor.toml");
        fs::write(&descriptor, "format = 1\n").unwrap();
        let paths = [folder.to_str().unwrap(), descriptor.to_str().unwrap()];
        let [package, descriptor] = paths;
        let create = ["release", "create", "web", version, "--package", package];
        self.0.deploy(&[&create[..], &["--descriptor", descriptor], options].concat());
    }

    /// What a plan says of how the package gets to its hosts.
    fn transfers(&self, version: &str) -> Vec<Value> {
        let plan = self.0.sent(&["plan", "web", &format!("web-{version}")]);
        plan["transfers"].as_array().unwrap().clone()
    }

    pub(crate) fn deploy(&self, version: &str) {
        self.drive(&["start", "web", &format!("web-{version}"), "--yes"]);
    }

    /// Drives a rollout to its end, which is the last thing that is printed.
    fn drive(&self, arguments: &[&str]) {
        let command = [&["rollout"], arguments, &["--output", "json"]].concat();
        let printed = self.0.sent_and_shown(&command);
        let end: Value = serde_json::from_str(printed.lines().last().unwrap()).unwrap();
        assert_eq!(end["state"], "succeeded", "{printed}");
    }
}

fn program(version: &str) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut noise: Vec<u8> = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    })
    .take(SIZE)
    .collect();
    noise.splice(1_000_000..1_000_000 + version.len(), version.bytes());
    noise
}

/// How many bytes of artifacts a host keeps: all that it has fetched.
fn fetched(host: &TestHost) -> u64 {
    let artifacts = fs::read_dir(host.state().join("artifacts")).unwrap();
    artifacts.map(|it| it.unwrap().metadata().unwrap().len()).sum()
}

#[track_caller]
pub(crate) fn run(hosts: &[TestHost], version: &str) {
    for host in hosts {
        let found = fs::read(host.srv("web/current/program")).unwrap();
        assert!(found == program(version), "{} runs another program", host.name);
    }
}

#[test]
fn an_upgrade_is_planned_and_sent_as_a_delta_and_taken_back_without_a_download() {
    if !may_divide("an_upgrade_is_planned_and_sent_as_a_delta_and_taken_back_without_a_download") {
        return;
    }
    let (plane, hosts) = fleet(2);
    let web = Web::new(&plane);
    web.release("1.0.0");
    web.release("1.0.1");
    web.deploy("1.0.0");
    run(&hosts, "1.0.0");
    for host in &hosts {
        assert!(host.log().contains(" MiB from the server"), "it came in blocks: {}", host.log());
    }

    let transfers = web.transfers("1.0.1");
    assert_eq!(transfers.len(), 1, "{transfers:?}");
    let (transfer, whole) = (&transfers[0], transfers[0]["whole"].as_u64().unwrap());
    let planned = transfer["bytes"].as_u64().unwrap();
    assert_eq!((transfer["way"].as_str(), transfer["hosts"].as_u64()), (Some("delta"), Some(2)));
    assert!(planned < whole / 100 && whole > SIZE as u64 / 2, "{transfer}");
    let shown = plane.sent_and_shown(&["plan", "web", "web-1.0.1"]);
    assert!(shown.contains(" to each of 2 hosts that run web-1.0.0, by delta"), "{shown}");

    assert!(shown.contains("room was checked on 2 of 2 hosts: nothing is missing"), "{shown}");

    let before: Vec<u64> = hosts.iter().map(fetched).collect();
    web.deploy("1.0.1");
    run(&hosts, "1.0.1");
    for (host, before) in hosts.iter().zip(&before) {
        let more = fetched(host) - before;
        assert!(more < planned + 20_000, "{} has fetched {more} bytes", host.name);
    }

    // Back, with nothing in any cache.
    for host in &hosts {
        for artifact in fs::read_dir(host.state().join("artifacts")).unwrap() {
            fs::remove_file(artifact.unwrap().path()).unwrap();
        }
    }
    web.drive(&["rollback", "web", "--yes"]);
    run(&hosts, "1.0.0");
    for host in &hosts {
        let more = fetched(host);
        assert!(more < 5_000, "{}: the descriptor at most, and not {more} bytes", host.name);
    }
}

#[test]
fn a_host_runs_what_its_publishers_have_signed_and_nothing_else() {
    if !may_divide("a_host_runs_what_its_publishers_have_signed_and_nothing_else") {
        return;
    }
    let (plane, mut hosts) = fleet(1);
    let web = Web::new(&plane);
    let key = |name: &str| plane.path(name).to_str().unwrap().to_owned();
    let create = |name: &str| {
        let made = plane.deploy(&["key", "create", &key(name), "--no-password"]);
        made["public_key"].as_str().unwrap().to_owned()
    };
    let (first, second) = (create("first.key"), create("second.key"));
    hosts[0].kill_agent();
    hosts[0].configure(&format!("[publishers]\nkeys = ['{first}']\n"));
    hosts[0].start();
    until("the agent is back", || plane.are_connected(&["h1"]));

    web.release("1.0.0");
    let said = plane.failing(&["rollout", "start", "web", "web-1.0.0", "--yes"]);
    assert!(said.contains("this is not signed"), "{said}");
    assert!(!hosts[0].srv("web/current").exists());
    plane.failing(&["rollout", "abort", "web"]);

    web.release_with("1.0.1", &["--sign-key", &key("first.key")]);
    web.deploy("1.0.1");
    run(&hosts, "1.0.1");

    // Another key takes over, with the first release that it signs.
    let list = key("keys.json");
    let rotate = ["key", "rotate", "--serial", "1", "--key", &second, "--to", &list];
    plane.deploy(&[&rotate[..], &["--sign-key", &key("first.key")]].concat());
    let signed = ["--sign-key", &key("second.key"), "--key-list", &list];
    web.release_with("1.0.2", &signed);
    let transfers = web.transfers("1.0.2");
    assert_eq!(transfers[0]["way"], "delta", "{transfers:?}");
    web.deploy("1.0.2");
    run(&hosts, "1.0.2");
    web.release_with("1.0.3", &["--sign-key", &key("first.key")]);
    let said = plane.failing(&["rollout", "start", "web", "web-1.0.3", "--yes"]);
    assert!(said.contains("(not_signed)"), "{said}");
    run(&hosts, "1.0.2");
}
