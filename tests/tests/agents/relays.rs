//! Relays, as they are installed.
use crate::{
    delivery::{Web, run},
    host::TestHost,
    network::may_divide,
    plane::{Plane, until},
};
use deploy_client::PageOf;
use deploy_test_support::programs::program;
use deploy_wire::Relay;
use serde_json::Value;
use std::{
    fs,
    io::Write as _,
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
};

/// `deploy relay`, in a folder of its own.
struct TestRelay {
    name: &'static str,
    folder: PathBuf,
    program: Option<Child>,
}

impl TestRelay {
    fn new(plane: &Plane, name: &'static str) -> Self {
        let folder = plane.path(name);
        fs::create_dir_all(&folder).unwrap();
        let anywhere =
            "free_gib = 0\n[blocks]\nlisten = '127.0.0.1:0'\n[way_out]\nlisten = '127.0.0.1:0'\n";
        fs::write(folder.join("relay.toml"), anywhere).unwrap();
        Self { name, folder, program: None }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(program("deploy"));
        command.arg("relay").args(arguments).arg("--state-dir").arg(&self.folder);
        command.env_clear().env("HOME", &self.folder).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn enrol(&self, server: &str, token: &str) -> Output {
        let enrol = self.command(&["enrol", "--server", server, "--name", self.name]);
        let mut enrol = { enrol }.stdin(Stdio::piped()).spawn().unwrap();
        // It may have refused before it has read it.
        drop(enrol.stdin.take().unwrap().write_all(token.as_bytes()));
        enrol.wait_with_output().unwrap()
    }

    fn start(&mut self) {
        let log = fs::File::options().create(true).append(true).open(self.folder.join("log"));
        let log = log.unwrap();
        let mut command = self.command(&["run"]);
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        self.program = Some(command.spawn().unwrap());
    }

    /// `kill -9`.
    fn kill(&mut self) {
        if let Some(mut program) = self.program.take() {
            drop(program.kill());
            drop(program.wait());
        }
    }

    fn known(&self, plane: &Plane) -> Option<Relay> {
        let relays = plane.api(async |client| client.relays(&PageOf::default()).await).items;
        relays.into_iter().find(|it| it.name == self.name)
    }

    fn is_alive(&self, plane: &Plane) -> bool {
        self.known(plane).is_some_and(|it| it.alive == Some(true))
    }
}

impl Drop for TestRelay {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            let log = fs::read_to_string(self.folder.join("log")).unwrap_or_default();
            eprintln!("{}: {log}", self.name);
        }
    }
}

fn secret(made: &Value) -> &str {
    made["secret"].as_str().unwrap()
}

#[test]
fn each_zone_takes_one_copy_by_its_relay() {
    if !may_divide("each_zone_takes_one_copy_by_its_relay") {
        return;
    }
    let plane = Plane::new("127.0.0.1");
    let server = format!("127.0.0.1:{}", plane.agents_port());
    let mut zones = Vec::new();
    for (zone, name) in [("ams", "ams-1"), ("fra", "fra-1")] {
        let create = ["host", "join-token", "create", "--zone", zone];
        let mut relay = TestRelay::new(&plane, name);
        let made = plane.deploy(&[&create[..], &["--relay"]].concat());
        let enrolled = relay.enrol(&server, secret(&made));
        assert!(enrolled.status.success(), "{enrolled:?}");
        relay.start();
        until("the relay is there", || relay.is_alive(&plane));
        let made = plane.deploy(&[&create[..], &["--label", "role=web", "--uses", "2"]].concat());
        let mut hosts: Vec<_> =
            (1..=2).map(|it| TestHost::beside(&plane, &format!("{zone}-h{it}"))).collect();
        hosts.iter_mut().for_each(|it| it.join(&plane, secret(&made)));
        zones.push((relay, hosts));
    }
    // Relays are agents, and no hosts.
    let all = ["ams-1", "ams-h1", "ams-h2", "fra-1", "fra-h1", "fra-h2"];
    until("all are connected", || plane.are_connected(&all));
    assert_eq!(plane.deploy(&["host", "list"]).as_array().unwrap().len(), 4);

    let web = Web::new(&plane);
    web.release("1.0.0");
    web.deploy("1.0.0");
    for (relay, hosts) in &mut zones {
        run(hosts, "1.0.0");
        for host in &*hosts {
            let log = host.log();
            assert!(log.contains(" 0.0 MiB from the server"), "{}: {log}", host.name);
        }
        until("the relay has said what went through it", || {
            // It says so every ten seconds, also while blocks come.
            let work = relay.known(&plane).and_then(|it| it.work);
            let is_over = |kept, pulled, given| kept > 0 && pulled >= kept && given >= pulled;
            work.is_some_and(|it| is_over(it.kept_bytes, it.pulled_bytes, it.given_bytes))
        });
        let work = relay.known(&plane).unwrap().work.unwrap();
        assert_eq!(work.pulled_bytes, work.kept_bytes, "each byte has come once: {work:?}");
        assert!(work.given_bytes >= work.pulled_bytes, "{work:?}");
    }

    // One is killed, comes back, and has what it had.
    let (relay, _) = &mut zones[1];
    let kept = relay.known(&plane).unwrap().work.unwrap().kept_bytes;
    relay.kill();
    relay.start();
    until("it says what it has", || {
        let work = relay.known(&plane).and_then(|it| it.work);
        work.is_some_and(|it| it.kept_bytes == kept && it.pulled_bytes == 0)
    });
    // Without the server nobody knows who is there.
    assert!(plane.deploy(&["relay", "list"])[0]["alive"].is_null());
    assert!(plane.prints(&["relay", "list"]).contains("fra-1"));
    plane.sent(&["relay", "remove", "fra-1"]);
    assert!(zones[1].0.known(&plane).is_none());
    plane.failing(&["relay", "remove", "fra-h1"]);
}

#[test]
fn what_keeps_a_relay_from_working_is_said_once() {
    let plane = Plane::new("127.0.0.1");
    let server = format!("127.0.0.1:{}", plane.agents_port());
    let relay = TestRelay::new(&plane, "fra-1");
    let says = |output: &Output, code: i32, what: &str| {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(said.contains(what) && said.matches("error:").count() == 1, "{said}");
    };
    let run = || relay.command(&["run"]).output().unwrap();
    says(&run(), 1, "this machine is not enrolled");
    says(&relay.enrol("https://127.0.0.1:7443", "x"), 2, "HOST:PORT where agents enrol");
    says(&relay.enrol(&server, "dplj_nonsense"), 1, "that is no join token");
    let made = plane.deploy(&["host", "join-token", "create", "--label", "zone=fra"]);
    says(&relay.enrol(&server, secret(&made)), 1, "the join token is none for a relay");
    let made = plane.deploy(&["host", "join-token", "create", "--relay", "--zone", "fra"]);
    says(&relay.enrol("127.0.0.1:1", secret(&made)), 1, "127.0.0.1:1");
    assert!(relay.enrol(&server, secret(&made)).status.success());
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let config = format!("[blocks]\nlisten = '{}'\n", taken.local_addr().unwrap());
    fs::write(relay.folder.join("relay.toml"), config).unwrap();
    says(&run(), 1, "`blocks.listen`");
    fs::write(relay.folder.join("relay.toml"), "cache = 7\n").unwrap();
    says(&run(), 1, "relay.toml");
}
