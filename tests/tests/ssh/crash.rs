//! The driving process is killed, and another goes on: nothing runs twice, and no line is lost.
use crate::fleet::{Fleet, until};
use std::{process::Command, thread, time::Duration};

const DESCRIPTOR: &str = r#"format = 1

[steps.install]
script = "install.sh"

[steps.start]
script = "start.sh"
"#;

/// Each step counts itself in a file that survives every release.
const INSTALL: &str = r#"echo "$DEPLOY_GENERATION" >>"$DEPLOY_PATH/../../installs"
for line in 1 2 3 4 5; do echo "line $line"; sleep 0.05; done
. "$DEPLOY_LIB"
du_install
"#;
const START: &str = r#"echo "$DEPLOY_GENERATION" >>"$DEPLOY_PATH/../../starts"
echo started
"#;

fn fleet(hosts: usize) -> Fleet {
    let fleet = Fleet::new(hosts);
    fleet.service("web", "waves = [\"2\", \"*3\"]\nretries = 1\n");
    let files = [("descriptor.toml", DESCRIPTOR), ("install.sh", INSTALL), ("start.sh", START)];
    fleet.descriptor(&files);
    fleet
}

fn release(fleet: &Fleet, version: &str) -> String {
    let (package, descriptor) = (fleet.package(version), fleet.path("descriptor"));
    let descriptor = descriptor.to_str().unwrap();
    let create = ["release", "create", "web", version, "--package", &package];
    fleet.deploy(&[&create[..], &["--descriptor", descriptor]].concat()).ended(0);
    format!("web-{version}")
}

/// Goes on with the newest rollout until it is over, and looks at what is left.
fn finish(fleet: &Fleet, before: Option<&str>, release: &str, round: usize) {
    let mut id = fleet.newest();
    if id.as_deref() == before {
        // It was killed before there was a rollout: nothing was done, and nothing is in the way.
        fleet.deploy(&["rollout", "start", "web", release, "--yes"]).ended(0);
        id = fleet.newest();
    } else {
        let id = id.as_deref().unwrap();
        let resumed = fleet.deploy(&["rollout", "resume", id]);
        let over = resumed.err.contains("is over");
        assert!(resumed.code == 0 || over, "round {round}: {resumed:?}");
    }
    let id = id.unwrap();
    for (number, host) in fleet.hosts.iter().enumerate() {
        let at = format!("round {round}, {host}");
        assert_eq!(fleet.count(number, "installs"), round, "{at}");
        assert_eq!(fleet.count(number, "starts"), round, "{at}");
        let log = fleet.deploy(&["rollout", "logs", &id, "--host", host]).ended(0).out;
        let lines = log.lines().filter(|it| it.contains("line ")).count();
        assert_eq!((lines, log.matches("started").count()), (5, 1), "{at}: {log}");
    }
}

#[test]
fn a_driver_killed_at_random_moments_is_taken_over() {
    let rounds: usize = std::env::var("CRASH_ROUNDS").map_or(8, |it| it.parse().unwrap());
    let fleet = fleet(6);
    let mut chance: u64 = 0x5eed;
    for round in 1..=rounds {
        let release = release(&fleet, &round.to_string());
        let before = fleet.newest();
        let mut driver = fleet.spawn(&["rollout", "start", "web", &release, "--yes"]);
        chance =
            chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        thread::sleep(Duration::from_millis((chance >> 33) % 3_000));
        driver.kill().unwrap();
        driver.wait().unwrap();
        finish(&fleet, before.as_deref(), &release, round);
    }
}

#[test]
fn a_driver_killed_at_its_nth_system_call_is_taken_over() {
    let points: usize = std::env::var("CRASH_POINTS").map_or(12, |it| it.parse().unwrap());
    let fleet = fleet(2);
    let calls = ["fdatasync", "pwrite64", "sendto", "write"];
    for round in 1..=points {
        let release = release(&fleet, &round.to_string());
        let before = fleet.newest();
        let call = calls[round % calls.len()];
        let when = 1 + (round / calls.len()) * 3;
        let deploy = fleet.command(&["rollout", "start", "web", &release, "--yes"]);
        let mut strace = Command::new("strace");
        strace.args(["-f", "-qq", "-o", "/dev/null", "-e"]);
        strace.arg(format!("inject={call}:signal=SIGKILL:when={when}"));
        strace.arg("-e").arg(format!("trace={call}"));
        strace.arg(deploy.get_program()).args(deploy.get_args());
        let output = strace.output().expect("strace is installed by `cargo xtask packages`");
        assert!(!output.status.success() || fleet.newest() != before, "{output:?}");
        finish(&fleet, before.as_deref(), &release, round);
    }
}

#[test]
fn connections_cut_at_random_lose_nothing() {
    let fleet = fleet(4);
    let release = release(&fleet, "1");
    let mut driver = fleet.spawn(&["rollout", "start", "web", &release, "--yes"]);
    for _cut in 0..6 {
        thread::sleep(Duration::from_millis(150));
        fleet.sshd.cut_connections().unwrap();
    }
    let mut ended = None;
    until("the rollout is over", || {
        ended = driver.try_wait().unwrap();
        ended.is_some()
    });
    finish(&fleet, None, &release, 1);
}
